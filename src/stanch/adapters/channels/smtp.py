"""Mail over SMTP.

`smtplib` from the standard library does the protocol, in a thread of its own: it is kept with
Python itself, needs nothing installed, and a first responder's way to page should break with
nothing else. The final dot is sent apart from the mail's text, because it is the one moment that
matters: a server without the dot must forget the mail (RFC 5321, 4.1.1.4), a server with it may
already have sent it on.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import smtplib
import socket
import ssl
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from stanch.adapters.channels.mail import AddressInvalid, mail_bytes, plain_address
from stanch.adapters.channels.threads import in_own_thread
from stanch.model.messages import Dedup, Delivery, Handover, Message
from stanch.model.ports.channels import HandoverResult
from stanch.model.shown import shortened
from stanch.policy.policy import SmtpChannel
from stanch.policy.quoting import printable

DETAIL_CHARS_MAX = 300


class Smtp:
    """Hands mails to one SMTP server, one connection a mail."""

    dedup: ClassVar[Dedup] = Dedup.NONE
    """SMTP promises nothing about repeats. They carry the same Message-ID, by which many
    mailboxes drop the second, and say "possible repeat" for the others."""

    def __init__(self, channel: SmtpChannel, *, tls: ssl.SSLContext | None = None) -> None:
        self._channel = channel
        self._tls = tls

    async def send(
        self, message: Message, delivery: Delivery, *, deadline_s: float
    ) -> HandoverResult:
        """Hand one mail over; a lost answer after the final dot is in doubt, not failed."""
        transfer = _Transfer(time.monotonic() + deadline_s, step_s_max=self._channel.timeout_s)
        try:
            async with asyncio.timeout(deadline_s):
                return await in_own_thread(
                    lambda: self._send(message, delivery, transfer), name="stanch-smtp"
                )
        except TimeoutError:
            return transfer.unanswered(f"no answer within {deadline_s:g} s while {transfer.step}")
        except OSError as error:
            return transfer.unanswered(str(error))
        finally:
            # Also on cancellation: what has not been committed by now never will be.
            transfer.abandon()

    def _send(self, message: Message, delivery: Delivery, transfer: _Transfer) -> HandoverResult:
        try:
            sender = plain_address(self._channel.sender)
            reader = plain_address(delivery.address)
            mail = mail_bytes(message, delivery, sender=sender, at=datetime.now(UTC))
        except AddressInvalid as error:
            return _failed(str(error), retryable=False)
        try:
            client = self._connect(transfer)
            self._log_in(client, transfer)
            return _transmit(client, transfer, sender=sender, reader=reader, mail=mail)
        except smtplib.SMTPResponseException as refused:
            return _answered(refused.smtp_code, refused.smtp_error, transfer.step)
        except smtplib.SMTPNotSupportedError as error:
            return _failed(f"{error} (while {transfer.step})", retryable=False)
        except (OSError, ValueError) as error:
            # smtplib's own exceptions, TLS and name errors included; UnicodeError is a ValueError.
            return transfer.unanswered(f"{error} (while {transfer.step})")
        finally:
            transfer.close()

    def _connect(self, transfer: _Transfer) -> smtplib.SMTP:
        channel = self._channel
        client = transfer.client
        transfer.at("connecting")
        address = (channel.host, channel.port)
        sock = socket.create_connection(address, transfer.remaining_s())
        # The dot goes out apart from the text: it must not wait for a delayed acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transfer.holds(sock)
        if channel.tls == "tls":
            transfer.at("starting TLS")
            self._wrap(transfer)
        transfer.at("waiting for the greeting")
        _expect(220, client.getreply())
        client.ehlo_or_helo_if_needed()
        if channel.tls == "starttls":
            transfer.at("starting TLS")
            # Never in the clear instead: a missing STARTTLS may be somebody in between.
            _expect(220, client.docmd("STARTTLS"))
            self._wrap(transfer)
            # What was announced before TLS is not to be believed.
            client.ehlo_resp = client.helo_resp = None
            client.esmtp_features = {}
            client.does_esmtp = False
            client.ehlo_or_helo_if_needed()
        return client

    def _wrap(self, transfer: _Transfer) -> None:
        context = self._tls or ssl.create_default_context()
        sock = transfer.client.sock
        assert sock is not None
        transfer.holds(context.wrap_socket(sock, server_hostname=self._channel.host))

    def _log_in(self, client: smtplib.SMTP, transfer: _Transfer) -> None:
        if not self._channel.username:
            return
        transfer.at("logging in")
        password = ""
        if self._channel.password_file:
            password = Path(self._channel.password_file).read_text("utf-8").rstrip("\r\n")
        client.login(self._channel.username, password)


class _Transfer:
    """How far one mail has come; the sending thread and the waiting task both look at it."""

    def __init__(self, deadline: float, *, step_s_max: float) -> None:
        self._lock = threading.Lock()
        self._deadline = deadline
        self._step_s_max = step_s_max
        self._abandoned = False
        self._committed = False
        self.step = "starting"
        self.client = smtplib.SMTP(local_hostname=_greeting_name())

    def remaining_s(self) -> float:
        """What the next step may take. Raises TimeoutError."""
        left = min(self._step_s_max, self._deadline - time.monotonic())
        if left <= 0 or self._abandoned:
            raise TimeoutError("out of time")
        return left

    def at(self, step: str) -> None:
        """Name the step about to be taken and give its socket what time is left."""
        self.step = step
        left_s = self.remaining_s()
        if self.client.sock is not None:
            self.client.sock.settimeout(left_s)

    def holds(self, sock: socket.socket) -> None:
        """Talk through this socket from now on; nothing read before is kept."""
        with self._lock:
            self.client.sock = sock
            self.client.file = None
        self.remaining_s()

    def commit(self) -> None:
        """From here on the server may have the mail. Raises TimeoutError once abandoned."""
        with self._lock:
            if self._abandoned:
                raise TimeoutError("out of time")
            self._committed = True

    def abandon(self) -> None:
        """Nobody waits any more: wake the thread, and let it commit nothing."""
        with self._lock:
            self._abandoned = True
            sock = self.client.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                # The plain socket's method: the TLS one would pull the session from under
                # the thread that is reading from it.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def unanswered(self, why: str) -> HandoverResult:
        """The far side said nothing final: failed before the commit, in doubt after it."""
        with self._lock:
            self._abandoned = True
            outcome = Handover.IN_DOUBT if self._committed else Handover.FAILED
        return HandoverResult(outcome=outcome, detail=_one_line(why))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.client.close()


def _transmit(
    client: smtplib.SMTP, transfer: _Transfer, *, sender: str, reader: str, mail: bytes
) -> HandoverResult:
    options = [] if (sender + reader).isascii() else ["SMTPUTF8"]
    transfer.at("naming the sender")
    _expect(250, client.mail(sender, options))
    transfer.at("naming the recipient")
    _expect(250, client.rcpt(reader), also=(251, 252))
    transfer.at("asking to send the text")
    _expect(354, client.docmd("DATA"))
    transfer.at("sending the text")
    stuffed = re.sub(rb"(?m)^\.", b"..", mail)
    client.send(stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n")
    transfer.at("waiting for the answer to the mail")
    transfer.commit()
    client.send(b".\r\n")
    code, text = client.getreply()
    if code // 100 not in (2, 4, 5):
        return transfer.unanswered(f"the answer to the mail made no sense: {code}")
    with contextlib.suppress(OSError):
        client.putcmd("QUIT")
    return _answered(code, text, transfer.step)


def _expect(code: int, reply: tuple[int, bytes], *, also: tuple[int, ...] = ()) -> None:
    if reply[0] != code and reply[0] not in also:
        raise smtplib.SMTPResponseException(*reply)


def _answered(code: int, text: bytes | str, step: str) -> HandoverResult:
    """What a reply code means: 2xx taken, 4xx try again, 5xx do not."""
    said = text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else text
    detail = _one_line(f"{code} {said}")
    if 200 <= code < 300:
        return HandoverResult(outcome=Handover.ACCEPTED, detail=detail)
    return _failed(f"{detail} (while {step})", retryable=not 500 <= code < 600)


def _failed(detail: str, *, retryable: bool) -> HandoverResult:
    return HandoverResult(outcome=Handover.FAILED, detail=_one_line(detail), retryable=retryable)


def _one_line(text: str) -> str:
    return shortened(printable(text[:DETAIL_CHARS_MAX]), DETAIL_CHARS_MAX)


def _greeting_name() -> str:
    """Not smtplib's default: looking up one's own full name asks DNS, which may be what is down."""
    name = socket.gethostname()
    usable = "." in name and re.fullmatch(r"[A-Za-z0-9.-]+", name)
    return name if usable else "[127.0.0.1]"
