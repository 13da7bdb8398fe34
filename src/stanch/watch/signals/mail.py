"""A mail as a report: `P0: Database Down - Acme` in the subject says how bad, what, and whose.

Only subjects that begin with a severity count; the rest of a mailbox is for people. A reply, or the
same subject again, is a repeat. `Resolved: Database Down - Acme` ends it.

Who sent a mail is what its From says, and that can be forged: the worst it brings about is a page.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email import message_from_bytes
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime

from stanch.model.signals import Refused, Signal, SignalStatus
from stanch.watch.signals.payload import (
    DETAIL_CHARS_MAX,
    TITLE_CHARS_MAX,
    Fitting,
    digest_of,
    shown,
)

SUBJECT_CHARS_MAX = 500
BODY_BYTES_MAX = 16 * 1024

_REPLY = re.compile(r"(?i)^\s*(?:re|fwd?|fw|aw|wg|sv)\s*(?:\[\d+\])?\s*:\s*")
_ENDS = r"resolved|recovered|solved|closed"
_RANKS = r"p\s?[0-5]|s\s?[0-5]|sev\s?-?\s?[0-5]|critical|emergency|urgent|high|medium|low"


def _first_word(words: str) -> re.Pattern[str]:
    """One of the words in brackets, or with a colon or dash after it."""
    return re.compile(rf"(?i)^\s*(?:\[\s*({words})\s*\]\s*[:\-]?|({words})\s*[:\-])\s*")


_OVER = _first_word(_ENDS)
_SEVERITY = _first_word(_RANKS)
_WHOSE = re.compile(r"\s+[-–—]\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a subject says."""

    severity: str
    """Empty where it only says that something is over."""
    what: str
    about: str
    over: bool


def read_subject(subject: str) -> Subject | None:
    """The parts of a subject; None where it names neither a severity nor an end."""
    left = subject[:SUBJECT_CHARS_MAX]
    for _ in range(5):
        left = _REPLY.sub("", left, count=1)
    over = _OVER.match(left)
    left = left[over.end() :] if over else left
    severity = _SEVERITY.match(left)
    left = left[severity.end() :] if severity else left
    if not (over or severity) or not left.strip():
        return None
    *what, about = _WHOSE.split(left) if _WHOSE.search(left) else (left, "")
    return Subject(
        severity=re.sub(r"\s", "", severity[1] or severity[2]).upper() if severity else "",
        what=" - ".join(what).strip(),
        about=about.strip().strip("[]").strip(),
        over=over is not None,
    )


def parse(
    header: bytes, text: bytes, *, senders: Sequence[str], source: str, received_at: datetime
) -> Signal | Refused:
    """The report in a mail. `senders` are addresses, or `@domain` for everybody there."""
    try:
        mail = message_from_bytes(header)
        subject, sender = _decoded(mail, "Subject"), _address(mail)
    except (MessageError, ValueError, LookupError, RecursionError) as error:
        reason = f"its header cannot be read: {shown(str(error), 100)}"
        return Refused(because="malformed", reason=reason)
    if mail.get("X-Stanch-Incident") is not None or _answers_by_itself(mail):
        reason = "sent by a program in answer to a mail, or by Stanch"
        return Refused(because="ignored", reason=reason)
    if not _allowed(sender, senders):
        reason = f"{shown(sender or 'nobody', 80)} is not among `senders`"
        return Refused(because="unauthorized", reason=reason)
    said = read_subject(subject)
    if said is None:
        return Refused(because="ignored", reason="its subject names no severity")
    body = _body(header, text[:BODY_BYTES_MAX])
    signal = _signal(mail, said, sender, body, source=source, received_at=received_at)
    return replace(signal, digest=digest_of(header + text))


def _signal(
    mail: Message, said: Subject, sender: str, body: str, *, source: str, received_at: datetime
) -> Signal:
    fit = Fitting(received_at)
    about = f" - {said.about}" if said.about else ""
    labels = {"about": said.about, "from": sender}
    return Signal(
        source=source,
        key=fit.key(" ".join(f"{said.what}{about}".casefold().split())),
        status=SignalStatus.RESOLVED if said.over else SignalStatus.FIRING,
        title=fit.text(f"{said.what}{about}", TITLE_CHARS_MAX),
        severity=shown(said.severity, 40),
        detail=fit.text(f"{sender} writes: {body}", DETAIL_CHARS_MAX),
        starts_at=fit.start(_sent(mail)),
        labels=fit.labels(labels),
        reported=True,
        bounded=fit.bounded,
    )


def _decoded(mail: Message, name: str) -> str:
    """A header line with its encoded words read and its folds undone."""
    raw = str(mail.get(name, ""))
    return " ".join(str(make_header(decode_header(raw))).split())


def _body(header: bytes, text: bytes) -> str:
    """The first plain text of a mail that may be cut anywhere, on one line."""
    whole = message_from_bytes(header.rstrip(b"\r\n") + b"\r\n\r\n" + text)
    for part in whole.walk():
        if part.get_content_type() != "text/plain":
            continue
        raw = part.get_payload(decode=True)
        if isinstance(raw, bytes):
            return " ".join(raw.decode(_charset(part), "replace").split())
    return ""


def _charset(part: Message) -> str:
    try:
        return codecs.lookup(part.get_content_charset("utf-8")).name
    except LookupError:
        return "utf-8"


def _address(mail: Message) -> str:
    """The one address in From; empty where there is none, or where there are several."""
    found = [address for _, address in getaddresses([str(mail.get("From", ""))]) if address]
    return found[0].casefold() if len(found) == 1 else ""


def _allowed(sender: str, senders: Sequence[str]) -> bool:
    domain = "@" + sender.rpartition("@")[2]
    return bool(sender) and any(s.casefold() in (sender, domain) for s in senders)


def _answers_by_itself(mail: Message) -> bool:
    return str(mail.get("Auto-Submitted", "")).strip().casefold().startswith("auto-replied")


def _sent(mail: Message) -> str | None:
    try:
        at = parsedate_to_datetime(str(mail.get("Date", "")))
    except (ValueError, TypeError, IndexError):
        return None
    return at.isoformat() if at.tzinfo is not None else None
