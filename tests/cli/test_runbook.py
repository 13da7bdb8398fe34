"""`stanch runbook` as a person or a CI system calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from stanch.cli.app import command_line
from stanch.cli.runbook_lint import BYTES_MAX
from stanch.model.errors import PolicyInvalid, SetupError, StanchError
from stanch.respond.library import shipped_runbooks

BAD = "# Lock\n\n```sh\nrm -f $PGDATA/postmaster.pid\nkill -9 42\nkill -9 43\n```\n"
SO_SO = "```sql\nCREATE INDEX ON orders (id);\n```\n"
POLICY = """\
state_directory: {folder}
runbook_directory: {folder}/runbooks
people: {{ann: {{name: Ann, contacts: [{{channel: mail, address: ann@example.com}}]}}}}
ladder: [ann]
channels: {{mail: {{type: smtp, host: localhost}}}}
targets: {{orders: {{dsn: service=orders}}}}
"""
GOOD = "```sh\npg_isready\n```\n"


def run(*words: str, given: str | None = None) -> Result:
    words = ("runbook", *words)
    return CliRunner().invoke(command_line(), list(words), input=given, catch_exceptions=False)


def lint(*words: str, given: str | None = None) -> Result:
    return run("lint", *words, given=given)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A policy with one runbook of the user's own, in the place of a shipped one."""
    [shipped] = [one for one in shipped_runbooks() if one.id == "disk-full"]
    (tmp_path / "runbooks").mkdir()
    text = shipped.text.replace("owner: on-call", "owner: storage team")
    (tmp_path / "runbooks" / "full.md").write_text(text)
    policy = tmp_path / "stanch.yaml"
    policy.write_text(POLICY.format(folder=tmp_path))
    return policy


def test_the_runbooks_in_force_are_listed_the_users_own_over_the_shipped(own: Path) -> None:
    body = json.loads(run("list", "--json", "-c", str(own)).stdout)
    owners = {one["id"]: one["owner"] for one in body["runbooks"]}
    assert owners == {one.id: one.owner for one in shipped_runbooks()} | {
        "disk-full": "storage team"
    }
    printed = run("list", "-c", str(own)).stdout
    assert all(one.id in printed for one in shipped_runbooks())
    assert "storage" in printed


def test_one_runbook_is_printed_as_it_is_written_and_its_steps_as_json(own: Path) -> None:
    [shipped] = [one for one in shipped_runbooks() if one.id == "start-server"]
    assert run("show", "start-server", "-c", str(own)).stdout.splitlines() == (
        shipped.text.splitlines()
    )
    [body] = json.loads(run("show", "start-server", "--json", "-c", str(own)).stdout)["runbooks"]
    assert [step["do"] for step in body["steps"]] == [step.do for step in shipped.steps]
    assert body["causes"] == list(shipped.causes)


def test_a_runbook_that_is_not_there_is_told_with_the_nearest(own: Path) -> None:
    with pytest.raises(SetupError) as raised:
        run("show", "disk-ful", "-c", str(own))
    assert "disk-full" in raised.value.hint


def test_one_bad_runbook_of_ones_own_is_told_and_none_is_listed(own: Path) -> None:
    (own.parent / "runbooks" / "bad.md").write_text("no head\n")
    with pytest.raises(PolicyInvalid):
        run("list", "-c", str(own))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bad.md").write_text(BAD)
    (tmp_path / "so-so.md").write_text(SO_SO)
    (tmp_path / "good.md").write_text(GOOD)
    (tmp_path / "drop.sql").write_text("SELECT 1;\nDROP TABLE orders;\n")
    (tmp_path / "wal.sh").write_text("#!/bin/sh\nrm -rf $PGDATA/pg_wal/*\n")
    (tmp_path / "notes.txt").write_text("rm -rf $PGDATA/pg_wal\n")
    return tmp_path


