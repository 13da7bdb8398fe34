"""Loads every `fix_*.py` beside this file, and puts what takes longest first.

Fixtures are found by file name. Whole files go to one process each: with the long ones at the end,
the last of them would run alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = sorted(path.stem for path in Path(__file__).parent.glob("fix_*.py"))

LONG_FIRST = ("test_docs_run.py", "stories", "sim", "drill")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        part = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        return LONG_FIRST.index(part) if part in LONG_FIRST else len(LONG_FIRST)

    items.sort(key=rank)
