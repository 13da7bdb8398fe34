"""The hash chain of one writer: what is hashed, and whether two neighbours belong together."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from stanch.model.errors import StoreCorrupt
from stanch.model.events import from_body
from stanch.model.ids import IncidentId, WriterId
from stanch.model.timeline import Recorded

DOMAIN = b"stanch/journal/1"
GENESIS = bytes(32)
"""What the first entry of a writer points back to."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(at: datetime) -> int:
    """Microseconds since 1970 UTC, exactly; a datetime without zone is refused."""
    if at.tzinfo is None:
        raise ValueError("a datetime without zone has no place in a timeline")
    return (at - _EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """The moment behind stored microseconds. Raises StoreCorrupt where there is none."""
    try:
        return _EPOCH + us * _MICROSECOND
    except OverflowError as error:
        raise StoreCorrupt(f"{us} microseconds is no moment in time") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest entry of a writer's journal."""

    n: int = 0
    hash: bytes = GENESIS


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the journal, exactly as stored."""

    writer_id: str
    n: int
    incident_id: str
    seq: int
    basis_seq: int
    at_us: int
    kind: str
    prev_hash: bytes
    hash: bytes
    body: bytes

    @property
    def place(self) -> str:
        """How a person finds it."""
        return f"writer {self.writer_id!r} entry {self.n}"


COLUMNS = tuple(Entry.__dataclass_fields__)
_TYPES = {
    "writer_id": str,
    "n": int,
    "incident_id": str,
    "seq": int,
    "basis_seq": int,
    "at_us": int,
    "kind": str,
    "prev_hash": bytes,
    "hash": bytes,
    "body": bytes,
}


def entry_from(row: tuple[Any, ...]) -> Entry:
    """The entry behind a row in the order of COLUMNS.

    SQLite stores any type in any column, so a damaged row may hold anything. Raises StoreCorrupt.
    """
    values = dict(zip(COLUMNS, row, strict=True))
    for name, kind in _TYPES.items():
        if not isinstance(values[name], kind):
            where = f"writer {values['writer_id']!r} entry {values['n']!r}"
            raise StoreCorrupt(f"{where}: {name} is no {kind.__name__}")
    return Entry(**values)


def entry_hash(entry: Entry) -> bytes:
    """SHA-256 over every field but the hash itself, each with its length before it.

    The lengths keep two different entries from sharing one byte string.
    """
    digest = hashlib.sha256()
    for part in (
        DOMAIN,
        _bytes(entry.writer_id),
        _number(entry.n),
        _bytes(entry.incident_id),
        _number(entry.seq),
        _number(entry.basis_seq),
        _number(entry.at_us),
        _bytes(entry.kind),
        entry.prev_hash,
        entry.body,
    ):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def broken_link(entry: Entry, before: Head) -> str | None:
    """Why this entry cannot follow that head; None where it does."""
    if entry.n != before.n + 1:
        return f"{entry.place}: follows entry {before.n}, so entries are missing or moved"
    if entry.prev_hash != before.hash:
        return f"{entry.place}: does not point back to the entry before it"
    if entry.hash != entry_hash(entry):
        return f"{entry.place}: its content does not match its hash"
    return None


def recorded_from(entry: Entry) -> Recorded:
    """What the rest of the house sees of an entry."""
    return Recorded(
        incident_id=IncidentId(entry.incident_id),
        seq=entry.seq,
        at=from_us(entry.at_us),
        event=from_body(entry.kind, entry.body),
        writer_id=WriterId(entry.writer_id),
        n=entry.n,
        basis_seq=entry.basis_seq,
        hash=entry.hash,
    )


def storable(text: str) -> str:
    """Text as the database takes it: half characters, from hostile bytes, become question marks."""
    return text.encode("utf-8", "replace").decode()


def _bytes(text: str) -> bytes:
    # Damaged text is read with surrogates in place of bad bytes; this gives the very bytes back.
    return text.encode("utf-8", "surrogateescape")


def _number(value: int) -> bytes:
    return value.to_bytes(16, "big", signed=True)
