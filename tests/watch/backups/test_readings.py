"""What the backups of a place mean, and what they must not be taken for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from stanch.model.backups import Archived, Backup, BackupsSeen, Uploads
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading
from stanch.testing.virtual_time import run_virtually
from stanch.watch.backups.readings import NAMES, UNUSABLE, PlaceReadings
from stanch.watch.backups.run import EVERY_S, BackupWatch, Places

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
UNASKED = Missing(what="archive", reason="nobody asked")
SEGMENT = 16 * 1024 * 1024


def backup(days: float, size: int = 100, kind: str = "dump") -> Backup:
    return Backup(name=f"b{days}", kind=kind, at=AT - timedelta(days=days), size_bytes=size)


def told(
    *backups: Backup, made: PlaceReadings | None = None, at: datetime = AT
) -> dict[str, float | None]:
    made = made or PlaceReadings(place="here", keep_days=7)
    found = made.of(BackupsSeen(backups=backups), UNASKED, at=at)
    assert {r.subject for r in found} == {"here"}
    return {r.name: r.value for r in found}


def short(*backups: Backup, made: PlaceReadings | None = None, at: datetime = AT) -> float | None:
    return told(*backups, made=made, at=at)["backup_retention_short_days"]


def test_a_backup_whose_time_lies_ahead_does_not_pass_for_a_new_one() -> None:
    assert told(backup(2), backup(-30))["backup_age_s"] == 2 * 86_400
    assert told(backup(-30))["backup_age_s"] is None
    assert told(backup(2), backup(-0.02))["backup_age_s"] == 0, "clocks differ by minutes"


def test_the_age_is_that_of_the_newest_good_one() -> None:
    failed = replace(backup(0.1), fault="cut off")
    running = replace(backup(0), running=True)
    found = told(backup(2), backup(1), failed, running)
    assert found["backup_age_s"] == 86_400
    assert found["backup_failed"] == 1
    assert found["backup_unusable_s"] == 0.1 * 86_400
    assert told(backup(2), backup(1), running)["backup_failed"] == 0
    assert told(backup(2), backup(1), running)["backup_unusable_s"] == 0
    assert told(failed, backup(0.05))["backup_failed"] == 0


def test_no_good_backup_is_a_failure_and_not_an_age_of_nothing() -> None:
    assert told()["backup_unusable_s"] == 0, "there is none"
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
    made = PlaceReadings(place="here", keep_days=7)
    assert short(backup(3), backup(1), made=made) is None
    later = AT + timedelta(days=1)
    assert short(backup(3), backup(0), made=made, at=later) is None
    # Now the oldest is gone, so what is left is all that is kept.
    assert short(backup(1), backup(0), made=made, at=later) == 5
    assert short(backup(31), backup(1)) == 0


def test_each_place_is_held_to_its_own_promise() -> None:
    made = PlaceReadings(place="here", keep_days=30)
    assert short(backup(10), backup(1), made=made) is None
    assert short(backup(9), backup(1), made=made) == 21
    found = made.of(BackupsSeen(backups=(backup(9),)), UNASKED, at=AT)
    [told] = [r.detail for r in found if r.name == "backup_retention_short_days"]
    assert told == "it reaches back 9.0 of 30 days, to b9"


def test_a_repository_that_is_not_well_is_a_failure_though_backups_are_there() -> None:
    seen = BackupsSeen(backups=(backup(1),), problem="repo2: missing stanza path")
    found = {r.name: r for r in PlaceReadings(place="x", keep_days=7).of(seen, UNASKED, at=AT)}
    assert found["backup_failed"].value == 1
    assert found["backup_failed"].detail == "repo2: missing stanza path"


def test_a_first_backup_of_which_nothing_lies_there_yet_has_not_failed() -> None:
    made = PlaceReadings(place="x", keep_days=7)
    for running, failed in ((True, 0), (False, 1)):
        seen = BackupsSeen(backups=(), running=running)
        found = {r.name: r.value for r in made.of(seen, UNASKED, at=AT)}
        assert found["backup_failed"] == failed


def test_uploads_that_were_left_are_counted_with_the_oldest_of_them() -> None:
    left = Uploads(count=3, oldest_at=AT - timedelta(days=9), oldest_name="orders.dump")
    seen = BackupsSeen(backups=(backup(1),), uploads=left)
    found = {r.name: r for r in PlaceReadings(place="x", keep_days=7).of(seen, UNASKED, at=AT)}
    assert found["backup_uploads_left"].value == 3
    assert "orders.dump, was begun 2026-11-12" in found["backup_uploads_left"].detail


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
    found = PlaceReadings(place="here", keep_days=7).of(seen, archived, at=AT)
    assert [r.value for r in found if r.name == "archive_gap_segments"] == [gap]


def test_a_place_that_cannot_be_seen_is_unknown_in_every_reading() -> None:
    found = PlaceReadings(place="here", keep_days=7).none("no such folder")
    assert {r.name for r in found} == {*NAMES, UNUSABLE}
    assert {(r.value, r.detail) for r in found} == {(None, "no such folder")}


def test_a_gap_that_cannot_be_told_any_more_is_not_taken_for_over() -> None:
    made = PlaceReadings(place="here", keep_days=7)
    made.of(BackupsSeen(backups=(), archived=()), UNASKED, at=AT)
    assert "archive_gap_segments" in {r.name for r in made.none("gone")}


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
        watch = BackupWatch(
            Places(backups=[(one, 7.0) for one in places]), archived=archived, now=lambda: AT
        )
        running = asyncio.create_task(watch.run())
        await asyncio.sleep(2 * EVERY_S)
        found = watch.take()
        assert watch.take() == ()
        running.cancel()
        return found

    found = run_virtually(watched())[0]
    ages = {r.subject: r.value for r in found if r.name == "backup_age_s"}
    assert ages == {"a": 86_400, "b": None}
    unseen = {r.subject: (r.value, r.detail) for r in found if r.name == "backup_unseen_s"}
    assert unseen == {"a": (0, ""), "b": (0, "nobody asked")}
    assert [len(place.asked_at_s) for place in places] == [2, 2]
    assert len(asked) == 2


def test_without_a_place_nobody_looks() -> None:
    async def archived() -> Archived | Missing:
        raise AssertionError("asked for nothing")

    run_virtually(BackupWatch(Places(), archived=archived, now=lambda: AT).run())
