"""Does everything stored still say what was written? Reads all of it; changes nothing.

Not looked at are the wakes: they are computed anew from the timelines at every opening.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import Connection, create_engine, select

from stanch.model.errors import StoreCorrupt
from stanch.model.events import DiagnosisRecorded, EvidenceKept, UnknownEvent, obligation_of
from stanch.model.ids import RESPONDER, WriterId
from stanch.model.timeline import ChainReport
from stanch.store.chain import (
    COLUMNS,
    Entry,
    Head,
    broken_link,
    entry_from,
    recorded_from,
    storable,
)
from stanch.store.journal import is_open_after
from stanch.store.keeping import blob_key, policy_digest
from stanch.store.migrate import OLDER, REVISION, revision_of, upgrade
from stanch.store.schema import blob, fired, incident, journal, policy

PROBLEMS_MAX = 100
_ROWS_AT_ONCE = 500
_SCHEMA = (
    "SELECT type, name, tbl_name, sql FROM sqlite_schema"
    " WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name"
)
_WALK = select(*(journal.c[name] for name in COLUMNS)).order_by(journal.c.writer_id, journal.c.n)

Anchors = Mapping[WriterId, tuple[int, str]]
"""Heads that were written down elsewhere: the entry's n and the hex of its hash."""


@dataclass(slots=True)
class _Life:
    """What the journal says about one timeline."""

    opened_n: int
    opened_us: int
    is_open: int = 1
    count: int = 0
    seq: dict[str, int] = field(default_factory=dict[str, int])
    seq_max: int = 0
    obligations: set[str] = field(default_factory=set[str])
    unreadable: bool = False


