"""Which copy of a recording an incident should have by now, and that each is made once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from stanch.incident.projection import IncidentProjection
from stanch.incident.state import Incident, Status
from stanch.model import events as e
from stanch.model.errors import StoreUnavailable
from stanch.model.ids import ITSELF, BlobKey, IncidentId, TargetName, WriterId
from stanch.model.samples import Sample
from stanch.service.record.book import Book
from stanch.service.record.recordings import (
    AFTER_ENDING_S,
    RETRY_S,
    TOO_LATE_S,
    Recordings,
    due_name,
)
from stanch.store.recorder.frozen import AFTER_ENDING, AT_OPENING, read_frozen
from stanch.store.recorder.tape import Tape
from stanch.store.sql import SqlStore
from stanch.store.timelines import InlineStore
from timelines import POLICY, T0, opened


@dataclass
class HandClock:
    at: datetime = T0

    def now(self) -> datetime:
        return self.at


class FailingOnce(InlineStore):
    """A store whose disk is full at the first try."""

    failures = 0

    async def put_blob(self, content: bytes) -> BlobKey:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("the disk is full", on="store")
        return await super().put_blob(content)


@pytest.fixture
async def store() -> AsyncIterator[FailingOnce]:
    projection = IncidentProjection(lambda policy_hash: POLICY, lambda: POLICY)
    kept = FailingOnce(
        SqlStore.in_memory(projection, writer_id=WriterId("w"), lease_clock_us=lambda: 0)
    )
    yield kept
    await kept.close()


def recorded(folder: Path) -> Path:
    path = folder / "orders.ring"
    Tape(path, "orders", at_ms=0, began="x").take(Sample(target=TargetName("orders"), at=T0))
    return path


async def names(store: InlineStore, incident: IncidentId) -> list[str]:
    return [r.event.name for r in await store.read(incident) if isinstance(r.event, e.EvidenceKept)]


async def test_an_open_incident_gets_its_copy_once_also_from_the_next_process(
    store: FailingOnce, tmp_path: Path
) -> None:
    path, clock = recorded(tmp_path), HandClock()
    incident = (await Book(store, clock).open([opened()])).id
    for _ in range(2):
        book = Book(store, clock)
        await book.get(incident)
        recordings = Recordings(book, store, clock, path_of=lambda name: path)
        await recordings.look()
        await recordings.look()
        assert await names(store, incident) == [AT_OPENING]
    [kept] = [r.event for r in await store.read(incident) if isinstance(r.event, e.EvidenceKept)]
    content = (await store.blob(kept.blob)).content
    assert content is not None
    assert len(content) == kept.size_bytes
    assert read_frozen(content, on="x").target == "orders"


async def test_a_full_disk_is_tried_again_later_and_not_at_every_look(
    store: FailingOnce, tmp_path: Path
) -> None:
    path, clock, store.failures = recorded(tmp_path), HandClock(), 1
    book = Book(store, clock)
    incident = await book.open([opened()])
    recordings = Recordings(book, store, clock, path_of=lambda name: path)
    await recordings.look()
    await recordings.look()
    assert await names(store, incident.id) == []
    clock.at += timedelta(seconds=RETRY_S)
    await recordings.look()
    assert await names(store, incident.id) == [AT_OPENING]


async def test_a_target_without_a_recording_keeps_none(store: FailingOnce, tmp_path: Path) -> None:
    clock = HandClock()
    book = Book(store, clock)
    incident = await book.open([opened()])
    path = tmp_path / "nobody.ring"
    await Recordings(book, store, clock, path_of=lambda name: path).look()
    assert await names(store, incident.id) == []


OPEN = Incident(id=IncidentId("20260301-001"), target=TargetName("orders"), opened_at=T0)
ENDED = replace(OPEN, status=Status.RESOLVED, ended_at=T0)


@pytest.mark.parametrize(
    ("incident", "after_s", "name"),
    [
        (OPEN, 0, AT_OPENING),
        (OPEN, TOO_LATE_S, AT_OPENING),
        (OPEN, TOO_LATE_S + 1, ""),
        (replace(OPEN, target=ITSELF), 0, ""),
        (replace(OPEN, opened_at=None), 0, ""),
        (ENDED, AFTER_ENDING_S - 1, ""),
        (ENDED, AFTER_ENDING_S, AFTER_ENDING),
        (ENDED, TOO_LATE_S + 1, ""),
        (replace(ENDED, ended_at=None), AFTER_ENDING_S, ""),
    ],
)
def test_a_copy_is_due_while_the_ring_still_holds_what_it_is_about(
    incident: Incident, after_s: float, name: str
) -> None:
    assert due_name(incident, T0 + timedelta(seconds=after_s)) == name
