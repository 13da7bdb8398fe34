"""Standbys that stay behind: the line to them is slow, or what arrived is not replayed."""

from __future__ import annotations

import os
import signal

from stanch.adapters.postgres.scratch_folder import Setting
from stanch.drill.lab.fault import Area, Fault, Needs
from stanch.drill.lab.means import words
from stanch.drill.lab.means.line import Line
from stanch.drill.lab.means.standbys import (
    BEHIND_SQL,
    asked,
    bulk_table,
    caught_up,
    goes_through,
    standby_logged,
    standby_of,
    streams,
    write,
)
from stanch.drill.lab.rig import Rig

PAUSED_SQL = "SELECT 1 WHERE pg_is_wal_replay_paused()"
REPLAY_WAITS_SQL = (
    "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'startup'"
    " AND (wait_event LIKE 'RecoveryConflict%' OR wait_event_type = 'Lock')"
)
REPORTS_SQL = "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND application_name = %s"
CANCELLED = "due to conflict with recovery"
UNSENT_SQL = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), sent_lsn) FROM pg_stat_replication"
UNREPLAYED_SQL = "SELECT pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())"
MB = 1024 * 1024

ROOM_FOR_WAL: dict[str, Setting] = {"wal_keep_size": "2GB", "max_wal_size": "2GB"}
"""Of a site that writes much and has a standby: it keeps the WAL that one may still need, and
checkpoints come by the clock."""


# --- paused -------------------------------------------------------------------------------------


def _paused(rig: Rig) -> None:
    standby = standby_of(rig)
    program = rig.rng.choice(("psql", "pgAdmin 4 - CONN:4711", words.job(rig.rng)))
    operator = rig.enter(standby.connect(application_name=program))
    operator.execute("SELECT pg_wal_replay_pause()")
    if rig.rng.random() < 0.7:
        operator.close()
    write(rig, bulk_table(rig), rig.rng.randint(1, 12))
    rig.until(lambda: asked(rig, PAUSED_SQL) and asked(rig, BEHIND_SQL))


# --- conflicts with queries ---------------------------------------------------------------------


def _reported(rig: Rig) -> str:
    """A table that reports read on the standby; its name is kept for the fault."""
    table = f"{words.table(rig.rng)}_by_day"
    rows = rig.rng.randint(1000, 4000)
    rig.sql(f"CREATE TABLE {table} AS SELECT n AS id, 0 AS done FROM generate_series(1, {rows}) n")
    rig.notes["reported"] = table
    return table


def _patient(rig: Rig) -> None:
    """The standby is there for reports, which nothing is to interrupt."""
    longest = rig.rng.choice(("-1", "30min", "2h"))
    standby_of(rig).set_conf({"max_standby_streaming_delay": longest})
    _reported(rig)
    caught_up(rig)


def _long_report(rig: Rig) -> None:
    table, job = rig.notes["reported"], words.job(rig.rng)
    row_s = rig.rng.uniform(0.2, 1.0)
    for _ in range(rig.rng.randint(1, 3)):
        report = rig.session(job, port=standby_of(rig).port)
        rig.send(report, f"SELECT r.*, pg_sleep({row_s:.2f}) FROM {table} r")
    rig.until(lambda: asked(rig, REPORTS_SQL, (job,)))
    if rig.rng.random() < 0.5:
        rig.sql(f"DELETE FROM {table} WHERE id % {rig.rng.randint(2, 9)} = 0")
        rig.sql(f"VACUUM {table}")
    else:
        migration = words.migration(rig.rng)
        rig.sql(f"ALTER TABLE {table} ADD COLUMN note text", application_name=migration)
    rig.until(lambda: asked(rig, REPLAY_WAITS_SQL))
    write(rig, bulk_table(rig), rig.rng.randint(1, 8))
    rig.until(lambda: asked(rig, BEHIND_SQL))


def _impatient(rig: Rig) -> None:
    """The standby is there to take over at once; what the server vacuums is vacuumed there."""
    delay = rig.rng.choice(("0", "200ms", "1s"))
    standby_of(rig).set_conf({"max_standby_streaming_delay": delay})
    table = _reported(rig)
    writer, cleaner = rig.session(words.application(rig.rng)), rig.session("vacuumdb")

    def cleaned() -> None:
        rig.run(writer, f"UPDATE {table} SET done = done + 1 WHERE id % 10 = 0")
        rig.run(cleaner, f"VACUUM {table}")

    rig.keep(cleaned, pause_s=rig.rng.uniform(0.5, 1.5))
    caught_up(rig)


def _reports_cancelled(rig: Rig) -> None:
    table, port = rig.notes["reported"], standby_of(rig).port
    for _ in range(rig.rng.randint(2, 5)):
        report = rig.session(words.job(rig.rng), port=port)
        sql = f"SELECT r.*, pg_sleep(0.05) FROM {table} r"
        rig.keep(lambda s=report, q=sql: rig.run(s, q), pause_s=rig.rng.uniform(0.1, 0.5))
        rig.undo(report.cancel)
    standby_logged(rig, CANCELLED, times=rig.rng.randint(4, 10))


# --- one process that replays -------------------------------------------------------------------


def _small_standby(rig: Rig) -> None:
    """The standby has far less memory than the primary: it reads back each page that changes."""
    standby = standby_of(rig)
    standby.set_conf({"shared_buffers": rig.rng.choice(("384kB", "512kB", "768kB"))})
    standby.restart()
    table = f"{words.table(rig.rng)}_tokens"
    rig.sql(f"CREATE TABLE {table} (id bigint, a uuid, b uuid, c uuid, d uuid)")
    rig.sql(_tokens(table, rig.rng.randint(50, 80) * 1000))
    for column in "abcd":
        rig.sql(f"CREATE INDEX ON {table} ({column})")
    rig.notes["tokens"] = table
    caught_up(rig)


