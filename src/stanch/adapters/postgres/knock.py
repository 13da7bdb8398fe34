"""The cheapest questions to an address: is anything there, and does it still let anybody in?"""

from __future__ import annotations

import asyncio
import socket
import time
from functools import lru_cache

from stanch.adapters.postgres import addresses
from stanch.adapters.postgres.conninfo import Conninfo, resolve
from stanch.model.errors import ProbeFailed
from stanch.model.reach import ReachState

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"

RESOLVED_FOR_S = 30.0
"""Service files are not read again for every knock; every fresh session reads them anew."""


async def knock(dsn: str, deadline_s: float) -> bool:
    """True if the address accepted or refused; False if nothing came back.

    Cost: one TCP handshake, closed at once; the server logs nothing about it.
    """
    try:
        async with asyncio.timeout(deadline_s):
            sock = await _connected(dsn)
    except (OSError, addresses.LookupFailed) as error:
        return _refused(error)
    sock.close()
    return True


async def greet(dsn: str, deadline_s: float) -> bool:
    """False if a connection is accepted and its first question never answered.

    A stopped postmaster leaves open sessions alive and lets nobody new in, which no open session
    can notice. Whatever else goes wrong is somebody else's to find out, so it counts as True.
    Cost: one server process for less than a millisecond; the server logs nothing about it.
    """
    try:
        async with asyncio.timeout(deadline_s):
            sock = await _connected(dsn)
    except (OSError, addresses.LookupFailed):
        return True
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(deadline_s):
            await loop.sock_sendall(sock, SSL_REQUEST)
            await loop.sock_recv(sock, 1)
    except TimeoutError:
        return False
    except OSError:
        return True
    finally:
        sock.close()
    return True


async def _connected(dsn: str) -> socket.socket:
    conninfo = _where(dsn, int(time.monotonic() // RESOLVED_FOR_S))
    if conninfo.is_socket:
        return await addresses.connect(addresses.socket_address(conninfo))
    found = await addresses.look_up(conninfo.hostaddr or conninfo.host, conninfo.port)
    return await addresses.connect(found[0])


@lru_cache(maxsize=4096)
def _where(dsn: str, period: int) -> Conninfo:
    """Resolving costs half of what a knock costs, and many targets are knocked at all the time."""
    return resolve(dsn)


def _refused(error: Exception) -> bool:
    """A refusal is an answer; silence and our own trouble are not."""
    if isinstance(error, TimeoutError) or not isinstance(error, OSError):
        return False
    try:
        return addresses.state_of(error) is ReachState.REFUSED
    except ProbeFailed:
        return False
