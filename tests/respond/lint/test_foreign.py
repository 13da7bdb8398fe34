"""A whole runbook as teams write them, with every step that would make its incident worse."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from stanch.respond.library import shipped_runbooks
from stanch.respond.lint.hazards import HAZARDS
from stanch.respond.lint.read import read_runbook
from stanch.respond.lint.sarif import sarif
from stanch.respond.runbook import Runbook

FOREIGN = Path(__file__).parent / "foreign" / "database-failure.md"

EXPECTED = [
    ("Look what runs", "container-guessed"),
    ("Start it again", "restart-before-look"),
    ("Start it again", "waits-blindly"),
    ("A: it was killed for its memory", "memory-limit-blind"),
    ("B: a stale lock file", "lock-file-removed"),
    ("C: damage", "restored-in-place"),
    ("C: damage", "whole-for-a-part"),
    ("D: no space left", "vacuum-full"),
    ("D: no space left", "backups-removed"),
    ("D: no space left", "container-log-truncated"),
    ("E: too many clients", "idle-sessions-ended"),
    ("Full restore", "copy-unchecked"),
    ("Full restore", "restored-in-place"),
    ("Full restore", "count-as-integrity"),
    ("Full restore", "migrated-in-recovery"),
    ("Integrity", "count-as-integrity"),
    ("Integrity", "reindex-as-check"),
    ("When there is a standby", "promoted-unfenced"),
]


def test_every_risky_step_of_a_foreign_runbook_is_found_and_nothing_else() -> None:
    found = read_runbook(FOREIGN.read_text("utf-8")).risky
    assert [(one.section.rpartition(" > ")[2], one.hazard.id) for one in found] == EXPECTED


def test_each_is_told_with_the_line_it_stands_on() -> None:
    text = FOREIGN.read_text("utf-8")
    lines = text.splitlines()
    for one in read_runbook(text).risky:
        assert one.step.split()[0] in lines[one.line - 1]


WITH_CARE = {
    "slot-inactive": [("slot-dropped", "care")],
    "killed-for-memory": [("memory-limit-blind", "care")],
}
"""What an action does as well, once a person approved; the paragraph says whom to ask first."""


@pytest.mark.parametrize("runbook", shipped_runbooks(), ids=lambda runbook: runbook.id)
def test_our_own_runbooks_tell_nobody_to_do_any_of_it(runbook: Runbook) -> None:
    found = read_runbook(runbook.text).risky
    told = [(one.hazard.id, one.hazard.danger) for one in found]
    assert told == WITH_CARE.get(runbook.id, []), [(one.line, one.step) for one in found]


def test_sarif_names_every_rule_and_points_at_lines() -> None:
    found = read_runbook(FOREIGN.read_text("utf-8")).risky
    body = json.loads(json.dumps(sarif({"docs/database-failure.md": found}, version="1.2.3")))
    [run] = body["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [hazard.id for hazard in HAZARDS]
    assert Counter(r["ruleId"] for r in run["results"]) == Counter(one.hazard.id for one in found)
    for result, one in zip(run["results"], found, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        [place] = result["locations"]
        assert place["physicalLocation"]["region"]["startLine"] == one.line
        assert result["level"] == ("error" if one.hazard.danger == "danger" else "warning")
