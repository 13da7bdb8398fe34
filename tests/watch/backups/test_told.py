"""One look at a place in one sentence, for whoever tries a policy."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from stanch.facts.wal_names import WalNames, wal_name
from stanch.model.backups import Backup, BackupsSeen, WalHeld
from stanch.watch.backups.told import archive_words, seen_words

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
SEGMENT = 16 * 1024 * 1024


def backup(hours: float, **more: object) -> Backup:
    at = AT - timedelta(hours=hours)
    made = Backup(name=f"b{hours:g}.dump", kind="dump", at=at, size_bytes=2048)
    return replace(made, **more)  # type: ignore[arg-type]


def said(*backups: Backup, **more: object) -> tuple[bool, str]:
    seen = replace(BackupsSeen(backups=backups), **more)  # type: ignore[arg-type]
    return seen_words(seen, at=AT)


def test_number_size_newest_and_oldest_are_said() -> None:
    assert said(backup(3), backup(30), more=9998, more_bytes=2**30) == (
        True,
        "10,000 backups, 1.0 GiB; newest good b3.dump, 3 h old, 2.0 KiB; oldest 1 d 6 h",
    )


def test_what_would_not_do_in_an_incident_is_said_with_its_reason() -> None:
    assert said() == (False, "there is no backup")
    assert said(running=True) == (True, "a first one is being taken")
    assert said(backup(3, fault="is empty")) == (
        False,
        "1 backup, 2.0 KiB, none of them good: is empty",
    )
    ok, words = said(backup(3), problem="repo2: missing stanza path")
    assert not ok
    assert words.endswith("; repo2: missing stanza path")
    assert not said(backup(3), latest_fault="latest points to nothing")[0]
    ok, words = said(backup(3), backup(-48))
    assert not ok
    assert "newest good b3.dump, 3 h old" in words
    assert words.endswith("b-48.dump is dated 2026-11-23 12:00:00 UTC")


def held(*segments: int) -> WalHeld:
    names = WalNames()
    for one in segments:
        names.add(wal_name(1, one, segment_bytes=SEGMENT))
    return WalHeld(runs=names.runs())


def test_an_archive_is_said_with_its_newest_file_and_the_first_that_is_missing() -> None:
    assert archive_words(held(), segment_bytes=SEGMENT) == (False, "there is no WAL file")
    assert archive_words(held(2, 3), segment_bytes=SEGMENT) == (
        True,
        "2 WAL files, newest 000000010000000000000003, none is missing",
    )
    ok, words = archive_words(held(2, 5), segment_bytes=SEGMENT)
    assert not ok
    assert words.endswith(
        "2 files missing unless on the way, the first is 000000010000000000000003"
    )
    assert archive_words(held(2, 5), segment_bytes=None) == (
        True,
        "2 WAL files; whether some are missing is not known: the server could not be asked",
    )
