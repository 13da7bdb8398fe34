"""What the lab broke is written down, and healed from elsewhere."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from stanch.drill.lab.breaking import remove_left
from stanch.drill.lab.broken import Broken, Brokens, begun
from stanch.model.errors import SetupError


def keep(folder: Path) -> None:
    raise AssertionError(f"{folder} must stay")


def gone(one: Broken) -> Broken:
    """The same, held by a process that is no more."""
    return replace(one, started=one.started - 1000.0)


def test_what_stands_is_found_again_the_oldest_first(tmp_path: Path) -> None:
    brokens = Brokens(tmp_path / "lab")
    late = replace(begun("b", "here"), began="2026-11-21T12:00:01+00:00")
    early = replace(begun("a", "here"), began="2026-11-21T12:00:00+00:00", undo=("DROP TABLE a",))
    brokens.put(late)
    brokens.put(early)
    assert [*brokens.standing()] == [early, late]
    assert early.is_held


def test_a_file_that_is_none_of_ours_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    (tmp_path / "y.json").write_text("not json")
    assert Brokens(tmp_path).standing() == []


def test_a_process_that_holds_a_fault_is_asked_to_end(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        started = psutil.Process(process.pid).create_time()
        one = replace(begun("a", "here"), pid=process.pid, started=started)
        brokens = Brokens(tmp_path)
        brokens.put(one)
        # Its parent has to take note of its end, or it stays as a zombie.
        ended = psutil.Process(process.pid)
        threading.Thread(target=process.wait, daemon=True).start()
        assert brokens.heal(one, remove=keep) == "healed"
        assert not ended.is_running() or ended.status() == psutil.STATUS_ZOMBIE


def test_another_process_with_the_same_number_is_left_alone(tmp_path: Path) -> None:
    one = gone(begun("a", "here"))
    assert not one.is_held
    brokens = Brokens(tmp_path)
    brokens.put(one)
    assert "gone" in brokens.heal(one, remove=keep)
    assert brokens.standing() == []


def test_statements_that_nobody_ran_any_more_are_told(tmp_path: Path) -> None:
    one = gone(replace(begun("a", "orders-staging"), undo=("DROP TABLE a", "DROP TABLE b")))
    assert Brokens(tmp_path).heal(one, remove=keep).endswith("DROP TABLE a; DROP TABLE b")


def test_a_throw_away_server_that_was_left_is_removed(tmp_path: Path) -> None:
    removed: list[Path] = []
    one = gone(begun("a", "a throw-away server", folder="/tmp/stanch-lab-x"))
    assert "removed" in Brokens(tmp_path).heal(one, remove=removed.append)
    assert removed == [Path("/tmp/stanch-lab-x")]


def test_no_other_folder_is_ever_removed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(SetupError, match="no folder of the lab"):
        remove_left(tmp_path)
    assert (tmp_path / "data").is_dir()
