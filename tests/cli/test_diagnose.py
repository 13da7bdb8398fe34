from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import evidences as w
from fix_servers import MakeServer
from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.cli import diagnose as command
from stanch.cli import diagnosis_text as shown
from stanch.cli.diagnosis_page import diagnosis_page
from stanch.diagnose.bundle import bundle_bytes
from stanch.diagnose.rank import diagnose
from stanch.model.diagnosis import Diagnosis, Verdict

SCHEMA = json.loads(Path("docs/schemas/diagnosis-1.json").read_text())
app = typer.Typer()
app.callback()(lambda: None)
command.register(app)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["diagnose", *arguments])


def problems(value: Any, schema: Any = SCHEMA, where: str = "$") -> list[str]:
    """What of the value the schema does not allow; the part of JSON Schema that ours uses."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    found: list[str] = []
    if "const" in schema and value != schema["const"]:
        found.append(f"{where}: not {schema['const']}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: not one of {schema['enum']}")
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(is_a(value, kind) for kind in kinds):
        return [*found, f"{where}: not {kinds}"]
    if "minimum" in schema and value < schema["minimum"]:
        found.append(f"{where}: below {schema['minimum']}")
    if "maximum" in schema and value > schema["maximum"]:
        found.append(f"{where}: above {schema['maximum']}")
    if isinstance(value, dict):
        found += [
            f"{where}: {key} missing" for key in schema.get("required", []) if key not in value
        ]
        for key, below in schema.get("properties", {}).items():
            if key in value:
                found += problems(value[key], below, f"{where}.{key}")
    if isinstance(value, list) and "items" in schema:
        for n, item in enumerate(value):
            found += problems(item, schema["items"], f"{where}[{n}]")
    return found


def is_a(value: Any, kind: str) -> bool:
    if kind == "null":
        return value is None
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, {"string": str, "object": dict, "array": list}[kind])


DIAGNOSES = {
    "cause": diagnose(w.STALE),
    "healthy": diagnose(w.healthy()),
    "unknown": diagnose(w.far(reach=w.reach("refused"), sessions=w.NOT_SERVED)),
    "recovered": diagnose(
        w.healthy(log=w.log(w.SEGV, w.line("interrupted_recovery", 20), w.line("ready", 10)))
    ),
}


@pytest.mark.parametrize("verdict", sorted(DIAGNOSES))
def test_the_json_is_what_the_published_schema_says(verdict: str) -> None:
    value = json.loads(shown.as_json_text(DIAGNOSES[verdict]))
    assert value["verdict"] == verdict
    assert problems(value) == []


def test_the_schema_check_of_these_tests_can_fail() -> None:
    value = shown.as_json_value(DIAGNOSES["cause"])
    value["causes"][0]["probability"] = 1.5
    del value["causes"][0]["never"]
    value["verdict"] = "maybe"
    assert len(problems(value)) == 3


def test_every_verdict_has_its_own_exit_code_and_healthy_is_zero() -> None:
    assert set(command.EXIT_CODES) == set(Verdict)
    assert command.EXIT_CODES[Verdict.HEALTHY] == 0
    assert len(set(command.EXIT_CODES.values())) == len(Verdict)
    assert not {1, 2} & set(command.EXIT_CODES.values())


def test_the_help_lists_every_exit_code() -> None:
    shown = run("--help").output
    for verdict, code in command.EXIT_CODES.items():
        assert f"{code}  {verdict.value}" in shown


def text(found: Diagnosis, *, colour: bool = False) -> str:
    return "\n".join(shown.text_lines(found, colour=colour))


def test_the_text_says_the_answer_first_then_evidence_then_what_to_do_and_never_to_do() -> None:
    shown = text(DIAGNOSES["cause"])
    assert shown.startswith("CAUSE  The lock file of a dead server names PID 900")
    order = [shown.index(part) for part in ("stale_lock_file", "    + ", "First:", "Never ")]
    assert order == sorted(order)


def test_the_text_names_the_data_directory_that_was_looked_at() -> None:
    assert text(DIAGNOSES["cause"]).endswith(" ms at /srv/pg.")


def test_there_is_no_colour_unless_a_terminal_asks_for_it() -> None:
    assert "\x1b" not in text(DIAGNOSES["cause"])
    assert "\x1b[" in text(DIAGNOSES["cause"], colour=True)


def test_hostile_words_reach_the_screen_escaped_and_cut() -> None:
    hostile = "\x1b[2J\x07\u202e" + "A" * 5000
    lock = w.lock(**{**w.HOLDER, "holder_command": hostile})
    shown = text(diagnose(w.down(lock_file=lock)))
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "\\x1b[2J" in shown
    assert max(map(len, shown.splitlines())) < 600


def test_hostile_words_in_json_are_plain_ascii() -> None:
    lock = w.lock(**{**w.HOLDER, "holder_command": "\x1b[2J\ud800"})
    value = shown.as_json_text(diagnose(w.down(lock_file=lock)))
    assert value.isascii()
    assert "\x1b" not in value


def test_one_gap_for_many_readings_is_one_line() -> None:
    lines = text(DIAGNOSES["unknown"])
    assert lines.count("the server is on another machine\n") <= 1 + shown.MISSING_MAX


def test_a_probability_is_never_shown_as_certain() -> None:
    first = DIAGNOSES["cause"].causes[0]
    sure = replace(DIAGNOSES["cause"], causes=(replace(first, probability=1.0),))
    assert "100%" not in text(sure)


# --- the command --------------------------------------------------------------------------------


def test_a_closed_port_is_unknown_with_candidates_and_the_question_between_them() -> None:
    result = run(
        f"host=127.0.0.1 port={free_port()} user=app dbname=app", "--host", "none", "--json"
    )
    value = json.loads(result.stdout)
    assert result.exit_code == command.EXIT_CODES[Verdict.UNKNOWN]
    assert problems(value) == []
    assert value["separator"]


def test_a_string_that_libpq_cannot_use_is_a_usage_error() -> None:
    result = run("host=127.0.0.1 prot=5432")
    assert result.exit_code == 2
    assert "prot" in result.stderr


def test_an_unknown_host_choice_is_a_usage_error() -> None:
    assert run("host=127.0.0.1", "--host", "remote").exit_code == 2


def test_a_password_on_the_command_line_is_warned_of() -> None:
    dsn = f"host=127.0.0.1 port={free_port()} user=app password=secret"
    result = run(dsn, "--host", "none")
    assert "ps" in result.stderr
    assert "secret" not in result.output


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_healthy_server_ends_with_zero(server: ScratchServer) -> None:
    result = run(server.dsn(user="stanch_watch", dbname="app"), "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["verdict"] == "healthy"


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_killed_server_is_found_by_its_socket_without_a_word_more(
    make_server: MakeServer,
) -> None:
    server = make_server()
    server.kill()
    dsn = server.dsn(user="app", dbname="app", over_socket=True)
    result = run(dsn, "--log", str(server.log_path), "--json")
    value = json.loads(result.stdout)
    assert result.exit_code == command.EXIT_CODES[Verdict.CAUSE], result.output
    assert value["causes"][0]["id"] == "killed"
    assert value["causes"][0]["facts"]["data_directory"] == str(server.data_directory)


# --- files --------------------------------------------------------------------------------------

HOSTILE = "<script>alert(1)</script>'; DROP TABLE x; -- \x1b[31m"


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_evidence_that_was_kept_is_judged_again_elsewhere_with_the_same_words(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server()
    server.kill()
    dsn = server.dsn(user="app", dbname="app", over_socket=True)
    kept = tmp_path / "kept.json"
    here = run(dsn, "--log", str(server.log_path), "--save", str(kept), "--json")
    elsewhere = run("--from", str(kept), "--json")
    assert elsewhere.exit_code == here.exit_code == command.EXIT_CODES[Verdict.CAUSE]
    assert json.loads(elsewhere.stdout) == json.loads(here.stdout)


@pytest.mark.parametrize("arguments", [(), ("service=x", "--from", "f.json")])
def test_either_a_server_is_asked_or_a_file(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "--from" in result.stderr


def test_a_file_that_is_no_evidence_is_refused_with_a_hint(tmp_path: Path) -> None:
    junk = tmp_path / "junk.json"
    junk.write_text("{}")
    for name, says in ((str(junk), "no bundle"), (str(tmp_path / "none"), "No such file")):
        result = run("--from", name)
        assert result.exit_code == 2
        assert says in result.stderr


def test_what_ended_longer_ago_than_is_looked_back_over_is_history(tmp_path: Path) -> None:
    over = w.healthy(
        log=w.log(w.SEGV, w.line("interrupted_recovery", 400), w.line("ready", 390)),
    )
    assert diagnose(replace(over, lookback_s=900)).verdict is Verdict.RECOVERED
    assert diagnose(replace(over, lookback_s=10)).verdict is Verdict.HEALTHY


def test_a_page_has_the_whole_answer_and_runs_nothing_of_what_it_quotes() -> None:
    evidence = w.healthy(
        target=HOSTILE,
        sessions=w.sessions(w.group("idle", 90, age_s=900.0, application=HOSTILE)),
        changes=w.changes(w.change(90, "deploy", HOSTILE)),
        history=w.history(track=w.track("active_sessions", 5.0, None, 80.0)),
    )
    found = diagnose(evidence)
    page = diagnosis_page(evidence, found)
    assert "<script>" not in page
    assert "\x1b" not in page
    assert "http" not in page.replace("http-equiv", "")
    for cause in found.causes:
        assert cause.safe_first.split(",")[0] in page
    assert page.count("<polyline") == 2
    assert "Sessions at work" in page


def test_a_page_without_a_recording_has_no_pictures() -> None:
    page = diagnosis_page(w.KILLED, diagnose(w.KILLED))
    assert "<svg" not in page
    assert "Around the onset" not in page


@pytest.mark.parametrize("option", ["--save", "--html"])
def test_a_place_that_cannot_be_written_is_said_and_not_a_traceback(
    tmp_path: Path, option: str
) -> None:
    kept = tmp_path / "kept.json"
    kept.write_bytes(bundle_bytes(w.KILLED, made_by="9.9"))
    result = run("--from", str(kept), option, str(tmp_path / "no" / "where"))
    assert result.exit_code == 2
    assert f"{option} names another file" in result.stderr


def test_a_page_is_written_beside_the_answer(tmp_path: Path) -> None:
    kept, page = tmp_path / "kept.json", tmp_path / "page.html"
    kept.write_bytes(bundle_bytes(w.KILLED, made_by="9.9"))
    result = run("--from", str(kept), "--html", str(page))
    assert "KILLED" not in result.stderr
    assert "killed" in page.read_text()
