"""The table of hazards and the tests it rests on."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "safety.md"
HAZARDS_MIN = 40
VARIANTS_MIN = 2

ROW = re.compile(r"(?m)^\| (?!Hazard|---)([^|]+) \| ([^|]+) \| ([^|]+) \|$")
ROWS: list[tuple[str, str, str]] = ROW.findall(PAGE.read_text())


@cache
def functions(file: str) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """The tests of one file by name."""
    tree = ast.parse((TESTS / file).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name: node for node in tree.body if isinstance(node, kinds)}


def variants(test: str) -> int:
    """One for a test, two for one that is tried with more than one thing. 0: there is none."""
    file, _, name = test.partition("::")
    found = functions(file).get(name) if (TESTS / file).exists() else None
    if found is None:
        return 0
    written = [ast.unparse(decorator) for decorator in found.decorator_list]
    return 2 if any("parametrize" in w and "indirect" not in w for w in written) else 1


def test_there_are_many_distinct_hazards() -> None:
    assert len({hazard for hazard, _, _ in ROWS}) == len(ROWS) >= HAZARDS_MIN


@pytest.mark.parametrize(("hazard", "shown"), [(hazard, shown) for hazard, _, shown in ROWS])
def test_a_hazard_is_shown_by_tests_that_exist_in_several_variants(hazard: str, shown: str) -> None:
    named = re.findall(r"`([^`]+)`", shown)
    assert [test for test in named if not variants(test)] == [], hazard
    assert sum(map(variants, named)) >= VARIANTS_MIN, hazard
