"""Whether a target's server runs on this machine, and what can be done with its files there."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass

from stanch.adapters.channels.threads import in_own_thread
from stanch.adapters.hosts.discover import describe_local_server, discover_local_server
from stanch.adapters.hosts.files import LocalFiles
from stanch.adapters.hosts.here import is_this_machine
from stanch.adapters.hosts.local import LocalHost
from stanch.adapters.hosts.restarts import read_restarts
from stanch.adapters.postgres.conninfo import Conninfo, resolve
from stanch.facts.lock_file import parse_lock_file
from stanch.incident.page_after import NOT_LOOKED
from stanch.model.diagnosis import Missing
from stanch.model.host import Found, LocalServer, LockFileRead
from stanch.model.ports.acting import KeptFile, ManagerStatus
from stanch.model.restarts import Restarts
from stanch.policy.hosts import NO_MACHINE
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.managers import manager_of
from stanch.service.watched.noting import last_recovery_s

LOOKUP_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReadings:
    """What this machine has to do with the server."""

    shared: bool | None
    """The server runs on this machine; None: could not be told."""
    source: str
    """From what that was concluded."""
    files: str = ""
    """The data directory, when its files can be read from here."""
    files_why: str = ""
    """Why they cannot."""
    files_writable: bool = False
    in_container: bool | None = False
    manager: ManagerStatus | Missing | None = None
    """None: not looked for, because the server is not on this machine."""
    manager_words: str = ""
    """Who the manager is and the command a person would type."""
    ballast: tuple[tuple[str, KeptFile | Missing], ...] = ()
    restarts: Restarts | Missing = NOT_LOOKED
    """What its manager does once it is dead."""
    recovery_s: float | None = None
    """The longest crash recovery in the log, or noted before."""


async def host_readings(target: TargetPolicy, *, address: str, data_directory: str) -> HostReadings:
    """What this machine has to do with the server.

    `address`: where a session was accepted, empty where none was; `data_directory`: as the server
    itself says, empty where it was not asked or does not tell.
    Cost: a name look-up where no session was accepted; a few files, and the manager's status.
    """
    if not isinstance(target.host, str):
        return HostReadings(shared=False, source="its machine is only watched, from afar")
    shared, source = await _shared(target, address)
    if target.host in NO_MACHINE or not shared:
        why = f"the policy says host: {target.host}" if target.host in NO_MACHINE else ""
        return HostReadings(shared=shared, source=source, files_why=why)
    folder = target.data_directory or data_directory
    server = await in_own_thread(lambda: discovered(target, folder), name="stanch-find")
    found = server.data_directory
    if not folder and isinstance(found, Found):
        folder = found.value
    return await _with_files(target, source, folder, server)


def discovered(target: TargetPolicy, data_directory: str) -> LocalServer:
    """The server of the target's port; once stopped in order it is only known by its folder."""
    known = resolve(target.dsn)
    folder = known.host if known.is_socket else None
    server = discover_local_server(known.port, socket_directory=folder)
    found = server.data_directory
    if not data_directory:
        return server
    if isinstance(found, Missing) or not _same_folder(found.value, data_directory):
        # Where another server has the port, its programs and its manager are not this one's.
        return describe_local_server(data_directory)
    return server


def _same_folder(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


async def _shared(target: TargetPolicy, address: str) -> tuple[bool | None, str]:
    known = resolve(target.dsn)
    if target.host == "local":
        return True, "host is local"
    if known.is_socket:
        return True, "reached over a Unix socket"
    found = address or await _address(known)
    if not found:
        return None, f"{known.host} has no address now"
    here = is_this_machine(found)
    if here is None:
        return None, f"{found} is no address that can be compared"
    return here, f"{found} is {'this machine' if here else 'another machine'}"


async def _address(known: Conninfo) -> str:
    """Where the name leads, for a server that takes no sessions now."""
    if known.hostaddr:
        return known.hostaddr
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOKUP_S):
            found = await loop.getaddrinfo(known.host, known.port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError, UnicodeError):
        return ""
    return str(found[0][4][0])


async def _with_files(
    target: TargetPolicy, source: str, folder: str, server: LocalServer
) -> HostReadings:
    if not folder:
        why = "its data directory was not found, and the role may not see the setting"
        return HostReadings(shared=True, source=source, files_why=why)
    log = target.log or (server.log_path.value if isinstance(server.log_path, Found) else "")
    host = LocalHost(
        data_directory=folder, bin_dir=target.bin_directory or None, log_path=log or None
    )
    refusal = await _unreadable(target, host)
    if refusal:
        return HostReadings(shared=True, source=source, files_why=refusal)
    signs = await host.container_signs()
    manager = manager_of(target, server, data_directory=folder)
    files = LocalFiles()
    return HostReadings(
        shared=True,
        source=source,
        files=folder,
        files_writable=os.access(folder, os.W_OK | os.X_OK),
        in_container=signs.in_container,
        manager=manager if isinstance(manager, Missing) else await manager.status(),
        manager_words="" if isinstance(manager, Missing) else manager.describe(),
        ballast=tuple([(p, await files.kept_file(p)) for p in target.free_space.ballast]),
        restarts=await in_own_thread(lambda: read_restarts(server), name="stanch-find"),
        recovery_s=await last_recovery_s(host),
    )


async def _unreadable(target: TargetPolicy, host: LocalHost) -> str:
    """Why these are not the files of the server that was reached; empty where they are.

    A loopback address may be a tunnel or a published container port, so the lock file's port has
    to be the server's own.
    """
    folder = host.data_directory
    if why := await in_own_thread(lambda: _no_data_directory(folder), name="stanch-find"):
        return why
    lock = await host.lock_file()
    if isinstance(lock, Missing):
        return lock.reason
    if isinstance(lock, LockFileRead):
        port = parse_lock_file(lock.content).port
        asked = resolve(target.dsn).port
        if port is not None and port != asked and target.host != "local":
            return f"{folder} belongs to a server on port {port}, not {asked}"
    return ""


def _no_data_directory(folder: str) -> str:
    if not os.access(folder, os.R_OK | os.X_OK):
        exists = os.path.isdir(folder)
        return f"{folder} {'may not be read by this OS user' if exists else 'is not here'}"
    return "" if os.path.exists(f"{folder}/PG_VERSION") else f"{folder} is no data directory"
