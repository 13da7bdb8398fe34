"""Replication that is broken for real, with nothing said but the DSN and the folder."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime

import psycopg
import pytest

from clusters_at import PRIMARY, STANDBY, ClusterHouse, cluster_house
from fix_servers import MakeServer, Templates
from looking import diagnose_dsn
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_folder import ScratchOptions
from stanch.diagnose.background import Background
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.diagnose.run import DEADLINE_S
from stanch.facts.vitals import VITALS_SQL, parse_vitals
from stanch.facts.workings import WORKINGS_SQL, parse_workings
from stanch.model.diagnosis import Diagnosis, Missing, Verdict
from stanch.model.ids import TargetName
from stanch.model.samples import Sample
from stanch.model.seats import Seat
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.diagnosing import Located, gather_for_target

on_15 = pytest.mark.parametrize("pg_major", [15], indirect=True)
on_18 = pytest.mark.parametrize("pg_major", [18], indirect=True)
LEVEL = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()"
BIG = "SELECT repeat('x', 900) FROM generate_series(1, 24000)"
"""More than 16 MiB of WAL."""

Pair = tuple[ScratchServer, ScratchServer]


async def look(server: ScratchServer, deadline_s: float = DEADLINE_S) -> Diagnosis:
    return await diagnose_dsn(
        server.dsn(user="stanch_watch", dbname="app"),
        data_directory=str(server.data_directory),
        log=str(server.log_path),
        deadline_s=deadline_s,
    )


def named(found: Diagnosis) -> list[str]:
    return [c.id for c in found.causes if c.probability >= STANDS_FROM]


def why(found: Diagnosis) -> str:
    """For the failing test's message."""
    lines = [f"{found.verdict}: {found.summary}"]
    for cause in found.causes:
        lines.append(f"{cause.id} {cause.probability}")
        weighed = (*cause.evidence_for, *cause.evidence_against, *cause.missing)
        lines += [f"  {f.weight:+} {f.evidence}: {f.text}" for f in weighed]
    return "\n".join(lines)


