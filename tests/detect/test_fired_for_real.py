"""Every declared rule has a test that fires it on the real thing, and that test is about it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from fired_for_real import FIRED
from stanch.model.symptoms import SymptomKind
from stanch.policy.rules import declared_rules

TESTS = Path(__file__).parent.parent
Named = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@cache
def top_of(file: str) -> dict[str, ast.stmt]:
    """What a module defines at its top, by name."""
    found: dict[str, ast.stmt] = {}
    for one in ast.parse((TESTS / file).read_text("utf-8")).body:
        for name in names_of(one):
            found[name] = one
    return found


def names_of(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, Named):
        yield statement.name
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    yield from (one.id for one in targets if isinstance(one, ast.Name))


def read_by(file: str, function: str) -> Iterator[ast.AST]:
    """The function, and whatever of its module it uses."""
    top, waiting, seen = top_of(file), [function], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in top:
            continue
        seen.add(name)
        for node in ast.walk(top[name]):
            yield node
            if isinstance(node, ast.Name):
                waiting.append(node.id)


def mentions(nodes: Iterable[ast.AST], kind: SymptomKind) -> bool:
    """Whether the rule is named: in a text, or as a member of `SymptomKind`."""
    word = re.compile(rf"(?<!\w){kind.value}(?!\w)")
    return any(
        (isinstance(node, ast.Constant) and word.search(str(node.value)))
        or (isinstance(node, ast.Attribute) and node.attr == kind.name)
        for node in nodes
    )


def test_every_declared_rule_is_fired_somewhere() -> None:
    assert sorted(FIRED) == sorted(kind.value for kind in declared_rules())


@pytest.mark.parametrize("rule", FIRED)
def test_the_test_that_fires_a_rule_is_there_and_names_it(rule: str) -> None:
    file, _, function = FIRED[rule].partition("::")
    assert function.startswith("test_")
    assert isinstance(top_of(file).get(function), ast.FunctionDef | ast.AsyncFunctionDef)
    assert mentions(read_by(file, function), SymptomKind(rule))


def test_a_test_about_another_rule_does_not_count() -> None:
    file, _, function = FIRED["disk_low"].partition("::")
    assert not mentions(read_by(file, function), SymptomKind.SERVER_DOWN)
