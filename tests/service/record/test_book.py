"""Incidents at their head: facts stay, stale decisions are made again or refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stanch.incident.projection import IncidentProjection
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.changes import NotedChange
from stanch.model.errors import StaleDecision, StoreUnavailable
from stanch.model.ids import RESPONDER, IncidentId, PersonId, WriterId
from stanch.model.plans import Refusal
from stanch.model.timeline import Append, Claim, Lane, Recorded
from stanch.service.record.book import DECIDE_TRIES, Book
from stanch.store.sql import SqlStore
from stanch.store.timelines import InlineStore
from timelines import ANN, BO, POLICY, T0, opened

NO = Refusal(guard="open", reason="it is over")


@dataclass
class HandClock:
    at: datetime = T0

    def now(self) -> datetime:
        return self.at


def memory() -> InlineStore:
    projection = IncidentProjection(lambda policy_hash: POLICY, lambda: POLICY)
    return InlineStore(
        SqlStore.in_memory(projection, writer_id=WriterId("w"), lease_clock_us=lambda: 0)
    )


@pytest.fixture
async def store() -> AsyncIterator[InlineStore]:
    kept = memory()
    yield kept
    await kept.close()


def acknowledged(by: PersonId = ANN) -> e.IncidentAcknowledged:
    return e.IncidentAcknowledged(by=by, via="test")


def first_come(by: PersonId):
    def decider(incident: Incident, at: datetime) -> Sequence[e.Event] | Refusal:
        return NO if incident.acknowledged_by else (acknowledged(by),)

    return decider


async def test_an_opened_incident_is_told_of_once_and_kept_at_its_head(store: InlineStore) -> None:
    book, told = Book(store, HandClock()), list[Incident]()
    book.on_open = told.append
    incident = await book.open([opened()])
    assert [i.id for i in told] == [incident.id]
    assert await book.get(incident.id) == incident
    assert book.known() == (incident,)


async def test_every_append_is_told_of_so_that_what_is_due_is_looked_at(store: InlineStore) -> None:
    book, pokes = Book(store, HandClock()), list[int]()
    book.on_append = lambda: pokes.append(1)
    incident = await book.open([opened()])
    await book.record(incident.id, e.NoteAdded(by=ANN, text="seen"))
    await book.decide(incident.id, first_come(ANN))
    await book.decide(incident.id, first_come(BO))
    assert len(pokes) == 3, "a refusal appends nothing"


async def test_a_book_reads_what_another_one_wrote(store: InlineStore) -> None:
    ours, theirs = Book(store, HandClock()), Book(store, HandClock())
    incident = await ours.open([opened()])
    await theirs.decide(incident.id, first_come(BO))
    assert (await ours.get(incident.id)).acknowledged_by == BO


async def test_a_decision_on_an_old_state_is_made_again_on_the_new_one(store: InlineStore) -> None:
    ours, theirs = Book(store, HandClock()), Book(store, HandClock())
    incident = await ours.open([opened()])
    await theirs.get(incident.id)
    await ours.decide(incident.id, first_come(ANN))
    answer = await theirs.decide(incident.id, first_come(BO))
    assert answer == NO
    assert (await theirs.get(incident.id)).acknowledged_by == ANN


async def test_a_fact_of_somebody_who_had_not_read_all_is_kept_and_marked_late(
    store: InlineStore,
) -> None:
    ours, theirs = Book(store, HandClock()), Book(store, HandClock())
    incident = await ours.open([opened()])
    await theirs.get(incident.id)
    await ours.record(incident.id, e.NoteAdded(by=ANN, text="first"))
    after = await theirs.record(incident.id, e.NoteAdded(by=BO, text="second"))
    timeline = await store.read(incident.id)
    assert after.seq == 3
    assert [r.late for r in timeline] == [False, False, True]


async def test_facts_of_one_process_wait_for_each_other_and_none_is_late(
    store: InlineStore,
) -> None:
    book = Book(store, HandClock())
    incident = await book.open([opened()])
    notes = [e.NoteAdded(by=ANN, text=str(n)) for n in range(20)]
    await asyncio.gather(*(book.record(incident.id, note) for note in notes))
    timeline = await store.read(incident.id)
    assert len(timeline) == 21
    assert not any(r.late for r in timeline)


class _Contested(InlineStore):
    """Somebody else always appends between our reading and our writing."""

    async def append(self, entry: Append) -> tuple[Recorded, ...]:
        note = e.NoteAdded(by=BO, text="quicker")
        await super().append(replace(entry, events=(note,), lease=None))
        return await super().append(entry)


async def test_a_decision_that_always_comes_too_late_is_given_up(store: InlineStore) -> None:
    book = Book(_Contested(store.store), HandClock())
    incident = await Book(store, HandClock()).open([opened()])
    with pytest.raises(StaleDecision):
        await book.decide(incident.id, lambda i, at: (acknowledged(),))
    kinds = [r.event.kind for r in await store.read(incident.id)]
    assert kinds.count(e.NoteAdded.kind) == DECIDE_TRIES
    assert e.IncidentAcknowledged.kind not in kinds


class _Unanswered(InlineStore):
    """A disk so slow that an append is done after its caller has given up."""

    def __init__(self, store: SqlStore) -> None:
        super().__init__(store)
        self.slow = False
        self.later: list[Append] = []

    async def append(self, entry: Append) -> tuple[Recorded, ...]:
        if not self.slow:
            return await super().append(entry)
        self.later.append(entry)
        raise StoreUnavailable("no answer", on="memory")

    async def settled(self) -> None:
        while self.later:
            await super().append(self.later.pop(0))


async def test_an_append_whose_answer_never_came_is_met_before_the_next_decision(
    store: InlineStore,
) -> None:
    slow = _Unanswered(store.store)
    book = Book(slow, HandClock())
    incident = await book.open([opened()])
    slow.slow = True
    with pytest.raises(StoreUnavailable):
        await book.decide(incident.id, first_come(ANN))
    slow.slow = False
    assert await book.decide(incident.id, first_come(BO)) == NO
    assert (await book.at_hand(incident.id)).acknowledged_by == ANN


async def test_what_is_in_memory_is_not_read_again(store: InlineStore) -> None:
    ours, theirs = Book(store, HandClock()), Book(store, HandClock())
    incident = await ours.open([opened()])
    await theirs.record(incident.id, e.NoteAdded(by=BO, text="seen"))
    assert (await ours.at_hand(incident.id)).seq == 1
    assert (await ours.get(incident.id)).seq == 2
    assert (await ours.at_hand(incident.id)).seq == 2


async def test_a_decision_under_a_lease_that_is_gone_is_refused(store: InlineStore) -> None:
    book, clock = Book(store, HandClock()), HandClock()
    incident = await book.open([opened()])
    later = clock.now() + timedelta(hours=1)
    [claim] = await store.claim(Lane.CLOCK, at=later, lease_s=30, limit=1)
    await store.release(claim)
    with pytest.raises(StaleDecision):
        await book.decide(incident.id, first_come(ANN), lease=claim)
    assert (await book.get(incident.id)).acknowledged_by is None


async def test_a_decision_under_a_lease_that_is_held_is_taken(store: InlineStore) -> None:
    book = Book(store, HandClock())
    incident = await book.open([opened()])
    claims: Sequence[Claim] = await store.claim(
        Lane.CLOCK, at=T0 + timedelta(hours=1), lease_s=30, limit=1
    )
    after = await book.decide(incident.id, first_come(ANN), lease=claims[0])
    assert isinstance(after, Incident)
    assert after.acknowledged_by == ANN


async def test_of_an_incident_that_is_not_there_nothing_can_be_told(store: InlineStore) -> None:
    book = Book(store, HandClock())
    assert (await book.get(IncidentId("20260301-009"))).opened_at is None
    with pytest.raises(StaleDecision):
        await book.record(IncidentId("20260301-009"), e.NoteAdded(by=ANN, text="where?"))
    await book.record(RESPONDER, e.HaltSet(by=ANN, reason="our own stream is always there"))


DEEDS = st.lists(
    st.tuples(st.sampled_from(["ann", "bo"]), st.sampled_from(["read", "note", "ack", "resolve"])),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(deeds=DEEDS)
def test_however_two_books_take_turns_facts_stay_and_each_decision_is_made_once(
    deeds: list[tuple[str, str]],
) -> None:
    asyncio.run(_take_turns(deeds))


async def _take_turns(deeds: list[tuple[str, str]]) -> None:
    store = memory()
    books = {name: Book(store, HandClock()) for name in ("ann", "bo")}
    incident = await books["ann"].open([opened()])
    notes = 0
    for who, deed in deeds:
        book = books[who]
        if deed == "read":
            await book.get(incident.id)
        elif deed == "note":
            notes += 1
            await book.record(incident.id, e.NoteAdded(by=PersonId(who), text=str(notes)))
        elif deed == "ack":
            await book.decide(incident.id, first_come(PersonId(who)))
        else:
            await book.decide(incident.id, _resolve_once)
    timeline = await store.read(incident.id)
    texts = [r.event.text for r in timeline if isinstance(r.event, e.NoteAdded)]
    assert texts == [str(n) for n in range(1, notes + 1)]
    for kind in (e.IncidentAcknowledged, e.IncidentResolved):
        assert sum(isinstance(r.event, kind) for r in timeline) <= 1
    assert await books["ann"].get(incident.id) == await books["bo"].get(incident.id)
    assert (await store.verify()).ok
    await store.close()


def _resolve_once(incident: Incident, at: datetime) -> Sequence[e.Event]:
    if incident.status.ended:
        return ()
    return (e.IncidentResolved(verified=False, reason="said so", by=ANN),)


async def test_an_incident_that_opens_again_tells_what_changed_since_and_nothing_twice(
    store: InlineStore,
) -> None:
    def noted(*what: str) -> e.ChangesNoted:
        changes = tuple(NotedChange(at=T0, kind="deploy", what=w, told=w) for w in what)
        return e.ChangesNoted(since=T0, changes=changes)

    book, known = Book(store, HandClock()), [noted("first")]
    book.beside_opening = lambda target, at: tuple(known)
    incident = await book.open([opened()])

    async def again() -> list[tuple[str, ...]]:
        await book.decide(incident.id, _resolve_once)
        await book.decide(incident.id, lambda i, at: (e.IncidentReopened(reason="came back"),))
        found = [r.event for r in await store.read(incident.id)]
        return [tuple(c.what for c in f.changes) for f in found if isinstance(f, e.ChangesNoted)]

    assert await again() == [("first",)]
    known[:] = [noted("second", "first")]
    assert await again() == [("first",), ("second", "first")]
