"""A diagnosis of one target: which witnesses there are, gathering, and the answer."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from stanch.adapters.hosts.discover import describe_local_server, discover_local_server
from stanch.adapters.hosts.far_host import FarHost
from stanch.adapters.hosts.here import is_this_machine
from stanch.adapters.hosts.local import LocalHost
from stanch.adapters.hosts.log_files import LogFile
from stanch.adapters.hosts.no_machine import NoMachine
from stanch.adapters.hosts.processor_use import ProcessorWatch
from stanch.adapters.hosts.traces import LocalTraces
from stanch.adapters.postgres.binaries import find_binaries
from stanch.adapters.postgres.conninfo import Conninfo, resolve
from stanch.adapters.postgres.kept import MAINTENANCE_DATABASE
from stanch.adapters.postgres.probe import probe
from stanch.adapters.postgres.sentinel import Sentinel
from stanch.adapters.postgres.visit import visiting
from stanch.adapters.services.patroni import ask_patroni
from stanch.diagnose.background import Background
from stanch.diagnose.evidence import Evidence, to_bytes
from stanch.diagnose.managed import ANY_PROVIDER, provider_of_name, without_machine
from stanch.diagnose.outside import Place
from stanch.diagnose.rank import diagnose
from stanch.diagnose.run import DEADLINE_S, gather
from stanch.diagnose.witnesses import OpenReader, Witnesses
from stanch.facts.lock_file import LockFileWitness
from stanch.model.diagnosis import Diagnosis, Missing, not_there
from stanch.model.errors import ProbeFailed, SetupError
from stanch.model.host import Found, LocalServer, OomKills, ProcessorUse
from stanch.model.ids import TargetName
from stanch.model.machine import ServiceState
from stanch.model.patroni import PatroniSeen
from stanch.model.ports.host import HostReader
from stanch.model.ports.server import ServerReader
from stanch.model.ports.traces import TraceReader
from stanch.model.reach import Reach
from stanch.model.readings import Reading
from stanch.model.symptoms import SymptomKind
from stanch.model.vitals import Vitals
from stanch.policy.hosts import HostPolicy, HostWord
from stanch.policy.patroni import PatroniSource
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.afar import Afar, Glance
from stanch.service.watched.followed import with_followed

HostChoice = HostPolicy

RESOLVE_S = 0.5
NO_NOTE = Missing(
    what="lock witness", reason="nobody noted the server's start while it was known to live"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Where a target's server lives, on this machine or on another, and who can read it there."""

    place: Place | Missing
    host: HostReader | Missing
    traces: TraceReader | Missing
    found: Callable[[], Place | Missing] | None = None
    """Where it lives, for a host that first has to find it."""


def _nowhere(reason: str) -> Located:
    gone = Missing(what="host", reason=reason)
    return Located(place=Missing(what="place", reason=reason), host=gone, traces=gone)


def _exported(log: str) -> Located:
    """A provider's server of whose log somebody fetched a copy to this machine."""
    gone = not_there("host")
    host = FarHost(
        NoMachine(),
        None,
        log=LogFile(log),
        log_at=lambda _path: gone,
        given_log=log,
        data_directory="",
        port=0,
        own=False,
        still=None,
        deadline_s=DEADLINE_S,
    )
    return Located(place=not_there("place"), host=host, traces=gone)


def located_afar(afar: Afar) -> Located:
    """A server on a machine that is seen from afar."""
    late = Missing(what="place", reason="it was not found in time")
    return Located(place=late, host=afar.host, traces=afar.traces, found=afar.place)


