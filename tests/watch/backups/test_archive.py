"""What the files of an archive mean over several walks: lost, or only on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from stanch.facts.wal_names import WalNames, wal_name
from stanch.model.backups import Archived, WalHeld, WalNeeded
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading
from stanch.testing.virtual_time import run_virtually
from stanch.watch.backups.archive import ArchiveReadings
from stanch.watch.backups.run import EVERY_S, FIRST_TRIES, SOON_S, BackupWatch, Places

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
SEGMENT = 16 * 1024 * 1024


def name(segment: int) -> str:
    return wal_name(1, segment, segment_bytes=SEGMENT)


ARCHIVED = Archived(last_wal=name(9), segment_bytes=SEGMENT)
DOWN = Missing(what="archive", reason="the server cannot be asked about its archive")


def held(segments: Iterable[int], *, repository: str = "", kept: Iterable[int] = ()) -> WalHeld:
    found = WalNames()
    for one in segments:
        found.add(name(one))
    needed = tuple(
        WalNeeded(backup=f"backup-{one}", first=name(one), last=name(one)) for one in kept
    )
    return WalHeld(runs=found.runs(), repository=repository, needed=needed or None)


def walked(made: ArchiveReadings, *repositories: WalHeld) -> dict[tuple[str, str], Reading]:
    found = made.found(repositories, ARCHIVED)
    told = made.of(repositories, ARCHIVED, found=found, when={})
    return {(r.name, r.subject): r for r in told}


def test_a_file_counts_as_missing_when_two_walks_in_a_row_have_not_found_it() -> None:
    made = ArchiveReadings(place="here", tells_gap=True)
    first = walked(made, held([2, 3, 5, 9]))
    assert first["archive_holes", "here"].value == 0
    assert first["archive_missed_bytes", "here"].value == 4 * SEGMENT
    assert made.unsure
    # 4 was on its way; 7 is now missing for the second time, 6 and 8 arrived.
    later = walked(made, held([2, 3, 4, 5, 6, 8, 9]))["archive_holes", "here"]
    assert (later.value, later.detail) == (
        1,
        f"{name(7)} is missing: a restore of an older backup ends at {name(6)}, "
        "and no newer one is known to begin behind it",
    )
    assert not made.unsure
    assert walked(made, held(range(2, 10)))["archive_holes", "here"].value == 0


def test_a_hole_says_from_which_backup_on_nothing_is_missing() -> None:
    made = ArchiveReadings(place="here", tells_gap=False)
    files = [*range(2, 5), *range(7, 10)]
    walked(made, held(files, kept=[2, 8]))
    told = walked(made, held(files, kept=[2, 8]))
    assert set(told) == {("archive_holes", "here"), ("archive_missed_bytes", "here")}
    assert told["archive_holes", "here"].detail.endswith(
        "from the backup backup-8 on nothing is missing"
    )


def test_of_several_repositories_each_is_told_by_itself() -> None:
    made = ArchiveReadings(place="here", tells_gap=False)
    repositories = held([2, 3], repository="repo1"), held([2, 5], repository="repo2")
    walked(made, *repositories)
    told = walked(made, *repositories)
    assert {k: r.value for k, r in told.items()} == {
        ("archive_holes", "here repo1"): 0,
        ("archive_holes", "here repo2"): 2,
        ("archive_missed_bytes", "here repo1"): 0,
        ("archive_missed_bytes", "here repo2"): 2 * SEGMENT,
    }


def test_an_archive_that_ends_before_what_the_server_believes_has_a_gap_and_no_hole() -> None:
    made = ArchiveReadings(place="here", tells_gap=True)
    walked(made, held(range(2, 7)))
    told = walked(made, held(range(2, 7)))
    assert {n: r.value for (n, _), r in told.items()} == {
        "archive_holes": 0,
        "archive_missed_bytes": 0,
        "archive_gap_segments": 3,
    }


def test_how_large_files_are_is_remembered_while_the_server_cannot_be_asked() -> None:
    made = ArchiveReadings(place="here", tells_gap=True)
    assert made.found([held([2, 4])], DOWN) == DOWN
    assert [r.value for r in made.of([held([2, 4])], DOWN, found=DOWN, when={})] == [None, None]
    made.found([held([2, 4])], ARCHIVED)
    found = made.found([held([2, 4])], DOWN)
    assert not isinstance(found, Missing)
    assert [hole.first for hole in found] == [name(3)]


@dataclass(slots=True)
class Place:
    """Files that are there from some moment on, in seconds."""

    files: list[tuple[float, int]]
    place: str = "here"
    every_s: float = 1800.0
    walked_at_s: list[float] = field(default_factory=list[float])
    fails: bool = False

    async def walk(self, *, deadline_s: float) -> tuple[WalHeld, ...] | Missing:
        now_s = asyncio.get_running_loop().time()
        self.walked_at_s.append(now_s)
        if self.fails:
            return Missing(what="backups", reason="refused")
        return (held(n for at_s, n in self.files if at_s <= now_s),)

    async def when(self, wal: str, *, repository: str, deadline_s: float) -> datetime | None:
        assert wal == name(3)
        return AT


def watching(place: Place, *, looks: int, answers_from_s: float = 0) -> list[tuple[Reading, ...]]:
    async def archived() -> Archived | Missing:
        return ARCHIVED if asyncio.get_running_loop().time() >= answers_from_s else DOWN

    async def run() -> list[tuple[Reading, ...]]:
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        watch = BackupWatch(
            Places(archives=[(place, False)]),
            archived=archived,
            now=lambda: AT + timedelta(seconds=loop.time() - begin_s),
        )
        running = asyncio.create_task(watch.run())
        found: list[tuple[Reading, ...]] = []
        for _ in range(looks):
            await asyncio.sleep(1)
            found.append(watch.take())
            await asyncio.sleep(EVERY_S - 1)
        running.cancel()
        return found

    return run_virtually(run())[0]


def values(told: tuple[Reading, ...], which: str) -> list[float | None]:
    return [r.value for r in told if r.name == which]


def test_a_whole_archive_is_walked_seldom_and_told_at_every_look() -> None:
    place = Place([(0, 2), (0, 3)])
    told = watching(place, looks=8)
    assert [values(one, "archive_holes") for one in told] == [[0]] * 8
    assert len(place.walked_at_s) == 2


def test_a_hole_is_walked_again_at_the_next_look_and_told_with_the_end_of_restores() -> None:
    place = Place([(0, 2), (0, 3), (0, 5)])
    told = watching(place, looks=3)
    assert [values(one, "archive_holes") for one in told] == [[0], [1], [1]]
    assert len(place.walked_at_s) == 2
    [detail] = [r.detail for r in told[1] if r.name == "archive_holes"]
    assert f"{name(4)} is missing: a restore of an older backup ends at 2026-11-21 12:00" in detail


def test_a_second_walk_comes_soon_and_no_third_one() -> None:
    lost = Place([(0, 2), (0, 3), (0, 5)])
    watching(lost, looks=2)
    assert lost.walked_at_s == [0, SOON_S]
    # Another file is missing at every walk: nothing is certain, and nobody hurries for ever.
    late_s, last_s = SOON_S + EVERY_S, 2 * SOON_S + EVERY_S
    come = [(0, 2), (0, 3), (0, 5), (SOON_S, 4), (SOON_S, 7), (late_s, 6), (late_s, 9), (last_s, 8)]
    moving = Place(come)
    watching(moving, looks=2)
    assert moving.walked_at_s == [0, SOON_S, late_s, last_s]


def test_a_server_that_is_being_reached_is_waited_for_before_the_first_walk() -> None:
    place = Place([(0, 2), (0, 3)])
    told = watching(place, looks=2, answers_from_s=3)
    assert values(told[1], "archive_holes") == [0]
    assert place.walked_at_s == [3]
    silent = Place([(0, 2), (0, 3)])
    told = watching(silent, looks=2, answers_from_s=9)
    assert values(told[1], "archive_holes") == [None], "it is not waited for without end"
    assert silent.walked_at_s == [FIRST_TRIES, FIRST_TRIES + EVERY_S]


def test_an_archive_that_cannot_be_seen_is_unknown_and_tried_at_every_look() -> None:
    place = Place([], fails=True)
    told = watching(place, looks=3)
    assert [values(one, "archive_holes") for one in told] == [[None]] * 3
    assert [values(one, "backup_unseen_s") for one in told] == [[0], [300], [600]]
    assert {r.subject for r in told[2] if r.name == "backup_unseen_s"} == {"WAL in here"}
    assert len(place.walked_at_s) >= 3
