"""Loads every `fix_*.py` beside this file, and puts what takes longest first.

Fixtures are found by file name. Whole files go to one process each: with the long ones at the end,
the last of them would run alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes on a busy machine says nothing about what it shows.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

pytest_plugins = sorted(path.stem for path in Path(__file__).parent.glob("fix_*.py"))

LONG_FIRST = ("test_docs_run.py", "stories", "sim", "drill")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        part = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        return LONG_FIRST.index(part) if part in LONG_FIRST else len(LONG_FIRST)

    items.sort(key=rank)