async def gather_for_dsn(
    dsn: str,
    *,
    data_directory: str = "",
    log: str = "",
    host: HostChoice = "auto",
    deadline_s: float = DEADLINE_S,
    background: Background | None = None,
    patroni: PatroniSource | None = None,
) -> Evidence:
    """The evidence about a server that needs no policy and no earlier reading.

    `background` is what somebody recorded of it all the same, `patroni` where its REST API is.
    `host` is as in a policy; of another machine, `data_directory` and `log` are its own paths. Of a
    managed server `log` is a copy that was fetched to this machine.
    Cost: one fresh connection and two sessions, one after the other.
    Raises: SetupError for a string that libpq cannot use.
    """
    glance: Glance | None = None
    if isinstance(host, str):
        located = await locate(dsn, data_directory=data_directory, log=log, host=host)
    else:
        name = TargetName(resolve(dsn).label)
        target = TargetPolicy(name=name, dsn=dsn, host=host, data_directory=data_directory, log=log)
        glance = Glance(target, deadline_s=deadline_s)
        located = located_afar(glance.afar)
    witnesses = Witnesses(
        probe=_prober(dsn),
        open_reader=lambda: _opened(dsn, deadline_s),
        open_home=_home(dsn, deadline_s),
        host=located.host,
        traces=located.traces,
        place=located.place,
        found=located.found,
        machine=_processors(located.host),
        lock_witness=NO_NOTE,
        background=background,
        patroni=_patroni(patroni),
        service=None if glance is None else glance.afar.host.service,
    )
    try:
        evidence = await gather(resolve(dsn).label, witnesses, deadline_s=deadline_s)
    finally:
        if glance is not None:
            await glance.close()
    evidence = await with_followed(evidence, dsn)
    return without_machine(replace(evidence, managed=managed_by(dsn, host)))


async def gather_for_target(
    target: TargetPolicy,
    located: Located,
    *,
    held: ServerReader | None,
    probe: Callable[[float], Awaitable[Reach]] | None = None,
    lock_witness: LockFileWitness | Missing = NO_NOTE,
    oom_before: OomKills | None = None,
    vitals_before: Vitals | None = None,
    cluster_expected: str = "",
    cluster_answering: str = "",
    background: Background | None = None,
    service: Callable[[float], Awaitable[ServiceState | Missing]] | None = None,
    beside: Callable[[float], Awaitable[tuple[Reading, ...] | Missing]] | None = None,
    deadline_s: float = DEADLINE_S,
) -> Evidence:
    """The evidence about a watched target, through the session that is held already.

    `oom_before` is the count when the server was last known to be well, `vitals_before` its last
    reading; the clusters are system identifiers. `probe` may know when not to try. Without a held
    session one is opened for the length of the diagnosis.
    """
    witnesses = Witnesses(
        probe=probe or _prober(target.dsn),
        held=held,
        open_reader=lambda: _opened(target.dsn, deadline_s),
        open_home=_home(target.dsn, deadline_s),
        host=located.host,
        traces=located.traces,
        place=located.place,
        found=located.found,
        machine=_processors(located.host),
        lock_witness=lock_witness,
        oom_before=oom_before,
        vitals_before=vitals_before,
        cluster_expected=cluster_expected,
        cluster_answering=cluster_answering,
        background=background,
        patroni=_patroni(target.patroni),
        service=service,
        beside=beside,
    )
    full = int(target.limit(SymptomKind.DISK_FULL))
    evidence = await gather(
        target.name, witnesses, deadline_s=deadline_s, disk_full_free_bytes=full
    )
    old_s = target.limit(SymptomKind.BACKUP_OLD)
    known = replace(evidence, managed=managed_by(target.dsn, target.host), backup_old_s=old_s)
    return without_machine(known)


def managed_by(dsn: str, host: HostPolicy) -> str:
    """Which provider keeps the server, as far as its name or somebody says so; empty: nobody does.

    Where a machine is named, or is this one, there is one, whatever the server is called.
    """
    if not isinstance(host, str) or host == "local":
        return ""
    named = provider_of_name(resolve(dsn).host)
    return named or (ANY_PROVIDER if host == "managed" else "")


def judged(evidence: Evidence) -> tuple[Diagnosis, bytes]:
    """The diagnosis and the evidence behind it, as bytes to keep."""
    return diagnose(evidence), to_bytes(evidence)


