"""Numbers that causes ask for by name are numbers that somebody tells."""

from __future__ import annotations

import re
from pathlib import Path

from stanch.diagnose.catalogue import CAUSES
from stanch.policy.rules import declared_rules

ROOT = Path("src/stanch")
TOLD_IN = (
    ROOT / "diagnose/figures.py",
    ROOT / "store/recorder/looks.py",
    *sorted((ROOT / "facts/sql").glob("workings*.sql")),
    *sorted((ROOT / "facts/sql").glob("slow_*.sql")),
    ROOT / "facts/sql/damaged_files.sql",
    ROOT / "service/watched/followed.py",
    *sorted((ROOT / "watch").rglob("*.py")),
    *sorted((ROOT / "facts").rglob("*.py")),
)


def told() -> set[str]:
    """Every quoted word of whatever makes figures and readings, and what rules read."""
    words = (
        re.findall(r"[\"']([a-z][a-z0-9_]+)[\"']", path.read_text("utf-8")) for path in TOLD_IN
    )
    return {word for found in words for word in found} | {
        rule.reading for rule in declared_rules().values()
    }


def test_every_number_that_a_cause_asks_for_is_told_by_somebody() -> None:
    known = told()
    asked = {name for cause in CAUSES for weigh in cause.weighs for name in weigh.clue.reads}
    assert sorted(asked - known) == []
    assert {"xid_age", "wal_written_bytes_total", "replay_lag_bytes"} <= known
    assert "no_such_number" not in known