def test_each_finding_says_where_what_why_and_what_instead(folder: Path) -> None:
    done = lint(str(folder / "bad.md"))
    assert done.exit_code == 1
    head, step, *rest = done.stdout.splitlines()
    assert head.startswith(f"{folder}/bad.md:4: danger: removes postmaster.pid")
    assert head.endswith("[lock-file-removed]")
    assert step == "    rm -f $PGDATA/postmaster.pid"
    assert any(line.startswith("  why ") for line in rest)
    assert any(line.startswith("  instead ") for line in rest)
    assert all(len(line) <= 100 for line in rest if str(folder) not in line)
    assert rest[-1] == "3 dangerous, 0 to take care with, in 1 blocks, 3 commands and 0 statements."


def test_the_same_thing_again_points_back(folder: Path) -> None:
    lines = lint(str(folder / "bad.md")).stdout.splitlines()
    again = next(n for n, line in enumerate(lines) if ":6: danger" in line)
    assert lines[again + 2] == f"  see {folder}/bad.md:5"


@pytest.mark.parametrize(
    ("file", "fail_on", "status"),
    [
        ("good.md", "care", 0),
        ("so-so.md", "danger", 0),
        ("so-so.md", "care", 1),
        ("bad.md", "danger", 1),
        ("bad.md", "never", 0),
    ],
)
def test_what_makes_it_fail_is_for_people_to_say(
    folder: Path, file: str, fail_on: str, status: int
) -> None:
    assert lint(str(folder / file), "--fail-on", fail_on).exit_code == status


def test_a_folder_is_read_with_its_scripts_and_its_sql(folder: Path) -> None:
    body = json.loads(lint(str(folder), "--format", "json").stdout)
    assert body["schema"] == "stanch.runbook-lint/1"
    found = {
        Path(one["file"]).name: [(f["line"], f["id"]) for f in one["findings"]]
        for one in body["files"]
    }
    assert found == {
        "bad.md": [(4, "lock-file-removed"), (5, "killed-hard"), (6, "killed-hard")],
        "drop.sql": [(2, "dropped-unguarded")],
        "good.md": [],
        "so-so.md": [(2, "index-locks-writes")],
        "wal.sh": [(2, "wal-removed")],
    }


def test_sarif_is_one_document_for_all_files(folder: Path) -> None:
    body = json.loads(lint(str(folder), "--format", "sarif").stdout)
    assert body["version"] == "2.1.0"
    assert len(body["runs"][0]["results"]) == 6


def test_standard_input_is_read_as_markdown() -> None:
    done = lint("-", given=BAD)
    assert done.stdout.startswith("standard input:4: danger")


def test_more_than_is_read_is_refused_and_not_cut_off() -> None:
    done = lint("-", given=GOOD + " " * BYTES_MAX + BAD)
    assert done.exit_code == 2
    assert "standard input: is larger than 4 MiB" in done.stderr


def test_control_characters_of_a_runbook_do_not_reach_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "evil.md").write_text("```sh\nkill -9 42 # \x1b[2Jgone\n```\n")
    done = lint(str(tmp_path / "evil.md"))
    assert done.exit_code == 1
    assert "\x1b" not in done.stdout


def test_a_file_that_is_not_there_is_told_and_costs_no_finding(tmp_path: Path) -> None:
    done = lint(str(tmp_path / "none.md"))
    assert done.exit_code == 2
    assert "No such file" in done.stderr
    empty = lint(str(tmp_path))
    assert empty.exit_code == 2
    assert "*.md" in empty.stderr


def test_following_a_runbook_needs_a_responder_and_says_so(own: Path) -> None:
    with pytest.raises(StanchError) as nobody:
        run("run", "disk-full", "--on", "orders", "--dry-run", "-c", str(own))
    assert "start `stanch run`" in nobody.value.hint


@pytest.mark.parametrize("name", ["../incidents", "a b", "disk-full?x=1", "ｆull"])
def test_what_is_no_name_of_a_runbook_is_asked_of_nobody(own: Path, name: str) -> None:
    with pytest.raises(StanchError, match="there is no runbook"):
        run("run", name, "--on", "orders", "--dry-run", "-c", str(own))
