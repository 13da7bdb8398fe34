"""The demonstration as a user starts it: a process, its words, its exit status, what it leaves."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stanch.drill.acts.programme import PROGRAMME

pytestmark = pytest.mark.story

DEMO = [sys.executable, "-m", "stanch.drill.demo"]
SCRATCH = re.compile(r"/tmp/stanch-demo-[a-z0-9_]+")
SECONDS_MAX = 120
IN_ORDER = ["broken", "noticed", "cause", "kept", "did", "verified", "rescued", "resolved"]
"""The page goes out beside them, at its own moment."""


@pytest.fixture
def folders() -> Iterator[list[Path]]:
    """Scratch folders that a test found named; removed afterwards."""
    found: list[Path] = []
    yield found
    for folder in found:
        shutil.rmtree(folder, ignore_errors=True)


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, *arguments], capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )


def at_work_in(folder: Path) -> list[str]:
    """Command lines that still speak of a folder."""
    lines = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(folder) in line]


def test_a_killed_server_is_rescued_and_told_of_without_control_codes(folders: list[Path]) -> None:
    done = demo("--only", "killed")
    folder = Path(SCRATCH.findall(done.stdout)[0])
    folders.append(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    words = re.findall(r"^ +[+-]\d+\.\d\d s (\w+)", done.stdout, re.MULTILINE)
    assert sorted(words) == sorted([*IN_ORDER, "paged"])
    assert [word for word in words if word != "paged"] == IN_ORDER
    assert "ann@example.com by mail: [P0] orders: server down" in done.stdout
    story = next((folder / "post-mortems").iterdir())
    assert str(story) in done.stdout
    assert "killed without a chance to shut down" in story.read_text()
    assert len(list((folder / "mails").iterdir())) >= 4
    assert {path.name for path in folder.iterdir()} == {"post-mortems", "mails", "stanch.log"}
    assert at_work_in(folder) == []


def test_one_json_line_an_act_and_nothing_else(folders: list[Path]) -> None:
    done = demo("--only", "stopped", "--json")
    folders += [Path(path) for path in SCRATCH.findall(done.stdout)[:1]]
    [line] = done.stdout.splitlines()
    told = json.loads(line)
    assert (told["act"], told["status"], told["cause"]) == ("stopped", "ok", "stopped_cleanly")
    assert told["noticed_after_s"] <= told["rescued_after_s"]
    assert [step["action"] for step in told["steps"]] == ["start_server"]
    assert all(step["verified"] for step in told["steps"])
    assert (told["rows_lost"], done.returncode) == (0, 0)


def test_ctrl_c_takes_everything_away_at_once(folders: list[Path]) -> None:
    with subprocess.Popen(
        [*DEMO, "--only", "killed"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        folder = None
        for line in process.stdout:
            folder = folder or next(map(Path, SCRATCH.findall(line)), None)
            if " broken " in line:
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 130
    assert folder is not None
    folders.append(folder)
    assert at_work_in(folder) == []
    assert not folder.exists()


def test_keep_leaves_it_running_until_it_is_told_to_end(folders: list[Path]) -> None:
    with subprocess.Popen(
        [*DEMO, "--only", "killed", "--keep"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line)
            if line.strip().startswith("end "):
                break
        folder = Path(SCRATCH.findall("".join(said))[0])
        folders.append(folder)
        config = str(folder / "stanch.yaml")
        listed = subprocess.run(
            [sys.executable, "-m", "stanch", "incidents", "--all", "-c", config],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "killed" in listed.stdout
        assert any("postgres -D" in line for line in at_work_in(folder))
        process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == 130
    assert at_work_in(folder) == []


def test_programs_that_are_not_there_are_said_before_anything_is_made(tmp_path: Path) -> None:
    done = demo("--pg-bin", str(tmp_path))
    assert done.returncode == 2
    assert str(tmp_path) in done.stderr
    assert "hint:" in done.stderr
    assert not SCRATCH.findall(done.stdout)


def test_the_list_names_every_act() -> None:
    done = demo("--list")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [a.name for a in PROGRAMME]
    assert done.returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="gives up rights, which only root can")
def test_without_root_what_needs_it_is_skipped_with_its_reason(folders: list[Path]) -> None:
    acts = {act.name: act for act in PROGRAMME}
    script = (
        "import os; from stanch.drill.acts.programme import PROGRAMME as P;"
        "os.chdir('/'); os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "print([a.name for a in P if a.cannot()])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "stale-lock" in done.stdout, done.stderr
    assert "killed" not in done.stdout
    if sys.platform.startswith("linux"):
        assert "disk-full" in done.stdout
    assert acts["killed"].cannot() == ""
