"""A mail server on this machine that keeps what it gets, and misbehaves when told to.

For the tests and the demonstration: real SMTP over loopback, nothing leaves the machine. Needs
aiosmtpd, from the extra `lab`.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from stanch.model.errors import SetupError

Stage = Literal["mail", "rcpt", "data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Answer one command with this line instead of taking it, such as `451 try later`."""

    at: Stage
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang:
    """Say nothing at this point, for ever or until an event is set; then go on as if nothing was.

    At `data` the whole text has arrived. `keep` decides whether the mail was taken by then: with
    it, the sender hears nothing although the mail is there.
    """

    at: Stage
    keep: bool = False
    until: threading.Event | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """Close the connection without a word at this point."""

    at: Stage
    keep: bool = False


Fault = Reply | Hang | Close


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One mail that was taken."""

    sender: str
    recipients: tuple[str, ...]
    raw: bytes
    content: EmailMessage
    taken_at: datetime
    """When its last byte had arrived here."""

    @property
    def subject(self) -> str:
        return str(self.content["Subject"])

    @property
    def message_id(self) -> str:
        return str(self.content["Message-ID"])

    @property
    def text(self) -> str:
        return self.content.get_content()


class Mailbox:
    """The server; use it as a context manager.

    `login` asks for that user and password. With `tls_context`, `tls` says whether TLS begins at
    once or by STARTTLS. Mails are written to `directory` as `0001.eml` and so on, where given.
    """

    def __init__(
        self,
        *,
        directory: Path | None = None,
        login: tuple[str, str] | None = None,
        tls_context: ssl.SSLContext | None = None,
        tls: Literal["none", "starttls", "tls"] = "none",
    ) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self._directory = directory
        self._login = login
        self._tls_context = tls_context
        self._tls = tls
        self._changed = threading.Condition()
        self._mails: list[Mail] = []
        self._faults: list[Fault] = []
        self._connections = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="mailbox", daemon=True)
        self._listening: Future[int] = Future()
        self._stop = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._listening.result(timeout=10)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=10)

    @property
    def mails(self) -> Sequence[Mail]:
        """Everything taken so far, oldest first."""
        with self._changed:
            return tuple(self._mails)

    @property
    def connections(self) -> int:
        """How often somebody has connected."""
        with self._changed:
            return self._connections

    @property
    def faults_left(self) -> int:
        """How many scripted faults have not been met yet."""
        with self._changed:
            return len(self._faults)

    def fail_next(self, *faults: Fault) -> None:
        """Script the next hand-overs: one fault each, in this order, then all is well again."""
        with self._changed:
            self._faults.extend(faults)

    def wait_for(self, predicate: Callable[[Sequence[Mail]], bool], *, deadline_s: float) -> bool:
        """Block until the mails fit the predicate; False if they do not by the deadline."""
        with self._changed:
            return self._changed.wait_for(lambda: predicate(tuple(self._mails)), deadline_s)

    def wait_for_mail(self, fits: Callable[[Mail], bool], *, deadline_s: float) -> Mail | None:
        """The first mail that fits, as soon as there is one; None if none came in time."""
        self.wait_for(lambda mails: any(map(fits, mails)), deadline_s=deadline_s)
        return next(filter(fits, self.mails), None)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            if self._listening.done():
                raise
            self._listening.set_exception(error)
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        smtp = _smtp_class()

        def protocol() -> asyncio.BaseProtocol:
            with self._changed:
                self._connections += 1
            return smtp(
                _Handler(self),
                hostname="mailbox.example.com",
                enable_SMTPUTF8=True,
                tls_context=self._tls_context if self._tls == "starttls" else None,
                require_starttls=self._tls == "starttls",
                auth_required=self._login is not None,
                auth_require_tls=self._tls == "starttls",
                auth_callback=self._knows if self._login else None,
                loop=self._loop,
            )

        implicit = self._tls_context if self._tls == "tls" else None
        server = await self._loop.create_server(protocol, self.host, 0, ssl=implicit)
        self._listening.set_result(server.sockets[0].getsockname()[1])
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        # One turn of the loop for the cancelled conversations to end in.
        await asyncio.sleep(0)

    def _knows(self, mechanism: str, user: bytes, password: bytes) -> bool:
        assert self._login is not None
        return (user.decode(), password.decode()) == self._login

    def take_fault(self, stage: Stage) -> Fault | None:
        """The next scripted fault, if it is meant for this stage."""
        with self._changed:
            if self._faults and self._faults[0].at == stage:
                return self._faults.pop(0)
            return None

    def keep(self, sender: str, recipients: Sequence[str], raw: bytes) -> None:
        """Take a mail in, and wake everybody who waits for one."""
        content = email.message_from_bytes(raw, policy=email.policy.default)
        mail = Mail(
            sender=sender,
            recipients=tuple(recipients),
            raw=raw,
            content=content,
            taken_at=datetime.now(UTC),
        )
        with self._changed:
            self._mails.append(mail)
            number = len(self._mails)
            if self._directory is not None:
                self._directory.mkdir(parents=True, exist_ok=True)
                (self._directory / f"{number:04d}.eml").write_bytes(raw)
            self._changed.notify_all()


class _Handler:
    """What aiosmtpd asks at each command."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_MAIL(  # noqa: N802 - the name aiosmtpd looks for
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        fault = self._mailbox.take_fault("mail")
        if fault and (reply := await _misbehave(fault, server)):
            return reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        fault = self._mailbox.take_fault("rcpt")
        if fault and (reply := await _misbehave(fault, server)):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        fault = self._mailbox.take_fault("data")
        if fault is None or getattr(fault, "keep", False):
            self._mailbox.keep(envelope.mail_from, envelope.rcpt_tos, envelope.content)
        reply = await _misbehave(fault, server) if fault else ""
        return reply or "250 OK kept"


async def _misbehave(fault: Fault, server: Any) -> str:
    """The line to answer with; empty to go on as if nothing was."""
    if isinstance(fault, Reply):
        return fault.line
    if isinstance(fault, Close):
        server.transport.abort()
    if isinstance(fault, Hang) and fault.until is not None:
        # The event is another thread's, so it cannot be awaited.
        while not fault.until.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return ""
    await asyncio.Event().wait()
    raise AssertionError("nothing sets this event")


def _smtp_class() -> Any:
    try:
        from aiosmtpd.smtp import SMTP
    except ImportError as error:
        raise SetupError(
            "the package aiosmtpd is missing", on="mailbox", hint="Install stanch[lab]."
        ) from error
    return SMTP
