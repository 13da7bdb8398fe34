"""Each row says yes only on proof, and every no comes with what would change it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from stanch.adapters.postgres.privileges import Privileges, Rights
from stanch.model.diagnosis import Missing
from stanch.model.host import Memory, OomKills
from stanch.model.ids import TargetName
from stanch.model.machine import CpuTimes, FileSystem, HostFacts, ServiceState
from stanch.model.plans import Mode
from stanch.model.ports.acting import KeptFile, LoginReading, ManagerStatus
from stanch.model.reach import Layer, Reach, ReachState
from stanch.model.restarts import Restarts
from stanch.policy.hosts import SshHost
from stanch.policy.policy import FreeSpace, Heartbeat, TargetPolicy
from stanch.service.readiness.capability_rows import Capability, Readings, judge
from stanch.service.readiness.cluster_row import WITH_ITS_PRIMARY
from stanch.service.readiness.machine_row import WATCH_MACHINE
from stanch.service.watched.whereabouts import HostReadings

TARGET = TargetPolicy(
    name=TargetName("orders"),
    dsn="service=orders",
    acting_dsn="service=a",
    app_dsn="service=app",
    free_space=FreeSpace(ballast=("/b",)),
    actions={"start_server": Mode.ACT},
)
WATCHER = Privileges(
    role="stanch_watch",
    version_num=160004,
    superuser=False,
    connection_limit=5,
    reads_all_stats=True,
    reads_all_settings=True,
    signals_backends=False,
    uses_reserved=True,
    max_connections=100,
    superuser_reserved_connections=3,
    reserved_connections=3,
    in_recovery=False,
    receives=False,
    archive_mode="on",
    archives_to=True,
    data_directory="/data",
    port=5432,
)
ACTOR = replace(WATCHER, role="stanch_act", signals_backends=True)
MANAGER = ManagerStatus(
    restarts_by_itself=False, other_manager="", jobs=(), markers=(), may_act=True
)
BALLAST = KeptFile(
    path="/b", inode=1, size_bytes=2**30, mtime_ns=0, allocated_bytes=2**30, device=1
)
HERE = HostReadings(
    shared=True,
    source="127.0.0.1 is this machine",
    files="/data",
    files_writable=True,
    in_container=False,
    manager=MANAGER,
    manager_words="pg_ctl as postgres",
    ballast=(("/b", BALLAST),),
    restarts=Restarts(after_s=5.0, source="systemd (postgresql.service, Restart=on-failure)"),
    recovery_s=4.0,
)
APP = LoginReading(role="app", login_ok=True, write_ok=True, detail="", took_ms=3.0)
UP = Reach(state=ReachState.UP, layers=(), elapsed_ms=5.0, server_version="16.4")
SEEN = HostFacts(
    at=datetime(2026, 11, 21, tzinfo=UTC),
    source="local",
    service=ServiceState(name="/data", running=True, status="process 7"),
    file_systems=(FileSystem(mount="/", total_bytes=2**40, free_bytes=2**39),),
    memory=Memory(total_bytes=2**34, available_bytes=2**33),
    cpu=CpuTimes(total_s=100.0, steal_s=0.0, count=2),
    load_1min=0.5,
    oom_kills=OomKills(host=0, cgroup=None),
    clock_offset_s=0.0,
    uptime_s=1000.0,
    kernel=(),
)
GOOD = Readings(reach=UP, watching=WATCHER, acting=ACTOR, app=APP, host=HERE, machine=SEEN)
HEARTBEAT = Heartbeat(url="https://heartbeat.example.com/x")

WATCH = "watch"
VITALS = "see every session and setting"
FULL = "get in when the server is full (watching)"
FULL_ACTING = "get in when the server is full (acting)"
HOST = "see the server's machine"
APP_LOGIN = "prove a rescue by the application's login and a write"
SESSIONS = "end sessions"
START = "start the server"
WAIT = "leave a restart its time before it pages"
LOCK = "set a stale lock file aside"
SPACE = "free space on a full volume"
ARCHIVE = "go back to a moment (WAL archive)"
MISSED = "be missed when this machine dies"


def rows(
    read: Readings = GOOD,
    target: TargetPolicy = TARGET,
    heartbeat: Heartbeat | None = HEARTBEAT,
) -> dict[str, Capability]:
    return {row.feature: row for row in judge(target, read, heartbeat=heartbeat)}


def test_with_every_right_everything_is_possible_and_nothing_is_to_be_changed() -> None:
    found = rows()
    assert {f for f, row in found.items() if not row.can} == {ARCHIVE}
    assert found[ARCHIVE].can is None
    assert all(row.change == "" for row in found.values())
    assert found[START].why.endswith("policy: by itself")


@pytest.mark.parametrize(
    ("read", "said_s", "can", "why"),
    [
        (GOOD, None, True, "page_after is 12 s: systemd"),
        (GOOD, 0.0, True, "page_after is 0 s: the policy says so"),
        (GOOD, 30.0, True, "page_after is 30 s: the policy says so"),
        (
            replace(GOOD, host=replace(HERE, restarts=Restarts(after_s=None, source="pg_ctl"))),
            None,
            True,
            "page_after is 0 s: nobody else restarts it: pg_ctl",
        ),
        (
            replace(GOOD, host=replace(HERE, restarts=Missing(what="restarts", reason="far away"))),
            None,
            None,
            "page_after is 0 s: nobody is known to restart it: far away",
        ),
    ],
)
def test_how_long_people_sleep_on_is_told_with_its_source(
    read: Readings, said_s: float | None, why: str, *, can: bool | None
) -> None:
    row = rows(read, replace(TARGET, page_after_s=said_s))[WAIT]
    assert row.can is can
    assert row.why.startswith(why)
    assert bool(row.change) is (can is None)


def watching(**changes: object) -> Readings:
    return replace(GOOD, watching=replace(WATCHER, **changes))


def acting(**changes: object) -> Readings:
    return replace(GOOD, acting=replace(ACTOR, **changes))


def host(**changes: object) -> Readings:
    return replace(GOOD, host=replace(HERE, **changes))


MISSING = Missing(what="x", reason="because \x1b[31m of x")
REFUSED = Reach(
    state=ReachState.REFUSED,
    layers=(Layer(name="tcp", ok=False, ms=1.0, detail="connection refused"),),
    elapsed_ms=1.0,
)


@pytest.mark.parametrize(
    ("read", "feature", "can", "why", "change"),
    [
        (replace(GOOD, reach=REFUSED), WATCH, False, "connection refused", "listen on"),
        (replace(GOOD, reach=MISSING), WATCH, False, "because", "`dsn`"),
        (
            watching(reads_all_stats=False),
            VITALS,
            False,
            "only its own",
            "GRANT pg_monitor TO stanch_watch;",
        ),
        (watching(reads_all_settings=False), VITALS, False, "only its own", "GRANT pg_monitor"),
        (replace(GOOD, watching=MISSING), VITALS, None, "because", "watch"),
        (
            watching(uses_reserved=False),
            FULL,
            False,
            "no connection is kept free",
            "GRANT pg_use_reserved_connections TO stanch_watch;",
        ),
        (
            watching(reserved_connections=0),
            FULL,
            False,
            "no connection is kept free",
            "ALTER SYSTEM SET reserved_connections = 3;",
        ),
        (
            watching(version_num=150004, uses_reserved=None, reserved_connections=None),
            FULL,
            False,
            "superusers only",
            "Upgrade to PostgreSQL 16",
        ),
        (
            watching(superuser=True, superuser_reserved_connections=0, reserved_connections=0),
            FULL,
            False,
            "superusers",
            "superuser_reserved_connections",
        ),
        (acting(uses_reserved=False), FULL_ACTING, False, "stanch_act", "TO stanch_act;"),
        (replace(GOOD, acting=None), SESSIONS, False, "no acting_dsn", "stanch grants"),
        (
            replace(GOOD, acting=MISSING),
            SESSIONS,
            False,
            "no session with acting_dsn",
            "acting_dsn",
        ),
        (replace(GOOD, acting=MISSING, reach=REFUSED), SESSIONS, None, "because", "watch"),
        (
            acting(signals_backends=False),
            SESSIONS,
            False,
            "its own role's",
            "GRANT pg_signal_backend TO stanch_act;",
        ),
        (
            acting(reads_all_stats=False),
            SESSIONS,
            False,
            "none is proven idle",
            "GRANT pg_monitor TO stanch_act;",
        ),
        (
            host(shared=False, source="192.0.2.1 is another machine"),
            HOST,
            False,
            "another machine",
            "server's machine",
        ),
        (host(shared=None, source="no address"), HOST, None, "no address", "host: local"),
        (
            host(files="", files_why="/data may not be read"),
            HOST,
            False,
            "may not be read",
            "OS user",
        ),
        (host(shared=False), START, False, "", "server's machine"),
        (host(shared=None), START, None, "", "server's machine"),
        (host(files="", files_why="no rights"), START, False, "no rights", "see the server's"),
        (host(manager=MISSING), START, None, "because", "`manager`"),
        (host(manager=None), START, None, "no manager", "`manager`"),
        (host(manager=replace(MANAGER, may_act=False)), START, False, "may not", "root"),
        (
            host(manager=replace(MANAGER, other_manager="patroni")),
            START,
            False,
            "patroni owns",
            "ask patroni",
        ),
        (host(in_container=True), LOCK, False, "never touched", "outside"),
        (host(in_container=None), LOCK, False, "perhaps", "outside"),
        (host(files_writable=False), LOCK, False, "may not rename", "root"),
        (host(shared=False), LOCK, False, "", "server's machine"),
        (host(ballast=(("/b", MISSING),)), SPACE, False, "/b: because", "ballast"),
        (host(shared=False), SPACE, False, "", "server's machine"),
        (replace(GOOD, app=None), APP_LOGIN, False, "no app_dsn", "`app_dsn`"),
        (
            replace(GOOD, app=replace(APP, login_ok=False, detail="28P01")),
            APP_LOGIN,
            False,
            "28P01",
            "passfile",
        ),
        (
            replace(GOOD, app=replace(APP, write_ok=False, detail="read-only")),
            APP_LOGIN,
            False,
            "read-only",
            "writes",
        ),
        (
            replace(GOOD, app=replace(APP, write_ok=None, detail="a standby")),
            APP_LOGIN,
            None,
            "a standby",
            "writes",
        ),
        (replace(GOOD, app=MISSING), APP_LOGIN, None, "because", "watch"),
        (watching(archive_mode="off"), ARCHIVE, False, "is off", "archive_mode = on"),
        (watching(archives_to=False), ARCHIVE, False, "no command", "archive_command"),
        (replace(GOOD, watching=MISSING), ARCHIVE, None, "because", "watch"),
    ],
)
def test_what_is_lacking_makes_a_no_with_the_change(
    read: Readings, feature: str, can: bool | None, why: str, change: str
) -> None:
    row = rows(read)[feature]
    assert row.can is can
    assert why in row.why
    assert change in row.change
    assert row.why.isprintable()
    # Near miss: only rows that stand on the same reading may have changed.
    assert rows()[feature].can is not can or feature == ARCHIVE


def test_the_policy_itself_can_rule_things_out() -> None:
    assert rows(target=replace(TARGET, manager="none"))[START].can is False
    assert rows(target=replace(TARGET, host="none"))[HOST].change == "Set `host: auto`."
    nothing = rows(target=replace(TARGET, free_space=FreeSpace()))[SPACE]
    assert (nothing.can, "fallocate" in nothing.change) == (False, True)
    logs = rows(host(ballast=()), replace(TARGET, free_space=FreeSpace(old_logs_days=7)))[SPACE]
    assert (logs.can, "older than 7 days" in logs.why) == (True, True)


def test_a_superuser_may_end_sessions_and_is_told_that_this_is_more_than_needed() -> None:
    row = rows(acting(superuser=True, signals_backends=False))[SESSIONS]
    assert row.can
    assert "more than acting needs" in row.why


def test_a_superuser_gets_in_by_the_slots_kept_for_superusers() -> None:
    seen = watching(superuser=True, uses_reserved=False, reserved_connections=0)
    assert rows(seen)[FULL].can


def test_without_an_acting_role_there_is_no_row_about_its_way_in() -> None:
    assert FULL_ACTING not in rows(replace(GOOD, acting=None))


def test_a_standby_without_a_stream_has_to_be_declared() -> None:
    alone = replace(GOOD, watching=replace(WATCHER, in_recovery=True))
    found = rows(alone)[WITH_ITS_PRIMARY]
    assert (found.can, "clusters" in found.change) == (False, True)
    declared = judge(TARGET, alone, heartbeat=HEARTBEAT, cluster="or\x1bders")
    [row] = [row for row in declared if row.feature == WITH_ITS_PRIMARY]
    assert (row.can, row.change) == (True, "")
    assert row.why.endswith("the cluster or\\x1bders")
    streams = replace(GOOD, watching=replace(WATCHER, in_recovery=True, receives=True))
    assert rows(streams)[WITH_ITS_PRIMARY].can is True
    assert WITH_ITS_PRIMARY not in rows(), "a primary is nobody's standby"


def test_without_a_heartbeat_a_shared_machine_is_named() -> None:
    assert "fall silent together" in rows(heartbeat=None)[MISSED].why
    assert "fall silent" not in rows(host(shared=False), heartbeat=None)[MISSED].why


def test_hostile_words_are_escaped_and_cut() -> None:
    read = watching(role="\x1b[2J" + "x" * 999, reads_all_stats=False)
    row = rows(read)[VITALS]
    assert row.why.isprintable()
    assert len(row.why) <= 240
    assert row.change.startswith('GRANT pg_monitor TO "')


def test_a_machine_that_tells_all_but_something_names_that_with_its_reason() -> None:
    hidden = Missing(what="kernel messages", reason="dmesg: Operation not permitted")
    row = rows(replace(GOOD, machine=replace(SEEN, kernel=hidden)))[WATCH_MACHINE]
    assert row.can
    assert row.why == "local tells all but kernel messages: dmesg: Operation not permitted"


def test_a_machine_without_its_space_is_not_watched() -> None:
    hidden = Missing(what="file systems", reason="nodes/proxy is forbidden")
    row = rows(replace(GOOD, machine=replace(SEEN, file_systems=hidden)))[WATCH_MACHINE]
    assert (row.can, "nodes/proxy is forbidden" in row.why) == (False, True)


@pytest.mark.parametrize(
    ("target", "change"),
    [(TARGET, "Set `host`"), (replace(TARGET, host=SshHost(host="db1")), "Correct `host`")],
)
def test_a_machine_that_is_not_seen_says_what_to_do_about_it(
    target: TargetPolicy, change: str
) -> None:
    row = rows(replace(GOOD, machine=MISSING), target)[WATCH_MACHINE]
    assert row.can is False
    assert "because \\x1b[31m of x" in row.why
    assert row.change.startswith(change)


SLOTLESS = Rights(
    role="stanch_act",
    version_num=180001,
    superuser=False,
    createrole=False,
    replication=False,
    database="app",
    reloads=True,
    reads_files=True,
    reads_rules=True,
    alter_system=True,
    parameters=("work_mem",),
    roles=("app",),
    others=1,
    owner="app",
    owner_superuser=False,
    owns=True,
    owners=(),
    maintains=False,
)
CHANGING = replace(TARGET, actions={"set_parameter": Mode.ADVISE, "make_read_only": Mode.ACT})


def test_rights_are_told_of_for_the_actions_that_policy_does_not_merely_observe() -> None:
    both = replace(GOOD, rights=SLOTLESS, rights_on_tables=replace(SLOTLESS, owns=True))
    found = rows(both, CHANGING)
    assert found["change settings"].can is False
    assert "ON PARAMETER work_mem" in found["change settings"].change
    assert found["make a database read-only"].can is True
    assert "quarantine tables" not in found
    assert "change settings" not in rows(both)


@pytest.mark.parametrize(
    ("read", "can"),
    [
        (replace(GOOD, acting=None), False),
        (replace(GOOD, acting=MISSING, rights=MISSING, rights_on_tables=MISSING), None),
        (replace(GOOD, rights=None, rights_on_tables=None), None),
    ],
)
def test_rights_that_could_not_be_read_are_no_yes(read: Readings, *, can: bool | None) -> None:
    found = rows(read, CHANGING)
    assert found["change settings"].can is can
    assert found["make a database read-only"].can is can
