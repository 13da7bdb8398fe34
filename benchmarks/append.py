"""Events made durable a second, beside the least SQLite needs for the same bytes.

`python benchmarks/append.py [--quick] [--dir PATH]` prints one JSON line a figure. The floor is the
sqlite3 module in the same run: the same pragmas, the stored bytes, one INSERT and one COMMIT each.
The rounds of all cases take turns, so that a slow moment of the disk falls on all of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from stanch.model.events import NoteAdded, to_body
from stanch.model.ids import RESPONDER, IncidentId, PersonId
from stanch.model.timeline import Append, Lane, Recorded
from stanch.store.sql import SqlStore
from stanch.store.timelines import StoreThread

AT = datetime(2026, 3, 1, tzinfo=UTC)
NOTE = NoteAdded(by=PersonId("ada"), text="x" * 400)
CONCURRENT = 64


class Seq:
    """A projection as light as one can be: what is measured is the store."""

    def initial(self, incident_id: IncidentId) -> int:
        return 0

    def apply(self, state: int, recorded: Recorded) -> int:
        return recorded.seq

    def wakes(self, state: int) -> Mapping[Lane, datetime | None]:
        return {}


def floor(folder: Path) -> Callable[[int], float]:
    """Events a second of the bare module."""
    db = sqlite3.connect(folder / "floor.db", isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
        db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TABLE journal (n INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    body = to_body(NOTE)

    def measure(events: int) -> float:
        started = time.perf_counter()
        for _ in range(events):
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO journal (body) VALUES (?)", (body,))
            db.execute("COMMIT")
        return events / (time.perf_counter() - started)

    return measure


async def awaited(thread: StoreThread, events: int, concurrent: int) -> float:
    """Events a second, so many awaited at a time."""
    entry = Append(incident_id=RESPONDER, basis_seq=0, at=AT, events=(NOTE,))

    async def one_after_the_other() -> None:
        for _ in range(events // concurrent):
            await thread.append(entry)

    started = time.perf_counter()
    await asyncio.gather(*(one_after_the_other() for _ in range(concurrent)))
    return events // concurrent * concurrent / (time.perf_counter() - started)


async def measure(folder: Path, *, rounds: int, events: int) -> dict[str, list[float]]:
    """All figures of all rounds, by case."""
    bare = floor(folder)
    thread = StoreThread(SqlStore.open(folder / "state", Seq()))
    found: dict[str, list[float]] = {"floor": [], "single": [], f"concurrent_{CONCURRENT}": []}
    try:
        for number in range(rounds + 1):
            figures = (
                bare(events),
                await awaited(thread, events, 1),
                await awaited(thread, events * 4, CONCURRENT),
            )
            if number:  # the first round only warms up
                for case, figure in zip(found, figures, strict=True):
                    found[case].append(figure)
        report = await thread.verify()
        assert report.ok, report.problems
    finally:
        await thread.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds instead of a minute")
    parser.add_argument("--dir", type=Path, help="where to write; the disk is what is measured")
    options = parser.parse_args()
    rounds, events = (3, 100) if options.quick else (9, 500)
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        found = asyncio.run(measure(Path(folder), rounds=rounds, events=events))
    base = statistics.median(found["floor"])
    for case, figures in found.items():
        line = {
            "benchmark": "append",
            "case": case,
            "unit": "events/s",
            "median": round(statistics.median(figures), 1),
            "min": round(min(figures), 1),
            "max": round(max(figures), 1),
            "ratio_to_floor": round(statistics.median(figures) / base, 3),
            "rounds": len(figures),
        }
        print(json.dumps(line))


if __name__ == "__main__":
    main()
