"""Volumes that fill up, or run out of inodes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psycopg

from stanch.drill.lab.fault import Area, Fault, Needs, NotMade
from stanch.drill.lab.means import words
from stanch.drill.lab.means.storage import must
from stanch.drill.lab.means.writing import (
    CHUNK,
    data_volume,
    insert,
    table,
    used,
    write_until_down,
)
from stanch.drill.lab.rig import Rig

NOTHING_LEFT = 64 * 1024
OPERATORS_FILES = (
    "orders.dump",
    "backup-before-upgrade.tar",
    "export.csv",
    "core.31337",
    "old-data.tar.gz",
    "vm-image.qcow2",
)
SHARED = {"max_wal_size": "16MB", "min_wal_size": "2MB"}
"""For a volume that holds data and WAL: somebody has kept the WAL small in it."""


# --- full ---------------------------------------------------------------------------------------


def _in_use(rig: Rig) -> None:
    """Every database was logged in to before: the first session of one writes a file."""
    for name in ("postgres", "template1"):
        rig.admin("SELECT 1", dbname=name)


def _import_fills(rig: Rig) -> None:
    into, application = table(rig), words.job(rig.rng)
    _import(rig, into, application)
    _nothing_left(rig)
    _answers(rig)
    rig.keep(
        lambda: rig.sql(insert(into, 1000), application_name=application),
        pause_s=rig.rng.uniform(0.5, 2.0),
    )


def _import(rig: Rig, into: str, application: str) -> None:
    """Until not one row more goes in."""
    session, rows = rig.session(application), rig.rng.choice((500, 1000, 5000))
    while rows:
        try:
            rig.run(session, insert(into, rows))
        except psycopg.errors.DiskFull:
            # Tried again in smaller pieces, as patient imports do.
            rows //= 2


def _import_fills_all(rig: Rig) -> None:
    into, application = table(rig), words.job(rig.rng)
    counts = _counts(rig)
    # Where the WAL meets the end of the volume before the rows do, that is it.
    with suppress(psycopg.OperationalError):
        _import(rig, into, application)
    rig.keep(
        lambda: rig.sql(insert(into, 100), application_name=application),
        pause_s=rig.rng.uniform(0.1, 0.5),
    )
    write_until_down(rig, counts)


def _counts(rig: Rig) -> str:
    """An application that counts: its rows are there, it writes WAL though nothing may grow."""
    rig.sql("CREATE TABLE visit_counts (id bigint, n bigint) WITH (fillfactor = 30)")
    rig.sql("INSERT INTO visit_counts SELECT n, 0 FROM generate_series(1, 500) n")
    return "UPDATE visit_counts SET n = n + 1"


def _stray_path(rig: Rig) -> Path:
    at = data_volume(rig).mount_point
    folder = rig.rng.choice((at, at / "tmp", at / "home-of-ann"))
    folder.mkdir(exist_ok=True)
    return folder / rig.rng.choice(OPERATORS_FILES)


def _fill(path: Path) -> None:
    """Append until nothing more goes in."""
    with suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(CHUNK)


def _stray_file(rig: Rig) -> None:
    path = _stray_path(rig)
    rig.undo(path.unlink)
    _fill(path)
    _nothing_left(rig)
    _answers(rig)


def _stray_file_grows(rig: Rig) -> None:
    counts = _counts(rig)
    path = _stray_path(rig)
    rig.undo(path.unlink)
    _fill(path)
    # Whatever somebody frees, or a recovery, it takes as well.
    rig.keep(lambda: _fill(path), pause_s=0.02)
    write_until_down(rig, counts)


def _answers(rig: Rig) -> None:
    """Not where autovacuum has just taken away a file that each new session then fails to write
    again."""
    rig.until("SELECT 1", seconds=3)


def _nothing_left(rig: Rig) -> None:
    rig.until(lambda: data_volume(rig).free_bytes() <= NOTHING_LEFT)


# --- temporary files ----------------------------------------------------------------------------


def _facts(rig: Rig) -> None:
    rows = rig.rng.randint(8_000, 15_000)
    rig.sql("CREATE TABLE sale_facts (id bigint, body text)")
    rig.sql(insert("sale_facts", rows))
    rig.sql("ANALYZE sale_facts")


def _sorted(rig: Rig, bytes_wanted: float) -> str:
    """A report's query whose sort takes about so much room."""
    ((rows,),) = rig.sql("SELECT count(*) FROM sale_facts")
    times = max(2, round(bytes_wanted / (rows * 950)))
    order = rig.rng.choice(("md5(f.body || n)", "(f.id + n) % 97, f.body", "f.id * n, f.body"))
    return f"SELECT f.*, n FROM sale_facts f, generate_series(1, {times}) n ORDER BY {order}"


