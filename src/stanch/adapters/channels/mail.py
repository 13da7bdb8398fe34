"""One message as the bytes of a mail. Pure: no connection, no clock.

Everything that came from a watched server (names, query texts, log lines) is escaped here once
more, whoever wrote the text: a control character or a line break can neither end a header nor
reach a terminal that shows the mail.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, parseaddr

from stanch.model.messages import Delivery, Message, MessageKind
from stanch.model.shown import shortened
from stanch.policy.quoting import printable

SUBJECT_CHARS_MAX = 200
BODY_CHARS_MAX = 200_000

_LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\U0010ffff-]+"
_LABEL = r"[A-Za-z0-9_\u0080-\U0010ffff-]+"
_ADDRESS = re.compile(rf"{_LOCAL}(?:\.{_LOCAL})*@{_LABEL}(?:\.{_LABEL})*")


class AddressInvalid(ValueError):
    """Not one plain mail address."""


def plain_address(text: str) -> str:
    """The address in `user@example.com` or `Name <user@example.com>`. Raises AddressInvalid."""
    # A line break first of all: nothing around an address may pass for an SMTP command.
    address = parseaddr(text)[1] if text.endswith(">") and text.isprintable() else text
    if len(address) > 254 or not address.isprintable() or not _ADDRESS.fullmatch(address):
        raise AddressInvalid(f"not a mail address: {printable(text[:80])}")
    return address


def mail_bytes(message: Message, delivery: Delivery, *, sender: str, at: datetime) -> bytes:
    """The whole mail, lines ended by CRLF, without the final dot. Raises AddressInvalid."""
    author, reader = plain_address(sender), plain_address(delivery.address)
    ascii_only = author.isascii() and reader.isascii()
    mail = EmailMessage(policy=SMTP if ascii_only else SMTPUTF8)
    mail["From"] = f"Stanch <{author}>"
    mail["To"] = reader
    mail["Subject"] = subject(message)
    mail["Date"] = format_datetime(at)
    domain = author.rpartition("@")[2]
    mail["Message-ID"] = message_id(message, delivery, domain=domain)
    thread = thread_id(message, domain=domain)
    mail["In-Reply-To"] = thread
    mail["References"] = thread
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    if message.kind is MessageKind.PAGE:
        mail["Importance"] = "high"
        mail["X-Priority"] = "1"
    mail["X-Stanch-Incident"] = _token(message.incident_id)
    mail["X-Stanch-Kind"] = message.kind.value
    mail.set_content(_text(message), charset="utf-8", cte="quoted-printable")
    return mail.as_bytes()


def subject(message: Message) -> str:
    """One printable line; says so when the reader may have had this message before."""
    line = shortened(printable(message.subject[:SUBJECT_CHARS_MAX]), SUBJECT_CHARS_MAX).strip()
    return f"[possible repeat] {line}" if message.possible_repeat else line


def message_id(message: Message, delivery: Delivery, *, domain: str) -> str:
    """Fixed for one message to one address: every repeat of it carries the same one."""
    return f"<stanch.{_digest('mail', message.id, delivery.id)}@{_id_domain(domain)}>"


def thread_id(message: Message, *, domain: str) -> str:
    """What every mail of one incident refers to, so that readers see one conversation."""
    return f"<stanch.{_digest('thread', message.thread)}@{_id_domain(domain)}>"


def _text(message: Message) -> str:
    lines = (message.short + "\n\n" + message.body)[:BODY_CHARS_MAX].split("\n")
    text = "\n".join(printable(line.rstrip("\r")) for line in lines)
    if len(message.body) > BODY_CHARS_MAX:
        text += "\n\n(The rest was too long for a mail.)"
    return text + "\n"


def _digest(*parts: str) -> str:
    # Ids are hashed, not quoted: whatever they are made of, the header stays well formed.
    data = b"".join(len(p).to_bytes(4, "big") + p.encode("utf-8", "replace") for p in parts)
    return hashlib.sha256(data).hexdigest()[:32]


def _id_domain(domain: str) -> str:
    return domain if domain.isascii() else domain.encode("punycode").decode("ascii") + ".invalid"


def _token(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "?", text)[:80] or "-"
