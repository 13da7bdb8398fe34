"""What an operation sees while it writes, and what it has changed but not yet committed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from stanch.model.ids import IncidentId, WriterId
from stanch.model.timeline import Lane, Projection
from stanch.store.chain import Head

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

STREAMS_KEPT_MAX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One timeline at its head, folded."""

    seq: int
    state: Any
    lanes: frozenset[Lane] | None = None
    """Lanes in which something was due at the last append; None where that is not known."""


class Draft:
    """Heads and folded streams as they would be; the layer below stays true until `absorb`.

    A rollback throws a draft away, so nothing uncommitted ever reaches what is kept.
    """

    def __init__(self, below: Draft | Kept) -> None:
        self._below = below
        self.head: Head = below.head
        self._streams: dict[IncidentId, Stream] = {}

    def stream(self, incident_id: IncidentId) -> Stream | None:
        found = self._streams.get(incident_id)
        return found if found is not None else self._below.stream(incident_id)

    def put(self, incident_id: IncidentId, stream: Stream) -> None:
        self._streams[incident_id] = stream

    def absorb(self, above: Draft) -> None:
        """Take over what a finished operation has changed."""
        self.head = above.head
        self._streams.update(above._streams)

    def publish(self, kept: Kept) -> None:
        """The transaction is committed: this is true now."""
        kept.head = self.head
        for incident_id, stream in self._streams.items():
            kept.put(incident_id, stream)


class Kept:
    """Committed heads and the folded streams used last; never more than STREAMS_KEPT_MAX."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self._streams: OrderedDict[IncidentId, Stream] = OrderedDict()

    def stream(self, incident_id: IncidentId) -> Stream | None:
        found = self._streams.get(incident_id)
        if found is not None:
            self._streams.move_to_end(incident_id)
        return found

    def put(self, incident_id: IncidentId, stream: Stream) -> None:
        self._streams[incident_id] = stream
        self._streams.move_to_end(incident_id)
        while len(self._streams) > STREAMS_KEPT_MAX:
            self._streams.popitem(last=False)

    def __len__(self) -> int:
        return len(self._streams)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tx:
    """Everything an operation may use."""

    conn: Connection
    draft: Draft
    projection: Projection[Any]
    writer_id: WriterId
    owner: str
    """Whom leases taken in this life of the process belong to."""
    lease_clock_us: Callable[[], int]
    random_bytes: Callable[[int], bytes]


class Op(Protocol[T_co]):
    """One operation: it writes through `tx`, all of it or (where it raises) nothing."""

    def __call__(self, tx: Tx) -> T_co: ...


@dataclass(slots=True)
class Attempt(Generic[T]):
    """One operation in a shared transaction: its own savepoint, and what came of it.

    A refusal belongs to whoever asked and undoes this operation alone. A failure of the database
    is everybody's, and passes through.
    """

    op: Op[T]
    results: list[T] = field(default_factory=list[T])
    error: Exception | None = None
    _conn: Connection | None = None

    def run(self, tx: Tx) -> None:
        above = Draft(tx.draft)
        self._conn = tx.conn
        with self:
            inner = Tx(
                conn=tx.conn,
                draft=above,
                projection=tx.projection,
                writer_id=tx.writer_id,
                owner=tx.owner,
                lease_clock_us=tx.lease_clock_us,
                random_bytes=tx.random_bytes,
            )
            self.results.append(self.op(inner))
        if self.error is None:
            tx.draft.absorb(above)

    def __enter__(self) -> None:
        self._say("SAVEPOINT op")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is None:
            self._say("RELEASE op")
            return False
        if isinstance(error, DBAPIError | UnicodeError) or not isinstance(error, Exception):
            return False
        self._say("ROLLBACK TO op")
        self._say("RELEASE op")
        self.error = error
        return True

    def _say(self, statement: str) -> None:
        assert self._conn is not None
        self._conn.exec_driver_sql(statement)

    def outcome(self) -> T:
        """The result, or the refusal raised. Only after the transaction has been committed."""
        if self.error is not None:
            raise self.error
        return self.results[0]
