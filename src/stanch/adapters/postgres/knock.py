"""One bare connection attempt: the cheapest way to hear whether anything is there."""

from __future__ import annotations

import asyncio

from stanch.adapters.postgres import addresses
from stanch.adapters.postgres.conninfo import resolve
from stanch.model.errors import ProbeFailed
from stanch.model.reach import ReachState


async def knock(dsn: str, deadline_s: float) -> bool:
    """True if the address accepted or refused; False if nothing came back.

    Cost: one TCP handshake, closed at once; a live server may log an incomplete startup packet, so
    this is asked only once an open session has already fallen silent.
    """
    conninfo = resolve(dsn)
    try:
        async with asyncio.timeout(deadline_s):
            if conninfo.is_socket:
                where = addresses.socket_address(conninfo)
            else:
                found = await addresses.look_up(conninfo.hostaddr or conninfo.host, conninfo.port)
                where = found[0]
            sock = await addresses.connect(where)
    except OSError as error:
        # TimeoutError is an OSError too: nothing came back.
        if isinstance(error, TimeoutError):
            return False
        try:
            return addresses.state_of(error) is ReachState.REFUSED
        except ProbeFailed:
            return False
    except addresses.LookupFailed:
        return False
    sock.close()
    return True
