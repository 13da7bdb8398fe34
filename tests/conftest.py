"""Loads every `fix_*.py` beside this file: fixtures are found by file name."""

from __future__ import annotations

from pathlib import Path

pytest_plugins = sorted(path.stem for path in Path(__file__).parent.glob("fix_*.py"))
