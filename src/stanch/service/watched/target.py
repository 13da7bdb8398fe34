"""One watched target at run time: its sessions, its machine, and what was noted while it lived."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from stanch.adapters.hosts.files import LocalFiles
from stanch.adapters.postgres.acting import ActingSession
from stanch.adapters.postgres.applogin import PsycopgAppLogin
from stanch.adapters.postgres.knock import greet, knock
from stanch.facts.cluster import CLUSTER_IDENTITY_SQL, parse_cluster_identity
from stanch.incident.page_after import NOT_LOOKED, page_after
from stanch.incident.state import Incident
from stanch.model.diagnosis import Diagnosis, Missing
from stanch.model.errors import ProbeFailed
from stanch.model.events import RescueChecked
from stanch.model.host import OomKills, Volume
from stanch.model.ids import TargetName
from stanch.model.plans import Mode
from stanch.model.ports.acting import LockNote
from stanch.model.ports.host import HostReader
from stanch.model.reach import ReachState
from stanch.model.restarts import PageAfter
from stanch.model.samples import Sample
from stanch.model.vitals import Vitals
from stanch.policy.policy import TargetPolicy
from stanch.respond.run import check_rescue
from stanch.service.clock import Clock
from stanch.service.doing.acting import Hands
from stanch.service.watched.backups import BackupPlaces, backup_watch
from stanch.service.watched.changing import Changing
from stanch.service.watched.diagnosing import gather_for_target, judged
from stanch.service.watched.eyes import Prober, SharedSentinel
from stanch.service.watched.following import LogsOf
from stanch.service.watched.home import Home, find_home
from stanch.service.watched.identity import Identity, identity_readings
from stanch.service.watched.machines import far_machine, machine_watch, this_machine
from stanch.service.watched.noting import (
    NEVER_SEEN,
    Kept,
    address_of,
    as_kept,
    cluster_at,
    last_recovery_s,
    longer_of,
    note_path,
    noted,
    owner_of,
    read_note,
    role_at,
    with_cluster,
    with_role,
    write_note,
)
from stanch.service.watched.signs import Signs
from stanch.service.watched.slow_lane import SlowWatch
from stanch.steps.world import World
from stanch.store.recorder.recorder import Recorder
from stanch.store.statedir import StateDir
from stanch.watch.hosts.run import HostWatch
from stanch.watch.run import Eyes, TargetWatch

SESSION_ACTIONS = ("end_idle_sessions", "end_blocking_session")
KEEP_EVERY_S = 1.0
FIRST_SAMPLE_S = 10.0
IDENTITY_S = 1.0
NOT_LOCATED = Missing(what="host", reason="nobody has looked yet")

Emit = Callable[[Sample], Awaitable[None]]


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
    ) -> None:
        self.target = target
        self._recorder = recorder
        self._clock = clock
        self._doubts = doubts
        self._note_path = note_path(state.path, target)
        kept = read_note(self._note_path)
        self._kept = kept if kept is not None and kept.address == address_of(target) else None
        self._note = self._kept.witness if self._kept is not None else NEVER_SEEN
        self._sentinel = SharedSentinel(target.dsn, now=clock.now)
        self.signs = Signs(target, now=clock.now)
        self.slow = SlowWatch(target, self._sentinel, now=clock.now)
        wants_acting = any(target.mode(a) is not Mode.OBSERVE for a in SESSION_ACTIONS)
        self._actor = (
            ActingSession(target.acting_dsn, now=clock.now)
            if target.acting_dsn and wants_acting
            else None
        )
        self._home: Home | None = None
        self.far = far_machine(target, folder=self._folder, now=self._now)
        """The machine as the policy says it is seen from afar, with the server's log there."""
        self.machine: HostWatch | None = None
        """The watch of the server's machine, once it is known that there is a way to see it."""
        far_commands = self.far.commands if self.far is not None else None
        self._places = BackupPlaces(target, now=clock.now, far=far_commands)
        self.backups = backup_watch(target, self._places, server=self._sentinel, now=clock.now)
        self.changing = Changing(target, now=clock.now, slow=self.slow, host=lambda: self.machine)
        """What was seen to change, for whoever keeps it."""
        at, hear = self._sentinel, self.changing.hear
        self._logs = LogsOf(target, state.path, far=self.far, here=self._host, at=at, hear=hear)
        self._finding_home = asyncio.Lock()
        self._sampled = asyncio.Event()
        self._here = asyncio.Event()
        """The server was seen to be at home on this machine."""
        self._life: datetime | None = None
        self._oom_before: OomKills | None = None
        self._vitals_before: Vitals | None = None
        self._roles = self._kept.roles if self._kept is not None else ()
        self._clusters = self._kept.clusters if self._kept is not None else ()
        noted = self._clusters[-1][1] if self._clusters else ""
        self._identity = Identity(expected=target.system_identifier or noted)
        self._recovery_s = self._kept.recovery_s if self._kept is not None else None
        self._owner_uid = self._kept.owner_uid if self._kept is not None else None
        self.last_sample_at: datetime | None = None
        self.hands = Hands(
            diagnose=self._diagnose,
            world=self._world,
            check_rescue=self._check_rescue,
            page_after=self._page_after,
        )

    async def run(self, emit: Emit) -> None:
        """Watch until cancelled."""

        async def take(sample: Sample) -> None:
            self.last_sample_at = sample.at
            self.slow.note(sample)
            sample = self.signs.added_to(sample)
            for source in (self.machine, self._logs, self.backups, self.slow):
                if source is not None and (told := source.take()):
                    sample = replace(sample, readings=(*sample.readings, *told))
            if self._recorder is not None:
                # First of all: what comes next may find the store or the disk gone.
                self._recorder.take(sample)
            if sample.vitals is not None:
                await self._note_down(sample.at, sample.vitals)
                self._sampled.set()
                told = identity_readings(self._identity)
                sample = replace(sample, readings=(*sample.readings, *told))
            await emit(self.signs.seated(sample, self._identity.answering))
            if sample.reach is not None and sample.reach.state is ReachState.SHUTTING_DOWN:
                # A smart shutdown waits for every session to end; the watch closes its own.
                self._close_actor()

        if self.target.wake == "never":
            await asyncio.Event().wait()
        await self._at_home()
        watch = TargetWatch(
            TargetName(self.target.name), self._eyes(), take, every_s=self.target.sample_every_s
        )
        async with asyncio.TaskGroup() as both:
            both.create_task(watch.run())
            if self._actor is not None:
                both.create_task(self._keep_acting_session(self._actor))

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
            doubts=self._doubts,
            now=self._clock.now,
        )

    async def _volumes(self) -> tuple[Volume, ...] | None:
        home = await self._at_home()
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
        elif self.target.host == "none":
            return
        else:
            await self._at_home()
            await self._here.wait()
            reader = this_machine(self._folder, now=self._now)
        self.machine = machine_watch(self.target, reader, folder=self._folder, now=self._now)
        await self.machine.run()

    async def watch_logs(self) -> None:
        """Follow its logs until cancelled, from afar as the policy says, else once it is at home
        here. Returns where there is nothing to read."""
        if self.far is None and self.target.host == "none":
            return
        if self.far is None:
            await self._at_home()
            await self._here.wait()
        await self._logs.run()

    def _folder(self) -> str:
        """The data directory as the server's own machine calls it."""
        home, vitals = self._home, self._vitals_before
        told = (vitals.settings.data_directory or "") if vitals is not None else ""
        return self.target.data_directory or (home.data_directory if home else "") or told

    def _now(self) -> datetime:
        return self._clock.now()

    async def _keep_acting_session(self, actor: ActingSession) -> None:
        """Open beforehand, because nobody new gets into a full server."""
        while True:
            if not actor.connected:
                await actor.connect()
            await asyncio.sleep(max(KEEP_EVERY_S, actor.retry_delay_s))

    # --- noting while it lives ---

    async def _note_down(self, at: datetime, vitals: Vitals) -> None:
        """Durable before the sample is told: what is decided on it may outlive this process.

        Who answers is asked first: what another cluster says of itself must not take the place of
        what is known of ours, of its data directory least of all.
        """
        anew = vitals.postmaster_start != self._life
        if anew:
            self._identity = replace(self._identity, answering=await self._cluster())
            if self._identity.is_another:
                self._life = vitals.postmaster_start
        if not self._identity.is_ours:
            return
        roles = with_role(self._roles, at, primary=not vitals.in_recovery)
        changed = roles is not self._roles or anew
        self._roles = roles
        self._vitals_before = vitals
        if anew:
            await self._note_life(vitals)
            answering = self._identity.answering
            self._clusters = with_cluster(self._clusters, at, answering)
            self._identity = Identity(expected=answering, answering=answering)
        if changed:
            await self._keep()

    async def _note_life(self, vitals: Vitals) -> None:
        """Once per start of the server: where it lives, and which process it is."""
        home = await self._look_again(vitals.settings.data_directory or "")
        host = home.located.host
        if not isinstance(host, Missing):
            oom = await host.oom_kills()
            self._oom_before = oom if isinstance(oom, OomKills) else None
            self._note = await noted(host)
            self._owner_uid = await owner_of(host, self._note)
            self._recovery_s = longer_of(self._recovery_s, await last_recovery_s(host))
        self._life = vitals.postmaster_start

    async def _cluster(self) -> str:
        """The system identifier of who answers; empty where it cannot be read."""
        try:
            answer = await self._sentinel.fetch_json(CLUSTER_IDENTITY_SQL, timeout_s=IDENTITY_S)
            return parse_cluster_identity(answer)
        except ProbeFailed:
            return ""

    async def _keep(self) -> None:
        home = await self._at_home()
        kept = Kept(
            witness=self._note,
            address=address_of(self.target),
            data_directory=home.data_directory,
            bin_directory=home.bin_directory,
            log=home.log,
            roles=self._roles,
            clusters=self._clusters,
            recovery_s=self._recovery_s,
            owner_uid=self._owner_uid,
        )
        await asyncio.to_thread(write_note, self._note_path, kept)

    def _was_primary(self, incident: Incident) -> bool | None:
        """What it was when the incident opened; what it came back as says nothing about that."""
        return None if incident.opened_at is None else role_at(self._roles, incident.opened_at)

    async def _at_home(self) -> Home:
        async with self._finding_home:
            if self._home is None:
                self._settle(await find_home(as_kept(self.target, self._kept)))
        assert self._home is not None
        return self._home

    async def _look_again(self, data_directory: str) -> Home:
        """A start may have brought other programs, another log, another data directory."""
        async with self._finding_home:
            fresh = await find_home(self.target, data_directory=data_directory)
            if self._home is None or not fresh.shows_less_than(self._home):
                self._settle(fresh)
        assert self._home is not None
        return self._home

    def _host(self) -> HostReader | Missing:
        return NOT_LOCATED if self._home is None else self._home.located.host

    def _settle(self, home: Home) -> None:
        self._home = home
        if not isinstance(home.located.host, Missing):
            self._here.set()

    # --- hands ---

    def _page_after(self) -> PageAfter:
        restarts = self._home.restarts if self._home is not None else NOT_LOOKED
        return page_after(self.target.page_after_s, restarts, recovery_s=self._recovery_s)

    async def _diagnose(self) -> tuple[Diagnosis, bytes]:
        home = await self._at_home()
        evidence = await gather_for_target(
            self.target,
            home.located,
            held=self._sentinel if self._sentinel.is_open else None,
            probe=self.slow.probe,
            lock_witness=self._note,
            oom_before=self._oom_before,
            vitals_before=self._vitals_before,
            cluster_expected=self._identity.expected,
            cluster_answering=self._identity.answering if self._sentinel.is_open else "",
        )
        return judged(evidence)

    async def _check_rescue(self, incident: Incident) -> RescueChecked:
        await self._at_home()
        world = self._world(incident.diagnosis)
        was = self.target.system_identifier
        if not was and incident.opened_at:
            was = cluster_at(self._clusters, incident.opened_at)
        return await check_rescue(
            replace(
                world,
                cluster=self._identity.answering,
                was_primary=self._was_primary(incident),
                was_cluster=was,
            )
        )

    def _world(self, diagnosis: Diagnosis | None) -> World:
        home, note = self._home, self._note
        host = self._host()
        target = self.target
        return World(
            target=target,
            prober=Prober(self.slow.probe),
            at=self._clock.now,
            diagnosis=diagnosis,
            host=None if isinstance(host, Missing) else host,
            data_directory=home.data_directory if home is not None else "",
            log_directory=home.log_directory if home is not None else "",
            lock_note=note
            if isinstance(note, Missing)
            else LockNote(
                boot_id=note.boot_id, pid=note.pid, started_at_epoch_s=note.started_at_epoch_s
            ),
            reader=self._sentinel,
            # Sessions of another cluster are nobody's to end here.
            actor=None if self._identity.is_another else self._actor,
            manager=home.manager if home is not None else None,
            files=LocalFiles(bin_directory=home.bin_directory)
            if home is not None and not isinstance(host, Missing)
            else None,
            cluster=self._identity.expected,
            owner_uid=self._owner_uid,
            app_login=PsycopgAppLogin(target.app_dsn or target.dsn, writes=bool(target.app_dsn)),
        )
