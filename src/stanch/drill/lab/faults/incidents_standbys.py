"""Told incidents: replicas, two primaries, and those who followed by logical replication."""

from __future__ import annotations

import random
import re
import signal

from stanch.adapters.postgres import scratch_processes
from stanch.drill.lab.fault import Area, Fault, Needs
from stanch.drill.lab.means.estate import Records, estate, everyday, records, says, unused
from stanch.drill.lab.means.standbys import (
    asked,
    caught_up,
    copied,
    goes_through,
    standby_logged,
    standby_of,
    write,
)
from stanch.drill.lab.rig import Rig

NOTE = "incidents-standbys"
PRIMARY_SQL = "SELECT 1 WHERE NOT pg_is_in_recovery()"
SYNC_SQL = "SELECT 1 FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')"
WAITS_SQL = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' HAVING count(*) >= 2"
LOST_SQL = "SELECT 1 FROM pg_replication_slots WHERE wal_status = 'lost'"


def _used(rig: Rig) -> None:
    made = records(rig, rows=rig.rng.randint(3_000, 12_000))
    rig.notes[NOTE] = made
    everyday(rig, made.usual)
    caught_up(rig)


# --- two primaries ------------------------------------------------------------------------------


def _failover_after_lost_name(rig: Rig) -> None:
    """As told in https://gitlab.com/gitlab-com/gl-infra/production/-/work_items/287."""
    made: Records = rig.notes[NOTE]
    home, standby = estate(rig), standby_of(rig)
    name = f"postgres-0{rig.rng.randint(1, 3)}.db.example.invalid"
    goes_through(rig, host=name)
    rig.admin("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    standby_logged(rig, "could not translate host name")
    # The manager asks by the same name, and takes nobody's answer for a dead primary.
    program = standby.binaries.program("pg_ctl")
    standby.folder.must_run([program, "-D", standby.data_directory, "promote"])
    rig.until(lambda: asked(rig, PRIMARY_SQL))
    for _ in range(rig.rng.randint(1, 3)):
        moved = rig.session(home.program, port=standby.port, user=home.web)
        rng = random.Random(rig.rng.random())
        rig.keep(lambda s=moved, r=rng: rig.run(s, made.add(r)), pause_s=0.1)
    fresh = f"SELECT 1 FROM {made.name} WHERE id > {made.rows} OFFSET 10"
    rig.until(lambda: asked(rig, fresh) and rig.admin(fresh))


# --- synchronous --------------------------------------------------------------------------------


def _synchronous_pair(rig: Rig) -> None:
    _used(rig)
    names = rig.rng.choice(("standby1", "FIRST 1 (standby1)", "ANY 1 (standby1, standby9)"))
    rig.server.set_conf({"synchronous_standby_names": names})
    if rig.rng.random() < 0.5:
        rig.server.set_conf({"synchronous_commit": "remote_apply"})
    rig.until(lambda: rig.admin(SYNC_SQL))


def _standby_machine_freezes(rig: Rig) -> None:
    """The hypervisor stopped the standby's machine: nobody closed a connection."""
    standby = standby_of(rig)
    pids = standby.processes()
    rig.undo(standby.resume)
    scratch_processes.signal_all(pids, signal.SIGSTOP)
    rig.until(lambda: not rig.admin("SELECT 1 FROM pg_stat_replication"), seconds=40)
    rig.until(lambda: rig.admin(WAITS_SQL))


# --- held back, and cancelled -------------------------------------------------------------------


def _forgotten_on_standby(rig: Rig) -> None:
    """An analyst's notebook has an open transaction on the standby, and nobody sits before it."""
    made: Records = rig.notes[NOTE]
    home = estate(rig)
    notebook = standby_of(rig).connect(home.analyst, "app", application_name="jupyter")
    rig.undo(notebook.close)
    rig.run(notebook, "BEGIN ISOLATION LEVEL REPEATABLE READ")
    rig.run(notebook, f"SELECT sum(amount) FROM {made.name}")
    feeds = "SELECT 1 FROM pg_stat_replication WHERE backend_xmin IS NOT NULL"
    rig.until(lambda: rig.admin(feeds))
    says(
        rig,
        lambda rng: (
            f"UPDATE {made.name} SET state = 'open' WHERE account_id % 5 <> {rng.randint(0, 4)}"
        ),
        role=home.worker,
        application="state-machine",
        pause_s=rig.rng.uniform(0.2, 0.5),
    )
    dead = "SELECT 1 FROM pg_stat_user_tables WHERE relid = %s::regclass AND n_dead_tup > %s"
    rig.until(lambda: rig.admin(dead, (made.name, 4 * made.rows)), seconds=60)


def _partitions(rig: Rig) -> None:
    """A table with a part for each hour, of which the oldest is removed all the time."""
    name = f"{estate(rig).schema}.{unused(rig, ('metrics', 'samples', 'page_hits', 'readings'))}"
    rig.sql(f"CREATE TABLE {name} (hour int NOT NULL, value bigint) PARTITION BY LIST (hour)")
    hours = rig.rng.randint(40, 70)
    for hour in range(hours):
        rig.sql(f"CREATE TABLE {name}_{hour} PARTITION OF {name} FOR VALUES IN ({hour})")
    rig.sql(f"INSERT INTO {name} SELECT n % {hours}, n FROM generate_series(1, {hours * 400}) n")
    _used(rig)
    rig.notes["partitions"] = (name, hours)


def _partitions_dropped_under_reports(rig: Rig) -> None:
    """Retention drops parts on the primary; each needs the table for itself, also where it is
    replayed."""
    name, hours = rig.notes["partitions"]
    chart = f"SELECT hour, sum(value), pg_sleep(0.1) FROM {name} GROUP BY 1"
    home, port = estate(rig), standby_of(rig).port
    for _ in range(rig.rng.randint(2, 4)):
        report = rig.session("Grafana", port=port, user=home.analyst)
        rig.keep(lambda s=report: rig.run(s, chart), pause_s=0.1)
        rig.undo(report.cancel)
    left = list(range(hours))

    def retain() -> None:
        hour = left.pop(0) if left else hours
        rig.sql(
            f"DROP TABLE IF EXISTS {name}_{hour}",
            user=home.worker,
            application_name="pg_partman_bgw",
        )

    rig.keep(retain, pause_s=rig.rng.uniform(1.0, 1.6))
    standby_logged(rig, "canceling statement due to conflict with recovery", times=3, seconds=60)


# --- cannot follow ------------------------------------------------------------------------------


def _with_slot(rig: Rig) -> None:
    rig.admin("SELECT pg_create_physical_replication_slot('standby1', true)")
    standby_of(rig).set_conf({"primary_slot_name": "standby1"})
    standby_of(rig).restart()
    rig.until(lambda: rig.admin("SELECT 1 FROM pg_replication_slots WHERE active"))
    _used(rig)


def _slot_was_given_up(rig: Rig) -> None:
    """The standby was away for maintenance, and its slot was allowed only so much."""
    standby = standby_of(rig)
    standby.stop("fast")
    table = f"{estate(rig).schema}.load_of_the_night"

    def given_up() -> bool:
        write(rig, table, rig.rng.randint(6, 14))
        rig.admin("CHECKPOINT")
        return bool(rig.admin(LOST_SQL))

    rig.until(given_up, seconds=60)
    standby.start()
    words = ("can no longer get changes", "cannot read from", "has already been removed",
             "can no longer access")  # fmt: skip
    said = re.compile("|".join(words))
    rig.until(lambda: said.search(standby.log_text()), seconds=40)


def _more_connections_on_primary(rig: Rig) -> None:
    """max_connections was raised on the primary, and only there."""
    rig.server.set_conf({"max_connections": rig.rng.choice((150, 200, 300))})
    rig.server.restart()
    standby_logged(rig, "not possible because of insufficient parameter settings")
    made: Records = rig.notes[NOTE]
    says(rig, made.add, role=estate(rig).worker, application="importer", pause_s=0.05)


# --- logical ------------------------------------------------------------------------------------


def _follows_a_table(rig: Rig) -> None:
    """The server is the reporting copy of another one."""
    home = estate(rig)
    table = f"{home.schema}.{unused(rig, ('invoices', 'shifts', 'policies', 'claims'))}"
    publisher = copied(rig, {"wal_level": "logical"})
    publisher.start()
    create = f"CREATE TABLE {table} (id bigint PRIMARY KEY, total bigint)"
    publisher.query(create, user="app", dbname="app")
    publisher.query(f"CREATE PUBLICATION reporting FOR TABLE {table}", dbname="app")
    rig.sql(create)
    way = publisher.dsn(dbname="app")
    rig.admin(f"CREATE SUBSCRIPTION reporting CONNECTION '{way}' PUBLICATION reporting")
    rig.until(lambda: rig.admin("SELECT 1 FROM pg_subscription_rel WHERE srsubstate = 'r'"))
    source = rig.enter(publisher.connect("app"))
    add = f"INSERT INTO {table} (id, total) SELECT coalesce(max(id), 0) + 1, 10 FROM {table}"
    rig.keep(lambda: rig.run(source, add), pause_s=rig.rng.uniform(0.1, 0.4))
    rig.until(f"SELECT 1 FROM {table} OFFSET 3")
    rig.notes["publisher"] = (publisher, table)
    made = records(rig, rows=rig.rng.randint(2_000, 5_000))
    everyday(rig, made.usual)


def _column_added_at_the_source(rig: Rig) -> None:
    """A migration went to the source first; its copy has no such column."""
    publisher, table = rig.notes["publisher"]
    column = rig.rng.choice(("currency", "tax_code", "cost_center", "approved_by"))
    publisher.query(
        f"ALTER TABLE {table} ADD COLUMN {column} text DEFAULT 'x'", user="app", dbname="app"
    )
    rig.undo(lambda: rig.sql(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column} text"))
    rig.until(lambda: rig.server.log_text().count("missing replicated column") >= 2, seconds=40)


FAULTS = (
    Fault(
        id="failover-after-a-lost-name",
        area=Area.REPLICATION,
        story="The standby could not resolve its primary's name; the manager took the primary for"
        " dead and promoted it. Both were written to for forty minutes.",
        causes=("standby_promoted",),
        make=_failover_after_lost_name,
        needs=Needs(standby=True, prepare=(_used,)),
        shows_after_s=4.0,
        seen_on="standby",
    ),
    Fault(
        id="synchronous-standby-freezes",
        area=Area.REPLICATION,
        story="The machine of the only synchronous standby was frozen; readers noticed nothing, and"
        " every commit has waited since.",
        causes=("sync_standby_gone",),
        make=_standby_machine_freezes,
        needs=Needs(conf={"wal_sender_timeout": "2s"}, standby=True, prepare=(_synchronous_pair,)),
        shows_after_s=4.0,
        or_else=("postmaster_stopped",),  # Of the standby, which is where it came from.
        answers=False,  # What is written waits for ever.
    ),
    Fault(
        id="notebook-left-open-on-the-standby",
        area=Area.REPLICATION,
        story="A notebook was left with a transaction open on the standby, which tells the primary"
        " to keep what it may still read; dead rows pile up there.",
        causes=("vacuum_held_back",),
        make=_forgotten_on_standby,
        needs=Needs(
            conf={
                "autovacuum_naptime": "1s",
                "hot_standby_feedback": True,
                "wal_receiver_status_interval": "1s",
            },
            standby=True,
            prepare=(_used,),
        ),
        shows_after_s=8.0,
    ),
    Fault(
        id="retention-cancels-reports",
        area=Area.REPLICATION,
        story="Retention drops old partitions on the primary; on the standby each of them meets the"
        " dashboards, which are cancelled again and again.",
        causes=("replay_conflict",),
        make=_partitions_dropped_under_reports,
        needs=Needs(
            conf={"max_standby_streaming_delay": "500ms"}, standby=True, prepare=(_partitions,)
        ),
        shows_after_s=4.0,
        seen_on="standby",
    ),
    Fault(
        id="slot-was-given-up",
        area=Area.REPLICATION,
        story="The standby was away for longer than its slot may keep WAL; the slot is lost, and"
        " the standby asks in vain for what it lacks.",
        causes=("wal_removed",),
        make=_slot_was_given_up,
        needs=Needs(
            conf={
                "max_slot_wal_keep_size": "8MB",
                "max_wal_size": "8MB",
                "min_wal_size": "2MB",
                "wal_keep_size": 0,
            },
            standby=True,
            prepare=(_with_slot,),
        ),
        shows_after_s=4.0,
        seen_on="standby",
    ),
    Fault(
        id="more-connections-on-the-primary-alone",
        area=Area.REPLICATION,
        story="Somebody raised max_connections on the primary and restarted it; the standby has"
        " fewer, and has paused its replay since.",
        causes=("replay_paused",),
        make=_more_connections_on_primary,
        needs=Needs(standby=True, major_min=14, prepare=(_used,)),
        shows_after_s=4.0,
        seen_on="standby",
    ),
    Fault(
        id="column-added-at-the-source",
        area=Area.REPLICATION,
        story="A migration added a column to a published table; the copy lacks it, and its apply"
        " worker fails at the next row, again and again.",
        causes=("apply_worker_loop",),
        make=_column_added_at_the_source,
        needs=Needs(prepare=(_follows_a_table,)),
        shows_after_s=6.0,
    ),
)
