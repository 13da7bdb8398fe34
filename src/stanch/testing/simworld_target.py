"""One simulated target as one life of the responder watches it and holds it in its hands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from stanch.diagnose.outside import Place
from stanch.diagnose.run import gather
from stanch.diagnose.witnesses import Witnesses
from stanch.facts.lock_file import LockFileWitness, parse_lock_file
from stanch.incident.state import Incident
from stanch.model.diagnosis import Diagnosis, Missing
from stanch.model.events import RescueChecked
from stanch.model.host import Volume
from stanch.model.ids import TargetName
from stanch.model.ports.acting import LockNote
from stanch.model.samples import Sample
from stanch.model.symptoms import SymptomKind
from stanch.policy.policy import TargetPolicy
from stanch.respond.run import check_rescue
from stanch.service.doing.acting import Hands
from stanch.service.doing.watching import as_said
from stanch.service.watched.diagnosing import judged
from stanch.steps.world import World
from stanch.testing.simworld import SimServer
from stanch.testing.simworld_host import SimHost, SimTraces
from stanch.testing.simworld_life import Life
from stanch.testing.simworld_ports import (
    SimActor,
    SimFiles,
    SimLogin,
    SimManager,
    SimNet,
    SimSentinel,
)
from stanch.watch.run import Eyes, TargetWatch

NOBODY_NOTED = Missing(what="note about the last start", reason="never seen running")

Notes = dict[str, LockFileWitness]
"""What was noted while each server lived; on disk in the real world, so it outlives a process."""


def note_life(notes: Notes, server: SimServer) -> None:
    """What is noted down about a server that is known to live."""
    lock = parse_lock_file(server.lock_content)
    assert lock.pid is not None
    assert lock.started_at_epoch_s is not None
    notes[server.name] = LockFileWitness(
        boot_id=server.clock.boot_id, pid=lock.pid, started_at_epoch_s=lock.started_at_epoch_s
    )


class SimTarget:
    """The simulator's counterpart of `service.targets.Watched`."""

    def __init__(
        self,
        server: SimServer,
        target: TargetPolicy,
        life: Life,
        notes: Notes,
        *,
        doubts: Callable[[], Awaitable[tuple[str, ...]]],
    ) -> None:
        self._server, self._target, self._life, self._notes = server, target, life, notes
        self._doubts = doubts
        self._session = SimSentinel(server, life)
        self._net = SimNet(server, life)
        self._host = SimHost(server, life)
        self.hands = Hands(
            diagnose=self._diagnose,
            world=self._world,
            check_rescue=self._check_rescue,
            page_after=lambda: as_said(target),
        )

    async def run(self, take: Callable[[Sample], Awaitable[None]]) -> None:
        """Watch until cancelled or killed; one that may sleep is let alone."""
        if self._target.wake == "never":
            return

        async def emit(sample: Sample) -> None:
            self._life.check()
            if sample.vitals is not None:
                self._note_life()
            await take(sample)

        eyes = Eyes(
            session=self._session,
            probe=lambda deadline_s: self._net.probe(deadline_s=deadline_s),
            knock=self._net.knock,
            greet=self._net.knock,
            volumes=self._volumes,
            has_volumes=lambda: True,
            doubts=self._doubts,
            now=self._server.clock.now,
        )
        every_s = self._target.sample_every_s
        await TargetWatch(TargetName(self._server.name), eyes, emit, every_s=every_s).run()

    async def _volumes(self) -> tuple[Volume, ...] | None:
        return tuple(v for v in await self._host.volumes() if isinstance(v, Volume))

    def _note_life(self) -> None:
        if self._server.running:
            note_life(self._notes, self._server)

    async def _diagnose(self, incident: Incident) -> tuple[Diagnosis, bytes]:
        place = Place(data_directory=self._server.data_directory, manager="pg_ctl")
        witnesses = Witnesses(
            probe=lambda deadline_s: self._net.probe(deadline_s=deadline_s),
            held=self._session if self._session.is_open else None,
            host=self._host,
            traces=SimTraces(),
            place=place,
            lock_witness=self._notes.get(self._server.name, NOBODY_NOTED),
        )
        full = int(self._target.limit(SymptomKind.DISK_FULL))
        evidence = await gather(self._server.name, witnesses, disk_full_free_bytes=full)
        # Gathering tells the time by the machine's clock; here only virtual time counts.
        return judged(replace(evidence, at=self._server.clock.now()))

    async def _check_rescue(self, incident: Incident) -> RescueChecked:
        return await check_rescue(self._world(incident.diagnosis))

    def _world(self, diagnosis: Diagnosis | None) -> World:
        note = self._notes.get(self._server.name)
        return World(
            target=self._target,
            prober=self._net,
            at=self._server.clock.now,
            diagnosis=diagnosis,
            host=self._host,
            data_directory=self._server.data_directory,
            log_directory=f"{self._server.data_directory}/log",
            lock_note=NOBODY_NOTED
            if note is None
            else LockNote(
                boot_id=note.boot_id, pid=note.pid, started_at_epoch_s=note.started_at_epoch_s
            ),
            reader=self._session,
            actor=SimActor(self._server, self._life),
            manager=SimManager(self._server, self._life),
            files=SimFiles(self._server, self._life),
            app_login=SimLogin(self._server, self._life),
        )
