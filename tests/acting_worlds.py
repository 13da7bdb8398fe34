"""Stand-ins and small builders for everything that plans, acts and verifies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stanch.adapters.hosts.files import LocalFiles
from stanch.adapters.hosts.local import LocalHost
from stanch.adapters.hosts.manager import PgCtl
from stanch.adapters.postgres.acting import ActingSession
from stanch.adapters.postgres.acting_visits import ActingVisits
from stanch.adapters.postgres.applogin import PsycopgAppLogin
from stanch.adapters.postgres.probe import probe
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.sentinel import Sentinel
from stanch.model.diagnosis import CauseFinding, Diagnosis, Scalar, Verdict
from stanch.model.events import Event, StepEnded, StepIntended, StepVerified
from stanch.model.ids import CauseId, IncidentId, PlanId, StepId, TargetName
from stanch.model.plans import Mode, Plan, PlannedStep, Refusal
from stanch.model.ports.acting import LockNote
from stanch.model.ports.server import Acted, SqlParams
from stanch.model.reach import Reach, ReachState
from stanch.model.timeline import Claim, Lane
from stanch.policy.policy import ACTIONS, TargetPolicy
from stanch.steps.action import Action, Permit
from stanch.steps.run import Authority, Clocks, Executed, execute
from stanch.steps.world import World

AT = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
BOOT_ID = "boot-a"
LEASE_S = 30.0

TARGET = TargetPolicy(
    name=TargetName("orders"),
    dsn="service=orders",
    acting_dsn="service=orders-act",
    app_dsn="service=orders-app",
    desired="running",
    actions=dict.fromkeys(ACTIONS, Mode.ACT),
)

CLAIM = Claim(
    incident_id=IncidentId("20260314-001"), lane=Lane.ACT, owner="core", epoch=7, due_at=AT
)


# --- values -------------------------------------------------------------------------------------


def step(action: str, *, deadline_s: float = 5.0, **params: Scalar) -> PlannedStep:
    return PlannedStep(
        id=StepId(f"1-{action}"),
        action=action,
        params=tuple(sorted(params.items())),
        deadline_s=deadline_s,
        no_undo="a test",
    )


def plan(*steps: PlannedStep, cause: str = "killed") -> Plan:
    return Plan(
        id=PlanId("plan-1"),
        runbook="a-runbook",
        cause=CauseId(cause),
        steps=steps,
        mode=Mode.ACT,
        made_at=AT,
        expires_at=AT + timedelta(minutes=30),
        digest="0" * 64,
    )


def cause(cause_id: str, *, probability: float = 0.9, **facts: Scalar) -> CauseFinding:
    return CauseFinding(
        id=CauseId(cause_id),
        summary=f"{cause_id} was found",
        probability=probability,
        safe_first="Look before you act.",
        facts=tuple(facts.items()),
    )


def diagnosis(*causes: CauseFinding) -> Diagnosis:
    return Diagnosis(verdict=Verdict.CAUSE, causes=causes, at=AT, elapsed_ms=12.0)


# --- clocks and records ------------------------------------------------------------------------


@dataclass
class HandClock:
    """A boot clock and a wall clock that move when told to."""

    boot_ns: int = 1_000_000_000_000
    boot: str = BOOT_ID
    wall: datetime = AT

    @property
    def boot_id(self) -> str:
        return self.boot

    def now_ns(self) -> int:
        return self.boot_ns

    def at(self) -> datetime:
        return self.wall

    def go_on(self, seconds: float) -> None:
        self.boot_ns += int(seconds * 1e9)
        self.wall += timedelta(seconds=seconds)


class LoopClock:
    """A boot clock that goes with the running event loop."""

    boot_id = BOOT_ID

    def now_ns(self) -> int:
        return int(asyncio.get_running_loop().time() * 1e9)

    def at(self) -> datetime:
        return datetime.now(UTC)


class Crash(Exception):
    """The process ends here."""


@dataclass
class Log:
    """Records events in memory; may end the process before or after the n-th one."""

    events: list[Event] = field(default_factory=list[Event])
    leases: list[Claim | None] = field(default_factory=list["Claim | None"])
    crash_before: int | None = None
    crash_after: int | None = None
    on_record: Callable[[Event], None] = lambda _event: None

    async def __call__(self, event: Event, lease: Claim | None) -> None:
        if self.crash_before == len(self.events):
            raise Crash
        self.events.append(event)
        self.leases.append(lease)
        self.on_record(event)
        if self.crash_after == len(self.events):
            raise Crash

    def intended(self) -> StepIntended:
        return next(e for e in self.events if isinstance(e, StepIntended))

    def ended(self) -> StepEnded:
        return next(e for e in self.events if isinstance(e, StepEnded))

    def verified(self) -> StepVerified:
        return next(e for e in self.events if isinstance(e, StepVerified))

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


def authority(clock: HandClock | LoopClock, *, lease_s: float = LEASE_S) -> Authority:
    until = clock.now_ns() + int(lease_s * 1e9)
    return Authority(claim=CLAIM, lease_until_boot_ns=lambda: until, halted=lambda: False)


async def run(
    action: Action, one: PlannedStep, world: World, *, made_at: datetime = AT
) -> tuple[Executed, Log]:
    """Run one step for real, through the executor; `made_at`: when its plan was made."""
    clock, log = LoopClock(), Log()
    done = await execute(
        one,
        replace(plan(one), made_at=made_at),
        action=action,
        attempt=1,
        authority=authority(clock),
        world=world,
        record=log,
        clocks=Clocks(boot=clock, at=clock.at),
    )
    return done, log


def always() -> Refusal | None:
    """A permit that never ends."""
    return None


def permits(count: int) -> Permit:
    """A permit that ends after so many effects."""
    left = [count]

    def ask() -> Refusal | None:
        left[0] -= 1
        return None if left[0] >= 0 else Refusal(guard="halt", reason="told to stop")

    return ask


# --- ports --------------------------------------------------------------------------------------


@dataclass
class FixedProber:
    state: ReachState = ReachState.UP

    async def probe(self, *, deadline_s: float) -> Reach:
        return Reach(state=self.state, layers=(), elapsed_ms=1.0)


@dataclass
class RecordingActor:
    """Answers every statement the same and remembers what it was asked."""

    answer: Acted
    asked: list[SqlParams | None] = field(default_factory=list["SqlParams | None"])

    async def execute(
        self, sql: str, params: SqlParams | None = None, *, deadline_s: float
    ) -> Acted:
        self.asked.append(params)
        return self.answer


def bare_world(target: TargetPolicy = TARGET) -> World:
    """A world in which nothing can be read or touched."""
    return World(target=target, prober=FixedProber(), at=lambda: AT)


# --- a real server ------------------------------------------------------------------------------


@dataclass(frozen=True)
class RealProber:
    dsn: str

    async def probe(self, *, deadline_s: float) -> Reach:
        return await probe(self.dsn, deadline_s=deadline_s)


def world_of(
    server: ScratchServer,
    root: Path,
    *,
    note: LockNote | None = None,
    sessions: Sequence[Sentinel | ActingSession] = (),
    **policy: Any,
) -> World:
    """Everything real for one throw-away server; `root` is a folder without signs of containers."""
    values: Mapping[str, Any] = {"name": TargetName("orders"), **policy}
    target = replace(TARGET, **values)
    data = str(server.data_directory)
    world = World(
        target=target,
        prober=RealProber(server.dsn("app")),
        at=lambda: datetime.now(UTC),
        host=LocalHost(
            data_directory=data,
            bin_dir=str(server.binaries.bin_dir),
            log_path=str(server.log_path),
            root=root,
        ),
        data_directory=data,
        log_directory=str(server.log_path.parent),
        manager=PgCtl(
            data_directory=data,
            bin_directory=str(server.binaries.bin_dir),
            log_file=str(server.log_path),
        ),
        files=LocalFiles(),
        app_login=PsycopgAppLogin(server.dsn("app"), writes=True),
        reader=next((s for s in sessions if isinstance(s, Sentinel)), None),
        visits=ActingVisits(server.dsn("stanch_act"), cluster=""),
        actor=next((s for s in sessions if isinstance(s, ActingSession)), None),
    )
    return replace(world, lock_note=note) if note else world


def note_of(server: ScratchServer) -> LockNote:
    """What the watch would have noted down while the server lived."""
    lines = (server.data_directory / "postmaster.pid").read_text().splitlines()
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return LockNote(boot_id=boot_id, pid=int(lines[0]), started_at_epoch_s=int(lines[2]))
