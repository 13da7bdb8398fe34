"""The capability table on a terminal and elsewhere."""

from __future__ import annotations

import io
import re

import pytest

from stanch.cli.capability_table import as_json, print_table
from stanch.service.readiness.capability_rows import Capability

ROWS = (
    Capability(feature="watch", can=True, why="answered in 5 ms"),
    Capability(feature="end sessions", can=False, why="[red]no", change="GRANT [b]x[/b];"),
    Capability(feature="archive", can=None, why="could not be told"),
)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(out: io.StringIO) -> str:
    print_table("or\x1b[2Jders", ROWS, out)
    return out.getvalue()


def test_both_forms_hold_every_row_word_and_change_and_take_nothing_for_markup() -> None:
    for text in (printed(io.StringIO()), printed(Screen())):
        for word in ("yes", "no", "unknown", "[red]no", "GRANT [b]x[/b];", "end sessions"):
            assert word in " ".join(text.split())
        assert "\x1b[2J" not in text


def test_a_narrow_terminal_gets_a_list_with_whole_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed(Screen()))
    for words in ("no      end sessions", "change: GRANT [b]x[/b];", "answered in 5 ms"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 40


def test_colours_stay_off_where_nobody_looks() -> None:
    assert "\x1b" not in printed(io.StringIO())


def test_json_keeps_unknown_apart_from_no() -> None:
    assert [row["can"] for row in as_json(ROWS)] == [True, False, None]
