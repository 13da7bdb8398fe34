"""Acts on containers: every guard with what stops it and the near miss, and each act by its id."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast

import pytest

from acting_worlds import AT, TARGET, always, bare_world, cause, permits, step
from stanch.facts.controldata import parse_controldata
from stanch.facts.machines.engine import parse_engine
from stanch.model.containers import ContainerSeen, MachineMemory, Mounted, share
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed
from stanch.model.host import LockFileRead, LogChunk, LogPosition
from stanch.model.ids import TargetName
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.host import HostReader
from stanch.model.ports.server import Acted
from stanch.policy.hosts import DockerHost
from stanch.policy.patroni import PatroniSource
from stanch.policy.policy import TargetPolicy
from stanch.respond.actions.raise_container_memory import guards as memory
from stanch.respond.actions.raise_container_memory.run import RAISE_CONTAINER_MEMORY
from stanch.respond.actions.restart_compose_service import guards as service
from stanch.respond.actions.restart_compose_service.run import RESTART_COMPOSE_SERVICE
from stanch.respond.actions.restart_container import guards as restart
from stanch.respond.actions.restart_container.run import RESTART_CONTAINER
from stanch.steps.action import Action, Guard, Verification
from stanch.steps.world import World

MIB = 1 << 20
ID, OTHER = "c" * 64, "d" * 64
STARTED = "2026-03-14T07:00:00.123456+00:00"
LATER = (AT + timedelta(seconds=1)).isoformat()
GONE = Missing(what="it", reason="permission denied")
DATA = Mounted(
    volume="shop_data",
    source="/var/lib/docker/volumes/shop_data/_data",
    destination="/data",
    writable=True,
)
SEEN = ContainerSeen(
    id=ID,
    name="shop-db-1",
    image_id="sha256:1",
    status="running",
    started_at=STARTED,
    exit_code=0,
    oom_killed=False,
    restart_policy="unless-stopped",
    memory_bytes=512 * MIB,
    swap_bytes=512 * MIB,
    mounts=(DATA,),
    stop_signal="SIGINT",
    stop_wait_s=None,
    has_init=False,
    project="shop",
    service="db",
    one_off=False,
    keeper="",
)
APP = replace(SEEN, id=OTHER, name="shop-app-1", service="app", mounts=())
POLICY = DockerHost(compose_service="db", memory_max_bytes=1024 * MIB, services=("app",))
ON = replace(TARGET, host=POLICY)
RIVAL = PatroniSource(url="http://db1.example.com:8008")

RAISE = step(
    "raise_container_memory",
    container_id=ID,
    image_id="sha256:1",
    limit_bytes=512 * MIB,
    memory_bytes=768 * MIB,
)
RESTART = step(
    "restart_container",
    deadline_s=120.0,
    container_id=ID,
    image_id="sha256:1",
    started_at=STARTED,
    system_identifier="42",
)
SERVICE = step("restart_compose_service", deadline_s=30.0, service="app")

ROOM = memory.MemoryReadings(
    container=SEEN,
    used_bytes=500 * MIB,
    machine=MachineMemory(total_bytes=8192 * MIB, available_bytes=4096 * MIB),
    titles=("postgres",),
    target=ON,
)
LOCK = LockFileRead(
    path="/data/postmaster.pid", content=b"1\n/data\n", device=0, inode=0, modified_at=AT
)
REST = restart.RestartReadings(
    container=SEEN,
    shared_with=(),
    titles=("postgres", "postgres: checkpointer", "postgres: app shop [local] idle"),
    lock=LOCK,
    control=parse_controldata(
        "Database cluster state:  in production\nDatabase system identifier:  42\n"
    ),
    corruption=(),
    target=ON,
)
BESIDE = service.ServiceReadings(
    server=SEEN, data_directory="/data", containers=(APP,), target=ON, planned_at=AT
)


def changed(one: PlannedStep, **params: Any) -> PlannedStep:
    return replace(one, params=tuple(sorted({**dict(one.params), **params}.items())))


def on(**changes: Any) -> TargetPolicy:
    return replace(ON, host=replace(POLICY, **changes))


def box(**changes: Any) -> ContainerSeen:
    return replace(SEEN, **changes)


# --- raising the memory limit ---------------------------------------------------------------------

RAISE_STOPS: list[tuple[str, str, PlannedStep, memory.MemoryReadings]] = [
    ("the engine does not answer", "same_container", RAISE, replace(ROOM, container=GONE)),
    ("it is gone", "same_container", RAISE, replace(ROOM, container=None)),
    ("it was made anew", "same_container", RAISE, replace(ROOM, container=box(id=OTHER))),
    ("another image", "same_container", RAISE, replace(ROOM, container=box(image_id="sha256:2"))),
    ("somebody raised it", "same_limit", RAISE, replace(ROOM, container=box(memory_bytes=1))),
    ("it has no limit", "same_limit", RAISE, replace(ROOM, container=box(memory_bytes=0))),
    ("it would shrink", "only_raises", changed(RAISE, memory_bytes=511 * MIB), ROOM),
    ("it would stay", "only_raises", changed(RAISE, memory_bytes=512 * MIB), ROOM),
    ("it uses more", "only_raises", RAISE, replace(ROOM, used_bytes=800 * MIB)),
    ("what it uses is not known", "only_raises", RAISE, replace(ROOM, used_bytes=GONE)),
    ("five times as much", "only_raises", changed(RAISE, memory_bytes=2560 * MIB), ROOM),
    ("policy names no limit", "within_policy", RAISE, replace(ROOM, target=on(memory_max_bytes=0))),
    ("more than policy", "within_policy", changed(RAISE, memory_bytes=1025 * MIB), ROOM),
    ("the machine is unknown", "machine_has_room", RAISE, replace(ROOM, machine=GONE)),
    (
        "the machine has it, but no reserve",
        "machine_has_room",
        RAISE,
        replace(ROOM, machine=MachineMemory(total_bytes=2560 * MIB, available_bytes=511 * MIB)),
    ),
    (
        "the machine is not larger",
        "machine_has_room",
        RAISE,
        replace(ROOM, machine=MachineMemory(total_bytes=1023 * MIB, available_bytes=1023 * MIB)),
    ),
    ("Swarm keeps it", "no_other_manager", RAISE, replace(ROOM, container=box(keeper="Swarm"))),
    ("its processes do not show", "no_other_manager", RAISE, replace(ROOM, titles=GONE)),
    (
        "Patroni runs in it",
        "no_other_manager",
        RAISE,
        replace(ROOM, titles=("/usr/bin/python3 /usr/bin/patroni /etc/patroni.yml",)),
    ),
    (
        "policy knows of Patroni",
        "no_other_manager",
        RAISE,
        replace(ROOM, target=replace(ON, patroni=RIVAL)),
    ),
]
RAISE_GOES = [
    ("as planned", RAISE, ROOM),
    ("all that policy allows", changed(RAISE, memory_bytes=1024 * MIB), ROOM),
    (
        "just enough on the machine",
        RAISE,
        replace(ROOM, machine=MachineMemory(total_bytes=2560 * MIB, available_bytes=512 * MIB)),
    ),
    ("a role is called so", RAISE, replace(ROOM, titles=("postgres: patronis shop idle",))),
    ("a shell speaks of it", RAISE, replace(ROOM, titles=("sh -c pgrep patroni x",))),
]


@pytest.mark.parametrize(("_name", "guard", "one", "seen"), RAISE_STOPS)
def test_a_limit_is_left_where_a_guard_says_no(
    _name: str, guard: str, one: PlannedStep, seen: memory.MemoryReadings
) -> None:
    refused = memory.may_raise(one, seen)
    assert isinstance(refused, Refusal)
    assert refused.guard == guard
    assert refused.reason.isprintable()


@pytest.mark.parametrize(("_name", "one", "seen"), RAISE_GOES)
def test_a_limit_may_be_raised_where_all_say_yes(
    _name: str, one: PlannedStep, seen: memory.MemoryReadings
) -> None:
    assert memory.may_raise(one, seen) == SEEN


@pytest.mark.parametrize(
    ("swap", "new"),
    [(512 * MIB, 768 * MIB), (1024 * MIB, 1280 * MIB), (-1, -1), (0, 0), (256 * MIB, 768 * MIB)],
)
def test_a_container_may_swap_as_much_as_before(swap: int, new: int) -> None:
    assert memory.swap_bytes(box(swap_bytes=swap), 768 * MIB) == new


# --- restarting the container ---------------------------------------------------------------------

RESTART_STOPS: list[tuple[str, str, PlannedStep, restart.RestartReadings]] = [
    ("it was made anew", "same_container", RESTART, replace(REST, container=box(id=OTHER))),
    ("a restart runs", "same_life", RESTART, replace(REST, container=box(status="restarting"))),
    ("it is down", "same_life", RESTART, replace(REST, container=box(status="exited"))),
    ("it is paused", "same_life", RESTART, replace(REST, container=box(status="paused"))),
    ("it was restarted", "same_life", RESTART, replace(REST, container=box(started_at=LATER))),
    ("nobody knows since when", "same_life", RESTART, replace(REST, container=box(started_at=""))),
    ("no word of its life", "same_life", changed(RESTART, started_at="x"), REST),
    ("another cluster", "same_cluster", changed(RESTART, system_identifier="43"), REST),
    ("the control file is hidden", "same_cluster", RESTART, replace(REST, control=GONE)),
    ("its volume is shared", "volume_alone", RESTART, replace(REST, shared_with=("x",))),
    ("who shares is not known", "volume_alone", RESTART, replace(REST, shared_with=GONE)),
    ("SIGTERM waits", "fast_shutdown", RESTART, replace(REST, container=box(stop_signal=""))),
    ("SIGQUIT", "fast_shutdown", RESTART, replace(REST, container=box(stop_signal="SIGQUIT"))),
    (
        "a shell is first",
        "fast_shutdown",
        RESTART,
        replace(REST, lock=replace(LOCK, content=b"7\n")),
    ),
    ("no server runs in it", "fast_shutdown", RESTART, replace(REST, lock=None)),
    ("the lock file is hidden", "fast_shutdown", RESTART, replace(REST, lock=GONE)),
    ("SIGKILL comes early", "time_to_stop", replace(RESTART, deadline_s=74.0), REST),
    (
        "it is given longer by itself",
        "time_to_stop",
        RESTART,
        replace(REST, container=box(stop_wait_s=106)),
    ),
    (
        "a base backup is sent",
        "no_jobs",
        RESTART,
        replace(REST, titles=('postgres: walsender rep 10.0.0.1(4711) sending backup "x"',)),
    ),
    ("a dump runs", "no_jobs", RESTART, replace(REST, titles=("postgres: app shop [local] COPY",))),
    ("a copy runs", "no_jobs", RESTART, replace(REST, titles=("/usr/bin/tar cf x /data",))),
    ("processes are hidden", "no_jobs", RESTART, replace(REST, titles=GONE)),
    (
        "the log speaks of damage",
        "no_corruption_signs",
        RESTART,
        replace(REST, corruption=("PANIC: could not fsync",)),
    ),
    ("the log is hidden", "no_corruption_signs", RESTART, replace(REST, corruption=GONE)),
    (
        "the control file is damaged",
        "no_corruption_signs",
        RESTART,
        replace(
            REST,
            control=replace(parse_controldata("Database system identifier:  42\n"), crc_wrong=True),
        ),
    ),
    ("Swarm keeps it", "no_other_manager", RESTART, replace(REST, container=box(keeper="Swarm"))),
]
RESTART_GOES = [
    ("as planned", RESTART, REST),
    ("time enough", replace(RESTART, deadline_s=75.0), REST),
    ("given as long by itself", RESTART, replace(REST, container=box(stop_wait_s=105))),
    (
        "an init hands signals on",
        RESTART,
        replace(REST, container=box(has_init=True), lock=replace(LOCK, content=b"7\n")),
    ),
    ("a table called so", RESTART, replace(REST, titles=("postgres: copyist shop idle",))),
]


@pytest.mark.parametrize(("_name", "guard", "one", "seen"), RESTART_STOPS)
def test_a_container_is_not_restarted_where_a_guard_says_no(
    _name: str, guard: str, one: PlannedStep, seen: restart.RestartReadings
) -> None:
    refused = restart.may_restart(one, seen)
    assert isinstance(refused, Refusal)
    assert refused.guard == guard


@pytest.mark.parametrize(("_name", "one", "seen"), RESTART_GOES)
def test_a_container_may_be_restarted_where_all_say_yes(
    _name: str, one: PlannedStep, seen: restart.RestartReadings
) -> None:
    assert isinstance(restart.may_restart(one, seen), ContainerSeen)


# --- restarting a service -------------------------------------------------------------------------

SERVICE_STOPS: list[tuple[str, str, PlannedStep, service.ServiceReadings]] = [
    ("policy does not name it", "named_service", changed(SERVICE, service="web"), BESIDE),
    ("a name as a list", "named_service", changed(SERVICE, service="app,db"), BESIDE),
    (
        "policy names the server's own",
        "named_service",
        changed(SERVICE, service="db"),
        replace(BESIDE, target=on(services=("db",))),
    ),
    ("the server's is not known", "not_the_server", SERVICE, replace(BESIDE, server=GONE)),
    ("the server's is gone", "not_the_server", SERVICE, replace(BESIDE, server=None)),
    (
        "its data is nowhere known",
        "not_the_server",
        SERVICE,
        replace(BESIDE, data_directory=""),
    ),
    ("no project", "same_project", SERVICE, replace(BESIDE, server=box(project=""))),
    ("no answer", "same_project", SERVICE, replace(BESIDE, containers=GONE)),
    (
        "another project's",
        "same_project",
        SERVICE,
        replace(BESIDE, containers=(replace(APP, project="other"),)),
    ),
    (
        "the server's own id",
        "not_the_server",
        SERVICE,
        replace(BESIDE, containers=(replace(APP, id=ID),)),
    ),
    (
        "it may write to the server's data",
        "not_the_server",
        SERVICE,
        replace(BESIDE, containers=(replace(APP, mounts=(DATA,)),)),
    ),
    (
        "Swarm keeps it",
        "no_other_manager",
        SERVICE,
        replace(BESIDE, containers=(replace(APP, keeper="Docker Swarm"),)),
    ),
    (
        "one is being restarted",
        "at_rest",
        SERVICE,
        replace(BESIDE, containers=(APP, replace(APP, status="restarting"))),
    ),
    (
        "none runs",
        "some_left",
        SERVICE,
        replace(BESIDE, containers=(replace(APP, status="exited"),)),
    ),
    (
        "all began anew",
        "some_left",
        SERVICE,
        replace(BESIDE, containers=(replace(APP, started_at=LATER),)),
    ),
    ("no plan", "some_left", SERVICE, replace(BESIDE, planned_at=None)),
    ("too many", "some_left", SERVICE, replace(BESIDE, containers=(APP,) * 21)),
]


@pytest.mark.parametrize(("_name", "guard", "one", "seen"), SERVICE_STOPS)
def test_a_service_is_left_where_a_guard_says_no(
    _name: str, guard: str, one: PlannedStep, seen: service.ServiceReadings
) -> None:
    refused = service.may_restart(one, seen)
    assert isinstance(refused, Refusal)
    assert refused.guard == guard


def test_of_a_service_those_that_run_and_belong_to_it_are_restarted() -> None:
    beside = (
        replace(APP, mounts=(replace(DATA, writable=False),)),
        replace(APP, id="e" * 64, status="exited"),
        replace(APP, id="f" * 64, one_off=True, status="paused"),
        replace(APP, id="a" * 64, started_at=LATER),
    )
    found = service.may_restart(SERVICE, replace(BESIDE, containers=beside))
    assert found == beside[:1], "one that is down, a run beside, one begun anew are left alone"


@pytest.mark.parametrize(
    ("guards", "stops", "known"),
    [
        (memory.GUARDS, RAISE_STOPS, {"engine"}),
        (restart.GUARDS, RESTART_STOPS, {"engine"}),
        (service.GUARDS, SERVICE_STOPS, {"engine"}),
    ],
)
def test_every_guard_is_tested_here(
    guards: tuple[Guard, ...], stops: list[tuple[str, str, Any, Any]], known: set[str]
) -> None:
    assert {guard.name for guard in guards} == {stop[1] for stop in stops} | known


# --- acting ---------------------------------------------------------------------------------------


@dataclass
class FakeEngine:
    """Containers by id; each act changes them as an engine would, or answers what it is told."""

    own: str = ID
    boxes: dict[str, ContainerSeen] = field(default_factory=lambda: {ID: SEEN, OTHER: APP})
    answers: list[Acted] = field(default_factory=list[Acted])
    asked: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    hangs: bool = False

    async def container(self) -> ContainerSeen | Missing | None:
        return self.boxes.get(self.own)

    async def by_id(self, container_id: str) -> ContainerSeen | Missing | None:
        return self.boxes.get(container_id)

    async def of_service(self, project: str, service: str) -> tuple[ContainerSeen, ...] | Missing:
        named = (project, service)
        return tuple(c for c in self.boxes.values() if (c.project, c.service) == named)

    async def sharing(
        self, container: ContainerSeen, data_directory: str
    ) -> tuple[str, ...] | Missing:
        return ()

    async def commands(self, container_id: str) -> tuple[str, ...] | Missing:
        return ("postgres",)

    async def used_bytes(self, container_id: str) -> int | Missing:
        return 100 * MIB

    async def machine_memory(self) -> MachineMemory | Missing:
        return MachineMemory(total_bytes=8192 * MIB, available_bytes=4096 * MIB)

    async def start(self, container_id: str, *, deadline_s: float) -> Acted:
        return self._told("start", container_id)

    async def restart(self, container_id: str, *, wait_s: int | None, deadline_s: float) -> Acted:
        acted = self._told("restart", container_id, wait_s)
        if acted.outcome == "done":
            self.boxes[container_id] = replace(self.boxes[container_id], started_at=LATER)
        return acted

    async def set_memory(
        self, container_id: str, *, memory_bytes: int, swap_bytes: int, deadline_s: float
    ) -> Acted:
        acted = self._told("memory", container_id, memory_bytes, swap_bytes)
        if acted.outcome == "done":
            old = self.boxes[container_id]
            self.boxes[container_id] = replace(old, memory_bytes=memory_bytes)
        return acted

    def _told(self, *what: Any) -> Acted:
        self.asked.append(what)
        return self.answers.pop(0) if self.answers else Acted(outcome="done")


def world(engine: FakeEngine, target: TargetPolicy = ON) -> World:
    return replace(bare_world(target), engine=engine, data_directory="/data", planned_at=AT)


async def looked(action: Action, one: PlannedStep, at: World) -> Verification:
    return await action.verify(one, at)


async def test_a_raise_keeps_what_puts_it_back_and_is_seen() -> None:
    engine = FakeEngine()
    assert not (await looked(RAISE_CONTAINER_MEMORY, RAISE, world(engine))).ok
    report = await RAISE_CONTAINER_MEMORY.act(RAISE, world(engine), always)
    assert not isinstance(report, Refusal)
    assert engine.asked == [("memory", ID, 768 * MIB, 768 * MIB)]
    undo = f"docker update --memory {512 * MIB} --memory-swap {512 * MIB} {ID}"
    assert report.before == f"undo: {undo}"
    assert (await looked(RAISE_CONTAINER_MEMORY, RAISE, world(engine))).ok
    again = await RAISE_CONTAINER_MEMORY.act(RAISE, world(engine), always)
    assert isinstance(again, Refusal)
    assert again.guard == "same_limit"
    assert len(engine.asked) == 1


CONTAINER_ACTS = [(RAISE_CONTAINER_MEMORY, RAISE), (RESTART_COMPOSE_SERVICE, SERVICE)]


@pytest.mark.parametrize(("action", "one"), CONTAINER_ACTS)
async def test_a_halt_before_the_effect_and_a_missing_engine_touch_nothing(
    action: Action, one: PlannedStep
) -> None:
    engine = FakeEngine()
    halted = await action.act(one, world(engine), permits(0))
    assert isinstance(halted, Refusal)
    assert halted.guard == "halt"
    for asked in (
        await action.check(one, bare_world(ON)),
        await action.act(one, bare_world(ON), always),
    ):
        assert isinstance(asked, Refusal)
        assert asked.guard == "engine"
    assert not (await looked(action, one, bare_world(ON))).ok
    assert engine.asked == []
    assert await action.check(one, world(engine)) is None


@pytest.mark.parametrize(("action", "one"), CONTAINER_ACTS)
async def test_an_answer_that_does_not_come_is_in_doubt_and_a_no_is_a_failure(
    action: Action, one: PlannedStep
) -> None:
    doubt, refused = Acted(outcome="in_doubt"), Acted(outcome="failed", detail="no \x1b[31m")
    report = await action.act(one, world(FakeEngine(answers=[doubt])), always)
    assert not isinstance(report, Refusal)
    assert report.outcome is StepOutcome.IN_DOUBT
    with pytest.raises(ActionFailed) as caught:
        await action.act(one, world(FakeEngine(answers=[refused])), always)
    assert "\\x1b" in str(caught.value)


async def test_a_service_is_restarted_one_by_one_and_a_halt_between_leaves_the_rest() -> None:
    third = replace(APP, id="e" * 64, name="shop-app-2")
    engine = FakeEngine(boxes={ID: SEEN, OTHER: APP, third.id: third})
    with pytest.raises(ActionFailed, match="1 of 2"):
        await RESTART_COMPOSE_SERVICE.act(SERVICE, world(engine), permits(1))
    assert engine.asked == [("restart", OTHER, None)]
    seen = await looked(RESTART_COMPOSE_SERVICE, SERVICE, world(engine))
    assert (seen.ok, "shop-app-2" in seen.detail) == (False, True)
    report = await RESTART_COMPOSE_SERVICE.act(SERVICE, world(engine), always)
    assert not isinstance(report, Refusal)
    assert engine.asked[1:] == [("restart", third.id, None)], "what began anew is not done twice"
    assert (await looked(RESTART_COMPOSE_SERVICE, SERVICE, world(engine))).ok


class FakeHost:
    """What a restart asks the machine."""

    async def lock_file(self) -> LockFileRead:
        return LOCK

    async def controldata(self, *, deadline_s: float) -> str:
        return "Database system identifier:  42\n"

    async def log_tail(self, *, bytes_max: int) -> LogChunk:
        at = LogPosition(path="x", device=0, inode=0, offset=0)
        return LogChunk(path="x", content=b"", position=at)


async def test_a_restart_asks_the_permit_and_is_seen_by_another_life() -> None:
    engine = FakeEngine()
    at = replace(world(engine), host=cast("HostReader", FakeHost()))
    halted = await RESTART_CONTAINER.act(RESTART, at, permits(0))
    assert isinstance(halted, Refusal)
    assert (halted.guard, engine.asked) == ("halt", [])
    assert not (await looked(RESTART_CONTAINER, RESTART, at)).ok
    engine.answers = [Acted(outcome="in_doubt")]
    report = await RESTART_CONTAINER.act(RESTART, at, always)
    assert not isinstance(report, Refusal)
    assert report.outcome is StepOutcome.IN_DOUBT
    report = await RESTART_CONTAINER.act(RESTART, at, always)
    assert not isinstance(report, Refusal)
    assert engine.asked == [("restart", ID, 105)] * 2
    assert (await looked(RESTART_CONTAINER, RESTART, at)).ok
    again = await RESTART_CONTAINER.act(RESTART, at, always)
    assert isinstance(again, Refusal)
    assert again.guard == "same_life"


def test_what_is_known_beforehand_is_put_to_nobody() -> None:
    nowhere = replace(TARGET, name=TargetName("x"))
    for action, one in (*CONTAINER_ACTS, (RESTART_CONTAINER, RESTART)):
        refused = action.planning.withheld(one, cause("x"), nowhere)
        assert refused is not None
        assert refused.guard == "engine"
        assert action.planning.withheld(one, cause("x"), ON) is None
    found = RESTART_COMPOSE_SERVICE.planning.withheld(
        changed(SERVICE, service="x\n"), cause("x"), ON
    )
    assert found is not None
    assert found.guard == "named_service"
    assert found.reason.isprintable()
    assert RAISE_CONTAINER_MEMORY.planning.withheld(RAISE, cause("x"), on(memory_max_bytes=1))
    said = RAISE_CONTAINER_MEMORY.planning.preview(
        dict(RAISE.params), cause("x", container_name="a\nb")
    )
    assert said.isprintable()
    assert "Compose file stays" in said


# --- what an engine tells -------------------------------------------------------------------------


def test_who_may_write_where_the_data_lies_is_told_by_volume_and_by_folder() -> None:
    other = replace(DATA, source="/elsewhere", destination="/mnt")
    assert share([DATA], [other])
    assert share([DATA], [replace(DATA, volume="", source="/var/lib/docker")])
    assert share([DATA], [replace(DATA, volume="", source=f"{DATA.source}/pg_wal")])
    assert not share([DATA], [replace(DATA, volume="", source="/var/lib/docker/volumes/shop_da")])
    assert not share([DATA], [replace(other, writable=False)])


def test_the_mounts_of_a_folder_are_the_nearest_above_and_all_below() -> None:
    top, wal = replace(DATA, destination="/"), replace(DATA, destination="/data/pg_wal")
    beside = replace(DATA, destination="/database")
    seen = box(mounts=(top, beside, wal, DATA))
    assert seen.mounts_of("/data") == (DATA, wal)
    assert seen.mounts_of("/data/base") == (DATA,)
    assert box(mounts=(beside,)).mounts_of("/data") == ()


@pytest.mark.parametrize(
    "told",
    [{}, {"Id": "c" * 64}, {"Id": "short", "State": {"Status": "running"}}, {"Id": 1, "State": []}],
)
def test_an_engine_that_does_not_tell_a_full_id_and_a_state_tells_nothing(
    told: dict[str, object],
) -> None:
    assert isinstance(parse_engine(told), Missing)


def test_a_container_that_never_ran_and_one_of_swarm_are_known() -> None:
    told = {
        "Id": ID,
        "State": {"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"},
        "Config": {"Labels": {"com.docker.swarm.service.id": "x"}},
    }
    seen = parse_engine(told)
    assert isinstance(seen, ContainerSeen)
    assert (seen.started_at, seen.keeper, seen.memory_bytes) == ("", "Docker Swarm", 0)
