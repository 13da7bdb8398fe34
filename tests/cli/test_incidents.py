"""Commands about incidents as a person types them, with nobody running and with wrong input."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stanch.cli.app import command_line
from stanch.cli.asking import os_user
from stanch.cli.rendering import VERDICTS, incident_lines
from stanch.model.diagnosis import Verdict
from stanch.model.errors import StanchError
from stanch.service.house import open_store, read_policy_file
from stanch.store.statedir import StateDir, prepare, take_lock


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "stanch.yaml"
    path.write_text(
        f"""
state_directory: {tmp_path / "state"}
people: {{ann: {{name: Ann, contacts: []}}}}
ladder: [ann]
channels: {{screen: {{type: terminal}}}}
targets: {{orders: {{dsn: service=orders}}}}
"""
    )
    store = open_store(read_policy_file(path), threaded=False)
    asyncio.run(store.close())
    return path


def typed(config: Path, *words: str) -> tuple[int, str, str]:
    """What a person gets to see; errors that `main` shows in one line are raised."""
    result = CliRunner().invoke(command_line(), [*words, "--config", str(config)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(("verdict", "shown"), [("unknown", True), ("healthy", False)])
def test_what_was_seen_is_shown_where_no_cause_is_known(verdict: str, shown: bool) -> None:
    diagnosis = {"verdict": verdict, "cause": None, "told": "The server is recovering, wait."}
    found = {
        "id": "20260301-001",
        "severity": "P0",
        "status": "open",
        "target": "orders",
        "title": "server down",
        "since": "2026-03-01T03:00:00+00:00",
        "data_at_risk": "possible",
        "symptoms": [],
        "diagnosis": diagnosis,
        "plan": None,
        "options": [],
        "acknowledged_by": "",
        "timeline": [],
    }
    assert ("    The server is recovering, wait." in incident_lines(found)) is shown


def test_a_report_of_a_bug_can_say_which_version() -> None:
    told = CliRunner().invoke(command_line(), ["--version"])
    assert (told.exit_code, told.stdout) == (0, f"stanch {version('stanch')}\n")


def test_nobody_is_said_to_be_paged_while_nobody_runs(config: Path) -> None:
    code, out, err = typed(config, "declare", "checkout is slow", "--target", "orders")
    assert code == 0
    assert "NOBODY is told until `stanch run` is started" in out
    assert "being paged" not in out
    assert "stanch run is not running" in err


def test_reopening_while_nobody_runs_says_that_nobody_is_told(config: Path) -> None:
    typed(config, "declare", "checkout is slow", "--target", "orders")
    typed(config, "resolve", "1", "--reason", "it is fast again")
    _, out, _ = typed(config, "reopen", "1", "--reason", "slow again")
    assert "NOBODY is told" in out


def test_an_empty_list_from_a_store_that_nobody_watches_is_not_reassuring(config: Path) -> None:
    _, out, err = typed(config, "incidents")
    assert out == "no open incidents\n"
    assert "nothing is watched" in err


def test_reading_beside_a_responder_that_hangs_is_told_from_reading_with_nobody_there(
    config: Path,
) -> None:
    held = take_lock(prepare(StateDir(path=config.parent / "state").path))
    try:
        _, _, err = typed(config, "incidents")
    finally:
        held.release()
    assert "does not answer" in err
    assert "not running" not in err


@pytest.mark.parametrize("wanted", ["1/postmortem", "", "../incidents", "%2e%2e/x", "1?a=b", "a b"])
def test_what_is_no_id_is_refused_and_reaches_no_other_page(config: Path, wanted: str) -> None:
    for command in ("show", "postmortem"):
        with pytest.raises(StanchError, match="there is no incident"):
            typed(config, command, wanted)


def test_a_post_mortem_that_cannot_be_written_is_one_clear_line(config: Path) -> None:
    typed(config, "declare", "checkout is slow", "--target", "orders")
    with pytest.raises(StanchError, match="cannot be written"):
        typed(config, "postmortem", "1", "--output", str(config.parent / "none" / "x.md"))


@pytest.mark.parametrize("length", ["nanm", "infs", "-1h", "1", "", "31d", "soon"])
def test_what_is_no_length_of_maintenance_is_a_wrong_command_line(
    config: Path, length: str
) -> None:
    code, _, err = typed(config, "maintenance", "orders", "--for", length)
    assert code == 2
    assert "--for" in err


def test_a_title_of_blanks_opens_nothing(config: Path) -> None:
    code, _, err = typed(config, "declare", "  ", "--target", "orders")
    assert (code, "title is missing" in err) == (1, True)
    assert json.loads(typed(config, "incidents", "--json")[1]) == []


def test_a_look_that_found_nothing_wrong_is_not_called_a_cause() -> None:
    assert set(VERDICTS) == {verdict.value for verdict in Verdict}
    assert "looked healthy" in VERDICTS[Verdict.HEALTHY]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_the_state_of_another_os_user_is_refused_in_one_clear_line(config: Path) -> None:
    config.chmod(0o644)
    below = len(Path(tempfile.gettempdir()).parts)
    for folder in config.parents[: len(config.parts) - 1 - below]:
        folder.chmod(0o755)
    os.seteuid(65534)
    try:
        for words in (["incidents"], ["ack", "1"], ["halt"], ["timeline", "verify"]):
            with pytest.raises(StanchError, match="may not be entered by this OS user"):
                typed(config, *words)
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_an_os_user_without_a_name_is_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    os.setreuid(4123456, 0)
    try:
        assert os_user() == "uid-4123456"
    finally:
        os.setreuid(0, 0)


def test_a_terminal_without_such_characters_still_gets_the_answer() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "stanch", "diagnose", "host=127.0.0.1 port=1", "--host", "none"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
    )
    assert told.returncode == 5, told.stderr
    assert told.stdout.startswith(b"UNKNOWN"), told.stdout


def test_silences_are_set_listed_and_ended(config: Path) -> None:
    assert typed(config, "silences")[1] == "nothing is silenced\n"
    silence = ("silence", "orders", "--rule", "disk_low", "--as", "ann")
    code, out, _ = typed(config, *silence, "--for", "2h", "--reason", "being \x1b[31mgrown")
    assert (code, "every other rule pages as ever" in out) == (0, True)
    listed = typed(config, "silences")[1]
    assert "orders: disk_low  ann: being" in listed
    assert "\x1b" not in listed
    typed(config, *silence, "--subject", "/wal", "--reason", "grows")
    assert "orders: disk_low of /wal  ann: grows" in typed(config, "silences")[1]
    typed(config, *silence, "--subject", "/srv", "--up-to", "2", "--reason", "grows")
    assert "disk_low of /srv up to P1  ann" in typed(config, "silences")[1]
    typed(config, *silence, "--subject", "/srv", "--end")
    typed(config, *silence, "--subject", "/wal", "--end")
    typed(config, *silence, "--end")
    assert "no severity" in typed(config, *silence, "--up-to", "P9", "--reason", "grows")[2]
    assert json.loads(typed(config, "silences", "--json")[1]) == []


def test_a_silence_without_a_reason_is_refused(config: Path) -> None:
    code, _, err = typed(config, "silence", "orders", "--rule", "disk_low")
    assert (code, "reason is missing" in err) == (1, True)


def test_an_incident_that_nobody_is_paged_for_yet_says_until_when(config: Path) -> None:
    typed(config, "declare", "checkout is slow", "--target", "orders", "--as", "ann")
    assert "nobody is paged before" not in typed(config, "incidents")[1]
    typed(config, "maintenance", "orders", "--for", "1h", "--as", "ann")
    assert "nobody is paged before" in typed(config, "incidents")[1]
    assert "nobody is paged before" in typed(config, "show", "1")[1]
