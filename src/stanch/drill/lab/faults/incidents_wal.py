"""Told incidents: volumes, WAL, archives and backups that nobody looked at."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime

import psycopg

from stanch.drill.lab.fault import Area, Fault, Needs, NotMade
from stanch.drill.lab.means.estate import Records, estate, everyday, records, says
from stanch.drill.lab.means.starting import does_not_start
from stanch.drill.lab.means.writing import (
    data_volume,
    insert,
    used,
    wal_volume,
    write_until_down,
)
from stanch.drill.lab.rig import Rig

NOTE = "incidents-wal"
DAY_S = 86400
SHARED = {"max_wal_size": "12MB", "min_wal_size": "2MB"}
NOTHING_LEFT = 96 * 1024


def _lived_in(rig: Rig) -> None:
    """Every database was logged in to before, and the site is at work."""
    for name in ("postgres", "template1"):
        rig.admin("SELECT 1", dbname=name)
    made = records(rig, rows=rig.rng.randint(2_000, 8_000))
    rig.notes[NOTE] = made
    everyday(rig, made.usual)


def _outbox(rig: Rig) -> str:
    """A table that jobs fill with rows of about 1 kB."""
    name = f"{estate(rig).schema}.outbox"
    rig.sql(f"CREATE TABLE IF NOT EXISTS {name} (id bigint, body text)")
    return name


# --- a connector that asks every few minutes ----------------------------------------------------

PEEKS = "SELECT count(*) FROM pg_logical_slot_get_binary_changes('{}', NULL, 500, {})"
OPTIONS = "'proto_version', '1', 'publication_names', 'sync'"


def _synced(rig: Rig) -> None:
    """A connector logs in now and then, takes what is new from its slot, and leaves."""
    slot = rig.rng.choice(("fivetran_replication_slot", "stitch_slot", "hightouch", "hevo_sync"))
    _lived_in(rig)
    rig.admin("CREATE PUBLICATION sync FOR ALL TABLES WITH (publish = 'insert')")
    rig.admin("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [slot])
    paused = threading.Event()
    rig.notes["paused"] = paused

    def take() -> None:
        if not paused.is_set():
            rig.admin(PEEKS.format(slot, OPTIONS))

    take()
    rig.keep(take, pause_s=rig.rng.uniform(1.5, 3.0))
    rig.sql("CREATE TABLE visits_by_day (id int, n bigint) WITH (fillfactor = 30)")
    rig.sql("INSERT INTO visits_by_day SELECT n, 0 FROM generate_series(1, 500) n")


def _sync_paused_until_full(rig: Rig) -> None:
    """As told in
    https://notion.so/hexhq/November-7-2022-Post-mortem-27b0d8b97e5e4f3a80320ad4396aaf62."""
    rig.notes["paused"].set()
    outbox, application = _outbox(rig), rig.rng.choice(("mail-merge", "webhook-fanout"))
    rows = rig.rng.randint(800, 2_500)
    say = f"TRUNCATE {outbox}; {insert(outbox, rows)}"
    # The table stays small: only what is written about it piles up.
    with suppress(psycopg.Error):
        while used(data_volume(rig)) < 0.97:
            rig.sql(say, user=estate(rig).worker, application_name=application)
    write_until_down(rig, "UPDATE visits_by_day SET n = n + 1")


# --- archiving ----------------------------------------------------------------------------------

PUSH = """#!/bin/sh
# wal-push PATH NAME
if [ ! -s "{token}" ]; then
    echo "$(date -u) ERROR: failed to upload $2: ExpiredToken: The provided token has expired." >&2
    echo "        status code: 400, request id: 7c1f0e0b2f" >&2
    exit 1
fi
cat "$1" > "{store}/$2.part" && mv "{store}/$2.part" "{store}/$2"
"""


def _pushes(rig: Rig) -> None:
    """archive_command works as long as the machine's token is good."""
    folder = rig.server.folder
    store, token = folder.path / "store", folder.path / "token"
    store.mkdir()
    if folder.user is not None:
        folder.user.own(store)
    token.write_text("good", encoding="utf-8")
    token.chmod(0o644)
    script = folder.path / "wal-push"
    script.write_text(PUSH.format(token=token, store=store), encoding="utf-8")
    script.chmod(0o755)
    rig.server.set_conf({"archive_command": f"{script} %p %f"})
    _lived_in(rig)
    rig.admin("SELECT pg_switch_wal()")
    rig.until(lambda: rig.admin("SELECT 1 FROM pg_stat_archiver WHERE archived_count > 0"))


def _token_expires(rig: Rig) -> None:
    token = rig.server.folder.path / "token"
    token.write_text("", encoding="utf-8")
    rig.undo(lambda: token.write_text("good", encoding="utf-8"))
    outbox, wanted = _outbox(rig), rig.rng.uniform(0.45, 0.85)
    say = f"TRUNCATE {outbox}; {insert(outbox, rig.rng.randint(400, 1200))}"
    role = estate(rig).worker

    def enough() -> bool:
        rig.sql(say, user=role, application_name="outbox-relay")
        return used(wal_volume(rig)) > wanted

    rig.until(enough, seconds=60)
    rig.until(lambda: rig.admin("SELECT 1 FROM pg_stat_archiver WHERE failed_count > 0"))


