"""The archive of WAL, and backups: what fails in them, and what they turn out not to hold."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from stanch.drill.lab.fault import Area, Fault, Needs, NotMade
from stanch.drill.lab.means.writing import import_until_down, used, wal_volume, write_until
from stanch.drill.lab.rig import Rig

DAY_S = 86400
SMALL = {"archive_mode": "on", "max_wal_size": "16MB", "min_wal_size": "2MB"}
NO_BUCKET = (
    "upload failed: An error occurred (NoSuchBucket) when calling the PutObject operation:"
    " The specified bucket does not exist",
    "ERROR: S3 error: 404 (NoSuchBucket): The specified bucket does not exist",
    "Failed to copy: NoSuchBucket: The specified bucket does not exist. status code: 404",
)
SCRIPT = """#!/bin/sh
# archive-wal FILE NAME: brings one WAL file into the bucket
if [ ! -d "{bucket}" ]; then
    echo "{words}" >&2
    exit 1
fi
cp "$1" "{bucket}/.$2" && mv "{bucket}/.$2" "{bucket}/$2"
"""
ARCHIVED = "SELECT 1 FROM pg_stat_archiver WHERE archived_count >= 1"


# --- archiving ----------------------------------------------------------------------------------


def _bucket(rig: Rig) -> Path:
    return rig.server.folder.path / "wal-bucket"


def _archives(rig: Rig) -> None:
    """archive_command works: a script that somebody wrote brings each file into a bucket."""
    folder, bucket = rig.server.folder, _bucket(rig)
    bucket.mkdir()
    if folder.user is not None:
        folder.user.own(bucket)
    script = folder.path / "archive-wal"
    text = SCRIPT.format(bucket=bucket, words=rig.rng.choice(NO_BUCKET))
    script.write_text(text, encoding="utf-8")
    script.chmod(0o755)
    rig.server.set_conf({"archive_command": f"{script} %p %f"})
    _switch(rig)
    rig.until(lambda: rig.admin(ARCHIVED))


def _switch(rig: Rig) -> None:
    """One more WAL file is complete; without a record in it nothing would be switched."""
    rig.admin("SELECT txid_current()")
    rig.admin("SELECT pg_switch_wal()")


def _bucket_goes(rig: Rig) -> None:
    """Somebody tidied up in the account."""
    bucket = _bucket(rig)
    gone = bucket.with_name("wal-bucket-deleted")
    bucket.rename(gone)
    rig.undo(lambda: gone.rename(bucket))


def _archiving_fails(rig: Rig) -> None:
    _bucket_goes(rig)
    full = rig.rng.uniform(0.5, 0.92)
    write_until(rig, lambda: used(wal_volume(rig)) >= full)
    rig.until(lambda: rig.admin("SELECT 1 FROM pg_stat_archiver WHERE failed_count > 0"))


def _archiving_fails_until_full(rig: Rig) -> None:
    _bucket_goes(rig)
    import_until_down(rig)


# --- a gap --------------------------------------------------------------------------------------


def _archive_with_gap(rig: Rig) -> None:
    """A folder of archived WAL, of which somebody removed files hours ago."""
    _archives(rig)
    count, bucket = rig.rng.randint(6, 14), _bucket(rig)
    for _ in range(count):
        _switch(rig)
    rig.until(lambda: len(_files(bucket)) >= count)
    files = _files(bucket)
    gone = rig.rng.randint(1, 3)
    # In the middle, as by a job that removes what it takes for old; or the newest, as after the
    # archive's own disk was put back to what it was.
    first = rig.rng.choice((rig.rng.randint(1, len(files) - gone - 1), len(files) - gone))
    for path in files[first : first + gone]:
        path.unlink()
    rig.policy["backups"] = {"wal": str(bucket)}


def _files(bucket: Path) -> Sequence[Path]:
    return sorted(path for path in bucket.iterdir() if not path.name.startswith("."))


def _gap_is_there(rig: Rig) -> None:
    ((newest, failed),) = rig.admin("SELECT last_archived_wal, failed_count FROM pg_stat_archiver")
    if failed or not newest:
        raise NotMade("the archiver has failures of its own")


# --- dumps --------------------------------------------------------------------------------------


def _nights(rig: Rig, ages_s: Sequence[float]) -> Sequence[Path]:
    """A dump for each age in a folder that is watched, the oldest first; the rows get more."""
    folder = rig.server.folder.path / "backups"
    folder.mkdir()
    rig.policy["backups"] = {"dumps": str(folder)}
    suffixes = [".sql", ".sql.gz"]
    if _restores(rig):
        suffixes.append(".dump")
    suffix = rig.rng.choice(suffixes)
    rig.sql("CREATE TABLE customers_dumped (id bigint, name text)")
    made: list[Path] = []
    for age_s in ages_s:
        rig.sql(
            "INSERT INTO customers_dumped SELECT n, md5(n::text) FROM generate_series(1, %s) n",
            [rig.rng.randint(100, 900)],
        )
        day = datetime.fromtimestamp(time.time() - age_s, UTC)
        path = folder / f"app-{day:%Y-%m-%d}{suffix}"
        path.write_bytes(_dump(rig, suffix))
        _aged(path, age_s)
        made.append(path)
    return made


def _restores(rig: Rig) -> bool:
    """Whether the pg_restore of whoever looks is new enough to read what this server dumps."""
    try:
        said = subprocess.run(
            ["pg_restore", "--version"], capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return False
    found = re.search(r"\) (\d+)", said)
    return found is not None and int(found[1]) >= rig.server.binaries.major


def _dump(rig: Rig, suffix: str) -> bytes:
    program = rig.server.binaries.program("pg_dump")
    if not program.exists():
        raise NotMade("there is no pg_dump here")
    folder = rig.server.folder
    into = folder.log.parent / "new.dump"
    kind = "-Fc" if suffix == ".dump" else "-Fp"
    folder.must_run([program, kind, "-f", into, "-d", rig.server.dsn("app")])
    made = into.read_bytes()
    into.unlink()
    return gzip.compress(made) if suffix == ".sql.gz" else made


def _aged(path: Path, age_s: float) -> None:
    at = time.time() - age_s
    os.utime(path, (at, at))


def _ages(rig: Rig, newest_s: float, nights: int) -> Sequence[float]:
    return [newest_s + night * DAY_S for night in reversed(range(nights))]


def _last_night(rig: Rig) -> float:
    return rig.rng.uniform(2 * 3600, 20 * 3600)


def _no_dump_for_days(rig: Rig) -> None:
    """The job was taken out of a crontab, and nobody noticed."""
    newest_s = _last_night(rig) + rig.rng.randint(2, 9) * DAY_S
    _nights(rig, _ages(rig, newest_s, rig.rng.randint(3, 6)))


def _last_run_failed(rig: Rig) -> None:
    """It writes to a file beside and renames it when done; last night it came to half of it."""
    last_s = _last_night(rig)
    good = _nights(rig, _ages(rig, last_s + DAY_S, rig.rng.randint(3, 6)))
    day = datetime.fromtimestamp(time.time() - last_s, UTC)
    half = good[-1].with_name(f"app-{day:%Y-%m-%d}{''.join(good[-1].suffixes)}.part")
    whole = good[-1].read_bytes()
    half.write_bytes(whole[: int(len(whole) * rig.rng.uniform(0.1, 0.9))])
    log = good[-1].with_name("backup.log")
    log.write_text(
        f"{day:%Y-%m-%d %H:%M:%S} pg_dump: error: query failed: server closed the connection"
        f" unexpectedly\n{day:%Y-%m-%d %H:%M:%S} backup failed, exit status 1\n",
        encoding="utf-8",
    )
    _aged(half, last_s)
    _aged(log, last_s)


def _newest_is_cut(rig: Rig) -> None:
    """Last night's dump ended where the disk was full, or when it was sent; its size is less."""
    last_s = _last_night(rig)
    newest = _nights(rig, _ages(rig, last_s, rig.rng.randint(3, 6)))[-1]
    whole = newest.read_bytes()
    newest.write_bytes(whole[: int(len(whole) * rig.rng.uniform(0.2, 0.95))])
    _aged(newest, last_s)


