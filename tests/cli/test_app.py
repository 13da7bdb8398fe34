"""One command is loaded by itself, and is the same one that the whole program has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from stanch.cli.app import MODULES, command_line
from stanch.cli.priority import FIRST

AUTOGROUP = Path("/proc/self/autogroup")
WORDS = sorted(word for words in MODULES.values() for word in words)


def commands(word: str = "") -> dict[str, object]:
    group = typer.main.get_group(command_line(word))
    return {name: (command.help, str(command.params)) for name, command in group.commands.items()}


def test_every_command_of_the_program_is_found_by_its_word() -> None:
    assert sorted(commands()) == WORDS


@pytest.mark.parametrize("word", WORDS)
def test_a_command_by_itself_is_the_one_of_the_whole_program(word: str) -> None:
    alone, whole = commands(word), commands()
    assert alone[word] == whole[word]
    assert len(alone) < len(whole)


def test_halting_does_not_load_what_a_diagnosis_needs() -> None:
    script = (
        "import sys; from stanch.cli.app import main\n"
        "try: main(['halt', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted(m for m in sys.modules if m.startswith(('stanch.diagnose', 'psycopg'))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may go first")
@pytest.mark.parametrize(("word", "nice"), [("diagnose", FIRST), ("run", FIRST), ("rules", 0)])
def test_who_finds_out_why_a_machine_is_busy_goes_first_on_it(word: str, nice: int) -> None:
    script = (
        "import os; from stanch.cli.app import main\n"
        f"try: main(['{word}', '--help'])\n"
        "except SystemExit: pass\n"
        "print(os.getpriority(os.PRIO_PROCESS, 0))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert int(done.stdout.splitlines()[-1]) == nice + os.getpriority(os.PRIO_PROCESS, 0) * (
        not nice
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may go first")
@pytest.mark.skipif(not AUTOGROUP.exists(), reason="processors are not shared among sessions")
@pytest.mark.parametrize("own", [True, False])
def test_a_session_goes_first_as_a_whole_where_it_is_its_own(own: bool) -> None:
    script = (
        "from stanch.cli.priority import go_first\n"
        f"print(open('{AUTOGROUP}').read().split()[-1:])\n"
        f"go_first(); print(open('{AUTOGROUP}').read().split()[-1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, start_new_session=own
    )
    before, after = done.stdout.splitlines()
    # Nothing stands there where the processors of this session are shared by its control group.
    assert after == (str([str(FIRST)]) if own and before != "[]" else before)


def test_a_diagnosis_does_not_load_the_driver_of_the_journal() -> None:
    script = "import sys, stanch.service.watched.diagnosing; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