# --- backups ------------------------------------------------------------------------------------

MISMATCH = (
    "pg_dump: error: server version: {server}; pg_dump version: 9.2.18\n"
    "pg_dump: error: aborting because of server version mismatch\n"
)


def _dumps_of_the_wrong_version(rig: Rig) -> None:
    """As told in https://about.gitlab.com/blog/postmortem-of-database-outage-of-january-31/: the
    dump's program was of another version, and the mails that said so were rejected."""
    folder = rig.server.folder.path / "pg-backups"
    folder.mkdir()
    since = rig.rng.randint(3, 25)
    program = rig.server.binaries.program("pg_dump")
    if not program.exists():
        raise NotMade("there is no pg_dump here")
    whole = rig.server.folder.must_run([program, "-d", rig.server.dsn("app")])
    last_s = rig.rng.uniform(3, 20) * 3600
    said: list[str] = []
    for night in range(since + rig.rng.randint(2, 5), -1, -1):
        at = time.time() - last_s - night * DAY_S
        day = f"{datetime.fromtimestamp(at, UTC):%Y%m%d}"
        if night > since:
            path = folder / f"production-{day}.sql"
            path.write_text(whole, encoding="utf-8")
            os.utime(path, (at, at))
        else:
            said.append(f"{day} {MISMATCH.format(server=f'{rig.server.binaries.major}.4')}")
    log = folder / "cron-pg_dump.log"
    log.write_text("".join(said), encoding="utf-8")
    rig.policy["backups"] = {"dumps": str(folder)}
    made = records(rig, rows=2_000)
    everyday(rig, made.usual)


def _nobody_looked(rig: Rig) -> None:
    """It has failed for nights already."""
    if "backups" not in rig.policy:
        raise NotMade("no backups are watched")


# --- the wrong machine --------------------------------------------------------------------------


def _data_removed(rig: Rig) -> None:
    """As told in https://about.gitlab.com/blog/postmortem-of-database-outage-of-january-31/."""
    server, folder = rig.server, rig.server.folder
    pid = server.postmaster_pid()
    if pid is None:
        raise NotMade("the server is down already")
    kept = rig.rng.random() < 0.5
    tables = ["!", "-path", "*/base/*"] if kept else []
    # Somebody noticed after a second or two, when most of it was gone.
    folder.must_run(["find", server.data_directory, "-mindepth", "1", "-type", "f", *tables,
                     "-delete"])  # fmt: skip
    os.kill(pid, signal.SIGQUIT)
    rig.until(lambda: not server.processes())
    does_not_start(rig, "not a database cluster", "not a valid data directory", "PG_VERSION")


# --- checkpoints, temporary files, the log ------------------------------------------------------


def _counters(rig: Rig) -> None:
    made = records(rig, rows=rig.rng.randint(40_000, 70_000), width=3)
    rig.notes[NOTE] = made
    everyday(rig, made.one)


def _scattered_updates(rig: Rig) -> None:
    """Every night each account's figures are worked out anew, a few at a time and anywhere."""
    made: Records = rig.notes[NOTE]
    at_once = rig.rng.randint(150, 500)
    says(
        rig,
        lambda rng: (
            f"UPDATE {made.name} SET amount = amount + 1 WHERE id IN"
            f" (SELECT 1 + (random() * {made.rows - 1})::int FROM generate_series(1, {at_once}))"
            f" AND {rng.random()} < 2"
        ),
        role=estate(rig).worker,
        application="recalculate-scores",
        sessions=rig.rng.randint(2, 3),
        pause_s=0.01,
    )
    rig.until(lambda: rig.server.log_text().count("checkpoints are occurring") >= 2, seconds=60)


def _dashboards(rig: Rig) -> None:
    rig.admin(f"ALTER ROLE {estate(rig).analyst} SET work_mem = '256kB'")
    _lived_in(rig)
    made = records(rig, rows=rig.rng.randint(20_000, 30_000), width=16)
    rig.notes[NOTE] = made


def _cursors_with_hold(rig: Rig) -> None:
    """A reporting tool keeps each result as a cursor WITH HOLD, for whoever scrolls later."""
    made: Records = rig.notes[NOTE]
    home, volume = estate(rig), data_volume(rig)
    wanted = rig.rng.uniform(0.8, 0.88)
    for number in range(80):
        if used(volume) > wanted:
            break
        tool = rig.session("Tableau", user=home.analyst)
        rig.run(tool, "BEGIN")
        cursor = f"DECLARE sheet_{number} SCROLL CURSOR WITH HOLD"
        rig.run(tool, f"{cursor} FOR SELECT * FROM {made.name}")
        with suppress(psycopg.errors.DiskFull):
            # The commit writes down all of it.
            rig.run(tool, "COMMIT")
    if used(volume) <= wanted:
        raise NotMade("the results take too little room")


