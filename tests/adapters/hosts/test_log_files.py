"""Following a log through everything that happens to logs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stanch.adapters.hosts.log_files import LogSource, current_log, read_since, read_tail
from stanch.model.diagnosis import Missing
from stanch.model.host import LogChunk


def _source(path: Path) -> LogSource:
    return LogSource(data_directory="/nowhere", given=str(path))


def _tail(path: Path, bytes_max: int = 1000) -> LogChunk:
    chunk = read_tail(_source(path), bytes_max=bytes_max)
    assert isinstance(chunk, LogChunk)
    return chunk


def _since(path: Path, chunk: LogChunk, bytes_max: int = 1000) -> LogChunk:
    found = read_since(_source(path), chunk.position, bytes_max=bytes_max)
    assert isinstance(found, LogChunk)
    return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\nthree\n")
    return path


def test_a_tail_begins_with_a_whole_line(log: Path) -> None:
    chunk = _tail(log, 9)
    assert (chunk.content, chunk.skipped_bytes) == (b"three\n", 8)
    assert _tail(log).content == b"one\ntwo\nthree\n"


def test_only_what_is_new_is_read(log: Path) -> None:
    chunk = _tail(log)
    assert _since(log, chunk).content == b""
    with log.open("ab") as file:
        file.write(b"four\nfi")
    new = _since(log, chunk)
    assert (new.content, new.started_anew) == (b"four\nfi", False)
    with log.open("ab") as file:
        file.write(b"ve\n")
    assert _since(log, new).content == b"ve\n"


def test_a_large_piece_comes_in_bounded_parts(log: Path) -> None:
    chunk = _tail(log)
    with log.open("ab") as file:
        file.write(b"x" * 2500)
    first = _since(log, chunk)
    second = _since(log, first)
    third = _since(log, second)
    assert [len(c.content) for c in (first, second, third)] == [1000, 1000, 500]
    assert [c.more for c in (first, second, third)] == [True, True, False]


def test_a_truncated_log_is_read_from_its_beginning(log: Path) -> None:
    chunk = _tail(log)
    log.write_bytes(b"new\n")
    found = _since(log, chunk)
    assert (found.content, found.started_anew) == (b"new\n", True)


@pytest.mark.parametrize("renamed", [True, False], ids=["renamed", "new name"])
def test_a_rotated_log_is_finished_before_the_next_is_begun(log: Path, *, renamed: bool) -> None:
    chunk = _tail(log)
    with log.open("ab") as file:
        file.write(b"last words\n")
    if renamed:
        log.rename(log.with_name("log.1"))
    current = log if renamed else log.with_name("log2")
    current.write_bytes(b"new\n")
    old = _since(current, chunk)
    assert (old.content, old.started_anew, old.more) == (b"last words\n", False, True)
    new = _since(current, old)
    assert (new.content, new.started_anew) == (b"new\n", True)
    assert _since(current, new).content == b""


def test_a_removed_log_loses_no_line_of_the_next(log: Path) -> None:
    chunk = _tail(log)
    # Kept open, so that the new file cannot get the same inode.
    with log.open("rb"):
        log.unlink()
        log.write_bytes(b"new\n")
        found = _since(log, chunk)
    assert (found.content, found.started_anew) == (b"new\n", True)


def test_a_pipe_or_nothing_is_missing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "none"):
        assert isinstance(read_tail(_source(tmp_path / name), bytes_max=10), Missing)


def test_the_newest_file_of_a_folder_counts(tmp_path: Path) -> None:
    for name, at in (("a", 100), ("b", 300), ("c", 200)):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (at, at))
    assert current_log(_source(tmp_path)) == str(tmp_path / "b")


def test_of_the_servers_own_logs_the_best_to_read_is_taken(tmp_path: Path) -> None:
    source = LogSource(data_directory=str(tmp_path))
    assert isinstance(current_log(source), Missing)
    names = tmp_path / "current_logfiles"
    names.write_text("stderr log/a.log\n")
    assert current_log(source) == str(tmp_path / "log/a.log")
    names.write_text("stderr log/a.log\ncsvlog /var/a.csv\n")
    assert current_log(source) == "/var/a.csv"
    names.write_text("rubbish\n")
    assert isinstance(current_log(source), Missing)