async def locate(
    dsn: str,
    *,
    data_directory: str = "",
    log: str = "",
    host: HostWord = "auto",
) -> Located:
    """Find the server of a connection string on this machine, running or not.

    Raises: SetupError for a string that libpq cannot use.
    """
    if host == "none":
        return _nowhere("told not to look at any host")
    conninfo = resolve(dsn)
    if host == "managed" or (
        host == "auto" and not data_directory and provider_of_name(conninfo.host)
    ):
        # There is nobody to be asked, and nothing that somebody left out.
        return _exported(log) if log else _nowhere("")
    if host == "auto" and not data_directory and not await _is_here(conninfo):
        return _nowhere("the server is not on this machine")
    found = await asyncio.to_thread(_found, conninfo, data_directory)
    if isinstance(found.data_directory, Missing):
        return _nowhere(f"{found.data_directory.reason}; --data-directory names it")
    if not await asyncio.to_thread(Path(found.data_directory.value).is_dir):
        return _nowhere(f"there is no folder {found.data_directory.value}")
    return await asyncio.to_thread(_located, found, log)


def _found(conninfo: Conninfo, data_directory: str) -> LocalServer:
    if data_directory:
        return describe_local_server(data_directory)
    folder = conninfo.host if conninfo.is_socket else None
    return discover_local_server(conninfo.port, socket_directory=folder)


def _located(found: LocalServer, log: str) -> Located:
    """Witnesses of one data directory; what is said by hand wins over what was found."""
    assert isinstance(found.data_directory, Found)
    directory = found.data_directory.value
    programs = _value(found.bin_dir) or _programs_for(directory)
    log_path = log or _value(found.log_path)
    place = Place(
        data_directory=directory,
        log=log_path,
        log_timezone=_machine_timezone(),
        bin_directory=programs,
        manager=found.manager.value,
        concluded_from=f"{found.data_directory.source}; manager: {found.manager_source}",
    )
    host = LocalHost(data_directory=directory, bin_dir=programs or None, log_path=log_path or None)
    return Located(place=place, host=host, traces=LocalTraces(directory))


def _machine_timezone() -> str:
    """The zone initdb took for the log, where the machine's was not changed since."""
    return os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2]


def _value(item: Found | Missing) -> str:
    return "" if isinstance(item, Missing) else item.value


def _programs_for(data_directory: str) -> str:
    """Programs by the version that the data directory was made with."""
    try:
        version = (Path(data_directory) / "PG_VERSION").read_text(encoding="ascii").strip()
        return str(find_binaries(int(version)).bin_dir)
    except (OSError, ValueError, SetupError):
        return ""


async def _is_here(conninfo: Conninfo) -> bool:
    """Whether the string leads to this machine; a name is looked up, within half a second."""
    if conninfo.is_socket:
        return True
    address = conninfo.hostaddr or conninfo.host
    here = is_this_machine(address)
    return await _name_is_here(address, conninfo.port) if here is None else here


async def _name_is_here(name: str, port: int) -> bool:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_S):
            found = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (TimeoutError, OSError, UnicodeError):
        return False
    return any(is_this_machine(str(entry[4][0])) for entry in found)


def _prober(dsn: str) -> Callable[[float], Awaitable[Reach]]:
    async def ask(deadline_s: float) -> Reach:
        return await probe(dsn, deadline_s=deadline_s)

    return ask


@asynccontextmanager
async def _session(dsn: str, deadline_s: float) -> AsyncGenerator[ServerReader]:
    sentinel = Sentinel(dsn)
    try:
        reach = await sentinel.connect(deadline_s=deadline_s)
        if not sentinel.connected:
            raise ProbeFailed(f"no session: {reach.state}", on="server")
        yield sentinel
    finally:
        sentinel.close()


def _patroni(
    source: PatroniSource | None,
) -> Callable[[float], Awaitable[PatroniSeen | Missing]] | None:
    if source is None:
        return None
    return lambda deadline_s: ask_patroni(source, deadline_s=deadline_s)


def _processors(
    host: HostReader | Missing,
) -> Callable[[float], Awaitable[ProcessorUse | Missing]] | None:
    """Who uses them can be measured on this machine alone."""
    return ProcessorWatch(host.data_directory).used if isinstance(host, LocalHost) else None


def _home(dsn: str, deadline_s: float) -> OpenReader | None:
    """The way into the application's own database; None where the other session is in it."""
    if resolve(dsn).dbname == MAINTENANCE_DATABASE:
        return None
    return lambda: visiting(dsn, deadline_s=deadline_s)


def _opened(dsn: str, deadline_s: float) -> AbstractAsyncContextManager[ServerReader]:
    return _session(dsn, deadline_s)