def _log_beside_data(rig: Rig) -> None:
    """The log's folder lies on the volume of the data, as it does by default."""
    folder = rig.server.folder
    at = data_volume(rig).mount_point / "log"
    rig.server.stop()
    at.mkdir(mode=0o755)
    if folder.user is not None:
        folder.user.own(at)
    for old in folder.log.parent.iterdir():
        old.unlink()
    folder.log.parent.rmdir()
    folder.log.parent.symlink_to(at)
    rig.server.set_conf({"logging_collector": True})
    rig.server.start()
    _lived_in(rig)


def _left_in_debug(rig: Rig) -> None:
    """Somebody looked for a slow statement a week ago, and left everything switched on."""
    home = estate(rig)
    for name, value in (("log_statement_stats", "on"), ("log_min_messages", "debug1"),
                        ("log_duration", "on"), ("debug_print_plan", "on")):  # fmt: skip
        rig.admin(f"ALTER ROLE {home.worker} SET {name} = '{value}'")
        rig.undo(lambda n=name: rig.admin(f"ALTER ROLE {home.worker} RESET {n}"))
    made: Records = rig.notes[NOTE]
    says(
        rig,
        lambda rng: " UNION ALL ".join(f"({made.theirs(rng)})" for _ in range(12)),
        role=home.worker,
        application="feed-builder",
        sessions=3,
        pause_s=0.0,
    )
    volume = data_volume(rig)
    rig.until(lambda: volume.free_bytes() <= NOTHING_LEFT, seconds=90)
    rig.until("SELECT 1", seconds=5)


OWN_WAL = {"max_wal_size": "320MB"}

FAULTS = (
    Fault(
        id="sync-paused-until-full",
        area=Area.DISK,
        story="Somebody paused the sync to the warehouse; its slot kept all WAL until the volume"
        " was full and the server stopped.",
        causes=("slot_inactive",),
        make=_sync_paused_until_full,
        needs=Needs(
            conf={**SHARED, "wal_level": "logical"},
            data_volume_mb=144,
            root=True,
            prepare=(_synced,),
        ),
        answers=False,
    ),
    Fault(
        id="archive-token-expired",
        area=Area.BACKUPS,
        story="The machine's token for the object store has expired; no WAL file is archived any"
        " more, and pg_wal grows.",
        causes=("archiver_failing",),
        make=_token_expires,
        needs=Needs(
            conf={**SHARED, "archive_mode": "on"}, wal_volume_mb=80, root=True, prepare=(_pushes,)
        ),
    ),
    Fault(
        id="dumps-of-the-wrong-version",
        area=Area.BACKUPS,
        story="Since the upgrade the nightly dump has been made by an old pg_dump, which refuses;"
        " nobody got the mails that said so.",
        causes=("backup_failed",),
        make=_nobody_looked,
        by_policy_alone=True,
        needs=Needs(prepare=(_dumps_of_the_wrong_version,)),
        shows_after_s=3.0,
    ),
    Fault(
        id="data-removed-on-the-wrong-machine",
        area=Area.PROCESS,
        story="Somebody meant to empty the replica's data directory and was on the primary; it was"
        " stopped after seconds, and nothing starts any more.",
        causes=("data_files_removed",),
        make=_data_removed,
        needs=Needs(prepare=(_lived_in,)),
        answers=False,
    ),
    Fault(
        id="scores-recalculated-anywhere",
        area=Area.DISK,
        story="A nightly job updates rows all over a table; nearly each takes a whole page into the"
        " WAL, and one forced checkpoint follows the other.",
        causes=("checkpoint_storm",),
        make=_scattered_updates,
        needs=Needs(conf=SHARED, prepare=(_counters,)),
        # One import brings about as many checkpoints; a storm goes on for a minute.
        shows_after_s=65.0,
    ),
    Fault(
        id="results-held-by-idle-sessions",
        area=Area.DISK,
        story="A reporting tool keeps each result as a cursor WITH HOLD; the temporary files of its"
        " idle sessions have nearly filled the volume.",
        causes=("temp_file_spill",),
        make=_cursors_with_hold,
        needs=Needs(
            conf=OWN_WAL,
            data_volume_mb=160,
            wal_volume_mb=400,
            root=True,
            prepare=(_dashboards,),
        ),
    ),
    Fault(
        id="debug-log-beside-the-data",
        area=Area.DISK,
        story="A role was left with its debugging on, and the log lies on the volume of the data:"
        " the log has filled it.",
        causes=("log_volume_full",),
        make=_left_in_debug,
        needs=Needs(
            conf=OWN_WAL,
            data_volume_mb=112,
            wal_volume_mb=400,
            root=True,
            prepare=(_log_beside_data,),
        ),
        shows_after_s=3.0,
    ),
)
