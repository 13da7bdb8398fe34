"""What the backups of a place mean, and what they must not be taken for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from stanch.model.backups import Archived, Backup, BackupsSeen
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading
from stanch.testing.virtual_time import run_virtually
from stanch.watch.backups.readings import NAMES, PlaceReadings
from stanch.watch.backups.run import EVERY_S, BackupWatch

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
UNASKED = Missing(what="archive", reason="nobody asked")
SEGMENT = 16 * 1024 * 1024


def backup(days: float, size: int = 100, kind: str = "dump") -> Backup:
    return Backup(name=f"b{days}", kind=kind, at=AT - timedelta(days=days), size_bytes=size)


def told(
    *backups: Backup, made: PlaceReadings | None = None, at: datetime = AT
) -> dict[str, float | None]:
    made = made or PlaceReadings(place="here")
    found = made.of(BackupsSeen(backups=backups), UNASKED, at=at)
    assert {r.subject for r in found} == {"here"}
    return {r.name: r.value for r in found}


def test_the_age_is_that_of_the_newest_good_one() -> None:
    failed = replace(backup(0.1), fault="cut off")
    running = replace(backup(0), running=True)
    found = told(backup(2), backup(1), failed, running)
    assert found["backup_age_s"] == 86_400
    assert found["backup_failed"] == 1
    assert told(backup(2), backup(1), running)["backup_failed"] == 0
    assert told(failed, backup(0.05))["backup_failed"] == 0


def test_no_good_backup_is_a_failure_and_not_an_age_of_nothing() -> None:
    for found in (told(), told(replace(backup(0), fault="is empty"))):
        assert (found["backup_age_s"], found["backup_failed"]) == (None, 1)
    # The very first one is under way.
    assert told(replace(backup(0), running=True))["backup_failed"] == 0


def test_the_size_is_compared_with_the_usual_one_of_its_own_kind() -> None:
    full = [backup(n, 1000, "full") for n in (9, 8, 7)]
    small = [backup(n, size, "incr") for n, size in ((6, 90), (5, 100), (4, 5000))]
    assert told(*full, *small, backup(1, 50, "incr"))["backup_size_ratio"] == 0.5
    assert told(*full, *small, backup(1, 500, "full"))["backup_size_ratio"] == 0.5
    assert told(*full[:2], backup(1, 1, "full"))["backup_size_ratio"] is None


def test_a_young_place_is_not_blamed_for_reaching_back_a_few_days() -> None:
    made = PlaceReadings(place="here")
    assert told(backup(3), backup(1), made=made)["backup_retention_days"] is None
    later = AT + timedelta(days=1)
    assert told(backup(3), backup(0), made=made, at=later)["backup_retention_days"] is None
    # Now the oldest is gone, so what is left is all that is kept.
    assert told(backup(1), backup(0), made=made, at=later)["backup_retention_days"] == 2
    assert told(backup(31), backup(1))["backup_retention_days"] == 31


@pytest.mark.parametrize(
    ("server", "held", "gap"),
    [
        ("00000001000000000000000A", ["00000001000000000000000A"], 0),
        ("00000001000000000000000A", ["00000001000000000000000A", "000000010000000000000007"], 3),
        ("00000002000000000000000A", ["00000001000000000000000A"], 1),
        ("00000001000000000000000A", [""], None),
        ("00000001000000000000000A", ["00000002000000000000000A"], None),
        ("", ["00000001000000000000000A"], None),
    ],
)
def test_the_gap_is_what_the_worst_repository_lacks(
    server: str, held: Sequence[str], gap: int | None
) -> None:
    seen = BackupsSeen(backups=(backup(1),), archived=tuple(held))
    archived = Archived(last_wal=server, segment_bytes=SEGMENT)
    found = PlaceReadings(place="here").of(seen, archived, at=AT)
    assert [r.value for r in found if r.name == "archive_gap_segments"] == [gap]


def test_a_place_that_cannot_be_seen_is_unknown_in_every_reading() -> None:
    found = PlaceReadings(place="here").none("no such folder")
    assert {r.name for r in found} == set(NAMES)
    assert {(r.value, r.detail) for r in found} == {(None, "no such folder")}


@dataclass(slots=True)
class Place:
    place: str
    answer: BackupsSeen | Missing
    asked_at_s: list[float] = field(default_factory=list[float])

    async def look(self, *, deadline_s: float) -> BackupsSeen | Missing:
        self.asked_at_s.append(asyncio.get_running_loop().time())
        await asyncio.sleep(1)
        return self.answer


def test_every_place_is_looked_at_every_five_minutes_and_told_once() -> None:
    places = [Place("a", BackupsSeen(backups=(backup(1),))), Place("b", UNASKED)]
    asked: list[float] = []

    async def archived() -> Archived | Missing:
        asked.append(asyncio.get_running_loop().time())
        return UNASKED

    async def watched() -> tuple[Reading, ...]:
        watch = BackupWatch(places, archived=archived, now=lambda: AT)
        running = asyncio.create_task(watch.run())
        await asyncio.sleep(2 * EVERY_S)
        found = watch.take()
        assert watch.take() == ()
        running.cancel()
        return found

    found = run_virtually(watched())[0]
    ages = {r.subject: r.value for r in found if r.name == "backup_age_s"}
    assert ages == {"a": 86_400, "b": None}
    assert [len(place.asked_at_s) for place in places] == [2, 2]
    assert len(asked) == 2


def test_without_a_place_nobody_looks() -> None:
    async def archived() -> Archived | Missing:
        raise AssertionError("asked for nothing")

    run_virtually(BackupWatch([], archived=archived, now=lambda: AT).run())
