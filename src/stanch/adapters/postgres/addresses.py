"""From a host name to a connected socket, without ever blocking the loop."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass

from stanch.adapters.postgres.conninfo import Conninfo
from stanch.model.errors import ProbeFailed
from stanch.model.reach import ReachState

_SOCKET_RETRY_S = 0.05

_REFUSED = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.ENOENT})
_OUR_OWN_TROUBLE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to connect: an IP address with port, or the path of a Unix socket."""

    family: socket.AddressFamily
    ip: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        return self.path.replace("\0", "@") if self.path else self.ip


def socket_address(conninfo: Conninfo) -> Address:
    """The Unix socket that this server's clients use."""
    path = f"{conninfo.host}/.s.PGSQL.{conninfo.port}"
    if path.startswith("@"):
        path = "\0" + path[1:]
    return Address(family=socket.AF_UNIX, ip="", port=conninfo.port, path=path)


class LookupFailed(Exception):
    """The name has no address, or no resolver said so; the text is the resolver's."""


_lookups: dict[tuple[int, str], asyncio.Future[tuple[str, ...]]] = {}


async def look_up(host: str, port: int) -> tuple[Address, ...]:
    """The addresses of a host in the order the system prefers. Raises: LookupFailed.

    Cost: one thread while the resolver works; a second question for the same name joins the first,
    so a resolver that hangs holds one thread a name and not one a try. The threads are daemons: a
    command never waits for them at its end.
    """
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return (_address(host, port),)
    key = (id(asyncio.get_running_loop()), host)
    if key not in _lookups:
        _lookups[key] = _start_lookup(key, host)
    found = await asyncio.shield(_lookups[key])
    return tuple(_address(ip, port) for ip in found)


def _start_lookup(key: tuple[int, str], host: str) -> asyncio.Future[tuple[str, ...]]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[str, ...]] = loop.create_future()

    def settle(found: tuple[str, ...] | LookupFailed) -> None:
        _lookups.pop(key, None)
        if isinstance(found, LookupFailed):
            future.set_exception(found)
            future.exception()  # marks it as seen: whoever asked may have stopped waiting
        else:
            future.set_result(found)

    def work() -> None:
        found = _ask_resolver(host)
        with suppress(RuntimeError):  # the loop ended first: nobody waits any more
            loop.call_soon_threadsafe(settle, found)

    threading.Thread(target=work, name="stanch-lookup", daemon=True).start()
    return future


def _ask_resolver(host: str) -> tuple[str, ...] | LookupFailed:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return LookupFailed(error.strerror or str(error))
    except UnicodeError:
        return LookupFailed("not a valid host name")
    ips = (str(sockaddr[0]) for *_, sockaddr in found)
    return tuple(dict.fromkeys(ips)) or LookupFailed("the name has no address")


def _address(ip: str, port: int) -> Address:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    return Address(family=family, ip=ip, port=port)


async def connect(address: Address) -> socket.socket:
    """A connected, non-blocking socket; closed on every other way out. Raises: OSError."""
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if address.path:
            await _connect_path(sock, address.path)
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            target = socket.getaddrinfo(
                address.ip, address.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )[0][4]
            await asyncio.get_running_loop().sock_connect(sock, target)
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect_path(sock: socket.socket, path: str) -> None:
    """EAGAIN means a full queue here, not "in progress": the server accepts nobody. Try again."""
    while True:
        try:
            sock.connect(path)
        except BlockingIOError:
            await asyncio.sleep(_SOCKET_RETRY_S)
        else:
            return


def state_of(error: OSError) -> ReachState:
    """What a failed connect says about the server. Raises: ProbeFailed when it is our own fault."""
    if error.errno in _OUR_OWN_TROUBLE:
        raise ProbeFailed(
            f"this machine cannot open a connection: {error.strerror}",
            hint="It says nothing about the server; raise the limit on open files (ulimit -n).",
        ) from error
    if error.errno in _REFUSED:
        return ReachState.REFUSED
    return ReachState.TIMEOUT if error.errno == errno.ETIMEDOUT else ReachState.UNREACHABLE


def describe(error: OSError, address: Address) -> str:
    """The system's words, and what they mean where they are known to mislead."""
    words = os.strerror(error.errno).lower() if error.errno else str(error)
    if error.errno == errno.ENOENT:
        return f"{address}: no socket file, so no server runs with it"
    if error.errno == errno.EACCES and address.path:
        return f"{address}: permission denied on the socket or its folder"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{address}: forbidden by a firewall, perhaps this machine's own"
    return f"{address}: {words}"
