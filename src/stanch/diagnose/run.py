"""Gather the evidence: everything at once, under one deadline, with at most one extra session.

What is not there in time is missing with its reason, and the other witnesses decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from stanch.diagnose.background import UNWATCHED, Background, cluster_known
from stanch.diagnose.condense import (
    control_from,
    kernel_from,
    processes_from,
    retention_before,
    retention_on_disk,
    sessions_from_titles,
    volumes_from,
)
from stanch.diagnose.condense_files import log_from
from stanch.diagnose.damaged_files import damaged_files
from stanch.diagnose.evidence import Evidence, Reading
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import History
from stanch.diagnose.inside import Changes, Retention, Sessions
from stanch.diagnose.lateness.run import OwnLateness
from stanch.diagnose.outside import (
    Control,
    Kernel,
    LockFileSeen,
    Log,
    ServerProcesses,
    Volumes,
)
from stanch.diagnose.reading.run import read_lock_file
from stanch.diagnose.session.run import Inside, ask, with_tables
from stanch.diagnose.sparing.run import unless_refused
from stanch.diagnose.witnesses import Witnesses
from stanch.facts.controldata import ControlData, parse_controldata
from stanch.model.diagnosis import Missing, not_there
from stanch.model.errors import ProbeFailed
from stanch.model.host import DataDirectoryProcesses, DirectorySizes, ProcessorUse
from stanch.model.machine import ServiceState
from stanch.model.patroni import PatroniSeen
from stanch.model.ports.host import HostReader
from stanch.model.ports.traces import StartFiles
from stanch.model.reach import ANSWERED_BY_NOBODY, Reach, ReachState

T = TypeVar("T")

DEADLINE_S = 2.0
LOG_BYTES_MAX = 256 * 1024
RESERVE_S = 0.1
"""Kept from the deadline, so that a reading that runs late can still be called off."""
LOG_WAITS_S = 0.5
"""For the fresh connection, so that the log is read after it."""
LATE_SHARE_MAX = 0.5
"""Of its time, for which a probe may have waited for us; beyond it silence is perhaps our own."""

ANSWERS_SQL = frozenset({ReachState.UP, ReachState.READ_ONLY})


async def gather(
    target: str,
    witnesses: Witnesses,
    *,
    deadline_s: float = DEADLINE_S,
    disk_full_free_bytes: int = 32 * 1024 * 1024,
) -> Evidence:
    """Ask all witnesses at once and keep what they said within the deadline.

    Cost: one fresh connection, one session where none is held, then one of a second for tables.
    Never raises for what a target or a machine does.
    """
    return await _Gathering(witnesses, deadline_s).evidence(target, disk_full_free_bytes)


class _Gathering:
    """One gathering: its tasks, its deadline, and where each reading came from."""

    def __init__(self, witnesses: Witnesses, deadline_s: float) -> None:
        self._w = witnesses
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._until = self._began + deadline_s
        self._deadline_s = deadline_s
        self._tasks: dict[str, asyncio.Task[Any]] = {}
        self._ended: dict[str, tuple[datetime, float]] = {}
        """When each reading was there, and after how many milliseconds."""
        self._own = OwnLateness()

    async def evidence(self, target: str, disk_full_free_bytes: int) -> Evidence:
        own = asyncio.create_task(self._own.run())
        self._start_all()
        await self._wait()
        own.cancel()
        inside = self._told()
        processes = self._done("processes", DataDirectoryProcesses)
        noted, before = self._w.lock_witness, self._w.vitals_before
        return Evidence(
            target=target,
            at=datetime.now(UTC),
            elapsed_ms=(self._loop.time() - self._began) * 1000,
            reach=self._reading("reach", Reach, "a fresh connection"),
            sessions=self._sessions(inside, processes),
            chains=self._inside("chains", inside, lambda i: i.chains, "pg_blocking_pids()"),
            retention=self._retention(inside),
            log=self._reading("log", Log, "server log"),
            control=self._control(),
            lock_file=self._reading("lock_file", LockFileSeen, "postmaster.pid"),
            processes=self._kept("processes", _condensed(processes), "process list"),
            volumes=self._reading("volumes", Volumes, "statfs"),
            kernel=self._reading("kernel", Kernel, "kernel log and counters"),
            place=self._kept("place", self._w.where(), "lock file, settings, process list"),
            activity=self._inside(
                "activity", inside, lambda i: i.activity, "pg_stat_activity, pg_locks"
            ),
            pace=self._inside("pace", inside, lambda i: i.pace, "two looks at counters"),
            figures=self._inside("figures", inside, lambda i: i.figures, "statistics"),
            history=self._reading("history", History, "flight recorder"),
            changes=self._reading("changes", Changes, "changes that were seen"),
            cluster=self._kept("cluster", cluster_known(self._w.background), "the watch"),
            patroni=self._reading("patroni", PatroniSeen, "GET /patroni, /cluster"),
            beside=self._reading("beside", Figures, "poolers and services"),
            service=self._reading("service", ServiceState, "whoever keeps it"),
            machine=self._reading("machine", ProcessorUse, "/proc"),
            files=self._reading("files", StartFiles, "files of the data directory"),
            symptoms=self._w.background.symptoms if self._w.background else (),
            onset=self._w.background.onset if self._w.background else None,
            noted_pid=None if isinstance(noted, Missing) else noted.pid,
            well_at=None if before is None else before.at,
            cluster_expected=self._w.cluster_expected,
            cluster_answering=self._w.cluster_answering,
            disk_full_free_bytes=disk_full_free_bytes,
        )

    # --- asking -------------------------------------------------------------------------------

    def _start_all(self) -> None:
        """Cheapest and most separating first; they run side by side all the same."""
        self._start("reach", self._reach())
        self._start("asked", self._ask_server(tables=self._w.open_home is None))
        self._start("sessions", self._ask_inside())
        known = self._w.background
        self._start("history", self._history(known) if known else _unwatched("history"))
        self._start("patroni", self._told_by("patroni", self._w.patroni))
        self._start("service", self._told_by("service", self._w.service))
        machine = self._told_by("machine", self._w.machine)
        self._start("machine", unless_refused("machine", machine, self._tasks["reach"]))
        self._start("beside", self._beside())
        self._start("changes", known.changes() if known else _unwatched("changes"))
        if isinstance(self._w.host, Missing):
            return
        host = self._w.host
        self._start("processes", host.data_directory_processes())
        self._start("lock_file", self._lock_file(host))
        self._start("controldata", self._control_data(host))
        self._start("log", self._log(host))
        self._start("sizes", host.directory_sizes(deadline_s=self._left_s() / 2))
        self._start("volumes", self._volumes(host))
        self._start("kernel", self._kernel(host))
        self._start("wal_on_disk", self._wal_on_disk())
        if not isinstance(self._w.traces, Missing):
            self._start("files", self._w.traces.start_files())

    def _start(self, name: str, asking: Coroutine[Any, Any, Any]) -> None:
        self._tasks[name] = asyncio.create_task(self._timed(name, asking), name=f"evidence {name}")

    async def _timed(self, name: str, asking: Coroutine[Any, Any, T]) -> T:
        value = await asking
        took_ms = (self._loop.time() - self._began) * 1000
        self._ended[name] = (datetime.now(UTC), round(took_ms, 1))
        return value

    async def _wait(self) -> None:
        tasks = set(self._tasks.values())
        _, late = await asyncio.wait(tasks, timeout=max(0.0, self._left_s()))
        for task in late:
            task.cancel()
        if late:
            # A reader that does not let go when told must not hold the answer up either.
            await asyncio.wait(late, timeout=RESERVE_S)

    def _left_s(self) -> float:
        return self._until - RESERVE_S - self._loop.time()

    async def _reach(self) -> Reach | Missing:
        # A little less than there is, so that "hung" and "timeout" are said and not guessed.
        within_s = max(RESERVE_S, self._left_s() - RESERVE_S)
        reach = await self._w.probe(within_s)
        late_s = self._own.late_s
        if reach.state in ANSWERED_BY_NOBODY and late_s > LATE_SHARE_MAX * within_s:
            why = f"{reach.state}, but our own process was late by {late_s:.1f} s meanwhile"
            return Missing(what="reach", reason=why)
        return reach

    async def _ask_inside(self) -> Inside | Missing:
        inside, home = await asyncio.shield(self._tasks["asked"]), self._w.open_home
        if home is None or isinstance(inside, Missing):
            return inside
        return await with_tables(inside, home, left_s=self._left_s, damaged=self._damaged)

    async def _damaged(self) -> tuple[tuple[int, int], ...]:
        """Files that the log calls damaged, where it can be read."""
        task = self._tasks.get("log")
        log: object = None if task is None else await asyncio.shield(task)
        return damaged_files(log) if isinstance(log, Log) else ()

    async def _ask_server(self, *, tables: bool) -> Inside | Missing:
        if self._w.held is not None:
            return await ask(self._w.held, left_s=self._left_s, tables=tables)
        if self._w.open_reader is None:
            return Missing(what="sessions", reason="no session is held")
        # The probe's connection has ended by then, so there is never more than one extra.
        reach = await asyncio.shield(self._tasks["reach"])
        if isinstance(reach, Missing):
            return Missing(what="sessions", reason=f"no session: {reach.reason}")
        if reach.state is ReachState.TOO_MANY_CLIENTS:
            return Missing(what="sessions", reason="no slot: every connection is taken")
        if reach.state not in ANSWERS_SQL:
            return Missing(what="sessions", reason=f"no session: {reach.state}")
        async with self._w.open_reader() as reader:
            return await ask(reader, left_s=self._left_s, tables=tables)

    async def _history(self, known: Background) -> History | Missing:
        """Only of a server that answers: what ended one is not told by what it usually does."""
        inside = await asyncio.shield(self._tasks["asked"])
        if isinstance(inside, Missing):
            return Missing(what="history", reason=f"not read: {inside.reason}")
        return await known.history()

    async def _beside(self) -> Figures | Missing:
        told = await self._told_by("beside", self._w.beside)
        return told if isinstance(told, Missing) else Figures(items=told)

    async def _told_by(
        self, what: str, ask: Callable[[float], Awaitable[T | Missing]] | None
    ) -> T | Missing:
        """The word of a witness whom not every server has."""
        if ask is None:
            return not_there(what)
        return await ask(max(RESERVE_S, self._left_s() - RESERVE_S))

    async def _log(self, host: HostReader) -> Log | Missing:
        # Why a login is refused stands there before the refusal is sent; a server that sends
        # nothing is not waited for.
        await asyncio.wait({self._tasks["reach"]}, timeout=LOG_WAITS_S)
        chunk = await host.log_tail(bytes_max=LOG_BYTES_MAX)
        if isinstance(chunk, Missing):
            return chunk
        place = self._w.where()
        zone = "" if isinstance(place, Missing) else place.log_timezone
        return log_from(chunk, log_timezone=zone)

    async def _control_data(self, host: HostReader) -> ControlData | Missing:
        text = await host.controldata(deadline_s=max(RESERVE_S, self._left_s()))
        return text if isinstance(text, Missing) else parse_controldata(text)

    async def _volumes(self, host: HostReader) -> Volumes | Missing:
        seen = await host.volumes()
        return volumes_from(seen, await self._sizes())

    async def _sizes(self) -> DirectorySizes | Missing:
        """Sizes where they come in time; the volumes do not wait for them beyond that."""
        task = cast("asyncio.Task[DirectorySizes | Missing]", self._tasks["sizes"])
        await asyncio.wait({task}, timeout=max(0.0, self._left_s() - RESERVE_S))
        return task.result() if task.done() else _late("sizes", self._deadline_s)

    async def _kernel(self, host: HostReader) -> Kernel | Missing:
        traces = self._w.traces
        kills = traces if isinstance(traces, Missing) else await traces.kernel_kills()
        counted, memory = await host.oom_kills(), await host.memory()
        same = not isinstance(traces, Missing) and await traces.kernel_pids_are_ours()
        hung = () if isinstance(traces, Missing) else await traces.kernel_stalls()
        before = self._w.oom_before
        return kernel_from(kills, counted, memory, before=before, same_pids=same, stalls=hung)

    async def _wal_on_disk(self) -> Retention | Missing:
        traces = self._w.traces
        if isinstance(traces, Missing):
            return traces
        control = await asyncio.shield(self._tasks["controldata"])
        segment = control.wal_segment_bytes if isinstance(control, ControlData) else None
        wal = await traces.wal_on_disk(segment_bytes=segment or 16 * 1024 * 1024)
        if isinstance(wal, Missing):
            return wal
        sizes = await self._sizes()
        ready = None if isinstance(sizes, Missing) else sizes.archive_ready
        return retention_on_disk(wal, ready, self._w.vitals_before)

    async def _lock_file(self, host: HostReader) -> LockFileSeen | Missing:
        return await read_lock_file(
            host,
            folder=self._w.folder,
            witness=self._w.lock_witness,
            traces=self._w.traces,
            left_s=self._left_s,
        )

    # --- keeping ------------------------------------------------------------------------------

    def _done(self, name: str, kind: type[T]) -> T | Missing:
        task = self._tasks.get(name)
        if task is None:
            host = self._w.host
            reason = host.reason if isinstance(host, Missing) else "not asked"
            return Missing(what=name, reason=reason)
        if not task.done() or task.cancelled():
            return _late(name, self._deadline_s)
        error = task.exception()
        if isinstance(error, ProbeFailed):
            return Missing(what=name, reason=error.what)
        if error is not None:
            raise error
        value = task.result()
        if isinstance(value, Missing):
            return Missing(what=name, reason=value.reason)
        assert isinstance(value, kind), f"{name} gave {type(value).__name__}"
        return value

    def _reading(self, name: str, kind: type[T], source: str) -> Reading[T] | Missing:
        return self._kept(name, self._done(name, kind), source)

    def _kept(self, name: str, value: T | Missing, source: str) -> Reading[T] | Missing:
        if isinstance(value, Missing):
            return value
        at, took_ms = self._ended.get(name, (datetime.now(UTC), 0.0))
        return Reading(value=value, at=at, source=source, took_ms=took_ms)

    def _sessions(
        self, inside: Inside | Missing, processes: DataDirectoryProcesses | Missing
    ) -> Reading[Sessions] | Missing:
        told = inside.sessions if isinstance(inside, Inside) else inside
        if not isinstance(told, Missing):
            return self._kept("sessions", told, "pg_stat_activity")
        # Titles do not say how many would fit; only a server that turned a login away for want of
        # slots has said so itself. Without that, one busy session is no load.
        reach = self._done("reach", Reach)
        full = isinstance(reach, Reach) and reach.state is ReachState.TOO_MANY_CLIENTS
        titles = (
            sessions_from_titles(processes) if full and not isinstance(processes, Missing) else None
        )
        return told if titles is None else self._kept("processes", titles, "titles of processes")

    def _told(self) -> Inside | Missing:
        """What the session said; where it did not come to an end, what it said first."""
        whole = self._tasks["sessions"]
        if "asked" in self._ended:
            # Ages are of then, and not of the second look.
            self._ended["sessions"] = self._ended["asked"]
            if whole.cancelled() or not whole.done():
                return self._done("asked", Inside)
        return self._done("sessions", Inside)

    def _inside(
        self, what: str, by: Inside | Missing, part: Callable[[Inside], T | Missing], source: str
    ) -> Reading[T] | Missing:
        told = part(by) if isinstance(by, Inside) else by
        if isinstance(told, Missing):
            return Missing(what=what, reason=told.reason)
        return self._kept("sessions", told, source)

    def _retention(self, inside: Inside | Missing) -> Reading[Retention] | Missing:
        on_disk = self._done("wal_on_disk", Retention)
        if isinstance(inside, Inside):
            ready = None if isinstance(on_disk, Missing) else on_disk.ready_files
            source = "pg_replication_slots, pg_stat_archiver, archive_status"
            return self._kept("sessions", replace(inside.retention, ready_files=ready), source)
        before = self._w.vitals_before
        if isinstance(on_disk, Missing) and before is not None:
            kept, source = retention_before(before), "the last reading before"
            return Reading(value=kept, at=before.at, source=source, took_ms=0.0)
        if isinstance(on_disk, Missing):
            return Missing(what="retention", reason=on_disk.reason)
        return self._kept("wal_on_disk", on_disk, "pg_replslot, archive_status")

    def _control(self) -> Reading[Control] | Missing:
        data = self._done("controldata", ControlData)
        found = data if isinstance(data, Missing) else control_from(data)
        if isinstance(found, Missing):
            return Missing(what="control", reason=found.reason)
        return self._kept("controldata", found, "pg_controldata")


async def _unwatched(what: str) -> Missing:
    return Missing(what=what, reason=UNWATCHED)


def _late(name: str, deadline_s: float) -> Missing:
    return Missing(what=name, reason=f"not there within {deadline_s:g} s")


def _condensed(seen: DataDirectoryProcesses | Missing) -> ServerProcesses | Missing:
    return seen if isinstance(seen, Missing) else processes_from(seen)
