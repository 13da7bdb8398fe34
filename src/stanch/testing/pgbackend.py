"""One session of the stand-in server: a strict reading of what a client sends."""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Protocol

from stanch.testing import pgmessages as pg
from stanch.testing.pgmessages import Answer, BadMessage, Fields, SqlError

_OPTION = re.compile(r"-c\s*(\w+(?:\.\w+)?)=(\S*)")
_SLEEP = re.compile(r"SELECT pg_sleep\((\d+(?:\.\d+)?)\)", re.IGNORECASE)

SETTINGS = frozenset(
    {
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "default_transaction_read_only",
    }
)
_UNITS_S = {"": 0.001, "ms": 0.001, "s": 1.0, "min": 60.0}


class Server(Protocol):
    """What a session asks of the server it belongs to."""

    def admit(self, user: str, database: str) -> SqlError | None: ...

    def gate(self) -> SqlError | None:
        """What a server says before it even asks who is there."""
        ...

    def password_of(self, user: str) -> str | None: ...

    def password_tried(self) -> None: ...

    def answer(
        self, sql: str, values: tuple[str | None, ...], session: Backend
    ) -> Answer | SqlError: ...

    def opened(self, session: Backend) -> None: ...

    def ended(self, session: Backend) -> None: ...

    @property
    def slow_ms(self) -> float: ...

    @property
    def version(self) -> str: ...


