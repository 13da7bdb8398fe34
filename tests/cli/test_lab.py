"""`stanch lab` as a person uses it: list, break, look, heal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.cli.app import command_line
from stanch.drill.lab.catalogue import BY_ID
from stanch.model.errors import SetupError

FAULT = "forgotten-transaction"
BROKEN_S = 40.0
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


def run(*words: str) -> str:
    done = CliRunner().invoke(command_line(), ["lab", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands is written down here and not at home."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "stanch" / "lab"


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + BROKEN_S
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def first_cause(dsn: str) -> str:
    """What `stanch diagnose` names first."""
    found = CliRunner().invoke(command_line(), ["diagnose", dsn, "--json"])
    causes = json.loads(found.stdout)["causes"]
    return causes[0]["id"] if causes else ""


@contextmanager
def breaking(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`stanch lab break`, once it holds what it broke; and what it printed."""
    out = folder / "out"
    with out.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "stanch", "lab", "break", *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        until(
            lambda: "stanch lab heal" in out.read_text() or process.poll() is not None, "not broken"
        )
        yield process, out.read_text()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_every_fault_is_listed_with_its_story() -> None:
    printed = run("faults")
    for fault in BY_ID.values():
        assert f"  {fault.id} " in printed
        assert fault.story in printed


def test_the_list_for_programs_says_what_each_takes() -> None:
    body = json.loads(run("faults", "--json"))
    assert body["schema"] == "stanch.lab/1"
    assert {one["id"] for one in body["faults"]} == set(BY_ID)
    staging = json.loads(run("faults", "--staging", "--json"))["faults"]
    assert staging
    assert all(one["staging"] for one in staging)


def test_a_fault_that_is_none_is_answered_with_the_nearest(state: Path) -> None:
    with pytest.raises(SetupError, match="no such fault") as caught:
        run("break", "forgoten-transaction")
    assert FAULT in str(caught.value.hint)


@pytest.mark.parametrize("words", [("--staging", "service=x"), ("--allow", "x.yaml")])
def test_a_staging_server_takes_both_its_string_and_its_list(
    state: Path, words: tuple[str, ...]
) -> None:
    done = CliRunner().invoke(command_line(), ["lab", "break", FAULT, *words])
    assert done.exit_code == 2
    assert "belong together" in done.stderr


def test_nothing_broken_is_nothing_to_heal(state: Path) -> None:
    assert run("heal") == "nothing is broken\n"
    assert json.loads(run("heal", "--json"))["healed"] == []


def test_a_throw_away_server_is_broken_found_out_and_healed(state: Path, tmp_path: Path) -> None:
    with breaking(tmp_path, FAULT, "--seed", "7") as (process, printed):
        [dsn] = re.findall(r"^server   (.+)$", printed, re.MULTILINE)
        [data] = re.findall(r"^data     (.+)$", printed, re.MULTILINE)
        until(lambda: first_cause(dsn) == "idle_in_transaction", "not found out")
        healing = subprocess.Popen(
            [sys.executable, "-m", "stanch", "lab", "heal"], stdout=subprocess.PIPE
        )
        assert process.wait(BROKEN_S) == 0
        assert healing.communicate()[0] == f"{FAULT} on a throw-away server: healed\n".encode()
    assert not Path(data).exists()
    assert [*state.glob("*.json")] == []


def test_what_a_killed_one_left_is_taken_away(state: Path, tmp_path: Path) -> None:
    with breaking(tmp_path, FAULT) as (process, printed):
        [data] = re.findall(r"^data     (.+)$", printed, re.MULTILINE)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert Path(data).exists()
        assert run("heal").endswith("its process was gone; the server was removed\n")
    assert not Path(data).parent.exists()


def test_a_staging_server_is_broken_where_its_list_allows_it(
    server: ScratchServer, state: Path, tmp_path: Path
) -> None:
    [(identifier,)] = server.query("SELECT system_identifier::text FROM pg_control_system()")
    until_ = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    allow = tmp_path / "allowed.yaml"
    allow.write_text(
        f'servers: [{{name: staging, system_identifier: "{identifier}",'
        f" until: {until_}, faults: all}}]\n"
    )
    allow.chmod(0o600)
    words = (FAULT, "--staging", server.dsn("app"), "--allow", str(allow), "--for", "1m")
    with breaking(tmp_path, *words) as (process, printed):
        assert "on staging:" in printed
        assert server.query(WAITING) != [(0,)]
        process.terminate()
        assert process.wait(BROKEN_S) == 0
    assert server.query(WAITING) == [(0,)]
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert server.query(tables, dbname="app") == [(0,)]


def test_a_server_that_is_on_no_list_is_left_alone(
    shared_server: ScratchServer, state: Path, tmp_path: Path
) -> None:
    allow = tmp_path / "allowed.yaml"
    allow.write_text(
        'servers: [{name: other, system_identifier: "1", until: 2026-12-01, faults: all}]\n'
    )
    allow.chmod(0o600)
    with pytest.raises(SetupError, match="is not on the list"):
        run("break", FAULT, "--staging", shared_server.dsn("app"), "--allow", str(allow))
    assert shared_server.query(WAITING) == [(0,)]
