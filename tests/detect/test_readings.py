"""No rule without a source that can make its reading, and no reading that nobody will ever read."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import stanch
from stanch.detect.page import rules_page
from stanch.detect.shown_only import SHOWN_ONLY
from stanch.detect.vitals import MANY, ONE
from stanch.facts.log_class import LogClass
from stanch.model.machine import KernelTrouble
from stanch.model.rules import Rule
from stanch.policy.rules import declared_rules
from stanch.policy.signs import PrometheusSigns
from stanch.service.doing import endings

SOURCES = Path(stanch.__file__).parent
BY_UNIT = re.compile(r"[a-z]\w*_(?:pct|bytes|s|ms|days|days_left|total|times)")
"""A reading's name ends with its unit."""
NO_READINGS = frozenset({"max_wait_s", "skipped_bytes", "timeout_s"})
"""Fields and keys that end as readings do."""
OF_A_DIAGNOSIS = ("diagnose.", "facts.workings", "facts.flushing")
"""Their numbers are asked once, for a diagnosis; causes read them, not rules."""
ONLY: dict[str, frozenset[str]] = {
    "log_class_total": frozenset(LogClass),
    "kernel_messages_total": frozenset(KernelTrouble),
}
"""Subjects that a rule can name."""


def read_by(rule: Rule) -> Iterator[str]:
    yield from (second.reading for second in (rule.also, rule.either) if second is not None)
    yield from (name for name in (rule.reading, rule.names) if name)


RULED = {name for rule in declared_rules().values() for name in read_by(rule)}


@cache
def makers() -> dict[str, set[str]]:
    """Name to the modules that make it: those that make readings and have it as a text."""
    found: dict[str, set[str]] = {name: {"detect.vitals"} for name in (*ONE, *MANY)}
    for name in PrometheusSigns(name="", url="", **dict.fromkeys(_SIGNS, "up")).queries:
        found.setdefault(name, set()).add("adapters.services.prometheus")
    for path in sorted(SOURCES.rglob("*.py")):
        text = path.read_text("utf-8")
        if "Reading(" not in text or "model.readings import" not in text:
            continue
        module = ".".join(path.relative_to(SOURCES).with_suffix("").parts)
        if module.startswith(OF_A_DIAGNOSIS):
            continue
        for node in ast.walk(ast.parse(text)):
            said = node.value if isinstance(node, ast.Constant) else None
            if isinstance(said, str) and (said in RULED or BY_UNIT.fullmatch(said)):
                found.setdefault(said, set()).add(module)
    return found


_SIGNS = ("request_rate", "error_rate_pct", "latency_s")


def test_every_rule_has_a_source_that_can_make_its_reading() -> None:
    lacking = {
        kind.value: sorted(set(read_by(rule)) - makers().keys())
        for kind, rule in declared_rules().items()
    }
    assert {kind: names for kind, names in lacking.items() if names} == {}


def test_every_source_is_asked_by_somebody() -> None:
    """A source that nothing imports makes nothing."""
    texts = "\n".join(path.read_text("utf-8") for path in SOURCES.rglob("*.py"))
    modules = {module for found in makers().values() for module in found}
    unused = [m for m in sorted(modules) if f"from stanch.{m} import" not in texts]
    assert unused == []


def test_every_reading_has_a_rule_or_is_listed_as_shown_only() -> None:
    made = makers().keys() - NO_READINGS
    assert made - RULED - SHOWN_ONLY.keys() == set()


def test_what_is_listed_as_shown_only_is_made_and_has_no_rule_and_is_in_the_manual() -> None:
    assert SHOWN_ONLY.keys() - makers().keys() == set()
    assert SHOWN_ONLY.keys() & RULED == set()
    page = rules_page()
    assert [name for name in SHOWN_ONLY if f"- `{name}`: " not in page] == []


def test_subjects_that_a_rule_names_exist() -> None:
    for kind, rule in declared_rules().items():
        if rule.subjects:
            assert set(rule.subjects) <= ONLY[rule.reading], kind


def test_what_ends_with_its_source_is_named_as_the_rules_name_it() -> None:
    """Symptoms of a source that left the policy end by these lists."""
    told = (endings.OF_BACKUPS, endings.OF_POOLS, endings.OF_SERVICES, endings.OF_SIGNS)
    assert {name for names in (*told, endings.OF_LOGS) for name in names} <= RULED
