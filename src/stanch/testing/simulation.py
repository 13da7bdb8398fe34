"""The whole core of the responder in a simulated world, killed and started again as told.

Only the ports and the clock are made up: planner, runbooks, actions, executor, diagnosis, engine,
pipeline, watching, paging and the store's tables are those of `stanch run`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from stanch.model.events import ResponderStarted
from stanch.model.ids import ChannelName, IncidentId, PersonId, TargetName, WriterId
from stanch.model.plans import Mode
from stanch.model.rules import RuleChange
from stanch.model.symptoms import SymptomKind
from stanch.model.timeline import Lane, Recorded
from stanch.policy.canonical import canonical_text
from stanch.policy.parse import parse_policy, policy_hash
from stanch.policy.policy import (
    ACTIONS,
    Contact,
    FreeSpace,
    Limits,
    Person,
    Policy,
    Rescue,
    SmtpChannel,
    TargetPolicy,
)
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.library import shipped_runbooks
from stanch.service.core import Core
from stanch.service.doing.acting import Hands
from stanch.service.house import House, open_house, projection_of
from stanch.service.record.policies import Policies
from stanch.steps.action import Action
from stanch.store import queries
from stanch.store.spool import Spooled
from stanch.store.sql import SqlStore
from stanch.testing.simworld import SimServer
from stanch.testing.simworld_life import Life, SimStore
from stanch.testing.simworld_mail import SimMail, SimMailChannel
from stanch.testing.simworld_target import Notes, SimTarget, note_life
from stanch.testing.virtual_time import VirtualClock

MAIL = ChannelName("mail")
ANN, BO = PersonId("ann"), PersonId("bo")
DOWN_S = 2.0
"""From the death of one process to the start of the next."""
LOOK_S = 0.5
SPOOL_EVERY_S = 1.0
QUICK_RULES = {
    **{
        kind.value: RuleChange(kind=kind.value, hold_s=1.0)
        for kind in (
            SymptomKind.CONNECTIONS_HIGH,
            SymptomKind.CONNECTIONS_EXHAUSTED,
            SymptomKind.DISK_LOW,
        )
    },
    "sessions_blocked": RuleChange(kind="sessions_blocked", also=2.0),
}
"""The same rules as everywhere, with shorter times."""


def sim_target(name: str, *, sample_every_s: float = 1.0) -> TargetPolicy:
    """A target on which Stanch may do everything, with short windows."""
    server = SimServer(name)
    return TargetPolicy(
        name=TargetName(name),
        dsn=f"service={name}",
        acting_dsn=f"service={name}-act",
        app_dsn=f"service={name}-app",
        data_directory=server.data_directory,
        desired="running",
        manager="pg_ctl",
        sample_every_s=sample_every_s,
        actions=dict.fromkeys(ACTIONS, Mode.ACT),
        limits=Limits(clear_hold_s=1.0, flap_window_s=60.0),
        rules=QUICK_RULES,
        free_space=FreeSpace(ballast=(server.ballast,)),
        rescue=Rescue(window_s=1.0, check_every_s=1.0, resolve_after_s=1.0),
    )


def sim_policy(*targets: TargetPolicy) -> Policy:
    people = [
        Person(id=p, name=p.title(), contacts=(Contact(channel=MAIL, address=f"{p}@example.com"),))
        for p in (ANN, BO)
    ]
    return Policy(
        state_directory="/nowhere",
        people=tuple(people),
        ladder=(ANN, BO),
        channels=(SmtpChannel(name=MAIL, host="127.0.0.1"),),
        targets=targets,
    )


class SimSpool:
    """Keeps what it is given; it outlives every life of the responder."""

    def __init__(self) -> None:
        self.entries: list[Spooled] = []
        self.filled = asyncio.Event()

    def put(self, kind: str, at: datetime, *, incident_hint: str, body: bytes) -> bool:
        hint = IncidentId(incident_hint)
        self.entries.append(Spooled(at=at, kind=kind, incident_hint=hint, body=body))
        self.filled.set()
        return True


@dataclass(slots=True)
class Running:
    """One life with everything it holds."""

    life: Life
    store: SimStore
    house: House
    core: Core


Script = Callable[["Simulation"], Awaitable[None]]


async def no_doubts() -> tuple[str, ...]:
    """Nothing is wrong with the responder itself."""
    return ()


class Simulation:
    """A world, a store, and one life of the responder after the other."""

    def __init__(self, policy: Policy, *, seed: int = 0) -> None:
        self.clock = VirtualClock()
        self.random = random.Random(seed)  # noqa: S311 - the same world for the same seed
        self.policy = policy
        text = canonical_text(policy)
        self._policies = Policies(
            policy_hash(text), policy, text, lambda old: parse_policy(old, file="stored")
        )
        self.servers = {str(t.name): SimServer(t.name) for t in policy.targets}
        self.mail = SimMail()
        self.spool = SimSpool()
        self.lives: list[Life] = []
        self.now: Running | None = None
        self.watched = True
        """False: nobody looks at the servers, so that days pass in a moment."""
        self.doubts: Callable[[], Awaitable[tuple[str, ...]]] = no_doubts
        """Why a silence may be the responder's own fault."""
        self.late_s = 0.0
        """How long the process has stood still in all, as it knows itself."""
        self.failures: list[str] = []
        """Tasks in which the responder caught a bug of its own."""
        self.on_start: Callable[[Running], None] = lambda running: None
        """Told of every life before it does anything."""
        self.actions: Mapping[str, Action] = CATALOGUE
        self.dressed: Callable[[Hands], Hands] = lambda hands: hands
        """What each life's hands are, where a story has its own."""
        self.notes: Notes = {}
        """What earlier processes noted about each server while it lived."""
        for server in self.servers.values():
            note_life(self.notes, server)
        self._runbooks = shipped_runbooks()
        self._over = False
        self.sql = SqlStore.in_memory(
            projection_of(self._policies),
            writer_id=WriterId("sim"),
            lease_clock_us=self.clock.now_us,
            random_bytes=self.random.randbytes,
        )

    # --- running --------------------------------------------------------------------------------

    async def run(
        self, script: Script, *, deaths: Sequence[int] = (), deadline_s: float = 900.0
    ) -> None:
        """Play the script against the responder until nothing is left to be done.

        `deaths`: at which boundary each life in turn is killed; the one after them lives on.
        Raises: TimeoutError where it does not come to an end.
        """
        left = list(deaths)
        playing = asyncio.create_task(self._play(script))
        try:
            async with asyncio.timeout(deadline_s):
                while not (self._over or playing.done()):
                    life = Life(dies_at=left.pop(0) if left else None)
                    self.lives.append(life)
                    await self._live(life, playing)
                    if not life.alive:
                        await asyncio.sleep(DOWN_S)
            await playing
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)

    async def _play(self, script: Script) -> None:
        await script(self)
        while True:
            await asyncio.sleep(LOOK_S)
            if await self.quiet():
                break
        self._over = True

    async def _live(self, life: Life, playing: asyncio.Task[None]) -> None:
        """One process from its start to its death, or to the end of the story."""
        process = asyncio.create_task(self._process(life))
        died = asyncio.create_task(life.died.wait())
        await asyncio.wait({process, died, playing}, return_when=asyncio.FIRST_COMPLETED)
        ended_by_itself = process.done() and life.alive
        died.cancel()
        process.cancel()
        [outcome, _] = await asyncio.gather(process, died, return_exceptions=True)
        self.now = None
        if ended_by_itself:
            raise AssertionError("the responder ended by itself") from _error(outcome)

    async def _process(self, life: Life) -> None:
        store = SimStore(self.sql, life)
        self.sql.take_over()
        house = await open_house(self._policies, store, clock=self.clock)
        targets = {
            target.name: SimTarget(
                self.servers[target.name], target, life, self.notes, doubts=self.doubts
            )
            for target in self.policy.targets
        }
        core = Core(
            house,
            boot=self.clock,
            ports={MAIL: SimMailChannel(self.mail, life)},
            spool=self.spool,
            hands=lambda name: self.dressed(targets[name].hands) if name in targets else None,
            actions=self.actions,
            runbooks=self._runbooks,
            on_failure=self.failures.append,
            on_store_failure=lambda: None,
            late_s=lambda: self.late_s,
        )
        self.now = Running(life=life, store=store, house=house, core=core)
        self.on_start(self.now)
        started = ResponderStarted(
            version="sim",
            host="sim.example.com",
            pid=len(self.lives),
            policy_hash=self._policies.current_hash,
        )
        await core.resume(started)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(core.engine.run())
            tasks.create_task(self._tell_spool(core, store))
            for target in targets.values() if self.watched else ():
                tasks.create_task(target.run(core.watching.take))

    async def _tell_spool(self, core: Core, store: SimStore) -> None:
        while True:
            await self.spool.filled.wait()
            await asyncio.sleep(SPOOL_EVERY_S)
            if store.broken:
                continue
            through = list(self.spool.entries)
            if await core.emergency.tell(through):
                del self.spool.entries[: len(through)]
                self.spool.filled.clear()

    # --- looking --------------------------------------------------------------------------------

    async def quiet(self) -> bool:
        """Nothing is open, nothing is due, nobody is at work."""
        if self.now is None or self.now.store.broken or any(self.now.core.engine.working.values()):
            return False
        store = self.now.store
        if await store.incident_ids(open_only=True, limit=1) or self.spool.entries:
            return False
        return all([await store.next_due(lane) is None for lane in Lane])

    def incident_ids(self) -> Sequence[IncidentId]:
        """Oldest first."""
        found = self.sql.read(lambda conn: queries.incident_ids(conn, open_only=False, limit=10**6))
        return tuple(reversed(found))

    def timeline(self, incident_id: IncidentId) -> Sequence[Recorded]:
        return self.sql.read(lambda conn: queries.timeline(conn, incident_id, after_seq=0))


def _error(outcome: object) -> BaseException | None:
    return outcome if isinstance(outcome, BaseException) else None
