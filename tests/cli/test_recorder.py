"""A recording as a person sees it: pictures that do not lie, words that cannot steer a terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stanch.cli.app import command_line
from stanch.cli.recording_text import recording_lines
from stanch.cli.sparkline import buckets, rates, sparkline
from stanch.model.errors import StanchError
from stanch.store.recorder.layout import FILE_BYTES
from stanch.store.recorder.reading import Frame, Recording, Said
from stanch.store.recorder.ring import Ring

START = datetime(2026, 3, 1, 3, tzinfo=UTC)


def frames(*values: float | None, name: str = "backends", subject: str = "") -> tuple[Frame, ...]:
    return tuple(
        Frame(
            at=START + timedelta(seconds=n),
            values={} if value is None else {(name, subject): value},
        )
        for n, value in enumerate(values)
    )


def recording(*made: Frame, states: tuple[Said, ...] = ()) -> Recording:
    return Recording(
        target="orders",
        created_at=START,
        frames=made,
        states=states,
        notes=(),
        activity=(),
        segments=1,
        damaged=0,
    )


def lines(one: Recording, columns: int = 100) -> dict[str, str]:
    """Lines of the picture by their label."""
    return {line[:22].strip(): line[22:] for line in recording_lines(one, columns=columns)}


def test_heights_go_from_nothing_to_the_largest_and_what_is_missing_stays_empty() -> None:
    assert sparkline([0, 1, 4, 8, None, 8]) == "▁▁▄█ █"
    assert sparkline([None, None]) == "  "
    assert sparkline([0.0, 0.0]) == "▁▁"


def test_a_cell_shows_the_worst_of_its_time() -> None:
    points = [(0.0, 1.0), (1.0, 9.0), (2.0, 2.0), (9.9, 3.0)]
    assert buckets(points, begin_s=0, end_s=10, cells=3, pick=max) == [9.0, None, 3.0]
    assert buckets(points, begin_s=0, end_s=10, cells=3, pick=min) == [1.0, None, 3.0]


def test_a_counter_that_began_anew_and_a_pause_say_no_rate() -> None:
    assert rates([(0, 100), (1, 150), (2, 20), (3, 30), (90, 5000)]) == [(1, 50.0), (3, 10.0)]


def test_the_least_free_space_of_all_volumes_is_what_counts() -> None:
    name = "volume_free_bytes"
    one = Frame(at=START, values={(name, "/a"): 5 * 2**30, (name, "/b"): 2**30})
    two = replace(one, at=START + timedelta(seconds=1), values={(name, "/a"): 4 * 2**30})
    assert lines(recording(one, two))["free space"].split()[:3] == ["≥", "1.0", "GiB"]


def test_what_was_never_there_has_no_line() -> None:
    shown = lines(recording(*frames(3.0, 4.0)))
    assert "connections" in shown
    assert "replay lag" not in shown


def test_pauses_between_looks_are_told() -> None:
    late = replace(frames(1.0)[0], at=START + timedelta(seconds=60))
    head = next(recording_lines(recording(*frames(1.0, 1.0), late), columns=100))
    assert "1 pauses, the longest 59 s" in head


def test_the_first_lines_of_a_class_are_drawn_and_a_log_that_was_not_read_says_nothing() -> None:
    """A class is told from its first line on; until then others of the same log are."""
    name = "log_class_total"
    read = frames(None, 0.0, 0.0, 0.0, name=name, subject="crash_child_signal")
    came_up = replace(read[-1], values={**read[-1].values, (name, "deadlock"): 7.0})
    shown = lines(recording(*read[:-1], came_up))["log: deadlock"]
    assert shown.split()[:2] == ["7", "7"]
    unread = frames(None, None, 9.0, 9.0, name=name, subject="deadlock")
    assert lines(recording(*unread))["log: deadlock"].split()[:2] == ["0", "0"]


def test_classes_of_log_lines_are_drawn_where_they_came_up() -> None:
    up = frames(0.0, 5.0, 9.0, name="log_class_total", subject="deadlock")
    still = frames(7.0, 7.0, 7.0, name="log_class_total", subject="checkpoint")
    both = [replace(a, values={**a.values, **b.values}) for a, b in zip(up, still, strict=True)]
    shown = lines(recording(*both))
    assert "log: deadlock" in shown
    assert "log: checkpoint" not in shown


def test_the_picture_is_no_wider_than_the_terminal() -> None:
    for columns in (80, 100, 200):
        found = list(recording_lines(recording(*frames(*range(300))), columns=columns))
        assert max(map(len, found)) <= columns


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "orders.ring"
    Ring(path, "evil\x1b[2J\nname", at_ms=0)
    return path


def typed(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(command_line(), ["recorder", *words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_names_in_a_recording_cannot_steer_the_terminal(file: Path) -> None:
    status, shown = typed("show", str(file))
    assert status == 0
    assert "\x1b" not in shown
    assert "no values in it" in shown


def test_an_empty_recording_is_one_as_json_too(file: Path) -> None:
    found = json.loads(typed("show", str(file), "--json")[1])
    assert (found["looks"], found["from"], found["series"]) == (0, None, [])


@pytest.mark.parametrize("content", [b"", b"not one", bytes(FILE_BYTES)])
def test_a_file_that_is_no_recording_is_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(StanchError, match="no recording"):
        typed("show", str(path))


def test_a_wrong_option_is_told_with_the_right_ones(file: Path) -> None:
    assert typed("show", str(file), "--since", "soon")[0] == 2
    assert typed("show", str(file), "--when", "later")[0] == 2