class Backend(asyncio.Protocol):
    """One client's session."""

    def __init__(self, server: Server, pid: int) -> None:
        self._server = server
        self.pid = pid
        self.silent = False
        self.settings: dict[str, str] = {}
        self._buffer = bytearray()
        self._read: Callable[[], bool] = self._read_startup
        self._scram: pg.ScramServer | None = None
        self._user = self._database = ""
        self._statements: dict[str, str] = {}
        self._portal: Answer | None = None
        self._skipping = False
        self._sleeping: asyncio.TimerHandle | None = None
        self.logged_in = False

    # --- the transport ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # As a real server does; else an answer in two writes waits for the client's delayed ACK.
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._sleeping is not None:
            self._sleeping.cancel()
        self._server.ended(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._go_on()

    def go_silent(self) -> None:
        """Read nothing and say nothing from now on, as a frozen machine does."""
        self.silent = True
        self._transport.pause_reading()

    def speak_again(self) -> None:
        if self.silent:
            self.silent = False
            self._transport.resume_reading()
            self._go_on()

    def drop(self, *, reset: bool) -> None:
        """End the connection without a word; `reset` sends RST in place of FIN."""
        if reset:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def fail(self, problem: SqlError) -> None:
        """Say why, and end the session."""
        self._send(pg.error(problem))
        if self._server.slow_ms:
            asyncio.get_running_loop().call_later(
                self._server.slow_ms / 1000, self._transport.close
            )
        else:
            self._transport.close()

    def _send(self, data: bytes) -> None:
        if self.silent or self._transport.is_closing():
            return
        if self._server.slow_ms:
            later = self._server.slow_ms / 1000
            asyncio.get_running_loop().call_later(later, self._transport.write, data)
        else:
            self._transport.write(data)

    def _go_on(self) -> None:
        try:
            while not self.silent and self._sleeping is None and self._read():
                pass
        except (BadMessage, UnicodeDecodeError, KeyError, ValueError) as problem:
            self.fail(SqlError(severity="FATAL", sqlstate="08P01", message=str(problem)))
            self._buffer.clear()

    # --- before the session ----------------------------------------------------------------------

    def _read_startup(self) -> bool:
        if len(self._buffer) < 8:
            return False
        length, code = struct.unpack_from("!ii", self._buffer)
        if not 8 <= length <= pg.STARTUP_BYTES_MAX:
            raise BadMessage("invalid length of startup packet")
        if len(self._buffer) < length:
            return False
        body = bytes(self._buffer[8:length])
        del self._buffer[:length]
        if code in (pg.SSL_REQUEST_CODE, pg.GSS_REQUEST_CODE):
            self._send(b"N")
        elif code == pg.CANCEL_REQUEST_CODE:
            self._transport.close()
        elif code == pg.PROTOCOL_3_0:
            self._start(pg.read_startup(body))
        else:
            raise BadMessage(f"unsupported frontend protocol {code >> 16}.{code & 0xFFFF}")
        return True

    def _start(self, parameters: Mapping[str, str]) -> None:
        if not parameters.get("user"):
            raise BadMessage("no PostgreSQL user name specified in startup packet")
        self._user = parameters["user"]
        self._database = parameters.get("database") or self._user
        self.settings.update(_OPTION.findall(parameters.get("options", "")))
        problem = self._server.gate()
        if problem is not None:
            self.fail(problem)
            return
        secret = self._server.password_of(self._user)
        self._read = self._read_message
        if secret is None:
            self._let_in()
            return
        self._scram = pg.ScramServer(secret, secrets.token_bytes(16), secrets.token_hex(9))
        self._send(pg.authentication(10, b"SCRAM-SHA-256\0\0"))

    def _let_in(self) -> None:
        self._send(pg.authentication(0))
        unknown = next((name for name in self.settings if name not in SETTINGS), None)
        problem = self._server.admit(self._user, self._database)
        if problem is None and unknown is not None:
            message = f'unrecognized configuration parameter "{unknown}"'
            problem = SqlError(severity="FATAL", sqlstate="42704", message=message)
        if problem is not None:
            self.fail(problem)
            return
        self.logged_in = True
        reported = {
            "server_version": self._server.version,
            "server_encoding": "UTF8",
            "client_encoding": "UTF8",
            "DateStyle": "ISO, MDY",
            "TimeZone": "UTC",
            "integer_datetimes": "on",
            "standard_conforming_strings": "on",
        }
        greeting = b"".join(pg.parameter(name, value) for name, value in reported.items())
        self._send(greeting + pg.key_data(self.pid, secrets.randbits(32)) + pg.framed(b"Z", b"I"))

    def _read_password(self, fields: Fields) -> None:
        scram = self._scram
        if scram is None:
            raise BadMessage("a password that nobody asked for")
        if self._buffer_is_first_sasl:
            mechanism = fields.text()
            first = fields.raw(fields.number("i"))
            if mechanism != "SCRAM-SHA-256":
                raise BadMessage("client selected an invalid SASL authentication mechanism")
            self._buffer_is_first_sasl = False
            self._send(pg.authentication(11, scram.challenge(first)))
            return
        self._server.password_tried()
        signature = scram.verdict(fields.rest())
        self._scram = None
        if signature is None:
            message = f'password authentication failed for user "{self._user}"'
            self.fail(SqlError(severity="FATAL", sqlstate="28P01", message=message))
            return
        self._send(pg.authentication(12, signature))
        self._let_in()

    _buffer_is_first_sasl = True

    # --- the session -----------------------------------------------------------------------------

    def _read_message(self) -> bool:
        if len(self._buffer) < 5:
            return False
        kind = bytes(self._buffer[:1])
        (length,) = struct.unpack_from("!i", self._buffer, 1)
        if not 4 <= length <= pg.MESSAGE_BYTES_MAX:
            raise BadMessage("invalid message length")
        if len(self._buffer) < length + 1:
            return False
        fields = Fields(bytes(self._buffer[5 : length + 1]))
        del self._buffer[: length + 1]
        if kind == b"p":
            self._read_password(fields)
        elif not self.logged_in:
            raise BadMessage(f"expected password response, got message type {kind!r}")
        elif kind == b"X":
            self._transport.close()
        else:
            self._serve(kind, fields)
            fields.end()
        return not self._transport.is_closing()

    def _serve(self, kind: bytes, fields: Fields) -> None:
        if kind == b"Q":
            self._simple(fields.text())
        elif kind == b"S":
            self._skipping = False
            self._send(pg.framed(b"Z", b"I"))
        elif kind == b"H":
            pass
        elif kind in _EXTENDED:
            step = _EXTENDED[kind]
            if self._skipping:
                fields.rest()
            else:
                step(self, fields)
        else:
            raise BadMessage(f"invalid frontend message type {kind[0]}")

    def _simple(self, text: str) -> None:
        statements = [part.strip() for part in text.split(";") if part.strip()]
        if not statements:
            self._send(pg.framed(b"I"))
        for statement in statements:
            answer = self._server.answer(statement, (), self)
            if isinstance(answer, SqlError):
                self._send(pg.error(answer))
                break
            description = pg.row_description(answer) if answer.columns else b""
            self._send(description + pg.data_rows(answer) + pg.complete(answer))
        self._send(pg.framed(b"Z", b"I"))

    def _parse(self, fields: Fields) -> None:
        name, sql = fields.text(), fields.text()
        for _ in range(fields.number("h")):
            fields.number("i")
        if name and name in self._statements:
            message = f'prepared statement "{name}" already exists'
            self._refuse(SqlError(sqlstate="42P05", message=message))
            return
        self._statements[name] = sql
        self._send(pg.framed(b"1"))

    def _bind(self, fields: Fields) -> None:
        portal, name = fields.text(), fields.text()
        formats = [fields.number("h") for _ in range(fields.number("h"))]
        values = tuple(fields.value() for _ in range(fields.number("h")))
        formats += [fields.number("h") for _ in range(fields.number("h"))]
        if portal or any(formats):
            raise BadMessage("the stand-in knows the unnamed portal and text formats only")
        if name not in self._statements:
            message = f'prepared statement "{name}" does not exist'
            self._refuse(SqlError(sqlstate="26000", message=message))
            return
        sql = self._statements[name]
        slept = _SLEEP.fullmatch(sql.strip())
        if slept is not None:
            self._sleep(float(slept[1]))
            return
        self._bound(self._server.answer(sql, values, self))

    def _bound(self, answer: Answer | SqlError) -> None:
        if isinstance(answer, SqlError):
            self._refuse(answer)
            return
        self._portal = answer
        self._send(pg.framed(b"2"))

    def _sleep(self, seconds: float) -> None:
        limit_s = seconds_of(self.settings.get("statement_timeout", "0"))
        cut = 0 < limit_s < seconds
        answer: Answer | SqlError = Answer(columns=(("pg_sleep", pg.OID_VOID),), rows=(("",),))
        if cut:
            message = "canceling statement due to statement timeout"
            answer = SqlError(sqlstate="57014", message=message)

        def wake() -> None:
            self._sleeping = None
            self._bound(answer)
            self._go_on()

        loop = asyncio.get_running_loop()
        self._sleeping = loop.call_later(limit_s if cut else seconds, wake)

    def _describe(self, fields: Fields) -> None:
        kind, _ = fields.raw(1), fields.text()
        if kind != b"P" or self._portal is None:
            raise BadMessage("the stand-in describes its portal only")
        self._send(pg.row_description(self._portal))

    def _execute(self, fields: Fields) -> None:
        fields.text()
        fields.number("i")
        if self._portal is None:
            self._refuse(SqlError(sqlstate="34000", message='portal "" does not exist'))
            return
        self._send(pg.data_rows(self._portal) + pg.complete(self._portal))

    def _close(self, fields: Fields) -> None:
        kind, name = fields.raw(1), fields.text()
        if kind == b"S":
            self._statements.pop(name, None)
        self._send(pg.framed(b"3"))

    def _refuse(self, problem: SqlError) -> None:
        self._skipping = True
        self._portal = None
        self._send(pg.error(problem))


_EXTENDED: Mapping[bytes, Callable[[Backend, Fields], None]] = {
    b"P": Backend._parse,  # pyright: ignore[reportPrivateUsage]
    b"B": Backend._bind,  # pyright: ignore[reportPrivateUsage]
    b"D": Backend._describe,  # pyright: ignore[reportPrivateUsage]
    b"E": Backend._execute,  # pyright: ignore[reportPrivateUsage]
    b"C": Backend._close,  # pyright: ignore[reportPrivateUsage]
}


def seconds_of(setting: str) -> float:
    """A duration setting such as `100ms`, `2s` or `250` (milliseconds), in seconds."""
    found = re.fullmatch(r"(\d+)(ms|s|min)?", setting)
    if found is None:
        raise BadMessage(f"invalid value for a duration: {setting!r}")
    return int(found[1]) * _UNITS_S[found[2] or ""]
