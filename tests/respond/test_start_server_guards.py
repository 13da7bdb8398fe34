"""Every guard of start_server: what must stop it, and the near miss that must not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from acting_worlds import (
    TARGET,
    HandClock,
    Log,
    authority,
    bare_world,
    cause,
    diagnosis,
    plan,
    step,
)
from stanch.facts.controldata import ClusterState, ControlData, parse_controldata
from stanch.facts.lock_file import (
    LockFile,
    LockFileState,
    LockFileVerdict,
)
from stanch.model.diagnosis import Missing
from stanch.model.events import StepEnded
from stanch.model.host import (
    DataDirectoryProcesses,
    FileHolder,
    FileHolds,
    ProcessInfo,
    Volume,
    VolumeUse,
)
from stanch.model.ids import PersonId
from stanch.model.plans import Lift
from stanch.model.ports.acting import Job, ManagerStatus
from stanch.model.rules import RuleChange
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.actions.start_server.guards import (
    GUARDS,
    StartReadings,
    may_start,
)
from stanch.respond.actions.start_server.run import START_SERVER
from stanch.respond.planner import digest_of
from stanch.respond.reading.run import LockReading
from stanch.steps.never import overridden
from stanch.steps.run import Clocks, answer_guards, execute

STEP = step("start_server", data_directory="/data", system_identifier="42")
GONE = Missing(what="it", reason="permission denied")
GB = 1 << 30


def process(pid: int = 100, **changes: Any) -> ProcessInfo:
    known = ProcessInfo(
        pid=pid,
        ppid=1,
        started_at=None,
        exe="/usr/bin/sleep",
        cwd="/",
        title="sleep 60",
        state="sleeping",
        uid=101,
    )
    return replace(known, **changes)


def control(**changes: Any) -> ControlData:
    known = parse_controldata(
        "Database cluster state:  in production\nDatabase system identifier:  42\n"
        "Bytes per WAL segment:  16777216\n"
    )
    return replace(known, **changes)


def clean() -> ControlData:
    return parse_controldata(
        "Database cluster state:  shut down\nDatabase system identifier:  42\n"
    )


def volume(use: VolumeUse = VolumeUse.DATA, **changes: Any) -> Volume:
    known = Volume(
        use=use,
        path="/data",
        mount_point="/",
        device="/dev/vda",
        fs_type="ext4",
        total_bytes=100 * GB,
        free_bytes=50 * GB,
        inodes_total=None,
        inodes_free=None,
        network=False,
        read_only=False,
    )
    return replace(known, **changes)


MANAGER = ManagerStatus(
    restarts_by_itself=False,
    other_manager="",
    jobs=(),
    markers=(),
    may_act=True,
    owner_uid=101,
)

PROCESSES = DataDirectoryProcesses(postmaster=None, members=(), orphans=(), holders=())


def lock(holder: ProcessInfo | Missing | None) -> LockReading:
    return LockReading(
        lock=LockFile(pid=100),
        inode=5,
        sha256="f" * 64,
        path="/data/postmaster.pid",
        content=b"100\n",
        process=holder,
        verdict=LockFileVerdict(state=LockFileState.UNPROVEN, proofs=()),
    )


GOOD = StartReadings(
    target=TARGET,
    manager=MANAGER,
    processes=PROCESSES,
    file_holds=FileHolds(held=(), files=900, complete=True),
    lock=lock(None),
    control=control(),
    volumes=(volume(), volume(VolumeUse.WAL)),
    corruption=(),
)

UNMANAGED = replace(TARGET, desired="unmanaged")

STOPS: list[tuple[str, str, Callable[[], StartReadings]]] = [
    ("the manager cannot be asked", "manager_known", lambda: replace(GOOD, manager=GONE)),
    (
        "the container was made anew under its name",
        "same_container",
        lambda: replace(GOOD, manager=replace(MANAGER, container="e" * 64)),
    ),
    (
        "another running container has its volume",
        "volume_alone",
        lambda: replace(GOOD, manager=replace(MANAGER, shared_with=("shop-db-2",))),
    ),
    (
        "who else has its volume cannot be told",
        "volume_alone",
        lambda: replace(GOOD, manager=replace(MANAGER, shared_with=GONE)),
    ),
    (
        "somebody stopped a container that its engine keeps up",
        "clean_stop_unordered",
        lambda: replace(GOOD, manager=replace(MANAGER, stopped_by_hand=True), target=UNMANAGED),
    ),
    (
        "Stanch may not start it",
        "manager_known",
        lambda: replace(GOOD, manager=replace(MANAGER, may_act=False)),
    ),
    ("processes cannot be read", "no_live_postmaster", lambda: replace(GOOD, processes=GONE)),
    (
        "a postmaster is alive",
        "no_live_postmaster",
        lambda: replace(GOOD, processes=replace(PROCESSES, postmaster=process(7))),
    ),
    (
        "somebody has files open",
        "no_live_postmaster",
        lambda: replace(
            GOOD,
            processes=replace(
                PROCESSES, holders=(FileHolder(pid=9, title="cp", files=("/data",)),)
            ),
        ),
    ),
    (
        "somebody who is not shown has files open",
        "no_live_postmaster",
        lambda: replace(
            GOOD, file_holds=FileHolds(held=("/data/PG_VERSION",), files=899, complete=False)
        ),
    ),
    ("the lock file cannot be read", "lock_free", lambda: replace(GOOD, lock=GONE)),
    (
        "the owner's program has its PID",
        "lock_free",
        lambda: replace(GOOD, lock=lock(process(uid=101))),
    ),
    (
        "nobody knows whose program has its PID",
        "lock_free",
        lambda: replace(GOOD, lock=lock(process(uid=None))),
    ),
    ("its PID cannot be looked at", "lock_free", lambda: replace(GOOD, lock=lock(GONE))),
    (
        "its files belong to another user than it ran as",
        "same_owner",
        lambda: replace(GOOD, owner_uid=65534),
    ),
    (
        "nobody knows whose its files are",
        "same_owner",
        lambda: replace(GOOD, owner_uid=101, manager=replace(MANAGER, owner_uid=None)),
    ),
    ("control data cannot be read", "same_cluster", lambda: replace(GOOD, control=GONE)),
    (
        "it is another cluster",
        "same_cluster",
        lambda: replace(GOOD, control=control(system_identifier="43")),
    ),
    (
        "another cluster lies where ours ran, and the plan was made from it",
        "same_cluster",
        lambda: replace(GOOD, cluster="41"),
    ),
    (
        "it was stopped cleanly and nothing wants it running",
        "clean_stop_unordered",
        lambda: replace(GOOD, control=clean(), target=UNMANAGED),
    ),
    (
        "how it ended cannot be told",
        "clean_stop_unordered",
        lambda: replace(GOOD, control=control(state=None)),
    ),
    (
        "Patroni owns it",
        "no_other_manager",
        lambda: replace(GOOD, manager=replace(MANAGER, other_manager="Patroni (process 9)")),
    ),
    (
        "an upgrade is running",
        "no_jobs",
        lambda: replace(GOOD, manager=replace(MANAGER, jobs=(Job(pid=9, command="pg_upgrade"),))),
    ),
    (
        "a restore did not end",
        "no_markers",
        lambda: replace(GOOD, manager=replace(MANAGER, markers=("recovery.signal",))),
    ),
    (
        "a standby was stopped cleanly",
        "no_markers",
        lambda: replace(
            GOOD, control=clean(), manager=replace(MANAGER, markers=("standby.signal",))
        ),
    ),
    (
        "a primary died and would come back as a standby",
        "no_markers",
        lambda: replace(GOOD, manager=replace(MANAGER, markers=("standby.signal",))),
    ),
    (
        "how a server with a standby's marker last ran is not clear",
        "no_markers",
        lambda: replace(
            GOOD,
            control=control(state=ClusterState.IN_CRASH_RECOVERY),
            manager=replace(MANAGER, markers=("standby.signal",)),
        ),
    ),
    ("the log cannot be read", "no_corruption_signs", lambda: replace(GOOD, corruption=GONE)),
    (
        "the log speaks of damage",
        "no_corruption_signs",
        lambda: replace(GOOD, corruption=("PANIC: could not fsync",)),
    ),
    (
        "the control file is damaged",
        "clean_stop_unordered",
        lambda: replace(GOOD, control=control(crc_wrong=True)),
    ),
    ("a volume cannot be read", "room_for_wal", lambda: replace(GOOD, volumes=(GONE,))),
    (
        "the WAL volume is full",
        "room_for_wal",
        lambda: replace(GOOD, volumes=(volume(), volume(VolumeUse.WAL, free_bytes=GB >> 6))),
    ),
    (
        "the data volume is read-only",
        "room_for_wal",
        lambda: replace(GOOD, volumes=(volume(read_only=True),)),
    ),
    ("no volume was looked at", "room_for_wal", lambda: replace(GOOD, volumes=())),
]

NEAR_MISSES: list[tuple[str, StartReadings]] = [
    (
        "somebody stopped it, and policy wants it running",
        replace(GOOD, manager=replace(MANAGER, stopped_by_hand=True)),
    ),
    ("the cluster that ran lies there", replace(GOOD, cluster="42")),
    ("its files belong to the user it ran as", replace(GOOD, owner_uid=101)),
    ("everything is as it should be", GOOD),
    ("there is no lock file", replace(GOOD, lock=None)),
    ("another user's program has the PID", replace(GOOD, lock=lock(process(uid=0)))),
    ("the dead server is not collected yet", replace(GOOD, lock=lock(process(state="zombie")))),
    ("it was stopped cleanly and should be running", replace(GOOD, control=clean())),
    ("it died and nothing says it should run", replace(GOOD, target=UNMANAGED)),
    (
        "a standby died",
        replace(
            GOOD,
            control=control(state=ClusterState.IN_ARCHIVE_RECOVERY),
            manager=replace(MANAGER, markers=("standby.signal",)),
        ),
    ),
    (
        "children of the dead server are still leaving",
        replace(
            GOOD,
            processes=replace(
                PROCESSES,
                orphans=(process(9, title="postgres: app"),),
                holders=(FileHolder(pid=9, title="postgres: app", files=("/data",)),),
            ),
        ),
    ),
    (
        "the log volume is full",
        replace(GOOD, volumes=(volume(), volume(VolumeUse.LOG, free_bytes=0))),
    ),
    (
        "little room, but enough for small WAL segments",
        replace(
            GOOD,
            target=replace(TARGET, rules={"disk_full": RuleChange(kind="disk_full", limit=0.0)}),
            control=control(wal_segment_bytes=1 << 20),
            volumes=(volume(free_bytes=3 << 20),),
        ),
    ),
]


@pytest.mark.parametrize(("_why", "guard", "make"), STOPS, ids=[why for why, _, _ in STOPS])
def test_it_is_not_started_when(_why: str, guard: str, make: Callable[[], StartReadings]) -> None:
    refusal = may_start(STEP, make())
    assert refusal is not None
    assert refusal.guard == guard
    assert refusal.reason


@pytest.mark.parametrize(("_why", "seen"), NEAR_MISSES, ids=[why for why, _ in NEAR_MISSES])
def test_it_may_be_started_when(_why: str, seen: StartReadings) -> None:
    assert may_start(STEP, seen) is None


def test_who_has_files_open_is_named_with_one_of_them() -> None:
    holder = FileHolder(pid=9, title="tar c " + "x" * 500, files=("/data/base/1/2",))
    refusal = may_start(STEP, replace(GOOD, processes=replace(PROCESSES, holders=(holder,))))
    assert refusal is not None
    assert "process 9 (tar c" in refusal.reason
    assert "/data/base/1/2" in refusal.reason
    assert len(refusal.reason) < 200


def test_every_guard_but_the_ones_about_ports_is_tested_here() -> None:
    assert {g.name for g in GUARDS} - {guard for _, guard, _ in STOPS} == {"host"}


async def test_without_host_access_it_is_refused() -> None:
    refusal = await START_SERVER.check(STEP, bare_world())
    assert refusal is not None
    assert refusal.guard == "host"


# --- what a person overrides --------------------------------------------------------------------

DAMAGE = "PANIC: invalid page in block 7"
DAMAGED = replace(GOOD, corruption=(DAMAGE,))
STOPPED = replace(GOOD, target=UNMANAGED, control=clean())


def lift(guard: str, about: str = "") -> Lift:
    return Lift(
        guard=guard,
        action="start_server",
        about=about,
        reason="it was refused",
        by=PersonId("ann"),
        why="the shop needs it back",
    )


def test_only_a_stop_in_order_and_signs_of_damage_yield() -> None:
    names = {a.name: [g.name for g in a.guards if g.yields] for a in CATALOGUE.values()}
    assert {name: found for name, found in names.items() if found} == {
        "start_server": ["clean_stop_unordered", "no_corruption_signs"]
    }


def test_the_very_no_that_was_overridden_is_passed_and_the_guards_behind_it_are_asked() -> None:
    assert may_start(STEP, STOPPED) is not None
    assert may_start(STEP, STOPPED, (lift("clean_stop_unordered"),)) is None
    assert may_start(STEP, DAMAGED, (lift("no_corruption_signs", DAMAGE),)) is None
    both = replace(STOPPED, corruption=(DAMAGE,))
    left = may_start(STEP, both, (lift("clean_stop_unordered"),))
    assert left is not None
    assert left.guard == "no_corruption_signs"
    full = replace(DAMAGED, volumes=(volume(free_bytes=1),))
    behind = may_start(STEP, full, (lift("no_corruption_signs", DAMAGE),))
    assert behind is not None
    assert behind.guard == "room_for_wal"


@pytest.mark.parametrize(
    ("seen", "guard", "about"),
    [
        (
            replace(DAMAGED, corruption=("PANIC: could not read block 8",)),
            "no_corruption_signs",
            DAMAGE,
        ),
        (replace(DAMAGED, corruption=GONE), "no_corruption_signs", ""),
        (replace(DAMAGED, control=control(crc_wrong=True)), "no_corruption_signs", DAMAGE),
        (replace(STOPPED, control=control(state=None)), "clean_stop_unordered", ""),
        (replace(STOPPED, control=GONE), "clean_stop_unordered", ""),
    ],
    ids=["other damage", "log not read", "control file wrong", "end not known", "not read"],
)
def test_another_no_of_the_same_guard_and_one_without_an_answer_still_hold(
    seen: StartReadings, guard: str, about: str
) -> None:
    refusal = may_start(STEP, seen, (lift(guard, about), lift("same_cluster")))
    assert refusal is not None


def test_a_lift_of_what_yields_to_nobody_is_none_whoever_wrote_it() -> None:
    forged = (lift("same_cluster"), lift("no_live_postmaster"), lift("no_corruption_signs"))
    assert [x.guard for x in overridden(forged, START_SERVER)] == ["no_corruption_signs"]
    assert overridden((lift("policy"),), CATALOGUE["free_space"]) == (), "of another action"


async def test_the_executor_passes_a_lifted_diagnosis_and_no_other() -> None:
    torn = replace(cause("page_corruption"), forbids=("start_server",))
    gone = replace(cause("data_files_removed"), forbids=("start_server",))
    world = replace(bare_world(), diagnosis=diagnosis(torn))
    lifted = (lift("diagnosis", "page_corruption"),)
    plain = await answer_guards(STEP, START_SERVER, world=world)
    assert plain is not None
    assert plain.guard == "diagnosis"
    passed = await answer_guards(STEP, START_SERVER, world=replace(world, lifted=lifted))
    assert passed is not None
    assert passed.guard == "host", "its own guards are asked all the same"
    news = replace(world, lifted=lifted, diagnosis=diagnosis(torn, gone))
    other = await answer_guards(STEP, START_SERVER, world=news)
    assert other is not None
    assert (other.guard, other.about) == ("diagnosis", "data_files_removed")


async def test_a_plan_hands_its_lifts_to_its_own_steps_only() -> None:
    torn = replace(cause("page_corruption"), forbids=("start_server",))
    world = replace(bare_world(), diagnosis=diagnosis(torn))
    refused: list[str] = []
    for lifted in ((), (lift("diagnosis", "page_corruption"),)):
        clock, log = HandClock(), Log()
        await execute(
            STEP,
            replace(plan(STEP), lifted=lifted),
            action=START_SERVER,
            attempt=1,
            authority=authority(clock),
            world=world,
            record=log,
            clocks=Clocks(boot=clock, at=clock.at),
        )
        ended = log.events[-1]
        assert isinstance(ended, StepEnded)
        assert ended.refusal is not None
        refused.append(ended.refusal.guard)
    assert refused == ["diagnosis", "host"]


def test_a_plan_without_lifts_keeps_the_digest_it_always_had_and_each_lift_changes_it() -> None:
    digests = [
        digest_of("b", "c", [STEP], lifted)
        for lifted in ((), (lift("policy"),), (lift("policy", "x"),), (lift("diagnosis"),))
    ]
    assert len(set(digests)) == 4
    assert digests[0] == digest_of("b", "c", [STEP])