def _newest_is_empty(rig: Rig) -> None:
    last_s = _last_night(rig)
    newest = _nights(rig, _ages(rig, last_s, rig.rng.randint(3, 6)))[-1]
    newest.write_bytes(b"")
    _aged(newest, last_s)


def _was_at_night(rig: Rig) -> None:
    """It happened before anybody began to look: backups are looked at now and then."""
    if "backups" not in rig.policy:
        raise NotMade("no backups are watched")


FAULTS = (
    Fault(
        id="archive-bucket-gone",
        area=Area.BACKUPS,
        story="The bucket of the WAL archive was deleted: archive_command fails, and WAL piles up.",
        causes=("archiver_failing",),
        make=_archiving_fails,
        needs=Needs(conf=SMALL, wal_volume_mb=96, root=True, prepare=(_archives,)),
    ),
    Fault(
        id="archive-bucket-gone-until-full",
        area=Area.BACKUPS,
        story="Nobody noticed that archive_command failed until the WAL had filled its volume and"
        " the server stopped.",
        causes=("archiver_failing",),
        make=_archiving_fails_until_full,
        needs=Needs(conf=SMALL, wal_volume_mb=64, root=True, prepare=(_archives,)),
        answers=False,
    ),
    Fault(
        id="archived-wal-was-deleted",
        area=Area.BACKUPS,
        story="Somebody removed WAL files from the archive; the server believes them there.",
        causes=("archive_gap",),
        make=_gap_is_there,
        by_policy_alone=True,
        needs=Needs(conf={"archive_mode": "on"}, prepare=(_archive_with_gap,)),
    ),
    Fault(
        id="no-dump-for-days",
        area=Area.BACKUPS,
        story="The nightly dump was taken out of a crontab days ago.",
        causes=("backup_failed",),
        make=_was_at_night,
        by_policy_alone=True,
        needs=Needs(prepare=(_no_dump_for_days,)),
    ),
    Fault(
        id="last-dump-failed",
        area=Area.BACKUPS,
        story="Last night's dump broke off; the night before is the newest whole one.",
        causes=("backup_failed",),
        make=_was_at_night,
        by_policy_alone=True,
        needs=Needs(prepare=(_last_run_failed,)),
    ),
    Fault(
        id="newest-dump-is-cut",
        area=Area.BACKUPS,
        story="The newest dump ends in the middle, and would not restore.",
        causes=("backup_unrestorable",),
        make=_was_at_night,
        by_policy_alone=True,
        needs=Needs(prepare=(_newest_is_cut,)),
    ),
    Fault(
        id="newest-dump-is-empty",
        area=Area.BACKUPS,
        story="The newest dump is a file of no bytes.",
        causes=("backup_unrestorable",),
        make=_was_at_night,
        by_policy_alone=True,
        needs=Needs(prepare=(_newest_is_empty,)),
    ),
)
