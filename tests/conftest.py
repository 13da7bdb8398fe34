"""Loads every `fix_*.py` beside this file, puts what takes longest first, and leaves out repeats.

Fixtures are found by file name. Whole files go to one process each: with the long ones at the end,
the last of them would run alone.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes on a busy machine says nothing about what it shows.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

pytest_plugins = sorted(path.stem for path in Path(__file__).parent.glob("fix_*.py"))

LONG_FIRST = ("test_docs_run.py", "stories", "sim", "drill")

ONE_MAJOR = ("cli", "respond", "service", "watch")
"""What these do does not depend on the server's version: each file sees one of those at hand."""

TURNS = ("adapters", "diagnose", "stories")
"""Here each test has one of them, by its name, so that every file sees both. The questions and the
rules are asked of every version, and `make soak` and `make matrix` run everything on every one."""

EVERY_MAJOR = os.environ.get("STANCH_SOAK") == "1" or "STANCH_MAJORS" in os.environ


def _room(item: pytest.Item) -> str:
    here = Path(__file__).parent
    return item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""


def _repeats(item: pytest.Item) -> bool:
    """A test of one of these rooms, on a version that is not its file's."""
    room = _room(item)
    if EVERY_MAJOR or room not in ONE_MAJOR + TURNS or not isinstance(item, pytest.Function):
        return False
    parts = item.callspec.id.split("-") if hasattr(item, "callspec") else []
    majors = [part for part in parts if part in ("pg15", "pg18")]
    # A name decides, so that it is the same one every time.
    name = item.path.name if room in ONE_MAJOR else item.originalname
    return bool(majors) and majors[0] != ("pg15", "pg18")[zlib.crc32(name.encode()) % 2]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        room = _room(item)
        return LONG_FIRST.index(room) if room in LONG_FIRST else len(LONG_FIRST)

    repeats = [item for item in items if _repeats(item)]
    config.hook.pytest_deselected(items=repeats)
    left_out = set(repeats)
    items[:] = sorted((item for item in items if item not in left_out), key=rank)
