"""Reads what a runbook asks for, all of it at once, and tells it in lines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from stanch.facts.blocking import blocking_roots
from stanch.model.diagnosis import Missing
from stanch.model.ports.host import HostReader
from stanch.model.vitals import Vitals
from stanch.respond.gathering import told
from stanch.respond.reading.run import read_control, read_lock, read_vitals, read_waiting
from stanch.steps.world import World

LOG_BYTES_MAX = 16 * 1024
LINES_CHARS_MAX = 900
"""Of one thing that is gathered; a timeline keeps some of each and not all of the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """One thing that was read."""

    name: str
    lines: tuple[str, ...]
    took_ms: float
    missing: str = ""
    """Why it could not be read; empty: it was."""


Lines = Iterable[str] | Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Gatherable:
    """One thing that can be read by name."""

    what: str
    read: Callable[[World, asyncio.Task[Vitals | Missing]], Awaitable[Lines]]


async def gather(names: Sequence[str], world: World, *, deadline_s: float) -> tuple[Gathered, ...]:
    """Everything of these names, in their order; what is late is missing, and nothing raises.

    Cost: at most one question about vitals and one about locks, in the session that is open
    anyway; the rest is read from the machine.
    """
    vitals = asyncio.ensure_future(read_vitals(world))
    try:
        return tuple(
            await asyncio.gather(*(_one(name, world, vitals, deadline_s) for name in names))
        )
    finally:
        vitals.cancel()
        await asyncio.gather(vitals, return_exceptions=True)


def as_text(found: Iterable[Gathered]) -> str:
    """The same for a timeline."""
    parts = (
        f"{one.name} ({one.took_ms:.0f} ms): {one.missing or '; '.join(one.lines)}" for one in found
    )
    return "\n".join(part[:LINES_CHARS_MAX] for part in parts)


async def _one(
    name: str, world: World, vitals: asyncio.Task[Vitals | Missing], deadline_s: float
) -> Gathered:
    began_s = time.monotonic()
    try:
        async with asyncio.timeout(deadline_s):
            found = await GATHERABLE[name].read(world, vitals)
    except TimeoutError:
        found = Missing(what=name, reason=f"no answer within {deadline_s:g} s")
    took_ms = (time.monotonic() - began_s) * 1000
    if isinstance(found, Missing):
        why = f"not read: {found.reason}"
        return Gathered(name=name, lines=(), took_ms=took_ms, missing=why)
    return Gathered(name=name, lines=tuple(found), took_ms=took_ms)


# --- of the server ------------------------------------------------------------------------------


def _of_vitals(tell: Callable[[Vitals], told.Told]) -> Gatherable:
    async def read(_world: World, vitals: asyncio.Task[Vitals | Missing]) -> Lines:
        found = await asyncio.shield(vitals)
        return found if isinstance(found, Missing) else tell(found)

    return Gatherable(what=(tell.__doc__ or "").strip(), read=read)


async def _blocking(world: World, _vitals: asyncio.Task[Vitals | Missing]) -> Lines:
    rows = await read_waiting(world)
    return rows if isinstance(rows, Missing) else told.blocking(blocking_roots(rows))


# --- of its machine -----------------------------------------------------------------------------


def _of_machine(what: str, read: Callable[[World, HostReader], Awaitable[Lines]]) -> Gatherable:
    async def ask(world: World, _vitals: asyncio.Task[Vitals | Missing]) -> Lines:
        if world.host is None:
            return Missing(what=what, reason="this machine is not the server's")
        return await read(world, world.host)

    return Gatherable(what=what, read=ask)


async def _volumes(_world: World, host: HostReader) -> Lines:
    return told.volumes(await host.volumes())


async def _memory(_world: World, host: HostReader) -> Lines:
    found = await host.memory()
    return found if isinstance(found, Missing) else told.memory(found)


async def _control(_world: World, host: HostReader) -> Lines:
    found = await read_control(host)
    return found if isinstance(found, Missing) else told.control(found)


async def _lock_file(world: World, host: HostReader) -> Lines:
    found = await read_lock(world, host)
    return found if isinstance(found, Missing) else told.lock_file(found)


async def _processes(_world: World, host: HostReader) -> Lines:
    found = await host.data_directory_processes()
    return found if isinstance(found, Missing) else told.processes(found)


async def _log(_world: World, host: HostReader) -> Lines:
    found = await host.log_tail(bytes_max=LOG_BYTES_MAX)
    return found if isinstance(found, Missing) else told.log(found)


def _slots(vitals: Vitals) -> told.Told:
    """Replication slots, and how much WAL each holds."""
    return told.slots(vitals.slots)


def _archiver(vitals: Vitals) -> told.Told:
    """What was archived last, and what failed."""
    return told.archiver(vitals.archiver)


def _replication(vitals: Vitals) -> told.Told:
    """How far standbys are, and what a standby receives."""
    return told.replication(vitals.senders, vitals.standby)


GATHERABLE: Mapping[str, Gatherable] = MappingProxyType(
    {
        "sessions": _of_vitals(told.sessions),
        "blocking": Gatherable(what="Who is waited for, by how many, how long.", read=_blocking),
        "slots": _of_vitals(_slots),
        "archiver": _of_vitals(_archiver),
        "replication": _of_vitals(_replication),
        "volumes": _of_machine("Room for data, WAL, log and tablespaces.", _volumes),
        "memory": _of_machine("Memory of the machine and of its control group.", _memory),
        "control": _of_machine("How the server last ended, from its control file.", _control),
        "lock_file": _of_machine("postmaster.pid, and whether it is proven stale.", _lock_file),
        "processes": _of_machine("Who is at work in the data directory.", _processes),
        "log": _of_machine("The last lines of the server's log, without statements.", _log),
    }
)
"""By name, as runbooks write it."""
