"""Open incidents hear of those of before that look like them, once a cause."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from stanch.incident.projection import IncidentProjection
from stanch.model import events as e
from stanch.model.ids import IncidentId, WriterId
from stanch.service.record.book import Book
from stanch.service.record.remembering import Remembering
from stanch.store.sql import SqlStore
from stanch.store.timelines import InlineStore
from timelines import POLICY, T0, diagnosed, opened

RESOLVED = e.IncidentResolved(verified=True, reason="")


@dataclass
class HandClock:
    at: datetime = T0

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at


@pytest.fixture
async def store() -> AsyncIterator[InlineStore]:
    projection = IncidentProjection(lambda policy_hash: POLICY, lambda: POLICY)
    kept = InlineStore(
        SqlStore.in_memory(projection, writer_id=WriterId("w"), lease_clock_us=lambda: 0)
    )
    yield kept
    await kept.close()


@pytest.fixture
def book(store: InlineStore) -> Book:
    return Book(store, HandClock())


async def incident(book: Book, *events: e.Event) -> IncidentId:
    made = await book.open((opened(),))
    for event in events:
        await book.decide(made.id, lambda incident, at, one=event: (one,))
    return made.id


async def noted(book: Book, incident_id: IncidentId) -> list[str]:
    past = (await book.get(incident_id)).past
    return [] if past is None else [one.id for one in past.incidents]


async def test_an_incident_with_a_cause_hears_of_the_one_that_looked_like_it(
    book: Book, store: InlineStore
) -> None:
    before = await incident(book, diagnosed(), RESOLVED)
    open_now = await incident(book, diagnosed())
    remembering = Remembering(book, store)
    await remembering.look()
    assert await noted(book, open_now) == [before]
    seq = (await book.get(open_now)).seq
    await remembering.look()
    assert (await book.get(open_now)).seq == seq, "told once"


async def test_another_cause_is_compared_anew(book: Book, store: InlineStore) -> None:
    before = await incident(book, diagnosed(), RESOLVED)
    leak = await incident(book, diagnosed("connections_leaked"), RESOLVED)
    open_now = await incident(book, diagnosed())
    remembering = Remembering(book, store)
    await remembering.look()
    assert await noted(book, open_now) == [before]
    await book.record(open_now, diagnosed("connections_leaked"))
    await remembering.look()
    assert await noted(book, open_now) == [leak]


async def test_what_has_no_cause_yet_or_is_over_is_left_alone(
    book: Book, store: InlineStore
) -> None:
    await incident(book, diagnosed(), RESOLVED)
    unknown = await incident(book)
    over = await incident(book, diagnosed(), RESOLVED)
    await Remembering(book, store).look()
    assert (await book.get(unknown)).past is None
    assert (await book.get(over)).past is None