def _report_spills(rig: Rig) -> None:
    """Its rows are fetched slowly, and what it sorted stays on disk as long."""
    volume, report = data_volume(rig), rig.session(words.job(rig.rng))
    query = _sorted(rig, volume.free_bytes() * rig.rng.uniform(0.8, 0.92))
    rig.run(report, "BEGIN")
    rig.run(report, f"DECLARE report NO SCROLL CURSOR FOR {query}")
    with suppress(psycopg.errors.DiskFull):
        rig.run(report, "FETCH 100 FROM report")
    if used(volume) < 0.8:
        raise NotMade("the query wrote few temporary files, or too many")
    rig.keep(lambda: rig.run(report, "FETCH 10 FROM report"), pause_s=0.5)


def _reports_fill(rig: Rig) -> None:
    """They fail for want of room, and whoever wants them asks again."""
    query = _sorted(rig, data_volume(rig).size_bytes * rig.rng.uniform(1.5, 3))
    asked = f"SELECT count(*), max(body) FROM ({query} OFFSET 0) s"
    sessions = rig.rng.randint(1, 3)
    rig.keep_asking(asked, application=words.job(rig.rng), sessions=sessions, pause_s=0.2)
    rig.logged("No space left on device", seconds=60)


# --- the log ------------------------------------------------------------------------------------


def _small_log_volume(rig: Rig) -> None:
    """The log gets a volume of its own, and the server is restarted to write there."""
    folder = rig.server.folder
    size_mb = rig.rng.choice((8, 16, 24))
    if folder.log.parent.is_mount():
        raise NotMade("the log has a volume already")
    rig.server.stop()
    at = folder.log.parent
    must("mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=755,nosuid,nodev", "pg-log", at)
    rig.undo(lambda: must("umount", "-l", at))
    if folder.user is not None:
        folder.user.own(at)
    rig.server.set_conf({"logging_collector": rig.rng.random() < 0.5})
    rig.server.start()


def _log_storm(rig: Rig) -> None:
    name, value = rig.rng.choice(
        (("log_statement", "all"), ("log_min_duration_statement", "0"), ("log_statement", "mod"))
    )
    into, application = table(rig), words.application(rig.rng)
    rig.admin(f"ALTER SYSTEM SET {name} = '{value}'")
    rig.undo(lambda: rig.admin("SELECT pg_reload_conf()"))
    rig.undo(lambda: rig.admin(f"ALTER SYSTEM RESET {name}"))
    rig.admin("SELECT pg_reload_conf()")
    # An application that inserts many rows with one statement, each value written out.
    rows = ", ".join(f"({n}, '{rig.rng.randbytes(200).hex()}')" for n in range(100))
    statement = f"INSERT INTO {into} VALUES {rows}"
    sessions = rig.rng.randint(1, 3)
    rig.keep_asking(statement, application=application, sessions=sessions, pause_s=0.01)
    at = rig.server.folder.log.parent
    rig.until(lambda: _free(at) <= NOTHING_LEFT, seconds=60)


def _free(at: Path) -> int:
    room = os.statvfs(at)
    return room.f_bavail * room.f_frsize


# --- inodes -------------------------------------------------------------------------------------


def _few_inodes(rig: Rig) -> None:
    at = data_volume(rig).mount_point
    room = os.statvfs(at)
    total = room.f_files - room.f_ffree + rig.rng.randint(2_000, 8_000)
    must("mount", "-o", f"remount,nr_inodes={total}", at)


