"""Every guard of stop_server and restart_server: what must stop it, and the near miss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from acting_worlds import TARGET, cause, step
from stanch.facts.controldata import parse_controldata
from stanch.facts.lock_file import LockFile
from stanch.facts.stopping import RunningServer, Startable
from stanch.model.diagnosis import Missing
from stanch.model.host import DataDirectoryProcesses, ProcessInfo, Volume, VolumeUse
from stanch.model.plans import Refusal
from stanch.model.ports.acting import Job, ManagerStatus, Postmaster
from stanch.model.rules import RuleChange
from stanch.respond.actions.restart_server.guards import GUARDS, RestartReadings, may_restart
from stanch.respond.actions.restart_server.run import RESTART_SERVER
from stanch.respond.actions.stop_server.guards import GUARDS as STOP_GUARDS
from stanch.respond.actions.stop_server.guards import may_stop
from stanch.respond.actions.stop_server.run import STOP_SERVER
from stanch.respond.turning.guards import ServerReadings

BEGAN = datetime(2026, 3, 1, 6, 0, 0, 123456, tzinfo=UTC)
FACTS: dict[str, Any] = {
    "data_directory": "/data",
    "system_identifier": "42",
    "postmaster_start": BEGAN.isoformat(),
}
STEP = step("restart_server", deadline_s=300.0, **FACTS)
GONE = Missing(what="it", reason="permission denied")
GB = 1 << 30

MANAGER = ManagerStatus(
    restarts_by_itself=False,
    other_manager="",
    jobs=(),
    markers=(),
    may_act=True,
    owner_uid=101,
    data_major=16,
    programs_major=16,
)


def process(pid: int, **changes: Any) -> ProcessInfo:
    known = ProcessInfo(
        pid=pid,
        ppid=1,
        started_at=BEGAN,
        exe="/usr/lib/postgresql/16/bin/postgres",
        cwd="/data",
        title="postgres -D /data",
        state="sleeping",
        uid=101,
    )
    return replace(known, **changes)


PROCESSES = DataDirectoryProcesses(
    postmaster=process(100), members=(process(101, ppid=100),), orphans=(), holders=()
)
SERVER = RunningServer(
    cluster="42",
    postmaster_start=BEGAN,
    version_num=160004,
    in_recovery=False,
    checkpointer_pid=101,
    clients=40,
    transactions=3,
    oldest_transaction_s=5.0,
    applications=("shop", "replica-1"),
    base_backups=0,
    prepared=0,
    prepared_gids=(),
    standbys=("replica-1",),
    waits_for_restart=("shared_buffers",),
    checkpoint_age_s=60.0,
    replay_bytes=1000,
)
CONTROL = parse_controldata(
    "Database cluster state:  in production\nDatabase system identifier:  42\n"
    "Bytes per WAL segment:  16777216\n"
)
WHICH = ServerReadings(
    manager=MANAGER,
    processes=PROCESSES,
    lock=LockFile(pid=100, started_at_epoch_s=1772344799),
    control=CONTROL,
    server=SERVER,
    cluster="42",
)
VOLUME = Volume(
    use=VolumeUse.DATA,
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
GOOD = RestartReadings(
    target=TARGET,
    which=WHICH,
    startable=Startable(settings=(), rules=(), rules_read=4),
    volumes=(VOLUME,),
    corruption=(),
)
Seen = Callable[[], RestartReadings]


def which(**changes: Any) -> RestartReadings:
    return replace(GOOD, which=replace(WHICH, **changes))


def manager(**changes: Any) -> RestartReadings:
    return which(manager=replace(MANAGER, **changes))


def server(**changes: Any) -> RestartReadings:
    return which(server=replace(SERVER, **changes))


def full() -> RestartReadings:
    rules = {"disk_full": RuleChange(kind="disk_full", limit=float(1 << 60))}
    return replace(GOOD, target=replace(TARGET, rules=rules))


WHICHEVER: list[tuple[str, str, Seen]] = [
    ("the manager is not known", "manager_known", lambda: which(manager=GONE)),
    ("Stanch may not ask it", "manager_known", lambda: manager(may_act=False, detail="no root")),
    (
        "its manager is not asked for that",
        "manager_known",
        lambda: manager(declines=(("stop", "Patroni would start it"), ("restart", "paused"))),
    ),
    ("somebody else manages it", "no_other_manager", lambda: manager(other_manager="repmgr")),
    (
        "somebody is at work on it",
        "no_jobs",
        lambda: manager(jobs=(Job(pid=9, command="pg_ctl stop"),)),
    ),
    ("it does not answer", "same_server", lambda: which(server=GONE)),
    (
        "it was started again since",
        "same_server",
        lambda: server(postmaster_start=BEGAN.replace(microsecond=123457)),
    ),
    ("another cluster answers", "same_server", lambda: server(cluster="43")),
    (
        "another cluster lies there",
        "same_server",
        lambda: which(control=replace(CONTROL, system_identifier="43")),
    ),
    ("the control file cannot be read", "same_server", lambda: which(control=GONE)),
    ("another cluster is watched", "same_server", lambda: which(cluster="43")),
    ("processes cannot be read", "same_server", lambda: which(processes=GONE)),
    (
        "no server works there",
        "same_server",
        lambda: which(processes=replace(PROCESSES, postmaster=None)),
    ),
    ("the lock file cannot be read", "same_server", lambda: which(lock=GONE)),
    ("there is no lock file", "same_server", lambda: which(lock=None)),
    (
        "the lock file names another process",
        "same_server",
        lambda: which(lock=LockFile(pid=99, started_at_epoch_s=1)),
    ),
    ("the lock file is cut short", "same_server", lambda: which(lock=LockFile(pid=100))),
    (
        "the server that answers runs elsewhere",
        "same_server",
        lambda: server(checkpointer_pid=900),
    ),
    ("its processes are hidden", "same_server", lambda: server(checkpointer_pid=None)),
]

RESTARTS: list[tuple[str, str, Seen]] = [
    ("an old backup is open", "no_markers", lambda: manager(markers=("backup_label",))),
    (
        "a primary would come back as a standby",
        "no_markers",
        lambda: manager(markers=("standby.signal",)),
    ),
    ("a base backup streams", "no_backup", lambda: server(base_backups=1)),
    ("a dump runs", "no_backup", lambda: server(applications=("pg_dump",))),
    (
        "a backup tool is at work",
        "no_backup",
        lambda: server(applications=("pgBackRest [backup]",)),
    ),
    ("a rewrite is at work", "no_backup", lambda: server(applications=("pg_repack",))),
    (
        "the log speaks of damage",
        "no_corruption_signs",
        lambda: replace(GOOD, corruption=("invalid page in block 7",)),
    ),
    ("the log cannot be read", "no_corruption_signs", lambda: replace(GOOD, corruption=GONE)),
    (
        "the control file is damaged",
        "no_corruption_signs",
        lambda: which(control=replace(CONTROL, crc_wrong=True)),
    ),
    ("its files cannot be read", "files_readable", lambda: replace(GOOD, startable=GONE)),
    (
        "a setting has an error",
        "files_readable",
        lambda: replace(GOOD, startable=Startable(settings=("line 3",), rules=(), rules_read=4)),
    ),
    (
        "a rule has an error",
        "files_readable",
        lambda: replace(GOOD, startable=Startable(settings=(), rules=("line 9",), rules_read=4)),
    ),
    (
        "no rule lets anybody in",
        "files_readable",
        lambda: replace(GOOD, startable=Startable(settings=(), rules=(), rules_read=0)),
    ),
    ("the programs are gone", "same_programs", lambda: manager(programs_major=None)),
    ("the programs are newer", "same_programs", lambda: manager(programs_major=17)),
    ("the data is of another version", "same_programs", lambda: manager(data_major=15)),
    ("an older server still runs", "same_programs", lambda: server(version_num=150009)),
    ("its files changed hands", "same_owner", lambda: manager(owner_uid=0)),
    (
        "nobody knows whom it runs as",
        "same_owner",
        lambda: which(processes=replace(PROCESSES, postmaster=process(100, uid=None))),
    ),
    ("there is no room", "room_for_wal", full),
    (
        "the volume is read-only",
        "room_for_wal",
        lambda: replace(GOOD, volumes=(replace(VOLUME, read_only=True),)),
    ),
    ("the volume is not seen", "room_for_wal", lambda: replace(GOOD, volumes=(GONE,))),
]

NEAR_MISSES: list[tuple[str, Seen]] = [
    ("only a start is declined", lambda: manager(declines=(("start", "by itself"),))),
    ("the watch never read the cluster", lambda: which(cluster="")),
    (
        "a standby carries its signal",
        lambda: which(
            server=replace(SERVER, in_recovery=True),
            manager=replace(MANAGER, markers=("standby.signal",)),
        ),
    ),
    (
        "a receiver goes on for ever",
        lambda: server(applications=("pg_receivewal", "barman_receive_wal", "dump")),
    ),
    ("prepared transactions stand", lambda: server(prepared=2, prepared_gids=("a", "b"))),
]


def refused(answer: Refusal | Postmaster) -> Refusal:
    assert isinstance(answer, Refusal), answer
    assert answer.reason
    return answer


def test_a_server_that_is_proven_and_would_start_again_may_be_restarted_and_stopped() -> None:
    meant = Postmaster(pid=100, started_at_epoch_s=1772344799, since=BEGAN, system_identifier="42")
    assert may_restart(STEP, GOOD) == meant
    assert may_stop(STEP, WHICH) == meant


@pytest.mark.parametrize(
    ("_why", "guard", "seen"), WHICHEVER, ids=lambda v: v if isinstance(v, str) else None
)
def test_what_keeps_a_server_from_being_stopped_keeps_it_from_a_restart(
    _why: str, guard: str, seen: Seen
) -> None:
    assert refused(may_stop(STEP, seen().which)).guard == guard
    assert refused(may_restart(STEP, seen())).guard == guard


@pytest.mark.parametrize(
    ("_why", "guard", "seen"), RESTARTS, ids=lambda v: v if isinstance(v, str) else None
)
def test_what_keeps_a_server_from_a_restart_alone(_why: str, guard: str, seen: Seen) -> None:
    assert refused(may_restart(STEP, seen())).guard == guard
    assert isinstance(may_stop(STEP, seen().which), Postmaster)


@pytest.mark.parametrize(
    ("_why", "seen"), NEAR_MISSES, ids=lambda v: v if isinstance(v, str) else None
)
def test_what_only_looks_alike_keeps_it_from_nothing(_why: str, seen: Seen) -> None:
    assert isinstance(may_restart(STEP, seen()), Postmaster)


def test_every_guard_has_a_case() -> None:
    shown = {guard for _, guard, _ in (*WHICHEVER, *RESTARTS)}
    # These two are answered before anything is read.
    assert shown | {"host", "acting_session"} == {guard.name for guard in GUARDS}
    assert {guard.name for guard in STOP_GUARDS} == {g for _, g, _ in WHICHEVER} | {"host"}


@pytest.mark.parametrize("moment", ["", "yesterday", "2026-03-01T06:00:00.123456", None, 7])
def test_a_moment_that_is_none_is_no_server_s_start(moment: object) -> None:
    one = replace(STEP, params=(("system_identifier", "42"), ("postmaster_start", moment)))
    assert refused(may_restart(one, GOOD)).guard == "same_server"


# --- what a person is asked -----------------------------------------------------------------------

FOUND = cause(
    "restart_pending",
    manager="systemd",
    settings="shared_buffers",
    client_backends=40,
    active_sessions=7,
    standbys="replica-1\n; DROP",
    prepared_transactions=2,
    checkpoint_age_s=90,
    replay_bytes=3 * GB,
    leads=True,
)


def test_a_person_is_told_who_loses_what_and_what_comes_into_force() -> None:
    said = RESTART_SERVER.planning.preview(FACTS, FOUND)
    for words in (
        "Restart the server of /data through systemd",
        "40 sessions end, 7 of them at work",
        "it is the leader of its cluster",
        "2 prepared transactions stay",
        "of WAL since",
        "It brings into force: shared_buffers.",
    ):
        assert words in said
    assert "\n" not in said


def test_what_is_not_known_is_not_made_up() -> None:
    said = STOP_SERVER.planning.preview(FACTS, cause("split_brain"))
    assert said == (
        "Stop the server of /data through its manager, by a fast shutdown: all sessions end, and "
        "what they have not committed is lost."
    )


def test_both_always_wait_for_a_person() -> None:
    assert RESTART_SERVER.planning.loses_work(FOUND)
    assert STOP_SERVER.planning.loses_work(FOUND)
