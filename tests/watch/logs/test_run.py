"""Following logs: never a line twice, none left out unsaid, and never too much at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from samplings import Watched, seen
from stanch.adapters.hosts.log_files import LogSource, read_since, read_tail
from stanch.facts.log_settings import LogSettings
from stanch.model.diagnosis import Missing
from stanch.model.host import LogChunk, LogPosition
from stanch.model.readings import Reading
from stanch.testing.virtual_time import run_virtually
from stanch.watch.logs import run
from stanch.watch.logs.run import Followed, LogWatch
from stanch.watch.logs.server_log import ServerLog

LINE = "2026-11-21 11:40:00.123 UTC [77] 53200 ERROR:  out of memory\n"
PREFIX = LogSettings(log_line_prefix="%m [%p] %e ")

Act = Callable[[LogWatch], Awaitable[None]]


@dataclass(slots=True)
class Kept:
    """The account on disk."""

    content: bytes | None = None
    saved: int = 0

    async def load(self) -> bytes | None:
        return self.content

    async def save(self, content: bytes) -> None:
        self.content, self.saved = content, self.saved + 1


@dataclass(slots=True)
class Here:
    """Reads a real file as the machine does, without a thread; counts what it was asked for."""

    path: Path
    asked_bytes: int = 0
    hangs: bool = False
    waiting: int = 0
    most_waiting: int = 0

    async def log_tail(self, *, bytes_max: int) -> LogChunk | Missing:
        return read_tail(self._source(), bytes_max=bytes_max)

    async def log_since(self, position: LogPosition, *, bytes_max: int) -> LogChunk | Missing:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        while self.hangs:
            await asyncio.sleep(1)
        self.waiting -= 1
        self.asked_bytes += bytes_max
        return read_since(self._source(), position, bytes_max=bytes_max)

    def _source(self) -> LogSource:
        return LogSource(data_directory="/nowhere", given=str(self.path))


@dataclass(slots=True)
class Site:
    """One log file, followed by one process after another."""

    log: Path
    kept: Kept = field(default_factory=Kept)
    reader: Here | Missing | None = None
    told: list[Reading] = field(default_factory=list[Reading])

    def __post_init__(self) -> None:
        self.log.write_text(LINE)
        self.reader = Here(self.log)

    def write(self, text: str) -> None:
        with self.log.open("a") as file:
            file.write(text)

    async def follow(self, *acts: Callable[[], None], for_s: float = 12.0) -> Followed:
        """A process: it starts, each act happens and is given time, and it is killed."""
        assert self.reader is not None
        reader = self.reader
        one = Followed(name="server", reader=lambda: reader, content=ServerLog(settings=PREFIX))
        watch = LogWatch([one], self.kept)
        running = asyncio.create_task(watch.run())
        self.told += await _told(watch, 3)
        for act in acts:
            act()
            self.told += await _told(watch, for_s)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return one

    def last(self, name: str, subject: str) -> Reading:
        return [r for r in self.told if (r.name, r.subject) == (name, subject)][-1]

    def refusals(self) -> Sequence[float | None]:
        """What was told of the class, one after another, without repetitions."""
        found = [r.value for r in self.told if r.subject == "out_of_memory"]
        return [v for n, v in enumerate(found) if n == 0 or v != found[n - 1]]

    def raised(self) -> list[str]:
        """What the rules make of everything that was told, one after another."""
        rules = Watched()
        for n, reading in enumerate(self.told):
            rules.look(n, seen(readings=(reading,)))
        return rules.raised


async def _told(watch: LogWatch, for_s: float) -> list[Reading]:
    told: list[Reading] = []
    for _ in range(int(for_s)):
        await asyncio.sleep(1)
        told += watch.take()
    return told


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "db.log")


def test_what_was_there_before_we_ever_looked_is_no_news(site: Site) -> None:
    run_virtually(site.follow(lambda: site.write(LINE)))
    assert site.refusals() == [None, 0, 1]
    assert site.last("log_class_total", "out_of_memory").detail.endswith("out of memory")


def test_lines_of_a_time_when_nobody_looked_are_counted_once_and_told_as_new(site: Site) -> None:
    run_virtually(site.follow(lambda: site.write(LINE * 2 + LINE[:30])))
    site.write(LINE[30:] + LINE)
    site.told.clear()
    run_virtually(site.follow(lambda: None))
    assert site.refusals() == [2, 4]


def test_after_a_crash_between_two_accounts_no_line_counts_twice(site: Site) -> None:
    run_virtually(site.follow(lambda: site.write(LINE), lambda: site.write(LINE), for_s=6))
    before = site.kept.content
    run_virtually(site.follow(lambda: site.write(LINE)))
    # Killed before the last account was written: what it had read is read again.
    site.kept.content = before
    site.told.clear()
    run_virtually(site.follow(lambda: None))
    assert site.refusals()[-1] == 3


def test_a_log_that_is_rotated_is_read_to_its_end_and_then_the_new_one(site: Site) -> None:
    def rotate() -> None:
        site.write(LINE)
        os.rename(site.log, site.log.with_suffix(".log.1"))
        site.log.write_text(LINE * 2)

    run_virtually(site.follow(lambda: site.write(LINE), rotate))
    assert site.refusals()[-1] == 4
    assert site.last("log_gaps_total", "server").value == 0
    assert "log_unread:server" not in site.raised()


def test_a_log_that_was_emptied_is_told_as_a_gap(site: Site) -> None:
    def empty() -> None:
        site.log.write_text(LINE * 2)

    run_virtually(site.follow(lambda: site.write(LINE * 5), empty))
    assert site.refusals()[-1] == 7
    gap = site.last("log_gaps_total", "server")
    assert (gap.value, gap.detail) == (1, "the file was emptied")
    assert "log_unread:server" in site.raised()


def test_whole_files_written_while_nobody_looked_are_told_as_a_gap(site: Site) -> None:
    run_virtually(site.follow(lambda: site.write(LINE)))
    folder = site.log.parent
    os.utime(site.log, ns=(10**9, 10**9))
    for n, name in enumerate(("a.log", "b.log"), start=2):
        (folder / name).write_text(LINE)
        os.utime(folder / name, ns=(n * 10**9, n * 10**9))
    site.reader = Here(folder / "b.log")
    run_virtually(site.follow(lambda: None))
    gap = site.last("log_gaps_total", "server")
    assert (gap.value, gap.detail) == (1, "1 whole files were written in between")


def test_a_flood_is_read_at_a_bounded_rate_and_what_is_passed_over_is_told(site: Site) -> None:
    flood = (LINE * 400).encode() * 400
    assert isinstance(site.reader, Here)

    def pour() -> None:
        with site.log.open("ab") as file:
            file.write(flood)

    one, _ = run_virtually(site.follow(pour, lambda: site.write(LINE), for_s=15))
    assert 0 < one.skipped_bytes < len(flood)
    assert site.last("log_skipped_bytes_total", "server").value == one.skipped_bytes
    assert "bytes were passed over" in site.last("log_gaps_total", "server").detail
    # Every line was either counted or passed over, up to the one at each end of the gap.
    counted = site.last("log_class_total", "out_of_memory").value
    assert counted is not None
    assert abs(counted - (len(flood) - one.skipped_bytes) / len(LINE) - 1) <= 2
    looks = 33
    assert site.reader.asked_bytes <= looks * run.READS_MAX * run.READ_BYTES


def test_a_log_that_cannot_be_read_is_unknown_and_not_quiet(site: Site) -> None:
    site.reader = Missing(what="log", reason="no such machine")
    run_virtually(site.follow())
    run_virtually(site.follow(lambda: None))
    told = site.last("log_class_total", "out_of_memory")
    assert (told.value, told.detail) == (None, "no such machine")
    assert site.kept.content is None


def test_a_read_that_hangs_is_waited_for_and_not_asked_again(site: Site) -> None:
    assert isinstance(site.reader, Here)
    reader = site.reader

    def hang() -> None:
        site.write(LINE)
        reader.hangs = True

    def answer() -> None:
        reader.hangs = False

    run_virtually(site.follow(hang, lambda: None, answer, for_s=60))
    assert reader.most_waiting == 1
    assert None in site.refusals()
    assert site.refusals()[-1] == 1


@pytest.mark.parametrize(
    "content", [b"", b"\xff\x00", b"[]", b'{"logs": 3}', b'{"logs": {"server": {"position": 1}}}']
)
def test_an_account_that_cannot_be_read_is_a_gap_and_no_end(site: Site, content: bytes) -> None:
    site.kept.content = content
    run_virtually(site.follow(lambda: site.write(LINE)))
    assert site.refusals()[-1] == 1
    assert site.last("log_gaps_total", "server").value == 1