def _tokens(table: str, rows: int) -> str:
    """Keys without any order: each row changes a page of its own in each index."""
    keys = ", ".join(["gen_random_uuid()"] * 4)
    return f"INSERT INTO {table} SELECT n, {keys} FROM generate_series(1, {rows}) n"


def _replay_outrun(rig: Rig) -> None:
    """Several sessions write at once; what they wrote is replayed by one process."""
    application = words.application(rig.rng)
    for _ in range(rig.rng.randint(2, 4)):
        sql = _tokens(rig.notes["tokens"], rig.rng.randint(800, 2000))
        writer = rig.session(application)
        rig.keep(lambda s=writer, q=sql: rig.run(s, q), pause_s=0.02)
    behind = rig.rng.randint(4, 10) * MB
    rig.until(lambda: asked(rig, UNREPLAYED_SQL)[0][0] > behind, seconds=40.0)


# --- the line between them ----------------------------------------------------------------------


def _on_a_line(rig: Rig) -> None:
    """The standby is somewhere else, at the end of a line that is good enough every day."""
    rig.notes["line"] = line = rig.enter(Line(rig.server.port))
    goes_through(rig, port=line.port, application_name="standby-far")
    streams(rig, "standby-far")


def _writes_much(rig: Rig) -> None:
    """A job that goes on and on, with a few megabytes a second."""
    job, table = rig.session(words.job(rig.rng)), bulk_table(rig)
    rig.run(job, f"CREATE TABLE IF NOT EXISTS {table} (id bigint, filler text)")
    sql = f"INSERT INTO {table} SELECT n, repeat('x', 1000) FROM generate_series(1, 400) n"
    rig.keep(lambda: rig.run(job, sql), pause_s=rig.rng.uniform(0.05, 0.15))


def _unsent(rig: Rig, megabytes: int) -> None:
    rig.until(
        lambda: rig.admin(f"{UNSENT_SQL} WHERE state = 'streaming'")[0][0] > megabytes * MB,
        seconds=40.0,
    )


def _slow_line(rig: Rig) -> None:
    rig.notes["line"].bytes_per_s = rig.rng.randint(30, 300) * 1000
    _writes_much(rig)
    _unsent(rig, rig.rng.randint(3, 8))


def _held_sender(rig: Rig) -> None:
    ((sender,),) = rig.admin("SELECT pid FROM pg_stat_replication WHERE state = 'streaming'")
    os.kill(sender, signal.SIGSTOP)
    rig.undo(lambda: os.kill(sender, signal.SIGCONT))
    _writes_much(rig)
    _unsent(rig, rig.rng.randint(2, 8))


FAULTS = (
    Fault(
        id="replay-paused",
        area=Area.REPLICATION,
        story="Somebody paused the replay on the standby for an export, and forgot to resume it.",
        causes=("replay_paused",),
        make=_paused,
        needs=Needs(standby=True),
        shows_after_s=4.0,
        seen_on="standby",
    ),
    Fault(
        id="replay-paused-seen-from-primary",
        area=Area.REPLICATION,
        story="The replay on the standby was paused and forgotten; on the primary somebody sees"
        " that the standby stays behind.",
        causes=("replay_paused",),
        make=_paused,
        by_policy_alone=True,
        needs=Needs(standby=True),
        shows_after_s=4.0,
    ),
    Fault(
        id="replay-waits-for-report",
        area=Area.REPLICATION,
        story="A long report on the standby reads what the primary has changed since, and the"
        " standby is told to let reports finish: the replay waits.",
        causes=("replay_conflict",),
        make=_long_report,
        needs=Needs(standby=True, prepare=(_patient,)),
        shows_after_s=10.0,  # For a few seconds replay waits on any standby that is read from.
        seen_on="standby",
    ),
    Fault(
        id="reports-cancelled-on-standby",
        area=Area.REPLICATION,
        story="Reports were moved to the standby, and each of them is cancelled as soon as the"
        " primary has vacuumed.",
        causes=("replay_conflict",),
        make=_reports_cancelled,
        needs=Needs(standby=True, prepare=(_impatient,)),
        shows_after_s=3.0,
        seen_on="standby",
    ),
    Fault(
        id="replay-outrun",
        area=Area.REPLICATION,
        story="The standby has much less memory than the primary, and since several sessions write"
        " at once its only replaying process cannot keep up.",
        causes=("replay_saturated",),
        make=_replay_outrun,
        needs=Needs(standby=True, conf=ROOM_FOR_WAL, prepare=(_small_standby,)),
        shows_after_s=6.0,
        seen_on="standby",
    ),
    Fault(
        id="slow-line-to-standby",
        area=Area.REPLICATION,
        story="The line to the standby's site became slow while a job wrote a lot: what is to be"
        " sent piles up.",
        causes=("lag_sending",),
        make=_slow_line,
        needs=Needs(standby=True, conf=ROOM_FOR_WAL, prepare=(_on_a_line,)),
        shows_after_s=10.0,
    ),
    Fault(
        id="wal-sender-held",
        area=Area.REPLICATION,
        story="Somebody stopped the WAL sender with a debugger and went away; a job writes on.",
        causes=("lag_sending",),
        make=_held_sender,
        needs=Needs(standby=True, conf=ROOM_FOR_WAL),
        shows_after_s=4.0,
    ),
)
