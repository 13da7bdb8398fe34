"""Appending: who may, where it goes in the chain, and what becomes due by it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.dialects.sqlite import insert as insert_or

from stanch.model.errors import StaleDecision
from stanch.model.events import (
    Event,
    IncidentMerged,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
    obligation_of,
    stored_kind,
    to_body,
)
from stanch.model.ids import RESPONDER, IncidentId
from stanch.model.timeline import Append, Recorded
from stanch.store import wakes
from stanch.store.chain import (
    COLUMNS,
    Entry,
    Head,
    entry_from,
    entry_hash,
    recorded_from,
    storable,
    to_us,
)
from stanch.store.failures import corrupt
from stanch.store.schema import fired, incident, journal
from stanch.store.transaction import Op, Stream, Tx

BODY_BYTES_MAX = 16 * 1024 * 1024

_TIMELINE = select(*(journal.c[name] for name in COLUMNS)).order_by(journal.c.seq)
_COUNTER = text(
    "SELECT coalesce(max(CAST(substr(incident_id, 10) AS INTEGER)), 0) FROM incident"
    " WHERE incident_id >= :first AND incident_id < :beyond"
)
_INSERT = insert(journal)
_FIRE = insert_or(fired).on_conflict_do_nothing()
_ENDS = (IncidentResolved, IncidentMerged)
_OPENS = (IncidentOpened, IncidentReopened)


def append(entry: Append) -> Op[tuple[Recorded, ...]]:
    """Add events to a timeline. Raises StaleDecision; see `model.timeline.Append`."""

    def run(tx: Tx) -> tuple[Recorded, ...]:
        known = replace(entry, incident_id=IncidentId(storable(entry.incident_id)))
        stream = stream_of(tx, known.incident_id)
        opens = bool(known.events) and isinstance(known.events[0], IncidentOpened)
        if stream.seq == 0 and not opens and known.incident_id != RESPONDER:
            raise StaleDecision(
                "there is no such incident",
                on=known.incident_id,
                hint="`stanch incidents` lists the ones there are.",
            )
        return _extend(tx, known, stream)

    return run


def open_incident(at: datetime, first: Append) -> Op[tuple[Recorded, ...]]:
    """Like `append`, into a new incident; the id in `first` is replaced by the allotted one."""

    def run(tx: Tx) -> tuple[Recorded, ...]:
        assert first.events, "an incident begins with an event"
        allotted = replace(first, incident_id=_next_id(tx, at), basis_seq=0)
        return _extend(tx, allotted, stream_of(tx, allotted.incident_id))

    return run


def stream_of(tx: Tx, incident_id: IncidentId) -> Stream:
    """A timeline folded up to its head, the events of this very transaction included."""
    known = tx.draft.stream(incident_id)
    if known is not None:
        return known
    state, seq = tx.projection.initial(incident_id), 0
    for recorded in checked_timeline(tx.conn, incident_id):
        state, seq = tx.projection.apply(state, recorded), recorded.seq
    return Stream(seq=seq, state=state, lanes=None if seq else frozenset())


def checked_timeline(
    conn: Connection, incident_id: str, *, after_seq: int = 0
) -> Iterator[Recorded]:
    """The events of one incident in order, each as it was written: nobody may decide on others.

    Raises: StoreCorrupt at the first event that is missing, moved or changed.
    """
    same = journal.c.incident_id == incident_id
    seq = after_seq
    for row in conn.execute(_TIMELINE.where(same, journal.c.seq > after_seq)):
        entry = entry_from(tuple(row))
        if entry.incident_id != incident_id or entry.seq != seq + 1:
            raise corrupt(f"event {seq + 1} of {incident_id!r} is not there", on=entry.place)
        if entry.hash != entry_hash(entry):
            raise corrupt("its content does not match its hash", on=entry.place)
        seq = entry.seq
        yield recorded_from(entry)


def is_open_after(event: Event, before: int) -> int:
    """Does the incident count as open after this event? 1 or 0, as stored."""
    if isinstance(event, _ENDS):
        return 0
    return 1 if isinstance(event, _OPENS) else before


def _extend(tx: Tx, entry: Append, stream: Stream) -> tuple[Recorded, ...]:
    _refuse_stale(tx, entry, stream)
    if not entry.events:
        return ()
    rows = _linked(tx, entry, stream)
    # Read back from the bytes: what is folded now is what a restart would fold.
    recorded = tuple(recorded_from(row) for row in rows)
    tx.conn.execute(_INSERT, [{name: getattr(row, name) for name in COLUMNS} for row in rows])
    _fire(tx, entry)
    _note_life(tx, recorded, opened=stream.seq == 0)
    state = stream.state
    for one in recorded:
        state = tx.projection.apply(state, one)
    due = tx.projection.wakes(state)
    lanes = wakes.recompute(tx, entry.incident_id, due, before=stream.lanes)
    tx.draft.put(entry.incident_id, Stream(seq=rows[-1].seq, state=state, lanes=lanes))
    tx.draft.head = Head(n=rows[-1].n, hash=rows[-1].hash)
    return recorded


def _refuse_stale(tx: Tx, entry: Append, stream: Stream) -> None:
    on = entry.incident_id
    if entry.basis_seq > stream.seq:
        # Whoever read event 9 knows that it was durable: it cannot be gone.
        raise corrupt(
            f"the timeline ends at {stream.seq}, yet {entry.basis_seq} events of it were read",
            on=on,
        )
    if entry.basis_seq < stream.seq and any(e.nature == "decision" for e in entry.events):
        raise StaleDecision(
            f"decided at event {entry.basis_seq}, but the timeline is at {stream.seq}", on=on
        )
    if entry.lease is not None and not wakes.is_held(tx, entry.lease):
        raise StaleDecision(
            f"the lease {entry.lease.epoch} on {entry.lease.lane.value} is no longer held", on=on
        )


def _linked(tx: Tx, entry: Append, stream: Stream) -> list[Entry]:
    head, rows = tx.draft.head, list[Entry]()
    rebased = entry.basis_seq != stream.seq
    for offset, event in enumerate(entry.events):
        seq = stream.seq + 1 + offset
        body = to_body(event)
        assert len(body) <= BODY_BYTES_MAX, f"{stored_kind(event)} of {len(body)} bytes"
        bare = Entry(
            writer_id=tx.writer_id,
            n=head.n + 1,
            incident_id=entry.incident_id,
            seq=seq,
            basis_seq=entry.basis_seq if rebased else seq - 1,
            at_us=to_us(entry.at),
            kind=storable(stored_kind(event)),
            prev_hash=head.hash,
            hash=b"",
            body=body,
        )
        rows.append(replace(bare, hash=entry_hash(bare)))
        head = Head(n=rows[-1].n, hash=rows[-1].hash)
    return rows


def _fire(tx: Tx, entry: Append) -> None:
    for event in entry.events:
        obligation = obligation_of(event)
        if obligation is None:
            continue
        row = {"incident_id": entry.incident_id, "obligation": storable(obligation)}
        if tx.conn.execute(_FIRE, row).rowcount == 0:
            raise StaleDecision(
                f"obligation {obligation} was fulfilled already", on=entry.incident_id
            )


def _note_life(tx: Tx, recorded: tuple[Recorded, ...], *, opened: bool) -> None:
    first = recorded[0]
    if first.incident_id == RESPONDER:
        return
    is_open = 1 if opened else -1
    for one in recorded:
        is_open = is_open_after(one.event, is_open)
    if opened:
        values = {
            "incident_id": first.incident_id,
            "opened_n": first.n,
            "opened_us": to_us(first.at),
            "is_open": is_open,
        }
        tx.conn.execute(insert(incident), values)
    elif is_open >= 0:
        same = incident.c.incident_id == first.incident_id
        tx.conn.execute(update(incident).where(same).values(is_open=is_open))


def _next_id(tx: Tx, at: datetime) -> IncidentId:
    if at.tzinfo is None:
        raise ValueError("a datetime without zone has no place in a timeline")
    day = at.astimezone(UTC).strftime("%Y%m%d")
    # "." is the character after "-": the range holds exactly the ids of that day.
    bounds = {"first": f"{day}-", "beyond": f"{day}."}
    newest = int(tx.conn.execute(_COUNTER, bounds).scalar_one())
    return IncidentId(f"{day}-{newest + 1:03d}")
