"""Whether a server still answers, asked without saying who asks."""

from __future__ import annotations

import asyncio

from stanch.adapters.postgres.conninfo import resolve
from stanch.adapters.postgres.layers import Ended, Trace
from stanch.adapters.postgres.startup import ClosedEarly
from stanch.adapters.postgres.way import find, transport
from stanch.model.reach import Reach, ReachState


async def gone(dsn: str, *, deadline_s: float) -> Reach | None:
    """How a connection ends that never names a user; None where the server answers it.

    For servers whose login is not to be tried again yet: one that dies is seen all the same, and
    nothing is sent that a server, or whoever reads its log, could take for a login.
    Cost: one server process for less than a millisecond; in the log a line where log_connections
    is on, else none.
    Raises: SetupError for a string that libpq cannot use, ProbeFailed when this machine is out of
    files or memory.
    """
    trace = Trace()
    try:
        async with asyncio.timeout(deadline_s):
            found = await find(resolve(dsn), trace)
            async with await transport(found, trace) as wire:
                with trace.layer("startup"):
                    await wire.greets()
    except TimeoutError:
        return trace.silent(deadline_s, at="startup")
    except ClosedEarly:
        trace.fail("startup", "the connection was closed before PostgreSQL answered")
        return trace.reach(ReachState.REFUSED)
    except Ended as ended:
        return trace.ended(ended)
    return None
