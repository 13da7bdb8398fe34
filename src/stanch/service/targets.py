"""One watched target at run time: its sessions, its machine, and what was noted while it lived."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import structlog

from stanch.adapters.hosts.files import LocalFiles
from stanch.adapters.hosts.local import LocalHost
from stanch.adapters.hosts.traces import LocalTraces
from stanch.adapters.postgres.acting import ActingSession
from stanch.adapters.postgres.applogin import PsycopgAppLogin
from stanch.adapters.postgres.conninfo import resolve
from stanch.adapters.postgres.knock import greet, knock
from stanch.adapters.postgres.probe import probe
from stanch.diagnose.evidence import Place
from stanch.facts.lock_file import LockFileWitness, parse_lock_file
from stanch.incident.state import Incident
from stanch.model.diagnosis import Diagnosis, Missing
from stanch.model.events import RescueChecked
from stanch.model.host import Found, LockFileRead, OomKills, Volume
from stanch.model.ids import TargetName
from stanch.model.plans import Mode
from stanch.model.ports.acting import LockNote, ServerManager
from stanch.model.reach import Reach
from stanch.model.samples import Sample
from stanch.model.vitals import Vitals
from stanch.policy.policy import TargetPolicy
from stanch.respond.run import check_rescue
from stanch.service.acting import Hands
from stanch.service.clock import Clock
from stanch.service.diagnosing import Located, gather_for_target, judged
from stanch.service.eyes import SharedSentinel
from stanch.service.managers import manager_of
from stanch.service.whereabouts import discovered, host_readings
from stanch.steps.world import World
from stanch.store.statedir import StateDir, write_durably
from stanch.watch.run import Eyes, TargetWatch

SESSION_ACTIONS = ("end_idle_sessions", "end_blocking_session")
KEEP_EVERY_S = 1.0
ROLES_KEPT = 64
NEVER_SEEN = Missing(what="note about the last start", reason="the server was never seen running")
NOT_LOCATED = Missing(what="host", reason="nobody has looked yet")

log = structlog.get_logger("target")

Emit = Callable[[Sample], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where the server lives, as far as this machine knows."""

    located: Located
    manager: ServerManager | None
    data_directory: str
    bin_directory: str
    log: str

    @property
    def log_directory(self) -> str:
        return _folder_of(self.log)

    def shows_less_than(self, before: Home) -> bool:
        """The same place seen at a worse moment: a server that is down names less of itself."""
        same = self.data_directory in ("", before.data_directory)
        lost = (before.manager and not self.manager) or (before.log and not self.log)
        return same and bool(lost)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What was noted while the server lived, for when it does not and we were started anew."""

    witness: LockFileWitness
    address: str
    """Where the policy's connection string led; another one is another server."""
    data_directory: str
    bin_directory: str
    log: str


