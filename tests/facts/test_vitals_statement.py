"""The vitals statement against real servers, and its parser against anything."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fix_servers import MakeServer
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_folder import ScratchOptions
from stanch.facts.vitals import VITALS_SQL, parse_vitals
from stanch.model.errors import ProbeFailed
from stanch.model.vitals import Vitals

on_15 = pytest.mark.parametrize("pg_major", [15], indirect=True)
on_18 = pytest.mark.parametrize("pg_major", [18], indirect=True)
"""For what no version does differently; tests without either run on both."""


def _vitals(dsn: str) -> Vitals:
    with psycopg.connect(dsn, autocommit=True) as session:
        row = session.execute(VITALS_SQL.encode()).fetchone()
    assert row is not None
    return parse_vitals(row[0])


def test_a_watching_role_sees_everything(shared_server: ScratchServer, pg_major: int) -> None:
    vitals = _vitals(shared_server.dsn(user="stanch_watch", dbname="postgres"))
    assert vitals.version_num // 10000 == pg_major
    assert not vitals.in_recovery
    assert vitals.sees_sessions
    assert vitals.settings.data_directory == str(shared_server.data_directory)
    assert vitals.sessions is not None
    assert vitals.sessions.client_backends >= 1
    assert (vitals.settings.reserved_connections is None) == (pg_major < 16)
    assert vitals.wal_position_bytes is not None
    assert vitals.work.rows_updated is not None
    assert vitals.work.rows_deleted is not None
    assert (vitals.work.sessions is None) == (pg_major < 14)


def test_a_role_without_pg_monitor_gets_gaps_and_no_error(shared_server: ScratchServer) -> None:
    vitals = _vitals(shared_server.dsn(user="app", dbname="app"))
    assert not vitals.sees_sessions
    assert vitals.sessions is None
    assert vitals.settings.data_directory is None
    assert vitals.backends >= 1


def test_an_idle_transaction_and_a_waiter_are_counted_with_their_ages(
    server: ScratchServer,
) -> None:
    dsn = server.dsn(user="app", dbname="app")
    with psycopg.connect(dsn) as holder, closing(psycopg.connect(dsn)) as waiter:
        holder.execute("CREATE TABLE held ()")
        holder.commit()
        holder.execute("LOCK TABLE held")
        waiter.pgconn.send_query(b"BEGIN; LOCK TABLE held")
        sessions = None
        for _ in range(500):
            sessions = _vitals(server.dsn(user="stanch_watch", dbname="postgres")).sessions
            if sessions is not None and sessions.waiting_on_lock:
                break
        assert sessions is not None
        assert sessions.waiting_on_lock == 1
        assert sessions.oldest_lock_wait_s is not None
        assert sessions.oldest_idle_in_transaction_s is not None
        assert sessions.in_state("idle in transaction") == 1
        assert sessions.in_state("active") == 2
        assert sessions.active == 1
        holder.rollback()


@on_18
def test_nobody_waiting_means_no_wait_and_no_idle_transaction(server: ScratchServer) -> None:
    sessions = _vitals(server.dsn(user="stanch_watch", dbname="postgres")).sessions
    assert sessions is not None
    assert (sessions.waiting_on_lock, sessions.oldest_lock_wait_s) == (0, None)
    assert sessions.oldest_idle_in_transaction_s is None


@on_15
def test_a_role_at_its_own_limit_is_named_and_one_below_is_not(server: ScratchServer) -> None:
    with server.connect() as admin:
        admin.execute("ALTER ROLE app CONNECTION LIMIT 2")
        admin.commit()
    dsn, watch = server.dsn(user="app", dbname="app"), server.dsn(user="stanch_watch")
    with psycopg.connect(dsn):
        sessions = _vitals(watch).sessions
        assert sessions is not None
        assert sessions.limits == ()
        with psycopg.connect(dsn):
            sessions = _vitals(watch).sessions
            assert sessions is not None
            [limit] = sessions.limits
            assert (limit.scope, limit.name, limit.hit) == ("role", "app", True)


def test_an_abandoned_slot_shows_what_it_retains(server: ScratchServer) -> None:
    with server.connect() as admin:
        admin.execute("SELECT pg_create_physical_replication_slot('left', true)")
        admin.execute("CREATE TABLE filler AS SELECT generate_series(1, 10000) AS n")
        admin.commit()
    [slot] = _vitals(server.dsn(user="stanch_watch")).slots
    assert (slot.name, slot.active) == ("left", False)
    assert slot.retained_bytes is not None
    assert slot.retained_bytes > 100_000


def test_a_failing_archive_shows_until_something_is_archived(
    make_server: MakeServer,
) -> None:
    server = make_server(conf={"archive_mode": "on", "archive_command": "false"})
    with server.connect() as admin:
        admin.autocommit = True
        admin.execute("SELECT pg_switch_wal()")
    watch = server.dsn(user="stanch_watch")
    archiver = _vitals(watch).archiver
    for _ in range(2000):
        archiver = _vitals(watch).archiver
        if archiver is not None and archiver.failed_count:
            break
    assert archiver is not None
    assert archiver.failing


def until(look: Callable[[], Vitals], wanted: Callable[[Vitals], bool]) -> Vitals:
    """The first look with which the test is content, or the last one within ten seconds."""
    end = time.monotonic() + 10
    vitals = look()
    while not wanted(vitals) and time.monotonic() < end:
        time.sleep(0.05)
        vitals = look()
    return vitals


@contextmanager
def standby_of(primary: ScratchServer) -> Iterator[ScratchServer]:
    """A second server that streams from the first."""
    primary.stop()
    options = ScratchOptions(parent=primary.options.parent, wal_segsize_mb=1)
    with ExitStack() as stack:
        standby = ScratchServer.create(options=options, template=primary)
        stack.callback(standby.destroy)
        standby.folder.write_owned(standby.data_directory / "standby.signal", "")
        standby.set_conf({"primary_conninfo": f"{primary.dsn()} application_name=second"})
        primary.start()
        standby.start()
        yield standby


def test_a_standby_of_an_idle_primary_is_not_late_and_one_that_waits_is(
    server: ScratchServer,
) -> None:
    with standby_of(server) as standby:
        here, there = (one.dsn(user="stanch_watch") for one in (server, standby))
        primary = until(lambda: _vitals(here), lambda v: [s.late_s for s in v.senders] == [0.0])
        assert [s.application_name for s in primary.senders] == ["second"]
        assert [s.late_s for s in primary.senders] == [0.0]
        assert primary.standby is None
        caught_up = until(
            lambda: _vitals(there), lambda v: v.standby is not None and v.standby.late_s == 0.0
        ).standby
        assert caught_up is not None
        assert (caught_up.receiver_status, caught_up.late_s) == ("streaming", 0.0)

        standby.query("SELECT pg_wal_replay_pause()")
        server.query("CREATE TABLE rows AS SELECT generate_series(1, 20000) AS n")
        behind = until(
            lambda: _vitals(there),
            lambda v: v.standby is not None and bool(v.standby.received_bytes_to_replay),
        )
        assert behind.standby is not None
        assert behind.standby.replay_paused
        assert behind.standby.late_s is None or behind.standby.late_s > 0
        assert behind.wal_position_bytes is not None
        assert any((s.replay_lag_bytes or 0) > 100_000 for s in _vitals(here).senders)

        server.stop("immediate")
        alone = until(
            lambda: _vitals(there),
            lambda v: v.standby is not None and v.standby.receiver_status is None,
        ).standby
        assert alone is not None
        assert alone.late_s is None, "without a receiver nobody knows how late it is"


def test_since_when_a_slot_is_inactive_is_known_from_version_17_on(
    server: ScratchServer, pg_major: int
) -> None:
    server.query("SELECT pg_create_physical_replication_slot('left', true)")
    [slot] = _vitals(server.dsn(user="stanch_watch")).slots
    assert (slot.inactive_since is not None) == (pg_major >= 17)
    assert slot.unconfirmed_bytes is None


@on_15
def test_active_sessions_are_told_apart_by_what_they_wait_for(server: ScratchServer) -> None:
    with closing(psycopg.connect(server.dsn(user="app", dbname="app"))) as sleeper:
        sleeper.pgconn.send_query(b"SELECT pg_sleep(60)")
        sessions = until(
            lambda: _vitals(server.dsn(user="stanch_watch")),
            lambda v: v.sessions is not None and bool(v.sessions.by_wait),
        ).sessions
    assert sessions is not None
    assert sessions.by_wait == (("Timeout", 1),)
    assert sessions.autovacuum_workers == 0


@on_18
def test_hostile_names_arrive_as_they_are(server: ScratchServer) -> None:
    name = "x'; DROP TABLE y; --<script>\x01"
    with psycopg.connect(server.dsn(user="app", dbname="app"), application_name=name):
        sessions = _vitals(server.dsn(user="stanch_watch")).sessions
    assert sessions is not None
    assert any(
        g.application_name.startswith("x'; DROP TABLE y; --<script>") for g in sessions.groups
    )


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary() | st.text() | _JSON.map(json.dumps))
def test_an_answer_that_is_no_vitals_is_one_named_failure(payload: str | bytes) -> None:
    with pytest.raises(ProbeFailed):
        parse_vitals(payload)


@given(
    st.sampled_from(
        ["at", "settings", "sessions", "slots", "senders", "standby", "work", "xid_age_max"]
    ),
    _JSON,
)
def test_one_wrong_field_is_a_named_failure_or_is_read(field: str, value: object) -> None:
    said = field
    try:
        parse_vitals({**_GOOD, field: value})
    except ProbeFailed as error:
        said = error.what
    assert field in said


_GOOD: dict[str, object] = {
    "at": 1.5,
    "postmaster_start": 1.0,
    "version_num": 150000,
    "in_recovery": False,
    "transaction_read_only": False,
    "sees_sessions": False,
    "settings": {"max_connections": 10, "superuser_reserved_connections": 3},
    "backends": 1,
    "work": dict.fromkeys(("commits", "rollbacks", "deadlocks", "temp_files", "temp_bytes"), 0),
    "prepared_xacts": 0,
}


def test_the_smallest_answer_is_read() -> None:
    vitals = parse_vitals(json.dumps(_GOOD).encode())
    assert vitals.settings.usable_connections == 7
    assert vitals.sessions is None
