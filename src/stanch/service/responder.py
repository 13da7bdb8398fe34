"""`stanch run`: everything put together, started, reloaded and ended in the right order."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from time import monotonic
from typing import Any

import structlog
from starlette.applications import Starlette

from stanch import __version__
from stanch.adapters.channels.build import build_channels
from stanch.model import events as e
from stanch.model.errors import PolicyInvalid, StanchError
from stanch.model.ids import RESPONDER, TargetName
from stanch.policy.policy import Policy, TargetPolicy
from stanch.respond.library import load_runbooks
from stanch.respond.runbook import Runbook
from stanch.service.clock import JUMP_S, MachineBootClock, SteadyClock
from stanch.service.core import OPEN_MAX, Core
from stanch.service.doing.acting import Hands
from stanch.service.errands import every, read_inbox, send_heartbeats, tell_spool
from stanch.service.house import House, Store, open_house, read_policy_file, state_path
from stanch.service.metrics import Metrics, TargetFigures
from stanch.service.people.api import commands_app, health_app
from stanch.service.people.listening import private_socket, serve, tcp_listener
from stanch.service.record.baselines import Baselines
from stanch.service.record.changed import Changed
from stanch.service.record.policies import Policies
from stanch.service.record.recordings import Recordings
from stanch.service.record.remembering import Remembering
from stanch.service.signals.inbound import Inbound
from stanch.service.supervisor import keep_running
from stanch.service.watched.backups import prepare
from stanch.service.watched.doubting import Doubts, LoopLag, knock_at
from stanch.service.watched.target import Watched
from stanch.store.recorder.recorder import Recorders, recording_path
from stanch.store.spool import Spool, SpoolThread
from stanch.store.statedir import StateDir
from stanch.watch.right_of_way import RightOfWay

DRAIN_S = 10.0
STEP_S = 30.0
"""So long a reload waits for a step on a target that it changes or drops."""
READY_AGE_S = 5.0
STANDING_EVERY_S = 1.0
SIGNALS_EVERY_S = 2.0

log = structlog.get_logger("responder")


class Responder:
    """One core process. `run` ends when `stop` is called; nothing else ends it."""

    def __init__(
        self, config: Path, house: House, spool: Spool, runbooks: Sequence[Runbook]
    ) -> None:
        self._config = config
        self._house = house
        self._spool = spool
        self._state = StateDir(path=state_path(house.policies))
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Lock()
        self.metrics = Metrics()
        self.metrics.each_target.figures = self._figures
        self._clock_jump_s = 0.0
        self._lag = LoopLag(self.metrics.loop_lag_seconds.observe)
        self._targets: dict[TargetName, Watched] = {}
        self._watches: dict[TargetName, asyncio.Task[None]] = {}
        self._baselines = Baselines(house.store, house.clock)
        self._core = Core(
            house,
            boot=MachineBootClock(),
            ports=build_channels(house.policy),
            spool=SpoolThread(spool),
            hands=self._hands,
            runbooks=runbooks,
            on_failure=self._count_failure,
            on_store_failure=self.metrics.store_failures_total.inc,
            usual=self._baselines.of,
            late_s=lambda: self._lag.late_s,
        )
        self._recorders = Recorders(self._state.path)
        self._recordings = Recordings(
            house.book,
            house.store,
            house.clock,
            path_of=lambda name: recording_path(self._state.path, name),
        )
        self._changed = Changed(
            house.store,
            house.clock,
            lambda: {name: watched.changing.drain for name, watched in self._targets.items()},
            book=house.book,
        )
        self._right_of_way = RightOfWay(monotonic, watched=lambda: len(self._targets))
        house.book.beside_opening = self._opening
        self._remembering = Remembering(house.book, house.store)
        self._inbound = Inbound(
            house, self._core, changed=self._changed.take, count=self.metrics.signals.count
        )

    # --- life ---

    async def run(self) -> None:
        """Watch, page and act until told to stop."""
        health = tcp_listener(self._house.policy.listen)
        apart = self._house.policy.signals.listen
        signals = tcp_listener(apart) if apart else None
        commands = private_socket(self._state.socket)
        await self._resume()
        await prepare(self._house.policy.targets)
        tasks = [
            asyncio.create_task(keep_running(name, start, self._count_failure), name=name)
            for name, start in (
                ("engine", self._core.engine.run),
                ("loop lag", self._lag.run),
                ("commands", lambda: serve(self._commands_app(), commands)),
                ("health", lambda: serve(self._health_app(with_signals=signals is None), health)),
                ("inbox", lambda: read_inbox(self._state.inbox, self._house.operations)),
                ("spool", lambda: tell_spool(self._spool, self._core.emergency)),
                ("let go", lambda: every(STANDING_EVERY_S, self._core.watching.let_go)),
                ("metrics", lambda: every(STANDING_EVERY_S, self._refresh_metrics)),
                ("heartbeat", self._heartbeats),
                ("recordings", self._recordings.run),
                ("changes", self._changed.run),
                ("remembering", self._remembering.run),
                ("baselines", lambda: self._baselines.run(self._core.watching.learned)),
                *self._inbound.tasks,
                ("signal metrics", lambda: every(SIGNALS_EVERY_S, self._refresh_signals)),
                *(
                    [("signals", lambda: serve(Starlette(routes=self._inbound.routes), signals))]
                    if signals is not None
                    else []
                ),
            )
        ]
        for target in self._house.policy.targets:
            self._start_watch(target)
        log.info("watching", targets=len(self._house.policy.targets), pid=os.getpid())
        try:
            await self._stopping.wait()
        finally:
            await self._wind_up(tasks)

    def stop(self) -> None:
        """SIGTERM: finish what is under way, write down that it was on purpose, end."""
        self._stopping.set()

    async def _wind_up(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        self._core.engine.stop()
        # A step under way needs the sessions of its target to its end.
        await asyncio.wait(tasks[:1], timeout=DRAIN_S)
        for name in list(self._watches):
            await self._stop_watch(name)
        await asyncio.to_thread(self._recorders.close)
        await self._baselines.stop(self._core.watching.learned())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._house.book.record(RESPONDER, e.ResponderStopped(reason="told to stop"))
        self._state.socket.unlink(missing_ok=True)

    async def _resume(self) -> None:
        await self._baselines.load(TargetName(t.name) for t in self._house.policy.targets)
        await self._core.resume(
            e.ResponderStarted(
                version=__version__,
                host=socket.gethostname(),
                pid=os.getpid(),
                policy_hash=self._house.policies.current_hash,
            )
        )

    # --- reload ---

    async def reload(self) -> str:
        """SIGHUP: read the policy again. An invalid file changes nothing, and says so."""
        async with self._reloading:
            before = self._house.policies.current_hash
            try:
                fresh = await asyncio.to_thread(read_policy_file, self._config)
                runbooks = load_runbooks(fresh.current.runbook_directory)
                _refuse_moving(self._house.policy, fresh.current, on=str(self._config))
                await self._apply(fresh, runbooks)
            except StanchError as error:
                stays = self._house.policies.current_hash == before
                said = "not reloaded, the old one stays" if stays else "in force, not written down"
                log.error(f"policy {said}", error=str(error))
                return str(error)
        return ""

    async def _apply(self, fresh: Policies, runbooks: Sequence[Runbook]) -> None:
        house = self._house
        await house.store.put_policy(fresh.current_hash, fresh.current_text)
        house.policies.apply(fresh.current_hash, fresh.current, fresh.current_text)
        self._core.runbooks = runbooks
        self._core.use_channels(build_channels(fresh.current))
        await self._change_watches(fresh.current.targets)
        # Last, because it may fail half-way: what is watched must be what the policy in force says.
        applied = e.PolicyApplied(policy_hash=fresh.current_hash, by="reload")
        await house.book.record(RESPONDER, applied)
        for incident in await house.operations.incidents(open_only=True, limit=OPEN_MAX):
            if incident.policy_hash != fresh.current_hash:
                await house.book.record(incident.id, applied)
        log.info("policy reloaded", hash=fresh.current_hash[:12])

    async def _change_watches(self, after: Sequence[TargetPolicy]) -> None:
        await self._baselines.load(TargetName(t.name) for t in after)
        before = {name: watched.target for name, watched in self._targets.items()}
        wanted = {t.name: t for t in after}
        fresh = {name: t for name, t in wanted.items() if before.get(name) != t}
        gone = [name for name, t in before.items() if wanted.get(name) != t]
        # Side by side: a long step on one target must not keep another one from being watched.
        changed = dict.fromkeys([*gone, *fresh])
        await asyncio.gather(*(self._exchange(TargetName(n), fresh.get(n)) for n in changed))

    async def _exchange(self, name: TargetName, fresh: TargetPolicy | None) -> None:
        """Watch a target as the new policy says, or no longer; a step under way ends first."""
        if self._core.under_way.on(name):
            log.info("a step is under way: the new policy waits for its end", target=name)
        if not await self._core.under_way.ended(name, within_s=STEP_S):
            log.warning("a step outlasts the wait: its sessions close", target=name, after_s=STEP_S)
        await self._stop_watch(name)
        if fresh is not None:
            self._start_watch(fresh)

    # --- targets ---

    def _opening(self, target: TargetName, at: datetime) -> Sequence[e.Event]:
        self._right_of_way.take(target)
        return self._changed.noted(target, at)

    def _start_watch(self, target: TargetPolicy) -> None:
        name = TargetName(target.name)
        watched = Watched(
            target,
            clock=self._house.clock,
            state=self._state,
            doubts=Doubts(self._lag, self._control).standing,
            recorder=self._recorders.of(name),
            cluster=lambda: self._core.watching.topology.neighbours.seen(name),
            gives_way=lambda: self._right_of_way.goes_before(name),
        )
        self._targets[name] = watched

        async def watch() -> None:
            await watched.run(self._core.watching.take)

        async def look() -> None:
            # Each is kept running for itself: a bug in one must not end the other.
            async with asyncio.TaskGroup() as all_of_it:
                for what, work in (
                    ("watch", watch),
                    ("machine", watched.watch_machine),
                    ("logs", watched.watch_logs),
                    ("backups", watched.backups.run),
                    ("slow lane", watched.slow.run),
                    ("canary", watched.slow.write),
                    ("signs", watched.signs.run),
                    ("rollouts", watched.changing.run),
                ):
                    running = keep_running(f"{what} {name}", work, self._count_failure)
                    all_of_it.create_task(running, name=f"{what} {name}")

        self._watches[name] = asyncio.create_task(look(), name=f"looks {name}")

    async def _stop_watch(self, name: TargetName) -> None:
        # Nothing is begun with it from here on.
        task, watched = self._watches.pop(name, None), self._targets.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if watched is not None:
            await watched.close()

    async def _control(self, deadline_s: float) -> bool:
        endpoint = self._house.policy.control_endpoint
        return not endpoint or await knock_at(endpoint, deadline_s)

    def _hands(self, target: TargetName) -> Hands | None:
        watched = self._targets.get(target)
        return watched.hands if watched is not None else None

    # --- about ourselves ---

    def _count_failure(self, task: str) -> None:
        self.metrics.task_failures_total.labels(task.split(" ")[0]).inc()

    def _commands_app(self) -> Starlette:
        return commands_app(
            self._house,
            seen=lambda: {name: watched.changing.seen for name, watched in self._targets.items()},
            poolers=self._core.watching.topology.poolers_seen,
            hands=self._hands,
        )

    def _health_app(self, *, with_signals: bool) -> Any:
        more = self._inbound.routes if with_signals else ()
        return health_app(self.healthy, self.ready, self.metrics.exposition, more)

    async def _refresh_signals(self) -> None:
        told = self.metrics.signals
        told.waiting.set(self._inbound.intake.waiting)
        if not self._house.policy.signals.any:
            return
        standing = await self._inbound.standing()
        for which in ("firing", "unmatched", "owed"):
            told.standing.labels(which).set(getattr(standing, which))
        for reading in self._inbound.heartbeats.readings():
            told.heartbeat_age_seconds.labels(reading.subject).set(reading.value or 0.0)

    def healthy(self) -> dict[str, Any]:
        """The core does its work: the loop turns."""
        worst_s = self._lag.worst_s()
        return {
            "ok": worst_s < 1.0,
            "version": __version__,
            "loop_lag_ms": round(worst_s * 1000, 1),
            "halted": self._house.standing.halted,
            "blind": self._house.standing.blind_because,
        }

    def ready(self) -> dict[str, Any]:
        """Every target is being looked at, whatever is seen there."""
        ages = self._sample_ages()
        asleep = {t.name for t in self._house.policy.targets if t.wake == "never"}
        late = sorted(
            name
            for name, age in ages.items()
            if name not in asleep and (age is None or age > READY_AGE_S)
        )
        return {"ok": not late, "targets": len(ages), "not_looked_at": late}

    def _sample_ages(self) -> dict[TargetName, float | None]:
        now = self._house.clock.now()
        ages: dict[TargetName, float | None] = {}
        for name, watched in self._targets.items():
            at = watched.last_sample_at
            ages[name] = (now - at).total_seconds() if at else None
        return ages

    def _figures(self) -> Iterator[TargetFigures]:
        now, ages = self._house.clock.now(), self._sample_ages()
        for name, watched in self._targets.items():
            cost = watched.slow.cost(now)
            yield TargetFigures(target=name, sample_age_s=ages[name], cost=cost)

    async def _refresh_metrics(self) -> None:
        now = self._house.clock.now()
        self.metrics.set_lanes(self._core.engine.working)
        self.metrics.store_waiting.set(getattr(self._house.store, "waiting", 0))
        still_open = await self._house.store.incident_ids(open_only=True, limit=100_000)
        self.metrics.incidents_open.set(len(still_open))
        self.metrics.halted.set(self._house.standing.halted)
        windows = self._house.standing.windows(self._house.clock.now())
        silences = sum(isinstance(w, e.SilenceSet) for w in windows)
        in_policy = sum(s.window(now) is not None for s in self._house.policy.silences)
        self.metrics.set_windows(maintenance=len(windows) - silences, silence=silences + in_policy)
        self.metrics.recorder_lost.set(self._recorders.lost)
        if isinstance(self._house.clock, SteadyClock):
            self._tell_clock_jump(self._house.clock.jump_s())

    def _tell_clock_jump(self, jump_s: float) -> None:
        self.metrics.clock_jump_seconds.set(jump_s)
        known_s, self._clock_jump_s = self._clock_jump_s, jump_s
        if abs(jump_s - known_s) > JUMP_S:
            log.warning("the wall clock was set; deadlines go on by the boot clock", ahead_s=jump_s)

    async def _heartbeats(self) -> None:
        await send_heartbeats(
            lambda: self._house.policy.heartbeat,
            self.healthy,
            self._house.store.heads,
            lambda outcome: self.metrics.heartbeats_total.labels(outcome).inc(),
        )


def _refuse_moving(before: Policy, after: Policy, *, on: str) -> None:
    """What a running responder stands on cannot be changed under it. Raises PolicyInvalid."""
    for name in ("state_directory", "listen", "signals.listen"):
        if attrgetter(name)(before) != attrgetter(name)(after):
            raise PolicyInvalid(
                f"{name} cannot change while `stanch run` is up",
                on=on,
                hint="Stop it, change it, start it again; commands follow the file.",
            )


async def open_responder(config: Path, policies: Policies, store: Store, spool: Spool) -> Responder:
    """A responder over an open store. Raises PolicyInvalid, StoreError."""
    house = await open_house(policies, store)
    return Responder(config, house, spool, load_runbooks(policies.current.runbook_directory))
