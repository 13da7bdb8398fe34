"""A check-up as text, JSON and HTML: complete, escaped, and with the exit code that it says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from stanch.cli.app import command_line
from stanch.cli.health_page import health_page
from stanch.cli.health_text import health_lines, health_value
from stanch.watch.health.report import Judgement, Line, Report, Section
from stanch.watch.health.run import TITLES

AT = datetime(2026, 3, 1, 3, tzinfo=UTC)
HOSTILE = "\x1b[2J\u202e</style><script>alert(1)</script><img src=http://evil.example.com/x>\n' --"
SCHEMA = json.loads(Path("docs/schemas/health-1.json").read_text("utf-8"))


def report(*sections: Section, label: str = "app at db1:5432") -> Report:
    return Report(
        label=label,
        at=AT,
        elapsed_ms=42.0,
        version="18.1",
        database="app",
        role="watch",
        started_at=AT - timedelta(days=3),
        in_recovery=False,
        sections=sections,
    )


def section(*lines: Line, missing: str = "") -> Section:
    return Section(
        id="tables", title="Largest tables", lines=lines, missing=missing, note="A note."
    )


FINE = Line(what="t", value="1 GiB", share=0.5, figures={"size_bytes": 2**30, "rows": None})
BAD = Line(
    what=HOSTILE,
    value=HOSTILE,
    judgement=Judgement.DANGER,
    why=HOSTILE,
    do="Look.",
    share=7.0,
    detail=HOSTILE * 20,
)


def text(one: Report, columns: int = 100) -> str:
    return "\n".join(health_lines(one, columns=columns, colour=False))


def test_the_verdict_counts_what_is_wrong_and_what_is_not_known() -> None:
    assert text(report(section(FINE))).startswith("app at db1:5432: all well")
    bad = report(section(FINE, BAD), section(missing="nobody may ask"))
    assert text(bad).splitlines()[0].endswith("1 in danger, 1 without an answer")
    assert "? not known: nobody may ask" in text(bad)
    assert "→ Look." in text(bad)


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_text_keeps_to_the_width_and_never_steers_the_terminal(columns: int) -> None:
    shown = text(report(section(FINE, BAD), label=HOSTILE), columns)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert max(map(len, shown.splitlines()[3:])) <= columns + 4


HARMLESS = (
    "html head meta title style body main h1 h2 p span dl div dt dd nav a section ul li svg rect"
    " code footer em"
)
TAG = re.compile(r"<([a-z][a-z0-9]*)((?:\s+[A-Za-z-]+(?:=\"[^\"]*\")?)*)\s*/?>")
LOADS = re.compile(r"\s(?:on[a-z]+|src|srcset|action|data|style)=|\shref=\"(?!#)")


def test_the_page_loads_nothing_and_runs_nothing_whatever_the_server_says() -> None:
    html = health_page(report(section(FINE, BAD), section(missing=HOSTILE), label=HOSTILE))
    tags = TAG.findall(html)
    assert [attributes for _, attributes in tags if LOADS.search(attributes)] == []
    assert {name for name, _ in tags} <= set(HARMLESS.split())
    # Every angle bracket that opens something is one of those tags, or closes one.
    assert len(re.findall(r"<(?![/!])", html)) == len(tags)
    assert "&lt;script&gt;" in html
    assert "url(" not in html
    assert "\x1b" not in html
    assert "default-src 'none'" in html


def test_the_page_has_every_line_with_its_bar_its_reason_and_what_to_do() -> None:
    html = health_page(report(section(FINE, BAD)))
    assert 'width="50.00"' in html
    assert 'width="100.00"' in html
    assert ">danger</span>" in html
    assert "Look." in html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    assert html.count("<svg") == html.count("</svg>") == 2


def test_the_page_of_a_server_that_is_well_shows_no_warning() -> None:
    html = health_page(report(section(FINE)))
    assert "all well" in html
    assert 'class="tag danger"' not in html
    assert "→ " not in re.sub(r"<style>.*</style>", "", html, flags=re.DOTALL)


WITHOUT_JINJA = """
import sys
sys.modules["jinja2"] = None
from stanch.cli.health_page import health_page
from stanch.model.errors import SetupError
try:
    health_page(None)
except SetupError as error:
    print(error, error.hint)
"""


def test_without_the_extra_one_sentence_says_what_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_JINJA], capture_output=True, text=True, check=True
    )
    assert "needs stanch[reports]" in done.stdout


def problems(value: Any, schema: Any, where: str = "$") -> list[str]:
    """What of the value the schema does not allow; the part of JSON Schema that ours uses."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    found: list[str] = []
    if "const" in schema and value != schema["const"]:
        found.append(f"{where}: not {schema['const']}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: not one of {schema['enum']}")
    kinds = schema.get("type", [])
    names = {str: "string", dict: "object", list: "array", int: "number", float: "number"}
    kind = "null" if value is None else names.get(type(value), "other")
    if kinds and kind not in ([kinds] if isinstance(kinds, str) else kinds):
        return [*found, f"{where}: {kind} is not {kinds}"]
    if kind == "number" and not schema.get("minimum", value) <= value <= schema.get(
        "maximum", value
    ):
        found.append(f"{where}: out of range")
    if isinstance(value, dict):
        found += [f"{where}: {k} missing" for k in schema.get("required", []) if k not in value]
        below = schema.get("properties", {})
        for key in below.keys() & value.keys():
            found += problems(value[key], below[key], f"{where}.{key}")
    if isinstance(value, list):
        for n, item in enumerate(value):
            found += problems(item, schema.get("items", {}), f"{where}[{n}]")
    return found


def test_the_json_is_what_the_published_schema_says() -> None:
    value = health_value(report(section(FINE), section(missing="x")))
    assert problems(json.loads(json.dumps(value)), SCHEMA) == []
    ids = SCHEMA["$defs"]["section"]["properties"]["id"]["enum"]
    assert set(ids) == set(TITLES)


def test_the_schema_check_of_these_tests_can_fail() -> None:
    value = health_value(report(section(BAD)))
    assert problems(value, SCHEMA) != []
    del value["sections"]
    assert "$: sections missing" in problems(value, SCHEMA)


def typed(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(command_line(), ["health", *words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_a_policy_that_is_not_there_or_has_not_this_server_is_a_wrong_command_line(
    tmp_path: Path,
) -> None:
    code, said = typed("host=127.0.0.1 port=1", "--config", str(tmp_path / "none.yaml"))
    assert (code, "cannot read the policy" in said) == (2, True)
    policy = tmp_path / "stanch.yaml"
    policy.write_text(
        "state_directory: /var/lib/stanch\npeople: {asha: {name: Asha Example}}\nladder: [asha]\n"
        "channels: {console: {type: terminal}}\ntargets: {orders: {dsn: host=db.example.com}}\n"
    )
    code, said = typed("host=127.0.0.1 port=1", "--config", str(policy))
    assert (code, "no target of the policy is this server" in said) == (2, True)


def test_a_server_that_is_not_there_and_a_dsn_that_is_none_have_codes_of_their_own() -> None:
    status, shown = typed("host=127.0.0.1 port=1 user=nobody dbname=x", "--timeout", "2")
    assert status == 5
    assert "refused" in shown
    assert typed("host=a nonsense=1")[0] == 2


@pytest.mark.parametrize("code", [0, 2, 3, 4, 5])
def test_every_exit_code_is_in_the_help(code: int) -> None:
    assert re.search(rf"(?m)^ *{code}  \w", typed("--help")[1])
