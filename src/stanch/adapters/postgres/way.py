"""The way to a server before anybody says who they are: its name, and the connection."""

from __future__ import annotations

import asyncio

from stanch.adapters.postgres import addresses, refusals
from stanch.adapters.postgres.conninfo import Conninfo
from stanch.adapters.postgres.layers import Ended, Trace
from stanch.adapters.postgres.startup import Wire
from stanch.model.reach import ReachState

ADDRESS_S = 1.0


async def find(conninfo: Conninfo, trace: Trace) -> tuple[addresses.Address, ...]:
    """Where to connect. Raises: Ended."""
    if conninfo.is_socket:
        return (addresses.socket_address(conninfo),)
    with trace.layer("dns") as detail:
        host = conninfo.hostaddr or conninfo.host
        try:
            found = await addresses.look_up(host, conninfo.port)
        except addresses.LookupFailed as failed:
            raise Ended(ReachState.DNS_FAILURE, refusals.shown(str(failed))) from failed
        detail.append(", ".join(str(address) for address in found))
    return found


async def transport(found: tuple[addresses.Address, ...], trace: Trace) -> Wire:
    """The first address that accepts; all but the last are given a second each."""
    failures: list[tuple[ReachState, str]] = []
    last = len(found) - 1
    with trace.layer("socket" if found[0].path else "tcp") as detail:
        for n, address in enumerate(found):
            try:
                async with asyncio.timeout(None if n == last else ADDRESS_S):
                    sock = await addresses.connect(address)
            except TimeoutError:
                failures.append((ReachState.TIMEOUT, f"{address}: no answer"))
            except OSError as error:
                failures.append((addresses.state_of(error), addresses.describe(error, address)))
            else:
                detail.append(refusals.shown(str(address)))
                trace.address = address.ip
                return Wire(sock)
        raise Ended(_weightiest(failures), refusals.shown("; ".join(text for _, text in failures)))
    raise AssertionError("a layer never swallows its end")


def _weightiest(failures: list[tuple[ReachState, str]]) -> ReachState:
    """With several addresses: a refusal proves that a machine is there, silence proves nothing."""
    states = [state for state, _ in failures]
    order = (ReachState.REFUSED, ReachState.TIMEOUT, ReachState.UNREACHABLE)
    return next(state for state in order if state in states)