class Watched:
    """Everything of one target; `run` watches it and keeps its sessions open."""

    def __init__(
        self,
        target: TargetPolicy,
        *,
        clock: Clock,
        state: StateDir,
        doubts: Callable[[], Awaitable[tuple[str, ...]]],
    ) -> None:
        self.target = target
        self._clock = clock
        self._doubts = doubts
        self._note_path = state.path / "notes" / f"{target.name}.json"
        kept = _read_note(self._note_path)
        self._kept = kept if kept is not None and kept.address == _address(target) else None
        self._note = self._kept.witness if self._kept is not None else NEVER_SEEN
        self._sentinel = SharedSentinel(target.dsn, now=clock.now)
        wants_acting = any(target.mode(a) is not Mode.OBSERVE for a in SESSION_ACTIONS)
        self._actor = (
            ActingSession(target.acting_dsn, now=clock.now)
            if target.acting_dsn and wants_acting
            else None
        )
        self._home: Home | None = None
        self._finding_home = asyncio.Lock()
        self._life: datetime | None = None
        self._oom_before: OomKills | None = None
        self._vitals_before: Vitals | None = None
        self._roles: deque[tuple[datetime, bool]] = deque(maxlen=ROLES_KEPT)
        """Each change between primary (True) and standby, and when it was first read."""
        self.last_sample_at: datetime | None = None
        self.hands = Hands(
            diagnose=self._diagnose, world=self._world, check_rescue=self._check_rescue
        )

    async def run(self, emit: Emit) -> None:
        """Watch until cancelled."""

        async def noted(sample: Sample) -> None:
            self.last_sample_at = sample.at
            if sample.vitals is not None:
                self._note_role(sample.at, primary=not sample.vitals.in_recovery)
                await self._note_life(sample.vitals)
            await emit(sample)

        await self._at_home()
        watch = TargetWatch(
            TargetName(self.target.name), self._eyes(), noted, every_s=self.target.sample_every_s
        )
        async with asyncio.TaskGroup() as both:
            both.create_task(watch.run())
            if self._actor is not None:
                both.create_task(self._keep_acting_session(self._actor))

    async def close(self) -> None:
        await self._sentinel.close()
        if self._actor is not None:
            self._actor.close()

    # --- looking ---

    def _eyes(self) -> Eyes:
        return Eyes(
            session=self._sentinel,
            probe=self._probe,
            knock=lambda deadline_s: knock(self.target.dsn, deadline_s),
            greet=lambda deadline_s: greet(self.target.dsn, deadline_s),
            volumes=self._volumes,
            doubts=self._doubts,
            now=self._clock.now,
        )

    async def _probe(self, deadline_s: float) -> Reach:
        return await probe(self.target.dsn, deadline_s=deadline_s)

    async def _volumes(self) -> tuple[Volume, ...] | None:
        home = await self._at_home()
        if isinstance(home.located.host, Missing):
            return None
        return tuple(v for v in await home.located.host.volumes() if isinstance(v, Volume))

    async def _keep_acting_session(self, actor: ActingSession) -> None:
        """Open beforehand, because nobody new gets into a full server."""
        while True:
            if not actor.connected:
                await actor.connect()
            await asyncio.sleep(max(KEEP_EVERY_S, actor.retry_delay_s))

    # --- noting while it lives ---

    def _note_role(self, at: datetime, *, primary: bool) -> None:
        if not self._roles or self._roles[-1][1] is not primary:
            self._roles.append((at, primary))

    def _was_primary(self, incident: Incident) -> bool | None:
        """What it was when the incident opened; what it came back as says nothing about that."""
        if incident.opened_at is None:
            return None
        before = [primary for at, primary in self._roles if at <= incident.opened_at]
        return before[-1] if before else None

    async def _note_life(self, vitals: Vitals) -> None:
        """Once per start of the server: where it lives, and which process it is."""
        self._vitals_before = vitals
        if vitals.postmaster_start == self._life:
            return
        home = await self._look_again(vitals.settings.data_directory or "")
        host = home.located.host
        if not isinstance(host, Missing):
            oom = await host.oom_kills()
            self._oom_before = oom if isinstance(oom, OomKills) else None
            self._note = await _noted(host)
            if isinstance(self._note, LockFileWitness):
                kept = Kept(
                    witness=self._note,
                    address=_address(self.target),
                    data_directory=home.data_directory,
                    bin_directory=home.bin_directory,
                    log=home.log,
                )
                await asyncio.to_thread(_write_note, self._note_path, kept)
        self._life = vitals.postmaster_start

    async def _at_home(self) -> Home:
        async with self._finding_home:
            if self._home is None:
                self._home = await find_home(_as_kept(self.target, self._kept))
        return self._home

    async def _look_again(self, data_directory: str) -> Home:
        """A start may have brought other programs, another log, another data directory."""
        async with self._finding_home:
            fresh = await find_home(self.target, data_directory=data_directory)
            if self._home is None or not fresh.shows_less_than(self._home):
                self._home = fresh
        return self._home

    # --- hands ---

    async def _diagnose(self) -> tuple[Diagnosis, bytes]:
        home = await self._at_home()
        evidence = await gather_for_target(
            self.target,
            home.located,
            held=self._sentinel if self._sentinel.is_open else None,
            lock_witness=self._note,
            oom_before=self._oom_before,
            vitals_before=self._vitals_before,
        )
        return judged(evidence)

    async def _check_rescue(self, incident: Incident) -> RescueChecked:
        await self._at_home()
        world = self._world(incident.diagnosis)
        return await check_rescue(replace(world, was_primary=self._was_primary(incident)))

    def _world(self, diagnosis: Diagnosis | None) -> World:
        home, note = self._home, self._note
        host = home.located.host if home is not None else NOT_LOCATED
        target = self.target
        return World(
            target=target,
            prober=_Prober(target.dsn),
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
            actor=self._actor,
            manager=home.manager if home is not None else None,
            files=None if isinstance(host, Missing) else LocalFiles(),
            app_login=PsycopgAppLogin(target.app_dsn or target.dsn, writes=bool(target.app_dsn)),
        )


