"""One connection of the probe: asks for TLS, logs in, asks one question at a time.

libpq does not tell the SQLSTATE of a refused login, and its text comes in the server's language.
So the probe speaks the first messages itself and knows the code.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import ssl
from types import TracebackType

from stanch.adapters.postgres import protocol
from stanch.adapters.postgres.conninfo import Conninfo
from stanch.adapters.postgres.scram import MECHANISM, ScramClient, ScramFailed

_GOODBYE_S = 0.25
_HEADER_BYTES = 5
_PIECE_BYTES = 4096
_AUTH_OK, _AUTH_CLEARTEXT, _AUTH_MD5, _AUTH_SASL = 0, 3, 5, 10
_AUTH_SASL_CONTINUE, _AUTH_SASL_FINAL = 11, 12


class SessionRefused(Exception):
    """The server answered with an error instead."""

    def __init__(self, error: protocol.ServerError) -> None:
        super().__init__(error.message)
        self.error = error


class ClosedEarly(Exception):
    """The other side closed or reset the connection without a word."""


class AuthNotPossible(Exception):
    """Our side cannot complete what the server asks for; the text says why."""


class AuthNotSpoken(Exception):
    """The server asks for a method that only libpq speaks (GSSAPI, OAuth, channel binding)."""


class Wire:
    """A connected socket on which the protocol is spoken. Use as an async context manager."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._in_session = False
        self._arrived = bytearray()
        """Not read yet: a login is twenty small messages in two or three pieces."""
        self.parameters: dict[str, str] = {}
        self.backend_pid: int | None = None
        """The process that the other side says it is; None before it said so."""

    async def __aenter__(self) -> Wire:
        try:
            self._reader, self._writer = await asyncio.open_connection(sock=self._sock)
        except BaseException:
            self._sock.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._in_session and error is None:
                await self._say_goodbye()
        finally:
            self._writer.transport.abort()

    async def _say_goodbye(self) -> None:
        """Wait until the server has closed: only then is the slot of this session free again."""
        try:
            async with asyncio.timeout(_GOODBYE_S):
                self._writer.write(protocol.TERMINATE)
                while await self._reader.read(1024):
                    pass
        except (TimeoutError, OSError):
            return

    async def offers_tls(self) -> bool:
        """Ask for TLS. Raises: ClosedEarly, NotPostgres, SessionRefused."""
        self._writer.write(protocol.SSL_REQUEST)
        answer = await self._exactly(1)
        if answer in (b"S", b"N"):
            return answer == b"S"
        if answer == b"E":
            # A server that cannot even fork says so here, in words of the oldest protocol.
            text = (await self._reader.read(1024)).decode("utf-8", "replace")
            raise SessionRefused(
                protocol.ServerError(severity="FATAL", sqlstate="", message=text.strip("\0\n"))
            )
        raise protocol.NotPostgres(f"the answer to the request for TLS begins with {answer!r}")

    async def greets(self) -> None:
        """Ask what commits to nothing and wait for any answer. Raises: ClosedEarly."""
        self._writer.write(protocol.GSS_REQUEST)
        await self._exactly(1)

    async def start_tls(self, context: ssl.SSLContext, server_name: str) -> bytes:
        """Encrypt from here on; the server's certificate comes back (DER). Raises: ssl.SSLError."""
        try:
            await self._writer.start_tls(context, server_hostname=server_name)
        except (ConnectionError, EOFError) as error:
            raise ClosedEarly from error
        tls = self._writer.get_extra_info("ssl_object")
        assert isinstance(tls, ssl.SSLObject)
        return tls.getpeercert(binary_form=True) or b""

    async def start_session(self, conninfo: Conninfo, application_name: str) -> tuple[bytes, bytes]:
        """Send the startup message and take the first reply."""
        parameters = {
            "user": conninfo.user,
            "database": conninfo.dbname,
            "application_name": application_name,
            "client_encoding": "UTF8",
        }
        if conninfo.options:
            parameters["options"] = conninfo.options
        self._writer.write(protocol.startup_message(parameters))
        return await self.next()

    async def log_in(self, conninfo: Conninfo, first: tuple[bytes, bytes]) -> None:
        """Answer what the server asks for until it says that we are who we say we are.

        Raises: SessionRefused, ClosedEarly, NotPostgres, AuthNotPossible, AuthNotSpoken.
        """
        kind, body = first
        scram: ScramClient | None = None
        while True:
            if kind != b"R":
                raise protocol.NotPostgres(f"a message {kind!r} in place of authentication")
            asked, extra = protocol.read_auth(body)
            if asked == _AUTH_OK:
                self._in_session = True
                return
            if asked == _AUTH_SASL:
                scram = self._start_scram(conninfo, extra)
            else:
                self._answer(conninfo, scram, asked=asked, extra=extra)
            kind, body = await self.next()

    def _start_scram(self, conninfo: Conninfo, offered: bytes) -> ScramClient:
        mechanisms = offered.decode("ascii", "replace").split("\0")
        if MECHANISM not in mechanisms or conninfo.settings.get("channel_binding") == "require":
            raise AuthNotSpoken("a SASL mechanism or channel binding")
        scram = ScramClient(_secret(conninfo), secrets.token_urlsafe(18))
        self._writer.write(protocol.sasl_initial(MECHANISM, scram.first()))
        return scram

    def _answer(
        self, conninfo: Conninfo, scram: ScramClient | None, *, asked: int, extra: bytes
    ) -> None:
        if asked == _AUTH_CLEARTEXT:
            self._writer.write(protocol.auth_reply(_secret(conninfo).encode() + b"\0"))
        elif asked == _AUTH_MD5:
            digest = protocol.md5_password(
                user=conninfo.user, secret=_secret(conninfo), salt=extra[:4]
            )
            self._writer.write(protocol.auth_reply(digest + b"\0"))
        elif asked in (_AUTH_SASL_CONTINUE, _AUTH_SASL_FINAL) and scram is not None:
            try:
                if asked == _AUTH_SASL_CONTINUE:
                    self._writer.write(protocol.auth_reply(scram.final(extra)))
                else:
                    scram.verify(extra)
            except ScramFailed as error:
                raise AuthNotPossible(str(error)) from error
        else:
            raise AuthNotSpoken(f"authentication method {asked}")

    async def until_ready(self) -> None:
        """Wait until the session takes statements. Raises: SessionRefused, ClosedEarly."""
        while True:
            kind, _ = await self.next()
            if kind == b"Z":
                return

    async def ask(self, sql: str) -> tuple[str | None, ...]:
        """The last row that the statements return. Raises: SessionRefused, ClosedEarly."""
        self._writer.write(protocol.query(sql))
        row: tuple[str | None, ...] = ()
        while True:
            kind, body = await self.next()
            if kind == b"D":
                row = protocol.read_row(body)
            if kind == b"Z":
                return row

    async def next(self) -> tuple[bytes, bytes]:
        """The next message that matters; settings are kept, notices passed over."""
        while True:
            kind, body = await self._message()
            if kind == b"S":
                name, value = protocol.read_parameter(body)
                self.parameters[name] = value
            elif kind == b"K":
                self.backend_pid = protocol.read_key(body)
            elif kind == b"E":
                self._in_session = False
                raise SessionRefused(protocol.read_error(body))
            elif kind not in b"NA":
                return kind, body

    async def _message(self) -> tuple[bytes, bytes]:
        while (found := self._first_whole()) is None:
            try:
                more = await self._reader.read(_PIECE_BYTES)
            except ConnectionError as error:
                self._in_session = False
                raise ClosedEarly from error
            if not more:
                self._in_session = False
                raise ClosedEarly
            self._arrived += more
        return found

    def _first_whole(self) -> tuple[bytes, bytes] | None:
        """The first of the messages that have arrived; None while it is not whole."""
        arrived = self._arrived
        if len(arrived) < _HEADER_BYTES:
            return None
        kind, length = protocol.read_header(bytes(arrived[:_HEADER_BYTES]))
        end = _HEADER_BYTES + length
        if len(arrived) < end:
            return None
        body = bytes(arrived[_HEADER_BYTES:end])
        del arrived[:end]
        return kind, body

    async def _exactly(self, count: int) -> bytes:
        """Not a byte more: what follows may be encrypted."""
        try:
            return await self._reader.readexactly(count)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self._in_session = False
            raise ClosedEarly from error


def _secret(conninfo: Conninfo) -> str:
    if not conninfo.password:
        raise AuthNotPossible("the server asks for a password and none is given")
    return conninfo.password
