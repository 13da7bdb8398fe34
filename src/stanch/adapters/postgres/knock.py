"""The cheapest questions to an address: is anything there, and does it still let anybody in?"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from dataclasses import dataclass
from typing import Any

from stanch.adapters.postgres import addresses
from stanch.adapters.postgres.conninfo import Conninfo, resolve
from stanch.adapters.postgres.protocol import GSS_REQUEST
from stanch.model.errors import ProbeFailed
from stanch.model.reach import ReachState

RESOLVED_FOR_S = 30.0
"""Service files are not read again for every knock; every fresh session reads them anew."""
KNOWN_MAX = 8192


async def knock(dsn: str, deadline_s: float) -> bool:
    """True if the address accepted or refused; False if nothing came back.

    Cost: one TCP handshake, closed at once; in the log a line where log_connections is on.
    """
    try:
        line = await _connected(dsn, deadline_s)
    except (OSError, addresses.LookupFailed) as error:
        return _refused(error)
    line.close()
    return True


async def greet(dsn: str, deadline_s: float) -> bool:
    """False if a connection is accepted and its first question never answered.

    A stopped postmaster leaves open sessions alive and lets nobody new in, which no open session
    can notice. Whatever else goes wrong is somebody else's to find out, so it counts as True.
    Cost: one server process for less than a millisecond; in the log a line where log_connections
    is on.
    """
    try:
        line = await _connected(dsn, deadline_s)
    except (OSError, addresses.LookupFailed):
        return True
    try:
        line.sock.send(GSS_REQUEST)
        if not await line.answered(deadline_s):
            return False
        # An answer left unread would reset the connection, and the server would log that.
        line.sock.recv(1)
    except OSError:
        return True
    finally:
        line.close()
    return True


async def _connected(dsn: str, deadline_s: float) -> _Line:
    """Raises: OSError, which TimeoutError is, and LookupFailed."""
    where = _where(dsn)
    if where.numeric is not None:
        return await _connected_to(where.numeric, deadline_s)
    async with asyncio.timeout(deadline_s):
        if where.path is not None:
            return _Line(await addresses.connect(where.path))
        found = await addresses.look_up(where.host, where.port)
        return _Line(await addresses.connect(found[0]))


async def _connected_to(numeric: _Numeric, deadline_s: float) -> _Line:
    """As `addresses.connect`, for a place that is known, in a third of the time."""
    family, place = numeric
    line = _Line(socket.socket(family, socket.SOCK_STREAM))
    try:
        line.sock.setblocking(False)
        failed = line.sock.connect_ex(place)
        if failed == errno.EINPROGRESS:
            if not await line.decided(deadline_s):
                raise TimeoutError
            failed = line.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, os.strerror(failed))
    except BaseException:
        line.close()
        raise
    return line


class _Line:
    """A socket, and one timer for all that is waited for on it: most of it comes long before.

    The loop is told the number: for a socket itself it would compose a description, with system
    calls.
    """

    __slots__ = ("_fd", "_loop", "_ready", "_timer", "_until_s", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._fd = sock.fileno()
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._until_s = 0.0

    async def decided(self, deadline_s: float) -> bool:
        """Accepted, or not; False once the deadline has passed."""
        self._loop.add_writer(self._fd, self._settle, True)
        try:
            return await self._in_time(deadline_s)
        finally:
            self._loop.remove_writer(self._fd)

    async def answered(self, deadline_s: float) -> bool:
        """True also for an end or an error: somebody said so."""
        self._loop.add_reader(self._fd, self._settle, True)
        try:
            return await self._in_time(deadline_s)
        finally:
            self._loop.remove_reader(self._fd)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.sock.close()

    def _in_time(self, deadline_s: float) -> asyncio.Future[bool]:
        self._ready = self._loop.create_future()
        self._until_s = self._loop.time() + deadline_s
        if self._timer is None:
            self._timer = self._loop.call_at(self._until_s, self._late, self._until_s)
        return self._ready

    def _late(self, at_s: float) -> None:
        if at_s < self._until_s:
            # It was set for what came in time.
            self._timer = self._loop.call_at(self._until_s, self._late, self._until_s)
        else:
            self._settle(False)

    def _settle(self, outcome: bool) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(outcome)


_Numeric = tuple[socket.AddressFamily, Any]
"""A family and what its sockets connect to, which is the system's own tuple."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Where:
    """Where a string leads, and no more of it: one is kept of every target."""

    until_s: float
    host: str = ""
    port: int = 0
    path: addresses.Address | None = None
    """Set for a Unix socket."""
    numeric: _Numeric | None = None
    """Set where the host is an address: nothing has to be looked up."""


_known: dict[str, _Where] = {}


def _where(dsn: str) -> _Where:
    """Resolving costs half of what a knock costs, and many targets are knocked at all the time."""
    known, now_s = _known.get(dsn), time.monotonic()
    if known is None or now_s >= known.until_s:
        if len(_known) >= KNOWN_MAX:
            _known.clear()
        known = _known[dsn] = _resolved(dsn, until_s=now_s + RESOLVED_FOR_S)
    return known


def _resolved(dsn: str, *, until_s: float) -> _Where:
    conninfo = resolve(dsn)
    if conninfo.is_socket:
        return _Where(until_s=until_s, path=addresses.socket_address(conninfo))
    numeric = _numeric(conninfo)
    if numeric is not None:
        return _Where(until_s=until_s, numeric=numeric)
    return _Where(until_s=until_s, host=conninfo.host, port=conninfo.port)


def _numeric(conninfo: Conninfo) -> _Numeric | None:
    numbers = {"type": socket.SOCK_STREAM, "flags": socket.AI_NUMERICHOST}
    try:
        found = socket.getaddrinfo(conninfo.hostaddr or conninfo.host, conninfo.port, **numbers)
    except (socket.gaierror, UnicodeError):
        return None
    family, *_, place = found[0]
    return family, place


def _refused(error: Exception) -> bool:
    """A refusal is an answer; silence and our own trouble are not."""
    if isinstance(error, TimeoutError) or not isinstance(error, OSError):
        return False
    try:
        return addresses.state_of(error) is ReachState.REFUSED
    except ProbeFailed:
        return False
