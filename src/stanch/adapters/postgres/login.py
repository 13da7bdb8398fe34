"""Logging in through libpq without blocking the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

import psycopg
from psycopg.pq import ConnStatus, PollingStatus

from stanch.adapters.postgres import addresses, refusals
from stanch.adapters.postgres.conninfo import resolve
from stanch.adapters.postgres.libpq import PGconn


class SessionFailed(Exception):
    """libpq could not open a session; the text is its own."""


async def with_address(dsn: str, overrides: Mapping[str, str]) -> Mapping[str, str]:
    """libpq looks names up by blocking; so it is handed an address. Raises: SessionFailed."""
    conninfo = resolve(dsn)
    if conninfo.is_socket or conninfo.hostaddr or "hostaddr" in overrides:
        return overrides
    try:
        found = await addresses.look_up(conninfo.host, conninfo.port)
    except addresses.LookupFailed as failed:
        raise SessionFailed(str(failed)) from failed
    return {**overrides, "hostaddr": found[0].ip}


async def finish_connecting(conn: PGconn) -> None:
    """Take libpq through its steps until the session is open. Raises: SessionFailed."""
    step: int = PollingStatus.WRITING
    while step != PollingStatus.OK:
        if step == PollingStatus.FAILED or conn.status == ConnStatus.BAD:
            words = conn.error_message.decode("utf-8", "replace").strip()
            raise SessionFailed(refusals.shown(words))
        await _ready(conn.socket, writing=step == PollingStatus.WRITING)
        step = conn.connect_poll()


async def cancel_question(conn: PGconn) -> None:
    """Send the server a request to cancel what this connection asked; it may come too late.

    Needs libpq 17 or newer, as the driver brings it; an older one leaves the server alone.
    """
    try:
        request = conn.cancel_conn()
        request.start()
        step: int = PollingStatus.WRITING
        while step not in (PollingStatus.OK, PollingStatus.FAILED):
            await _ready(request.socket, writing=step == PollingStatus.WRITING)
            step = request.poll()
        request.finish()
    except (psycopg.OperationalError, psycopg.NotSupportedError):
        return


async def _ready(fd: int, *, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        with suppress(asyncio.InvalidStateError):
            ready.set_result(None)

    if writing:
        loop.add_writer(fd, settle)
    else:
        loop.add_reader(fd, settle)
    try:
        await ready
    finally:
        if writing:
            loop.remove_writer(fd)
        else:
            loop.remove_reader(fd)
