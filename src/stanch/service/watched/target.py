"""One watched target at run time: everything that looks at it, and one sample out of all of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from stanch.adapters.postgres.acting import ActingSession
from stanch.adapters.postgres.knock import greet, knock
from stanch.diagnose.background import UNWATCHED
from stanch.diagnose.cluster import ClusterSeen
from stanch.model.diagnosis import Missing
from stanch.model.host import Volume
from stanch.model.ids import TargetName
from stanch.model.plans import Mode
from stanch.model.reach import ReachState
from stanch.model.samples import Sample
from stanch.policy.hosts import NO_MACHINE
from stanch.policy.policy import SESSION_ACTIONS, TargetPolicy
from stanch.service.clock import Clock
from stanch.service.watched.backups import BackupPlaces, backup_watch
from stanch.service.watched.changing import Changing
from stanch.service.watched.eyes import SharedSentinel
from stanch.service.watched.following import LogsOf
from stanch.service.watched.hands import TargetHands
from stanch.service.watched.identity import identity_readings
from stanch.service.watched.life import Life
from stanch.service.watched.machines import far_machine, machine_watch, this_machine
from stanch.service.watched.moment import Moment
from stanch.service.watched.signs import Signs
from stanch.service.watched.slow_lane import SlowWatch
from stanch.store.recorder.recorder import Recorder
from stanch.store.statedir import StateDir
from stanch.watch.hosts.run import HostWatch
from stanch.watch.run import Eyes, TargetWatch

KEEP_EVERY_S = 1.0
FIRST_SAMPLE_S = 10.0

Emit = Callable[[Sample], Awaitable[None]]


def _alone() -> Missing:
    return Missing(what="cluster", reason=UNWATCHED)


class Watched:
    """Everything of one target; `run` watches it and keeps its sessions open."""

    def __init__(
        self,
        target: TargetPolicy,
        *,
        clock: Clock,
        state: StateDir,
        doubts: Callable[[], Awaitable[tuple[str, ...]]],
        recorder: Recorder | None = None,
        cluster: Callable[[], ClusterSeen | Missing] = _alone,
        gives_way: Callable[[], bool] = lambda: False,
    ) -> None:
        self.target = target
        self._gives_way = gives_way
        self._recorder = recorder
        self._clock = clock
        self._doubts = doubts
        self._sentinel = SharedSentinel(target.dsn, now=clock.now)
        self._life = life = Life(target, self._sentinel, state=state.path)
        self.signs = Signs(target, now=clock.now)
        self.slow = SlowWatch(target, self._sentinel, now=clock.now)
        wants_acting = any(target.mode(a) is not Mode.OBSERVE for a in SESSION_ACTIONS)
        self._actor = (
            ActingSession(target.acting_dsn, now=clock.now)
            if target.acting_dsn and wants_acting
            else None
        )
        self.far = far_machine(target, folder=life.folder, now=self._now)
        """The machine as the policy says it is seen from afar, with the server's log there."""
        self.machine: HostWatch | None = None
        """The watch of the server's machine, once it is known that there is a way to see it."""
        far_commands = self.far.commands if self.far is not None else None
        self._places = BackupPlaces(target, now=clock.now, far=far_commands)
        self.backups = backup_watch(target, self._places, server=self._sentinel, now=clock.now)
        self.changing = Changing(target, now=clock.now, slow=self.slow, host=lambda: self.machine)
        """What was seen to change, for whoever keeps it."""
        at, hear = self._sentinel, self.changing.hear
        self._logs = LogsOf(target, state.path, far=self.far, here=life.host, at=at, hear=hear)
        self._sampled = Moment()
        self.last_sample_at: datetime | None = None
        self.hands = TargetHands(
            target,
            life,
            sentinel=self._sentinel,
            slow=self.slow,
            actor=self._actor,
            recording=recorder.path if recorder is not None else None,
            clock=clock,
            cluster=cluster,
            machine=lambda: self.machine,
            far=self.far,
            signs=self.signs,
        ).hands()

    async def run(self, emit: Emit) -> None:
        """Watch until cancelled."""

        async def take(sample: Sample) -> None:
            self.last_sample_at = sample.at
            self.slow.note(sample)
            sample = self._with_readings(sample)
            if self._recorder is not None:
                # First of all: what comes next may find the store or the disk gone.
                self._recorder.take(sample)
            if sample.vitals is not None:
                await self._life.note_down(sample.at, sample.vitals)
                self._sampled.come()
            await emit(self._identified(sample))
            if sample.reach is not None and sample.reach.state is ReachState.SHUTTING_DOWN:
                # A smart shutdown waits for every session to end; the watch closes its own.
                self._close_actor()

        if self.target.wake == "never":
            await asyncio.Event().wait()
        await self._life.at_home()
        watch = TargetWatch(
            TargetName(self.target.name), self._eyes(), take, every_s=self.target.sample_every_s
        )
        async with asyncio.TaskGroup() as both:
            both.create_task(watch.run())
            if self._actor is not None:
                both.create_task(self._keep_acting_session(self._actor))

    def _with_readings(self, sample: Sample) -> Sample:
        """The sample with what else was told since the last one."""
        sources = (self.signs, self.machine, self._logs, self.backups, self.slow)
        told = [reading for source in sources if source is not None for reading in source.take()]
        return replace(sample, readings=(*sample.readings, *told)) if told else sample

    def _identified(self, sample: Sample) -> Sample:
        """The sample with who answers, and where it sits in its cluster."""
        told = identity_readings(self._life.identity) if sample.vitals is not None else ()
        seat = self.signs.seat(sample, self._life.identity.answering)
        return replace(sample, readings=(*sample.readings, *told), seat=seat)

    async def close(self) -> None:
        await self._sentinel.close()
        if self.far is not None:
            await self.far.reader.close()
        await self._places.close()
        self._close_actor()

    def _close_actor(self) -> None:
        if self._actor is not None:
            self._actor.close()

    # --- looking ---

    def _eyes(self) -> Eyes:
        return Eyes(
            session=self._sentinel,
            probe=self.signs.noting(self.slow.probe),
            knock=lambda deadline_s: knock(self.target.dsn, deadline_s),
            greet=lambda deadline_s: greet(self.target.dsn, deadline_s),
            volumes=self._volumes,
            has_volumes=lambda: self._life.may_be_here,
            doubts=self._doubts,
            now=self._clock.now,
            gives_way=self._gives_way,
        )

    async def _volumes(self) -> tuple[Volume, ...] | None:
        home = await self._life.at_home()
        if isinstance(home.located.host, Missing):
            return None
        return tuple(v for v in await home.located.host.volumes() if isinstance(v, Volume))

    async def watch_machine(self) -> None:
        """Look at the machine until cancelled: from afar as the policy says, else this one, once
        the server is seen to be at home here. Returns where there is nothing to see."""
        far = self.far
        if far is not None:
            reader = far.reader
            with contextlib.suppress(TimeoutError):
                # The server itself knows best where its data lies; a server that is down does not.
                async with asyncio.timeout(FIRST_SAMPLE_S):
                    await self._sampled.wait()
        elif self.target.host in NO_MACHINE:
            return
        else:
            await self._life.at_home()
            await self._life.here.wait()
            reader = this_machine(self._life.folder, now=self._now)
        self.machine = machine_watch(self.target, reader, folder=self._life.folder, now=self._now)
        await self.machine.run()

    async def watch_logs(self) -> None:
        """Follow its logs until cancelled, from afar as the policy says, else once it is at home
        here. Returns where there is nothing to read."""
        if self.far is None and self.target.host in NO_MACHINE:
            return
        if self.far is None:
            await self._life.at_home()
            await self._life.here.wait()
        await self._logs.run()

    def _now(self) -> datetime:
        return self._clock.now()

    async def _keep_acting_session(self, actor: ActingSession) -> None:
        """Open beforehand, because nobody new gets into a full server."""
        while True:
            if not actor.connected:
                await actor.connect()
            await asyncio.sleep(max(KEEP_EVERY_S, actor.retry_delay_s))
