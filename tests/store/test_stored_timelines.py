"""Timelines as earlier releases stored them: each still reads, verifies and folds.

`tests/fixtures/timelines/RELEASE-NAME.jsonl` holds the journal of one responder, an entry a line
in its order, bytes in hex and bodies as they were stored. Files are added, never changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from stanch.incident.due import due
from stanch.incident.fold import fold
from stanch.incident.state import Status
from stanch.model.events import UnknownEvent
from stanch.model.ids import RESPONDER
from stanch.model.timeline import Recorded
from stanch.store.chain import GENESIS, Entry, entry_hash, recorded_from
from timelines import POLICY

STORED = sorted((Path(__file__).parents[1] / "fixtures" / "timelines").glob("*.jsonl"))


def entries(path: Path) -> Iterator[Entry]:
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        hashes = {name: bytes.fromhex(row[name]) for name in ("prev_hash", "hash")}
        yield Entry(**{**row, **hashes, "body": row["body"].encode()})


def timelines(path: Path) -> dict[str, list[Recorded]]:
    found: dict[str, list[Recorded]] = {}
    for entry in entries(path):
        found.setdefault(entry.incident_id, []).append(recorded_from(entry))
    return found


def test_there_are_stored_timelines() -> None:
    assert STORED


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_journal_still_verifies(path: Path) -> None:
    before = GENESIS
    for entry in entries(path):
        assert entry.prev_hash == before
        assert entry_hash(entry) == entry.hash
        assert entry_hash(replace(entry, body=entry.body + b" ")) != entry.hash
        before = entry.hash


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_every_stored_event_is_known_to_this_release(path: Path) -> None:
    for timeline in timelines(path).values():
        assert not [r for r in timeline if isinstance(r.event, UnknownEvent)]


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_incident_folds_to_its_end_with_nothing_left_to_do(path: Path) -> None:
    for incident_id, timeline in timelines(path).items():
        if incident_id == RESPONDER:
            continue
        incident = fold(timeline[0].incident_id, timeline)
        assert incident.status is Status.RESOLVED
        assert due(POLICY, incident, timeline[-1].at) == ()