def _small_files(rig: Rig) -> None:
    at = data_volume(rig).mount_point
    folder = at / rig.rng.choice(("php-sessions", "mail-queue", "export-cache", "thumbnails"))
    folder.mkdir()

    def one_more(n: int) -> bool:
        try:
            (folder / f"sess_{n:08x}").write_bytes(b"x" * 40)
        except OSError:
            return False
        return True

    n = 0
    while one_more(n):
        n += 1
    _no_file_can_be_made(rig)


def _no_file_can_be_made(rig: Rig) -> None:
    """The application makes a table now and then, as for each month or import."""
    application = words.application(rig.rng)

    def fails() -> bool:
        with suppress(psycopg.errors.DiskFull):
            rig.sql("CREATE TABLE one_more (id int)", application_name=application)
            rig.sql("DROP TABLE one_more")
            return False
        return True

    rig.until(fails)
    rig.keep(fails, pause_s=rig.rng.uniform(0.3, 2.0))


# --- all of them --------------------------------------------------------------------------------

OWN_WAL = {"max_wal_size": "320MB"}
"""No checkpoint falls into the minute: on a full data volume one ends in a PANIC."""

FAULTS = (
    Fault(
        id="import-fills-data-volume",
        area=Area.DISK,
        story="An import filled the data volume with its rows; the WAL lies elsewhere, so the"
        " server still answers, and nothing can grow.",
        causes=("disk_full_data",),
        make=_import_fills,
        needs=Needs(
            conf=OWN_WAL, data_volume_mb=96, wal_volume_mb=400, root=True, prepare=(_in_use,)
        ),
    ),
    Fault(
        id="import-fills-only-volume",
        area=Area.DISK,
        story="An import filled the one volume that holds data and WAL: PANIC, and no session is"
        " taken any more.",
        causes=("disk_full_data",),
        make=_import_fills_all,
        needs=Needs(conf=SHARED, data_volume_mb=128, root=True, prepare=(_in_use,)),
        answers=False,
    ),
    Fault(
        id="stray-file-fills-data-volume",
        area=Area.DISK,
        story="Somebody parked a big file on the data volume, and it took what was left.",
        causes=("disk_full_data",),
        make=_stray_file,
        needs=Needs(
            conf=OWN_WAL, data_volume_mb=128, wal_volume_mb=400, root=True, prepare=(_in_use,)
        ),
    ),
    Fault(
        id="stray-file-fills-only-volume",
        area=Area.DISK,
        story="Another program's file grew until the volume with data and WAL was full, and the"
        " server stopped.",
        causes=("disk_full_data",),
        make=_stray_file_grows,
        needs=Needs(conf=SHARED, data_volume_mb=160, root=True, prepare=(_in_use,)),
        answers=False,
    ),
    Fault(
        id="report-spills-to-disk",
        area=Area.DISK,
        story="A report sorted far more than its work_mem, and its temporary files took most of"
        " the volume while it was read.",
        causes=("temp_file_spill",),
        make=_report_spills,
        needs=Needs(data_volume_mb=192, wal_volume_mb=96, root=True, prepare=(_in_use, _facts)),
    ),
    Fault(
        id="reports-fill-volume-with-temp",
        area=Area.DISK,
        story="Reports sorted so much that their temporary files filled the volume; they failed,"
        " and were asked for again.",
        causes=("temp_file_spill",),
        make=_reports_fill,
        needs=Needs(data_volume_mb=192, wal_volume_mb=96, root=True, prepare=(_in_use, _facts)),
        shows_after_s=3.0,
    ),
    Fault(
        id="log-storm-fills-log-volume",
        area=Area.DISK,
        story="Somebody had every statement logged and left it so: the log's volume is full.",
        causes=("log_volume_full",),
        make=_log_storm,
        needs=Needs(root=True, prepare=(_small_log_volume,)),
    ),
    Fault(
        id="small-files-take-all-inodes",
        area=Area.DISK,
        story="A program left a small file for each of its sessions on the data volume: there is"
        " room, and no inode.",
        causes=("inodes_exhausted",),
        make=_small_files,
        needs=Needs(
            conf=OWN_WAL,
            data_volume_mb=256,
            wal_volume_mb=400,
            root=True,
            prepare=(_in_use, _few_inodes),
        ),
    ),
)
