"""WAL that piles up, comes too fast, or fills its volume."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from stanch.adapters.postgres.os_user import as_user
from stanch.drill.lab.fault import Area, Fault, Needs, NotMade
from stanch.drill.lab.means import words
from stanch.drill.lab.means.writing import (
    import_until_down,
    insert,
    table,
    used,
    wal_volume,
    write_until,
)
from stanch.drill.lab.rig import Rig

PHYSICAL = ("replica_2", "standby_old", "pg_node3", "barman", "barman_orders", "dr_site")
LOGICAL = ("debezium", "cdc_orders", "warehouse_sub", "airbyte_slot", "fivetran_pg", "upgrade_16")
BURST_S = 60.0
SMALL = {"max_wal_size": "16MB", "min_wal_size": "2MB"}
"""What the WAL takes where nothing retains it: far less than its volume."""


# --- slots --------------------------------------------------------------------------------------


def _physical_slot(rig: Rig) -> None:
    name = rig.rng.choice(PHYSICAL)
    rig.admin("SELECT pg_create_physical_replication_slot(%s, true)", [name])
    rig.undo(lambda: rig.admin("SELECT pg_drop_replication_slot(%s)", [name]))


def _logical_slot(rig: Rig) -> None:
    name = rig.rng.choice(LOGICAL)
    rig.admin("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [name])
    rig.undo(lambda: rig.admin("SELECT pg_drop_replication_slot(%s)", [name]))


def _retained(rig: Rig, least: float, most: float) -> None:
    """The application goes on writing until that part of the WAL volume is taken."""
    full = rig.rng.uniform(least, most)
    write_until(rig, lambda: used(wal_volume(rig)) >= full)


def _forgotten_physical(rig: Rig) -> None:
    _retained(rig, 0.85, 0.93)


def _forgotten_logical(rig: Rig) -> None:
    _retained(rig, 0.5, 0.92)


# --- a consumer that confirms nothing -----------------------------------------------------------


def _publication(rig: Rig) -> None:
    _logical_slot(rig)
    # Updates of a table without a key would be refused otherwise.
    rig.admin("CREATE PUBLICATION dbz_publication FOR ALL TABLES WITH (publish = 'insert')")
    rig.undo(lambda: rig.admin("DROP PUBLICATION dbz_publication"))


def _reads_and_confirms_nothing(rig: Rig) -> None:
    ((slot,),) = rig.admin("SELECT slot_name FROM pg_replication_slots WHERE plugin = 'pgoutput'")
    application = rig.rng.choice(("Debezium Streaming", "cdc-worker", slot))
    dsn = make_conninfo(
        rig.server.dsn(dbname="app"), replication="database", application_name=application
    )
    session = psycopg.connect(dsn, autocommit=True)
    rig.undo(session.close)
    command = (
        f"START_REPLICATION SLOT {slot} LOGICAL 0/0"
        " (proto_version '1', publication_names 'dbz_publication')"
    )
    result = session.pgconn.exec_(command.encode())
    if result.error_message:
        raise NotMade(f"the consumer cannot start: {result.error_message.decode()}")
    ending = threading.Event()
    thread = threading.Thread(target=_consume, args=(session, ending), daemon=True)
    rig.undo(thread.join)
    rig.undo(ending.set)
    thread.start()
    _retained(rig, 0.6, 0.92)
    rig.until("SELECT 1 FROM pg_replication_slots WHERE active")


def _consume(session: psycopg.Connection[tuple[object, ...]], ending: threading.Event) -> None:
    """Take in what comes; to each keepalive it says that nothing was written or flushed yet."""
    with suppress(psycopg.Error):
        while not ending.is_set():
            length, data = session.pgconn.get_copy_data(1)
            if length == 0:
                ending.wait(0.01)
                session.pgconn.consume_input()
            elif length < 0:
                return
            elif bytes(data[:1]) == b"k" and bytes(data)[17]:
                session.pgconn.put_copy_data(struct.pack("!cQQQQB", b"r", 0, 0, 0, 0, 0))
                session.pgconn.flush()


def _receiver(rig: Rig) -> None:
    """A pg_receivewal with a slot of its own, as backup servers run it."""
    program = rig.server.binaries.program("pg_receivewal")
    if not program.exists():
        raise NotMade("there is no pg_receivewal here")
    _physical_slot(rig)
    ((slot,),) = rig.admin("SELECT slot_name FROM pg_replication_slots")
    folder = rig.server.folder
    into = folder.path / "received"
    into.mkdir()
    if folder.user is not None:
        folder.user.own(into)
    argv = [program, "-D", into, "-S", slot, "-d", rig.server.dsn()]
    process = subprocess.Popen(
        [str(word) for word in argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **as_user(folder.user),
    )
    rig.undo(process.wait)
    rig.undo(process.kill)
    _pid_file(rig).write_text(str(process.pid), encoding="utf-8")
    rig.until("SELECT 1 FROM pg_replication_slots WHERE active AND restart_lsn IS NOT NULL")


def _pid_file(rig: Rig) -> Path:
    return rig.server.folder.path / "receivewal.pid"


def _receiver_hangs(rig: Rig) -> None:
    os.kill(int(_pid_file(rig).read_text(encoding="utf-8")), signal.SIGSTOP)
    _retained(rig, 0.6, 0.92)
    rig.until("SELECT 1 FROM pg_replication_slots WHERE active")


# --- much WAL -----------------------------------------------------------------------------------


def _checkpoint_storm(rig: Rig) -> None:
    into, rows = table(rig), rig.rng.randint(400, 1500)
    sessions, pause_s = rig.rng.randint(1, 3), rig.rng.uniform(0.05, 0.2)
    rig.keep_asking(
        insert(into, rows), application=words.job(rig.rng), sessions=sessions, pause_s=pause_s
    )
    rig.logged("checkpoints are occurring too frequently")


def _burst(rig: Rig) -> None:
    into, rows = table(rig), rig.rng.randint(2_000, 6_000)
    load = insert(into, rows)
    if rig.rng.random() < 0.5:
        # A staging table is loaded anew each time.
        load = f"TRUNCATE {into}; {load}"
    rig.keep_asking(load, application=words.job(rig.rng), pause_s=rig.rng.uniform(0.1, 0.5))
    rig.until(lambda: used(wal_volume(rig)) > 0.9, seconds=BURST_S)


AFTER_THE_FALL = ("slot_inactive",)
"""Once the volume is full the server falls: its files tell of the slot, and not who used it."""

FAULTS = (
    Fault(
        id="import-fills-wal-volume",
        area=Area.DISK,
        story="max_wal_size was larger than the volume of the WAL, and one long import filled it:"
        " the server stopped with a PANIC.",
        causes=("disk_full_wal",),
        make=import_until_down,
        needs=Needs(conf={"max_wal_size": "4GB"}, wal_volume_mb=48, root=True),
        answers=False,
    ),
    Fault(
        id="forgotten-standby-slot",
        area=Area.DISK,
        story="A standby was taken down and its slot was not; the WAL it retains has nearly"
        " filled the volume.",
        causes=("slot_inactive",),
        make=_forgotten_physical,
        needs=Needs(conf=SMALL, wal_volume_mb=96, root=True, prepare=(_physical_slot,)),
    ),
    Fault(
        id="forgotten-cdc-slot",
        area=Area.DISK,
        story="A connector was removed and its logical slot stayed: WAL has piled up since.",
        causes=("slot_inactive",),
        make=_forgotten_logical,
        needs=Needs(
            conf={**SMALL, "wal_level": "logical"},
            wal_volume_mb=96,
            root=True,
            prepare=(_logical_slot,),
        ),
    ),
    Fault(
        id="forgotten-slot-until-full",
        area=Area.DISK,
        story="Nobody noticed a slot that nothing reads until the WAL had filled its volume and"
        " the server stopped.",
        causes=("slot_inactive",),
        make=import_until_down,
        needs=Needs(conf=SMALL, wal_volume_mb=64, root=True, prepare=(_physical_slot,)),
        answers=False,
    ),
    Fault(
        id="connector-confirms-nothing",
        area=Area.DISK,
        story="After an upgrade the CDC connector read everything and confirmed nothing: WAL piled"
        " up behind its slot.",
        causes=("slot_stuck",),
        or_else=AFTER_THE_FALL,
        make=_reads_and_confirms_nothing,
        needs=Needs(
            conf={**SMALL, "wal_level": "logical"},
            wal_volume_mb=96,
            root=True,
            prepare=(_publication,),
        ),
    ),
    Fault(
        id="wal-receiver-hangs",
        area=Area.DISK,
        story="The backup server's pg_receivewal hung with its connection open: its slot stayed"
        " active and did not move.",
        causes=("slot_stuck",),
        or_else=AFTER_THE_FALL,
        make=_receiver_hangs,
        needs=Needs(
            # Sites with slow links switch it off; a consumer that hangs is then never let go.
            conf={**SMALL, "wal_sender_timeout": 0},
            wal_volume_mb=96,
            root=True,
            prepare=(_receiver,),
        ),
    ),
    Fault(
        id="max-wal-size-too-small",
        area=Area.DISK,
        story="A bulk load met a max_wal_size of a few segments: one checkpoint chased the next.",
        causes=("checkpoint_storm",),
        make=_checkpoint_storm,
        needs=Needs(conf={"max_wal_size": "4MB", "min_wal_size": "2MB"}),
        # One import brings about as many checkpoints; a storm goes on for a minute.
        shows_after_s=65.0,
    ),
    Fault(
        id="bulk-load-writes-wal",
        area=Area.DISK,
        story="A job loaded the same data again and again, and wrote far more WAL than this server"
        " ever does; the volume of pg_wal is no larger than was needed before.",
        causes=("wal_burst",),
        or_else=("disk_full_wal",),  # When it has fallen, nobody sees at which pace it was filled.
        make=_burst,
        # With room for it a burst of WAL hurts nobody.
        needs=Needs(conf={"max_wal_size": "1GB"}, wal_volume_mb=256, root=True),
        shows_after_s=3.0,
    ),
)
