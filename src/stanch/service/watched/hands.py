"""The hands of one target: diagnosing it, and acting on it with what was noted of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from stanch.adapters.hosts.docker_engine import DockerEngine
from stanch.adapters.hosts.docker_manager import DockerManager
from stanch.adapters.hosts.files import LocalFiles
from stanch.adapters.pools.admin import PoolerAdmin
from stanch.adapters.postgres.acting import ActingSession
from stanch.adapters.postgres.acting_visits import ActingVisits
from stanch.adapters.postgres.applogin import PsycopgAppLogin
from stanch.adapters.services.hooks import HttpHooks
from stanch.diagnose.cluster import ClusterSeen
from stanch.diagnose.outside import Place
from stanch.diagnose.run import DEADLINE_S
from stanch.incident.state import Incident
from stanch.model.diagnosis import Diagnosis, Missing
from stanch.model.events import RescueChecked
from stanch.model.ports.acting import LockNote
from stanch.policy.hosts import DockerHost
from stanch.policy.policy import TargetPolicy
from stanch.respond.run import check_rescue
from stanch.service.clock import Clock
from stanch.service.doing.acting import Hands
from stanch.service.watched.afar import see_afar
from stanch.service.watched.background import background_of
from stanch.service.watched.container_host import ContainerHost
from stanch.service.watched.diagnosing import gather_for_target, judged, located_afar
from stanch.service.watched.eyes import Prober, SharedSentinel
from stanch.service.watched.life import Life
from stanch.service.watched.machines import Machine
from stanch.service.watched.signs import Signs
from stanch.service.watched.slow_lane import SlowWatch
from stanch.steps.world import World
from stanch.watch.hosts.run import HostWatch


class TargetHands:
    """What an incident may ask of its target; `hands` is how the doing room knows it."""

    def __init__(
        self,
        target: TargetPolicy,
        life: Life,
        *,
        sentinel: SharedSentinel,
        slow: SlowWatch,
        actor: ActingSession | None,
        recording: Path | None,
        clock: Clock,
        cluster: Callable[[], ClusterSeen | Missing],
        machine: Callable[[], HostWatch | None],
        far: Machine | None,
        signs: Signs,
    ) -> None:
        """`far`: the machine as it is seen from afar; None where that is not how it is seen."""
        self._target = target
        self._life = life
        self._sentinel = sentinel
        self._slow = slow
        self._actor = actor
        self._recording = recording
        self._clock = clock
        self._cluster = cluster
        self._machine = machine
        self._far = far
        self._signs = signs
        docker = target.host if isinstance(target.host, DockerHost) else None
        self._engine = None if docker is None else DockerEngine(docker)
        self._container = None if docker is None else ContainerHost(target, folder=self._folder)
        self._keeper = (
            None
            if docker is None or target.manager != "auto"
            else DockerManager(docker, data_directory=self._folder)
        )
        self._found_folder = ""
        self._poolers = [p for s in target.pools if (p := target.admin_console(s.name)) is not None]
        ours = target.app_dsn in ("", target.dsn)
        # Kept, because it remembers that its credentials were refused; those of the watch are tried
        # in the one way in which the watch tries them.
        self._app_login = PsycopgAppLogin(
            target.app_dsn or target.dsn,
            writes=bool(target.app_dsn),
            probe=slow.probe if ours else None,
        )

    def hands(self) -> Hands:
        """Everything that may be asked of the target."""
        return Hands(
            diagnose=self._diagnose,
            world=self._world,
            check_rescue=self._check_rescue,
            page_after=self._life.page_after,
        )

    async def _diagnose(self, incident: Incident) -> tuple[Diagnosis, bytes]:
        life, machine = self._life, self._machine()
        home = await life.at_home()
        service = None if machine is None else machine.service
        located, afar = home.located, None
        if self._far is not None:
            folder = life.folder()
            afar = see_afar(self._target, self._far, folder=folder, deadline_s=DEADLINE_S)
            located, service = located_afar(afar), afar.host.service
        try:
            evidence = await gather_for_target(
                self._target,
                located,
                held=self._sentinel if self._sentinel.is_open else None,
                probe=self._slow.probe,
                lock_witness=life.witness,
                oom_before=life.oom_before,
                vitals_before=life.vitals_before,
                cluster_expected=life.identity.expected,
                cluster_answering=life.identity.answering if self._sentinel.is_open else "",
                background=background_of(incident, self._recording, self._cluster()),
                service=service,
                beside=self._signs.asked,
            )
        finally:
            if afar is not None:
                if isinstance(place := afar.place(), Place):
                    self._found_folder = place.data_directory
                await afar.close()
        return judged(evidence)

    def _folder(self) -> str:
        """The data directory as the server's machine calls it; the last diagnosis found it."""
        return self._life.folder() or self._found_folder

    async def _check_rescue(self, incident: Incident) -> RescueChecked:
        life = self._life
        await life.at_home()
        world = self._world(incident.diagnosis)
        return await check_rescue(
            replace(
                world,
                cluster=life.identity.answering,
                was_primary=life.was_primary(incident),
                was_cluster=life.was_cluster(incident),
            )
        )

    def _peers(self) -> tuple[str, ...]:
        seen = self._cluster()
        if isinstance(seen, Missing):
            return ()
        return tuple(member.target for member in seen.others(self._target.name))

    def _world(self, diagnosis: Diagnosis | None) -> World:
        life, target = self._life, self._target
        home, note = life.home, life.witness
        local = life.host()
        host = local if self._container is None else self._container
        folder = home.data_directory if home is not None else ""
        return World(
            target=target,
            prober=Prober(self._slow.probe),
            at=self._clock.now,
            diagnosis=diagnosis,
            host=None if isinstance(host, Missing) else host,
            data_directory=folder if self._container is None else self._folder(),
            log_directory=home.log_directory if home is not None else "",
            lock_note=note
            if isinstance(note, Missing)
            else LockNote(
                boot_id=note.boot_id, pid=note.pid, started_at_epoch_s=note.started_at_epoch_s
            ),
            reader=self._sentinel,
            # Sessions of another cluster are nobody's to end here.
            actor=None if life.identity.is_another else self._actor,
            visits=None
            if life.identity.is_another or self._actor is None
            else ActingVisits(target.acting_dsn, cluster=life.identity.expected),
            # What stands before another cluster is not ours to change either.
            poolers={}
            if life.identity.is_another
            else {pools.name: PoolerAdmin(pools) for pools in self._poolers},
            hooks=HttpHooks() if target.hooks else None,
            manager=self._keeper or (home.manager if home is not None else None),
            engine=self._engine,
            files=LocalFiles(bin_directory=home.bin_directory)
            if home is not None and not isinstance(local, Missing)
            else None,
            cluster=life.identity.expected,
            owner_uid=life.owner_uid,
            peers=self._peers(),
            app_login=self._app_login,
        )
