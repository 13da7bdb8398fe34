"""Where a target lives: found while it runs, known when it does not, also to a later process."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from samplings import Watched as Rules
from stanch.adapters.hosts.manager import PgCtl
from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.incident.state import Incident
from stanch.model.diagnosis import Missing
from stanch.model.ids import IncidentId, StepId, TargetName
from stanch.model.plans import Mode, PlannedStep, Refusal
from stanch.model.reach import ReachState
from stanch.model.samples import Sample
from stanch.policy.policy import TargetPolicy
from stanch.respond.actions.start_server.run import START_SERVER
from stanch.service.clock import SteadyClock
from stanch.service.watched.diagnosing import Located
from stanch.service.watched.home import Home, HomeFinder
from stanch.service.watched.noting import read_note, write_note
from stanch.service.watched.target import Watched
from stanch.store.statedir import StateDir

pytestmark = pytest.mark.parametrize("pg_major", [15], indirect=True)

INCIDENT = Incident(id=IncidentId("20260301-001"))


def target(server: ScratchServer, port: int | None = None) -> TargetPolicy:
    dsn = server.dsn("stanch_watch", port=port or server.port)
    return TargetPolicy(name=TargetName("orders"), dsn=dsn, manager="pg_ctl", desired="running")


def watched(policy: TargetPolicy, state: Path) -> Watched:
    async def no_doubts() -> tuple[str, ...]:
        return ()

    return Watched(policy, clock=SteadyClock(), state=StateDir(path=state), doubts=no_doubts)


class Enough(Exception):
    """The watch has told what was waited for."""


async def watch_until_noted(policy: TargetPolicy, state: Path) -> None:
    """Watch as `stanch run` does, until the first reading, before which the note is written."""

    async def emit(sample: Sample) -> None:
        if sample.vitals is not None:
            raise Enough

    one = watched(policy, state)
    try:
        with pytest.raises(ExceptionGroup) as told:
            await one.run(emit)
    finally:
        await one.close()
    assert told.group_contains(Enough)


def known_to(one: Watched) -> tuple[str, bool, bool]:
    """What its hands would work with: folder, whether there is a manager, and a lock note."""
    world = one.hands.world(None)
    return world.data_directory, world.manager is not None, not isinstance(world.lock_note, Missing)


async def test_a_server_stopped_in_order_is_known_by_its_folder_alone(
    server: ScratchServer,
) -> None:
    running = await HomeFinder().find(target(server))
    server.stop("fast")
    unseen = await HomeFinder().find(target(server))
    assert unseen.manager is None
    named = await HomeFinder().find(target(server), data_directory=str(server.data_directory))
    assert named.manager is not None
    assert named.bin_directory == running.bin_directory
    assert named.data_directory == running.data_directory


async def test_a_process_started_while_the_server_is_down_knows_what_the_last_one_saw(
    server: ScratchServer, tmp_path: Path
) -> None:
    await watch_until_noted(target(server), tmp_path)
    server.kill()
    later = watched(target(server), tmp_path)
    diagnosis, _evidence = await later.hands.diagnose(INCIDENT)
    assert diagnosis.first is not None
    assert diagnosis.first.id == "killed"
    assert known_to(later) == (str(server.data_directory), True, True)


async def test_what_was_noted_about_another_address_is_not_believed(
    server: ScratchServer, tmp_path: Path
) -> None:
    await watch_until_noted(target(server), tmp_path)
    server.stop("fast")
    moved = watched(target(server, port=free_port()), tmp_path)
    await moved.hands.diagnose(INCIDENT)
    assert known_to(moved) == ("", False, False)


WHOLE = '{"pid": null, "address": "a:1", "data_directory": "", "bin_directory": "", "log": "", '


@pytest.mark.parametrize("said", ["NaN", "-1", "Infinity", '"x"', "[]"])
def test_a_note_with_a_recovery_that_is_no_length_of_time_is_no_note(
    pg_major: int, tmp_path: Path, said: str
) -> None:
    note = tmp_path / "orders.json"
    note.write_text(WHOLE + '"recovery_s": 2.5}')
    kept = read_note(note)
    assert kept is not None
    assert kept.recovery_s == 2.5
    note.write_text(f'{WHOLE}"recovery_s": {said}}}')
    assert read_note(note) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"boot_id": "b", "pid": "x"}', "\x00"])
async def test_a_damaged_note_is_no_note(server: ScratchServer, tmp_path: Path, text: str) -> None:
    note = tmp_path / "notes" / "orders.json"
    note.parent.mkdir()
    note.write_text(text)
    one = watched(target(server), tmp_path)
    assert known_to(one)[2] is False


async def test_an_older_releases_note_is_no_note(server: ScratchServer, tmp_path: Path) -> None:
    note = tmp_path / "notes" / "orders.json"
    note.parent.mkdir()
    note.write_text(json.dumps({"boot_id": "b", "pid": 1, "started_at_epoch_s": 1}))
    assert known_to(watched(target(server), tmp_path))[2] is False


async def seen_by(one: Watched, holds: Callable[[Sample], bool]) -> AsyncGenerator[Sample]:
    """Watch, and give each first sample of which that holds; watching ends with the last one."""
    samples: asyncio.Queue[Sample] = asyncio.Queue()
    running = asyncio.create_task(one.run(samples.put))
    try:
        async with asyncio.timeout(30):
            while True:
                sample = await samples.get()
                if holds(sample):
                    yield sample
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await one.close()


@pytest.mark.parametrize("comes_back_as", ["standby", "primary"])
async def test_a_primary_that_comes_back_as_a_standby_is_not_rescued(
    server: ScratchServer, tmp_path: Path, comes_back_as: str
) -> None:
    one = watched(target(server), tmp_path)
    life: set[datetime] = set()

    def started_anew(sample: Sample) -> bool:
        return sample.vitals is not None and sample.vitals.postmaster_start not in life

    async with aclosing(seen_by(one, started_anew)) as starts:
        first = await anext(starts)
        assert first.vitals is not None
        life.add(first.vitals.postmaster_start)
        await asyncio.to_thread(server.kill)
        if comes_back_as == "standby":
            server.folder.write_owned(server.data_directory / "standby.signal", "")
        await asyncio.to_thread(server.start)
        await anext(starts)
        incident = Incident(id=IncidentId("20260301-001"), opened_at=first.at)
        checked = await one.hands.check_rescue(incident)
        unseen = await one.hands.check_rescue(Incident(id=IncidentId("20260301-002")))
    assert checked.login_ok
    assert checked.ok is (comes_back_as == "primary"), checked.detail
    assert ("was a primary" in checked.detail) is (comes_back_as == "standby")
    assert unseen.ok, "what it was before an incident that nobody dated is not known"


@pytest.mark.parametrize("comes_back_as", ["standby", "primary"])
async def test_what_it_was_before_is_known_to_a_process_started_in_the_middle_of_it(
    server: ScratchServer, tmp_path: Path, comes_back_as: str
) -> None:
    await watch_until_noted(target(server), tmp_path)
    opened_at = SteadyClock().now()
    await asyncio.to_thread(server.kill)
    if comes_back_as == "standby":
        server.folder.write_owned(server.data_directory / "standby.signal", "")
    await asyncio.to_thread(server.start)
    # One process sees how it came back and ends; what it notes of that replaces nothing.
    await watch_until_noted(target(server), tmp_path)
    later = watched(target(server), tmp_path)
    incident = Incident(id=IncidentId("20260301-001"), opened_at=opened_at)
    async with aclosing(seen_by(later, lambda sample: sample.vitals is not None)) as samples:
        await anext(samples)
        checked = await later.hands.check_rescue(incident)
    assert checked.login_ok
    assert checked.ok is (comes_back_as == "primary"), checked.detail
    assert ("was a primary" in checked.detail) is (comes_back_as == "standby")


async def test_a_cluster_in_the_place_of_the_one_that_ran_is_neither_started_nor_called_a_rescue(
    server: ScratchServer, tmp_path: Path
) -> None:
    policy = target(server)
    await watch_until_noted(policy, tmp_path)
    opened_at = SteadyClock().now()
    await asyncio.to_thread(server.stop)
    with ScratchServer.create(server.binaries) as other:
        other.set_conf({"port": server.port})
        await asyncio.to_thread(other.stop)
        ours, theirs = server.data_directory, other.data_directory
        ours.rename(ours.with_name("aside"))
        shutil.copytree(theirs, ours, copy_function=shutil.copy2)
        subprocess.run(["chown", "-R", "--reference", theirs, ours], check=True)
        # Planned from what lies there now, so the plan itself knows nothing of the other one.
        step = PlannedStep(
            id=StepId("1-start_server"),
            action="start_server",
            params=(("data_directory", str(ours)),),
        )
        later = watched(policy, tmp_path)
        await later.hands.diagnose(INCIDENT)
        refusal = await START_SERVER.check(step, later.hands.world(None))
        assert isinstance(refusal, Refusal)
        assert refusal.guard == "same_cluster"
        await asyncio.to_thread(other.start)
        incident = Incident(id=IncidentId("20260301-001"), opened_at=opened_at)
        async with aclosing(seen_by(later, lambda sample: sample.vitals is not None)) as samples:
            await anext(samples)
            checked = await later.hands.check_rescue(incident)
    assert checked.login_ok
    assert not checked.ok
    assert "another database cluster" in checked.detail


def told_of_cluster(sample: Sample) -> list[float | None]:
    return [r.value for r in sample.readings if r.name == "other_cluster"]


async def test_another_cluster_on_the_port_is_told_and_not_followed_until_the_policy_names_it(
    server: ScratchServer, tmp_path: Path
) -> None:
    policy = target(server)
    await watch_until_noted(policy, tmp_path)
    note = tmp_path / "notes" / "orders.json"
    before = read_note(note)
    assert before is not None
    [(_, ours)] = before.clusters
    await asyncio.to_thread(server.stop)
    with ScratchServer.create(server.binaries) as other:
        other.set_conf({"port": server.port})
        await asyncio.to_thread(other.stop)
        await asyncio.to_thread(other.start)
        later = watched(policy, tmp_path)
        async with aclosing(seen_by(later, lambda sample: sample.vitals is not None)) as samples:
            first = await anext(samples)
            diagnosis, _evidence = await later.hands.diagnose(INCIDENT)
        assert told_of_cluster(first) == [1.0]
        assert "other_cluster" in Rules().look(0, first).raised
        assert known_to(later)[0] == str(server.data_directory)
        assert later.hands.world(None).cluster == ours
        assert read_note(note) == before
        assert diagnosis.first is not None
        assert diagnosis.first.id == "other_cluster"

        [(theirs,)] = other.query("SELECT system_identifier::text FROM pg_control_system()")
        meant = watched(replace(policy, system_identifier=theirs), tmp_path)
        async with aclosing(seen_by(meant, lambda sample: sample.vitals is not None)) as samples:
            first = await anext(samples)
            incident = Incident(id=IncidentId("20260301-001"), opened_at=before.clusters[0][0])
            checked = await meant.hands.check_rescue(incident)
        assert told_of_cluster(first) == [0.0]
        assert known_to(meant)[0] == str(other.data_directory)
        assert checked.ok, checked.detail


async def test_a_restart_is_the_same_cluster(server: ScratchServer, tmp_path: Path) -> None:
    await watch_until_noted(target(server), tmp_path)
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    later = watched(target(server), tmp_path)
    async with aclosing(seen_by(later, lambda sample: sample.vitals is not None)) as samples:
        again = await anext(samples)
    assert told_of_cluster(again) == [0.0]
    assert "other_cluster" not in Rules().look(0, again).raised


async def test_a_server_whose_files_were_given_to_another_user_is_not_started(
    server: ScratchServer, tmp_path: Path
) -> None:
    policy = target(server)
    await watch_until_noted(policy, tmp_path)
    await asyncio.to_thread(server.kill)
    note = tmp_path / "notes" / "orders.json"
    kept = read_note(note)
    assert kept is not None
    owner = server.data_directory.stat().st_uid
    assert kept.owner_uid == owner
    step = PlannedStep(
        id=StepId("1-start_server"),
        action="start_server",
        params=(("data_directory", str(server.data_directory)),),
    )
    write_note(note, replace(kept, owner_uid=owner + 1))
    later = watched(policy, tmp_path)
    await later.hands.diagnose(INCIDENT)
    refusal = await START_SERVER.check(step, later.hands.world(None))
    assert isinstance(refusal, Refusal)
    assert refusal.guard == "same_owner"
    write_note(note, kept)
    later = watched(policy, tmp_path)
    await later.hands.diagnose(INCIDENT)
    refusal = await START_SERVER.check(step, later.hands.world(None))
    assert refusal is None or refusal.guard != "same_owner", "the near miss"


async def test_the_longest_crash_recovery_is_kept_and_stretches_what_a_restart_may_take(
    server: ScratchServer, tmp_path: Path
) -> None:
    await watch_until_noted(target(server), tmp_path)
    note = tmp_path / "notes" / "orders.json"
    kept = read_note(note)
    assert kept is not None
    assert kept.recovery_s is None, "it was never seen to crash"
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    await watch_until_noted(target(server), tmp_path)
    kept = read_note(note)
    assert kept is not None
    assert kept.recovery_s is not None
    write_note(note, replace(kept, recovery_s=77.0))
    await watch_until_noted(target(server), tmp_path)
    kept = read_note(note)
    assert kept is not None
    assert kept.recovery_s == 77.0, "a shorter one since then changes nothing"


async def test_nobody_waits_for_a_server_that_pg_ctl_started_unless_the_policy_says_so(
    server: ScratchServer, tmp_path: Path
) -> None:
    one = watched(target(server), tmp_path)
    assert "nobody has looked" in one.hands.page_after().source
    async with aclosing(seen_by(one, lambda sample: sample.vitals is not None)) as samples:
        await anext(samples)
        wait = one.hands.page_after()
    assert (wait.seconds, "pg_ctl never does" in wait.source) == (0.0, True)
    said = watched(replace(target(server), page_after_s=20.0), tmp_path)
    assert said.hands.page_after().seconds == 20.0


async def test_the_role_of_a_server_elsewhere_is_noted_as_well(
    server: ScratchServer, tmp_path: Path
) -> None:
    elsewhere = replace(target(server), host="none")
    await watch_until_noted(elsewhere, tmp_path)
    kept = read_note(tmp_path / "notes" / "orders.json")
    assert kept is not None
    assert isinstance(kept.witness, Missing)
    assert [primary for _, primary in kept.roles] == [True]
    assert known_to(watched(elsewhere, tmp_path))[2] is False


def sessions_named(server: ScratchServer, beginning: str) -> int:
    sql = "SELECT count(*)::int FROM pg_stat_activity WHERE starts_with(application_name, %s)"
    with server.connect() as conn:
        row = conn.execute(sql, [beginning]).fetchone()
    assert row is not None
    return row[0]


async def test_a_planned_smart_shutdown_waits_for_none_of_our_sessions(
    server: ScratchServer, tmp_path: Path
) -> None:
    acting = replace(
        target(server),
        acting_dsn=server.dsn("stanch_act"),
        actions={"end_idle_sessions": Mode.ACT},
    )
    one = watched(acting, tmp_path)

    def matters(sample: Sample) -> bool:
        return sample.vitals is not None or sample.reach is not None

    async with aclosing(seen_by(one, matters)) as samples:
        while sessions_named(server, "stanch acting") == 0:
            await anext(samples)
        assert sessions_named(server, "stanch") == 2
        stopping = asyncio.create_task(asyncio.to_thread(server.stop, "smart"))
        states: list[ReachState] = []
        while ReachState.REFUSED not in states:
            sample = await anext(samples)
            states += [sample.reach.state] if sample.reach is not None else []
        await stopping
    assert states[0] is ReachState.SHUTTING_DOWN
    assert server.postmaster_pid() is None


async def test_a_locked_catalogue_that_lets_nobody_log_in_is_noticed_and_its_end_as_well(
    server: ScratchServer, tmp_path: Path
) -> None:
    one = watched(target(server), tmp_path)

    def matters(sample: Sample) -> bool:
        kept_out = sample.reach is not None and sample.reach.state is ReachState.HUNG
        return (kept_out and sample.confirmed) or sample.vitals is not None

    async with aclosing(seen_by(one, matters)) as samples:
        assert (await anext(samples)).lets_in
        with server.connect() as admin, admin.transaction():
            admin.execute("LOCK TABLE pg_catalog.pg_authid IN ACCESS EXCLUSIVE MODE")
            locked_at = asyncio.get_running_loop().time()
            while (sample := await anext(samples)).reach is None:
                continue
            assert asyncio.get_running_loop().time() - locked_at < 20
            assert not sample.lets_in
        while not (sample := await anext(samples)).lets_in:
            continue
        assert sample.vitals is not None


def home(*, manager: bool, log: str, folder: str = "/srv/pg") -> Home:
    nowhere = Missing(what="host", reason="a test")
    return Home(
        located=Located(place=nowhere, host=nowhere, traces=nowhere),
        manager=PgCtl(data_directory=folder, bin_directory="/bin", log_file="")
        if manager
        else None,
        data_directory=folder,
        bin_directory="/bin",
        log=log,
    )


def test_a_look_at_a_server_that_just_went_down_replaces_no_better_one(pg_major: int) -> None:
    full = home(manager=True, log="/var/log/pg")
    assert home(manager=False, log="").shows_less_than(full)
    assert home(manager=True, log="").shows_less_than(full)
    assert home(manager=False, log="", folder="").shows_less_than(full)
    assert not home(manager=True, log="/elsewhere").shows_less_than(full)
    assert not home(manager=False, log="", folder="/another").shows_less_than(full)
    assert not full.shows_less_than(home(manager=False, log=""))
