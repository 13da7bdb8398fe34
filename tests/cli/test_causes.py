"""`stanch causes` as a person calls it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from stanch.cli.app import command_line
from stanch.diagnose.catalogue import CAUSES, look_alikes, separator
from stanch.diagnose.cause import Cause, Section
from stanch.diagnose.causes.ids import INDEX_CORRUPTION, PAGE_CORRUPTION
from stanch.model.errors import SetupError
from stanch.model.shown import never


def run(*words: str) -> str:
    done = CliRunner().invoke(command_line(), ["causes", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_cause_is_listed_below_its_section() -> None:
    lines = run().splitlines()
    below: dict[str, str] = {}
    section = ""
    for line in lines:
        if line and not line.startswith(" "):
            section = line.strip()
        elif line.startswith("  ") and line[2:3] != " ":
            below[line.split()[0]] = section
    assert below == {cause.id: cause.section.value for cause in CAUSES}
    assert list(dict.fromkeys(below.values())) == [section.value for section in Section]


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.id)
def test_one_cause_is_printed_with_all_that_is_known_of_it(cause: Cause) -> None:
    printed = run(cause.id)
    for text in (cause.sentence, cause.impact, cause.safe_first, cause.source, *cause.forbids):
        assert text in printed
    for warning in cause.never:
        assert never(warning) in printed
    for weigh in cause.weighs:
        [line] = [found for found in printed.splitlines() if weigh.clue.question in found]
        assert line.split()[:2] == [f"{weigh.yes:+g}", f"{weigh.no:+g}"]
    for other in look_alikes(cause):
        assert f"{other}: {separator(cause.id, other)}" in printed


def test_a_story_can_be_followed_up_and_down() -> None:
    assert f"brings about  {INDEX_CORRUPTION}" in run(PAGE_CORRUPTION)
    [above] = [line for line in run(INDEX_CORRUPTION).splitlines() if "follows from" in line]
    assert PAGE_CORRUPTION in above


def test_what_is_needed_is_marked() -> None:
    lines = run(PAGE_CORRUPTION).splitlines()
    [needed] = [line for line in lines if "damaged or missing pages" in line]
    [other] = [line for line in lines if "errors of storage or hardware" in line]
    assert needed.endswith("(needed)")
    assert "needed" not in other


def test_an_unknown_cause_is_refused_with_the_nearest() -> None:
    with pytest.raises(SetupError, match="no such cause") as refused:
        run("page_coruption")
    assert PAGE_CORRUPTION in refused.value.hint


def test_a_hostile_name_is_shown_escaped() -> None:
    with pytest.raises(SetupError) as refused:
        run("\x1b[2Jboo")
    assert "\x1b" not in str(refused.value)


def test_json_has_every_cause_with_its_weights_and_its_neighbours() -> None:
    body = json.loads(run("--json"))
    assert body["schema"] == "stanch.causes/1"
    told = {one["cause"]: one for one in body["causes"]}
    assert list(told) == [cause.id for cause in CAUSES]
    page, index = told[PAGE_CORRUPTION], told[INDEX_CORRUPTION]
    assert INDEX_CORRUPTION in page["brings_about"]
    assert PAGE_CORRUPTION in index["follows_from"]
    assert page["look_alikes"][INDEX_CORRUPTION] == index["look_alikes"][PAGE_CORRUPTION]
    weights = {w["evidence"]: (w["yes"], w["no"], w["needed"]) for w in page["weighs"]}
    assert weights["page_logged"] == (5.0, -1.0, True)


def test_json_of_one_cause_is_that_one() -> None:
    [one] = json.loads(run(PAGE_CORRUPTION, "--json"))["causes"]
    assert one["cause"] == PAGE_CORRUPTION
    assert one["runbook"] is None
    assert "start_server" in one["forbids"]
