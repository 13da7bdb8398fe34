"""The cheapest questions to an address: is anything there, and does it still let anybody in?"""

from __future__ import annotations

import asyncio
import contextlib
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
        sock = await _connected(dsn, deadline_s)
    except (OSError, addresses.LookupFailed) as error:
        return _refused(error)
    sock.close()
    return True


async def greet(dsn: str, deadline_s: float) -> bool:
    """False if a connection is accepted and its first question never answered.

    A stopped postmaster leaves open sessions alive and lets nobody new in, which no open session
    can notice. Whatever else goes wrong is somebody else's to find out, so it counts as True.
    Cost: one server process for less than a millisecond; in the log a line where log_connections
    is on.
    """
    try:
        sock = await _connected(dsn, deadline_s)
    except (OSError, addresses.LookupFailed):
        return True
    with sock:
        try:
            sock.send(GSS_REQUEST)
        except OSError:
            return True
        if not await _readable(sock.fileno(), deadline_s):
            return False
        with contextlib.suppress(OSError):
            # An answer left unread would reset the connection, and the server would log that.
            sock.recv(1)
        return True


async def _connected(dsn: str, deadline_s: float) -> socket.socket:
    """Raises: OSError, which TimeoutError is, and LookupFailed."""
    where = _where(dsn)
    if where.numeric is not None:
        return await _connected_to(where.numeric, deadline_s)
    async with asyncio.timeout(deadline_s):
        if where.path is not None:
            return await addresses.connect(where.path)
        found = await addresses.look_up(where.host, where.port)
        return await addresses.connect(found[0])


async def _connected_to(numeric: _Numeric, deadline_s: float) -> socket.socket:
    """As `addresses.connect`, for a place that is known, in a third of the time."""
    family, place = numeric
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        failed = sock.connect_ex(place)
        if failed == errno.EINPROGRESS:
            if not await _writable(sock.fileno(), deadline_s):
                raise TimeoutError
            failed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, os.strerror(failed))
    except BaseException:
        sock.close()
        raise
    return sock


async def _writable(fd: int, deadline_s: float) -> bool:
    """By its number: for a socket itself the loop would compose a description, with system calls.

    False once the deadline has passed.
    """
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[bool] = loop.create_future()
    loop.add_writer(fd, _settle, ready, True)
    try:
        return await _in_time(ready, deadline_s)
    finally:
        loop.remove_writer(fd)


async def _readable(fd: int, deadline_s: float) -> bool:
    """True also for an end or an error: somebody said so."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[bool] = loop.create_future()
    loop.add_reader(fd, _settle, ready, True)
    try:
        return await _in_time(ready, deadline_s)
    finally:
        loop.remove_reader(fd)


async def _in_time(ready: asyncio.Future[bool], deadline_s: float) -> bool:
    timer = asyncio.get_running_loop().call_later(deadline_s, _settle, ready, False)
    try:
        return await ready
    finally:
        timer.cancel()


def _settle(ready: asyncio.Future[bool], outcome: bool) -> None:
    if not ready.done():
        ready.set_result(outcome)


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