def until(condition: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    """Poll until the servers have come so far."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


@pytest.fixture
def apart(pg_major: int, server_templates: Templates) -> Iterator[Pair]:
    """A primary that runs, and a copy of it that would follow it once it is started."""
    template = server_templates.of(pg_major, "trust")
    options = ScratchOptions(parent=server_templates.parent)
    with ExitStack() as stack:
        primary = stack.enter_context(ScratchServer.create(options=options, template=template))
        standby = ScratchServer.create(options=options, template=template)
        stack.callback(standby.destroy)
        follow(standby, primary)
        yield primary, standby


@pytest.fixture
def pair(apart: Pair) -> Pair:
    """A primary and its standby, which is level."""
    primary, standby = apart
    standby.start()
    primary.query("CREATE TABLE seen AS SELECT 1 AS n")
    until(lambda: primary.query(LEVEL) == [(1,)], "the standby is level")
    return primary, standby


def follow(server: ScratchServer, primary: ScratchServer) -> None:
    server.folder.write_owned(server.data_directory / "standby.signal", "")
    server.set_conf({"primary_conninfo": primary.dsn()})


@on_15
async def test_a_pair_that_does_its_work_is_healthy(pair: Pair) -> None:
    for server in pair:
        found = await look(server)
        assert found.verdict is Verdict.HEALTHY, why(found)


@on_18
async def test_replay_that_somebody_paused(pair: Pair) -> None:
    primary, standby = pair
    standby.query("SELECT pg_wal_replay_pause()")
    assert (await look(standby)).verdict is Verdict.HEALTHY, "nothing waits to be replayed"
    primary.query("CREATE TABLE written AS SELECT 1 AS n")
    until(
        lambda: (
            standby.query(
                "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn() "
                "AND pg_get_wal_replay_pause_state() = 'paused'"
            )
            == [(True,)]
        ),
        "WAL waits to be replayed",
    )
    found = await look(standby)
    assert named(found) == ["replay_paused"], why(found)


@on_15
async def test_replay_that_waits_for_a_report(pair: Pair) -> None:
    primary, standby = pair
    # Only who reads in the same database is in the way.
    with psycopg.connect(standby.dsn(application_name="report")) as report:
        report.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        report.execute("SELECT count(*) FROM seen")
        primary.query("DELETE FROM seen")
        primary.query("VACUUM seen")
        primary.query(f"CREATE TABLE big AS {BIG}")
        waits = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'RecoveryConflictSnapshot' "
            "AND pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) > 17e6"
        )
        until(lambda: standby.query(waits) == [(1,)], "replay waits")
        found = await look(standby)
        pid = report.info.backend_pid
    assert named(found) == ["replay_conflict"], why(found)
    assert found.causes[0].fact("reader_pid") == pid
    assert found.causes[0].fact("reader_application") == "report"


@on_18
async def test_a_receiver_that_takes_nothing_more(pair: Pair) -> None:
    primary, standby = pair
    primary.set_conf({"max_wal_size": "1GB"})
    [(receiver,)] = standby.query("SELECT pid FROM pg_stat_wal_receiver")
    os.kill(receiver, signal.SIGSTOP)
    try:
        for n in range(4):
            primary.query(f"CREATE TABLE big{n} AS {BIG}")
        found = await look(primary)
    finally:
        os.kill(receiver, signal.SIGCONT)
    assert named(found) == ["lag_sending"], why(found)
    weighed = [f.evidence for f in found.causes[0].evidence_for]
    assert {"wal_unsent", "sender_waits_for_network"} <= set(weighed), why(found)


@on_15
async def test_a_standby_whose_wal_its_primary_has_removed(apart: Pair) -> None:
    primary, standby = apart
    primary.set_conf({"max_wal_size": "1GB"})
    for _ in range(2):
        primary.query("DROP TABLE IF EXISTS big")
        primary.query(f"CREATE TABLE big AS {BIG}")
        primary.query("CHECKPOINT")
    standby.start()
    until(lambda: "has already been removed" in standby.log_text(), "the standby asks for it")
    found = await look(standby)
    assert named(found) == ["wal_removed"], why(found)


@on_18
async def test_a_slot_that_lost_its_wal(make_server: MakeServer) -> None:
    server = make_server(conf={"max_slot_wal_keep_size": "1MB", "max_wal_size": "1GB"})
    server.query("SELECT pg_create_physical_replication_slot('gone', true)")
    server.query(f"CREATE TABLE big AS {BIG}")
    server.query("CHECKPOINT")
    found = await look(server)
    assert named(found) == ["wal_removed"], why(found)
    assert found.causes[0].subject == "gone"


def payer(server: ScratchServer) -> threading.Thread:
    """Somebody whose commit waits, for seconds by now."""
    server.query("CREATE TABLE paid (n int)")
    server.query("GRANT INSERT ON paid TO app")
    server.set_conf({"synchronous_standby_names": "two"})

    def pay() -> None:
        with suppress(psycopg.Error), psycopg.connect(server.dsn()) as connection:
            connection.execute("INSERT INTO paid VALUES (1)")

    paying = threading.Thread(target=pay, daemon=True)
    paying.start()
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' "
        "AND clock_timestamp() - query_start > '2.05 s'"
    )
    until(lambda: server.query(waits) == [(1,)], "a commit waits")
    return paying


@on_15
async def test_commits_that_wait_for_a_standby_that_is_gone(server: ScratchServer) -> None:
    paying = payer(server)
    found = await look(server)
    server.set_conf({"synchronous_standby_names": ""})
    paying.join(10)
    assert named(found) == ["sync_standby_gone"], why(found)
    assert found.causes[0].fact("waiting_commits") == 1


@on_15
async def test_commits_that_wait_for_a_standby_of_another_name(pair: Pair) -> None:
    primary, _ = pair
    paying = payer(primary)
    found = await look(primary)
    primary.set_conf({"synchronous_standby_names": ""})
    paying.join(10)
    assert named(found) == ["sync_standby_gone"], why(found)
    assert 'connected is "walreceiver"' in found.summary


async def test_a_subscription_whose_worker_fails_again_and_again(make_server: MakeServer) -> None:
    publisher = make_server(conf={"wal_level": "logical"})
    subscriber = make_server(conf={"wal_retrieve_retry_interval": "50ms"})
    for server in (publisher, subscriber):
        server.query("CREATE TABLE orders (id int PRIMARY KEY)")
    subscriber.query("INSERT INTO orders VALUES (1)")
    publisher.query("CREATE PUBLICATION all_orders FOR TABLE orders")
    subscriber.query(
        f"CREATE SUBSCRIPTION orders_copy CONNECTION '{publisher.dsn()}' "
        "PUBLICATION all_orders WITH (copy_data = false)"
    )
    publisher.query("INSERT INTO orders VALUES (1)")
    until(lambda: subscriber.log_text().count("exited with exit code 1") >= 3, "the worker fails")
    found = await look(subscriber)
    # As long as the worker fails its origin's publication cannot be dropped with it.
    subscriber.query("ALTER SUBSCRIPTION orders_copy DISABLE")
    assert named(found) == ["apply_worker_loop"], why(found)
    assert found.causes[0].fact("subscription") == "orders_copy"
    error = str(found.causes[0].fact("error"))
    # From version 18 on the worker has words of its own.
    assert error.startswith(("duplicate key value", "conflict detected on relation")), why(found)
    [(told,)] = subscriber.query(WORKINGS_SQL)
    workers = [f for f in parse_workings(str(told)).figures if f.name == "subscription_worker"]
    assert [(f.subject, f.detail) for f in workers] == [("orders_copy", "disabled")]


@on_15
async def test_an_old_primary_that_cannot_follow_the_new_one(pair: Pair) -> None:
    old, new = pair
    new.query("SELECT pg_promote()")
    old.query("CREATE TABLE lost AS SELECT generate_series(1, 1000)")
    old.stop()
    follow(old, new)
    old.start()
    until(lambda: "forked off current database system timeline" in old.log_text(), "they part")
    found = await look(old)
    assert named(found) == ["timeline_diverged"], why(found)


# --- two primaries, as the watch of both of them sees it ------------------------------------------


async def heard(house: ClusterHouse, target: TargetName, server: ScratchServer) -> None:
    """One look at a real server."""
    [(told,)] = server.query(VITALS_SQL)
    [(cluster,)] = server.query("SELECT system_identifier::text FROM pg_control_system()")
    vitals = parse_vitals(str(told))
    seat = Seat(cluster=str(cluster), primary=not vitals.in_recovery, timeline=vitals.timeline)
    sample = Sample(target=target, at=datetime.now(UTC), vitals=vitals, seat=seat)
    await house.watching.topology.learn(sample)


async def judged(house: ClusterHouse, target: TargetName, server: ScratchServer) -> Diagnosis:
    async def nothing() -> Missing:
        return Missing(what="it", reason="nothing was seen")

    elsewhere = Missing(what="host", reason="the server is on another machine")
    seen = house.watching.topology.neighbours.seen(target)
    evidence = await gather_for_target(
        TargetPolicy(name=target, dsn=server.dsn(user="stanch_watch", dbname="app")),
        Located(place=elsewhere, host=elsewhere, traces=elsewhere),
        held=None,
        background=Background(history=nothing, changes=nothing, cluster=seen),
    )
    return diagnose(evidence)


@on_15
async def test_replay_that_is_paused_as_its_primary_sees_it(pair: Pair) -> None:
    primary, standby = pair
    house = await cluster_house()
    standby.query("SELECT pg_wal_replay_pause()")
    primary.query("CREATE TABLE written AS SELECT 1 AS n")
    waits = "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()"
    until(lambda: standby.query(waits) == [(True,)], "WAL waits to be replayed")
    for target, server in ((PRIMARY, primary), (STANDBY, standby)):
        await heard(house, target, server)
    found = await judged(house, PRIMARY, primary)
    assert named(found) == ["replay_paused"], why(found)
    assert found.causes[0].subject == STANDBY


@on_15
async def test_a_walsender_that_somebody_has_suspended(pair: Pair) -> None:
    primary, _ = pair
    primary.set_conf({"max_wal_size": "1GB"})
    [(sender,)] = primary.query("SELECT pid FROM pg_stat_replication")
    os.kill(sender, signal.SIGSTOP)
    try:
        primary.query(f"CREATE TABLE big AS {BIG}")
        found = await look(primary, deadline_s=15.0)
    finally:
        os.kill(sender, signal.SIGCONT)
    assert named(found) == ["lag_sending"], why(found)
    assert f"(process {sender}) is suspended" in found.summary


@pytest.mark.parametrize("pg_major", [15, 18], indirect=True)
async def test_a_standby_that_its_primary_no_longer_lets_in(pair: Pair) -> None:
    primary, standby = pair
    primary.add_hba("host replication all all reject")
    primary.add_hba("local replication all reject")
    standby.restart()
    until(lambda: "pg_hba.conf" in standby.log_text(), "the standby is turned away")
    found = await look(standby)
    assert named(found) == ["hba_refused"], why(found)
    assert "This standby is turned away as role" in found.summary


@pytest.mark.parametrize("pg_major", [15, 18], indirect=True)
def test_a_primary_tells_when_each_receiver_last_spoke_and_which_slot_it_uses(pair: Pair) -> None:
    primary, standby = pair
    primary.query("SELECT pg_create_physical_replication_slot('two')")
    standby.set_conf({"primary_slot_name": "two"})
    standby.restart()
    active = "SELECT active_pid FROM pg_replication_slots WHERE active"
    until(lambda: len(primary.query(active)) == 1, "the slot is used")
    [(sender,)] = primary.query(active)

    def said() -> list[tuple[str, float | None]]:
        [(text,)] = primary.query(WORKINGS_SQL, user="stanch_watch")
        figures = [f for f in parse_workings(str(text)).figures if f.name == "sender_silent_s"]
        assert [f.subject for f in figures] == [str(sender)]
        return [(f.detail, f.value) for f in figures]

    until(lambda: said()[0][1] is not None, "the receiver has spoken")
    [(slot, silent_s)] = said()
    assert slot == "two"
    assert silent_s is not None
    assert 0 <= silent_s <= 10


@on_15
async def test_a_standby_that_was_promoted_beside_its_primary(pair: Pair) -> None:
    primary, standby = pair
    house = await cluster_house()
    both = ((PRIMARY, primary), (STANDBY, standby))
    for target, server in both:
        await heard(house, target, server)
    for target, server in both:
        assert (await judged(house, target, server)).verdict is Verdict.HEALTHY
    standby.query("SELECT pg_promote()")
    for target, server in (*both, *both):
        await heard(house, target, server)
    for target, server in both:
        found = await judged(house, target, server)
        stands = [(c.id, c.follows) for c in found.causes if c.probability >= STANDS_FROM]
        assert stands == [
            ("standby_promoted", None),
            ("split_brain", "standby_promoted"),
        ], why(found)
        assert found.causes[0].subject == STANDBY
    lives = await look(standby, deadline_s=8.0)
    assert lives.first is not None
    assert lives.first.id == "standby_promoted", why(lives)
    assert f"127.0.0.1:{primary.port}, which it followed until then" in lives.summary
    primary.stop("fast")
    assert (await look(standby, deadline_s=8.0)).verdict is Verdict.HEALTHY