@dataclass(slots=True)
class _Walk:
    """What has been found so far."""

    entries: int = 0
    heads: dict[str, Head] = field(default_factory=dict[str, Head])
    lives: dict[str, _Life] = field(default_factory=dict[str, _Life])
    blobs: set[str] = field(default_factory=set[str])
    anchored: set[str] = field(default_factory=set[str])
    problems: list[str] = field(default_factory=list[str])
    more: int = 0

    def say(self, problem: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(problem)
        else:
            self.more += 1


def verify(conn: Connection, *, anchors: Anchors | None = None) -> ChainReport:
    """Walk all chains and everything derived from them.

    Cost: reads the whole database. Raises: StoreCorrupt where the file cannot be read at all.
    """
    walk = _Walk()
    _check_file(conn, walk)
    for row in conn.execute(_WALK, execution_options={"yield_per": _ROWS_AT_ONCE}):
        try:
            entry = entry_from(tuple(row))
        except StoreCorrupt as error:
            walk.say(str(error))
            continue
        _check_entry(walk, entry, anchors or {})
    _check_timelines(walk)
    _check_anchors(walk, anchors or {})
    _check_derived(conn, walk)
    _check_kept(conn, walk)
    problems = walk.problems + ([f"and {walk.more} more"] if walk.more else [])
    return ChainReport(
        ok=not problems,
        entries=walk.entries,
        heads={WriterId(w): f"{head.n}:{head.hash.hex()}" for w, head in walk.heads.items()},
        problems=tuple(problems),
    )


def _check_file(conn: Connection, walk: _Walk) -> None:
    for (line,) in conn.exec_driver_sql(f"PRAGMA integrity_check({PROBLEMS_MAX})"):
        if line != "ok":
            walk.say(f"file: {line}")
    revision = revision_of(conn)
    # Of a store that an older release wrote, and this one has not opened yet, that one's shape.
    shape = revision if revision is not None and revision in OLDER else REVISION
    expected = {row[1]: row for row in _expected_schema(shape)}
    present = {row[1]: tuple(row) for row in conn.exec_driver_sql(_SCHEMA)}
    for name in sorted(expected.keys() | present.keys()):
        if name not in present:
            walk.say(f"schema: {name!r} is missing")
        elif name not in expected:
            walk.say(f"schema: {name!r} is not Stanch's")
        elif present[name] != expected[name]:
            walk.say(f"schema: {name!r} was changed")


@cache
def _expected_schema(shape: str) -> tuple[tuple[Any, ...], ...]:
    engine = create_engine("sqlite://")
    with engine.begin() as fresh:
        upgrade(fresh, on="memory", to=shape)
        rows = tuple(tuple(row) for row in fresh.exec_driver_sql(_SCHEMA))
    engine.dispose()
    return rows


def _check_entry(walk: _Walk, entry: Entry, anchors: Anchors) -> None:
    walk.entries += 1
    before = walk.heads.get(entry.writer_id, Head())
    if problem := broken_link(entry, before):
        walk.say(problem)
    walk.heads[entry.writer_id] = Head(n=entry.n, hash=entry.hash)
    anchor = anchors.get(WriterId(entry.writer_id))
    if anchor is not None and anchor == (entry.n, entry.hash.hex()):
        walk.anchored.add(entry.writer_id)
    _follow(walk, entry)


def _follow(walk: _Walk, entry: Entry) -> None:
    life = walk.lives.get(entry.incident_id)
    if life is None:
        life = _Life(opened_n=entry.n, opened_us=entry.at_us)
        walk.lives[entry.incident_id] = life
    before = life.seq.get(entry.writer_id, 0)
    if entry.seq <= before:
        walk.say(f"{entry.place}: event {entry.seq} of {entry.incident_id!r} after {before}")
    life.seq[entry.writer_id] = entry.seq
    life.seq_max, life.count = max(life.seq_max, entry.seq), life.count + 1
    try:
        event = recorded_from(entry).event
    except StoreCorrupt as error:
        walk.say(f"{entry.place}: {error}")
        return
    life.is_open = is_open_after(event, life.is_open)
    if isinstance(event, UnknownEvent):
        life.unreadable = True
    elif isinstance(event, EvidenceKept):
        walk.blobs.add(event.blob)
    elif isinstance(event, DiagnosisRecorded) and event.evidence is not None:
        walk.blobs.add(event.evidence)
    if (obligation := obligation_of(event)) is not None:
        life.obligations.add(storable(obligation))


def _check_timelines(walk: _Walk) -> None:
    for incident_id, life in walk.lives.items():
        if life.seq_max != life.count:
            walk.say(f"incident {incident_id!r}: {life.count} events, numbered to {life.seq_max}")


def _check_anchors(walk: _Walk, anchors: Anchors) -> None:
    for writer, (n, digest) in anchors.items():
        if writer not in walk.anchored:
            walk.say(f"writer {writer!r} entry {n}: not there with the anchored hash {digest[:16]}")


def _check_derived(conn: Connection, walk: _Walk) -> None:
    lives = {name: life for name, life in walk.lives.items() if name != RESPONDER}
    said = {row[0]: tuple(row)[1:] for row in conn.execute(select(incident))}
    for name in sorted(lives.keys() | said.keys(), key=repr):
        life, listed = lives.get(name), said.get(name)
        told = None if life is None else (life.opened_n, life.opened_us, life.is_open)
        if life and listed and life.unreadable:
            # A newer release may have closed it by an event this one cannot read.
            told = (life.opened_n, life.opened_us, listed[2])
        if listed != told:
            walk.say(f"incident {name!r}: listed as {listed}, the journal says {told}")
    stored: dict[str, set[str]] = {}
    for name, obligation in conn.execute(select(fired)):
        stored.setdefault(name, set()).add(obligation)
    for name in sorted(walk.lives.keys() | stored.keys(), key=repr):
        life = walk.lives.get(name)
        told_here = life.obligations if life else set[str]()
        extra = stored.get(name, set()) - told_here
        if told_here - stored.get(name, set()) or (extra and not (life and life.unreadable)):
            walk.say(f"incident {name!r}: fulfilled obligations differ from the journal's")


def _check_kept(conn: Connection, walk: _Walk) -> None:
    present: set[str] = set()
    for key, salt, content, erased_us in conn.execute(select(blob)):
        present.add(key)
        if content is None and salt is None and isinstance(erased_us, int):
            continue
        whole = isinstance(salt, bytes) and isinstance(content, bytes) and erased_us is None
        if not whole or blob_key(bytes(salt or b""), bytes(content or b"")) != key:
            walk.say(f"blob {key!r}: its content does not match its key")
    for key in sorted(walk.blobs - present):
        walk.say(f"blob {key!r}: named by an event, but missing")
    for name, said, digest in conn.execute(select(policy)):
        whole = isinstance(name, str) and isinstance(said, str)
        if not whole or policy_digest(name, said) != digest:
            walk.say(f"policy {name!r}: its text does not match its digest")
