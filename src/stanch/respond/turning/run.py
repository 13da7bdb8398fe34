"""Reading which server runs, right before it is told to stop."""

from __future__ import annotations

import asyncio

from stanch.facts.lock_file import LockFile, parse_lock_file
from stanch.facts.stopping import STOPPING_SQL, RunningServer, parse_running_server
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.model.ports.acting import ServerManager
from stanch.model.ports.host import HostReader
from stanch.model.shown import human_bytes, span
from stanch.policy.quoting import printable
from stanch.respond.guarding import no
from stanch.respond.reading.run import ask, read_control
from stanch.respond.turning.guards import ServerReadings
from stanch.steps.world import World

SHOWN = 5
MARGIN_S = 1.0
"""So much earlier than the step a request ends, so that its answer is heard."""


def at_home(step: PlannedStep, world: World) -> Refusal | tuple[HostReader, ServerManager]:
    """What reads the machine and who is asked; a refusal where either is missing."""
    if world.host is None:
        return no("host", "this machine is not the server's", lifts="Run Stanch on that machine.")
    if world.manager is None:
        lifts = "`manager` in stanch.yaml, or a person who does it."
        return no("manager_known", "nobody is known who starts and stops this server", lifts=lifts)
    if step.param("data_directory") != world.data_directory:
        return no("same_server", f"the data directory is now {world.data_directory}")
    return world.host, world.manager


async def read_running(world: World) -> RunningServer | Missing:
    """The server over the session that is open anyway."""
    asked = (STOPPING_SQL, None)
    return await ask(world, asked, parse_running_server, what="the running server")


async def read_server(world: World, host: HostReader, manager: ServerManager) -> ServerReadings:
    """Every witness of which server runs, all of them at once."""
    status, processes, lock, control, server = await asyncio.gather(
        manager.status(),
        host.data_directory_processes(),
        _lock(host),
        read_control(host),
        read_running(world),
    )
    return ServerReadings(
        manager=status,
        processes=processes,
        lock=lock,
        control=control,
        server=server,
        cluster=world.cluster,
    )


async def _lock(host: HostReader) -> LockFile | Missing | None:
    read = await host.lock_file()
    return read if read is None or isinstance(read, Missing) else parse_lock_file(read.content)


def told(seen: ServerReadings) -> str:
    """What is kept of it before it ends."""
    server, manager = seen.server, seen.manager
    if isinstance(server, Missing):
        return ""
    role = "a standby" if server.in_recovery else "a primary"
    parts = [
        f"{role}, up since {server.postmaster_start}",
        f"{server.clients} client sessions, {server.transactions} in a transaction",
        f"prepared transactions: {_names(server.prepared_gids, server.prepared)}",
        f"streams to: {_names(server.standbys, len(server.standbys))}",
        f"waits for a restart: {_names(server.waits_for_restart, len(server.waits_for_restart))}",
    ]
    if server.checkpoint_age_s is not None and server.replay_bytes is not None:
        wal = human_bytes(server.replay_bytes)
        parts.append(f"last checkpoint {span(server.checkpoint_age_s)} ago, {wal} of WAL since")
    if not isinstance(manager, Missing) and manager.detail:
        parts.append(manager.detail)
    return printable("; ".join(parts))


def _names(names: tuple[str, ...], count: int) -> str:
    if not count:
        return "none"
    more = f" and {count - SHOWN} more" if count > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