class _Prober:
    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def probe(self, *, deadline_s: float) -> Reach:
        return await probe(self._dsn, deadline_s=deadline_s)


# --- where it lives -----------------------------------------------------------------------------


async def find_home(target: TargetPolicy, *, data_directory: str = "") -> Home:
    """The target's server on this machine, running or not; an empty home where it is not here."""
    readings = await host_readings(target, address="", data_directory=data_directory)
    folder = readings.files
    if not folder:
        reason = readings.files_why or f"the server is not on this machine ({readings.source})"
        nowhere = Missing(what="host", reason=reason)
        located = Located(place=Missing(what="place", reason=reason), host=nowhere, traces=nowhere)
        return Home(located=located, manager=None, data_directory="", bin_directory="", log="")
    server = await asyncio.to_thread(discovered, target, folder)
    programs = target.bin_directory or _value(server.bin_dir)
    log_path = target.log or _value(server.log_path)
    manager = manager_of(target, server, data_directory=folder)
    place = Place(
        data_directory=folder,
        log=log_path,
        bin_directory=programs,
        manager=server.manager.value,
        concluded_from=server.manager_source,
    )
    host = LocalHost(data_directory=folder, bin_dir=programs or None, log_path=log_path or None)
    return Home(
        located=Located(place=place, host=host, traces=LocalTraces(folder)),
        manager=None if isinstance(manager, Missing) else manager,
        data_directory=folder,
        bin_directory=programs,
        log=log_path,
    )


def _address(target: TargetPolicy) -> str:
    known = resolve(target.dsn)
    return f"{known.host}:{known.port}"


def _as_kept(target: TargetPolicy, kept: Kept | None) -> TargetPolicy:
    """The target with what an earlier process saw, where the policy leaves it to be found."""
    if kept is None:
        return target
    return replace(
        target,
        data_directory=target.data_directory or kept.data_directory,
        bin_directory=target.bin_directory or kept.bin_directory,
        log=target.log or kept.log,
    )


def _value(found: Found | Missing) -> str:
    return found.value if isinstance(found, Found) else ""


def _folder_of(log_path: str) -> str:
    if not log_path:
        return ""
    path = Path(log_path)
    return str(path if path.is_dir() else path.parent)


# --- the note about the last start --------------------------------------------------------------


async def _noted(host: LocalHost | object) -> LockFileWitness | Missing:
    assert isinstance(host, LocalHost)
    lock, boot_id = await host.lock_file(), await host.boot_id()
    if not isinstance(lock, LockFileRead) or isinstance(boot_id, Missing):
        return NEVER_SEEN
    parsed = parse_lock_file(lock.content)
    if parsed.pid is None or parsed.started_at_epoch_s is None:
        return NEVER_SEEN
    return LockFileWitness(
        boot_id=boot_id, pid=parsed.pid, started_at_epoch_s=parsed.started_at_epoch_s
    )


def _read_note(path: Path) -> Kept | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Kept(
            witness=LockFileWitness(
                boot_id=str(kept["boot_id"]),
                pid=int(kept["pid"]),
                started_at_epoch_s=int(kept["started_at_epoch_s"]),
            ),
            address=str(kept["address"]),
            data_directory=str(kept["data_directory"]),
            bin_directory=str(kept["bin_directory"]),
            log=str(kept["log"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_note(path: Path, kept: Kept) -> None:
    text = json.dumps(
        {
            "boot_id": kept.witness.boot_id,
            "pid": kept.witness.pid,
            "started_at_epoch_s": kept.witness.started_at_epoch_s,
            "address": kept.address,
            "data_directory": kept.data_directory,
            "bin_directory": kept.bin_directory,
            "log": kept.log,
        }
    )
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_durably(path, text.encode())
    except OSError as error:
        # Without the note a stale lock file stays unproven after our own restart; nothing worse.
        log.warning("the note about the server's start was not kept", error=str(error))
