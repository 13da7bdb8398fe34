"""The store as the house sees it (`model.ports.timelines.Timelines`), inline or on its thread."""

from __future__ import annotations

import asyncio
import queue
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from threading import Lock, Thread
from typing import Any, TypeVar

from sqlalchemy import Connection

from stanch.model.errors import StoreError, StoreUnavailable
from stanch.model.ids import BlobKey, IncidentId, ObligationId
from stanch.model.timeline import Append, Blob, ChainReport, Claim, Lane, Recorded
from stanch.store import journal, keeping, queries, wakes
from stanch.store.connect import READ_CONNECTIONS_MAX
from stanch.store.failures import ran_full
from stanch.store.sql import SqlStore
from stanch.store.transaction import Attempt, Op
from stanch.store.verify import Anchors

T = TypeVar("T")

WAITING_MAX = 4_096
TOGETHER_MAX = 256
DUES_US_MAX = 1_000_000
"""A lease that ends by itself frees what is due without a commit: seen this late at most."""
ANSWER_S_MAX = 10.0
"""A disk that hangs fails nothing: whoever has waited this long is told that it does not work."""
HANGS_HINT = "The disk hangs or is overloaded: look at the kernel's log (dmesg)."
STARTING_ANSWER_S_MAX = 120.0
"""Until a responder has taken up what was left it can do nothing without its journal. To give up
earlier would only have the next one begin at the same disk."""


class _SqlTimelines(ABC):
    """Every question and every operation of `Timelines`, however it is brought to the store."""

    def __init__(self, store: SqlStore, *, answer_s: float = ANSWER_S_MAX) -> None:
        self.store = store
        self.answer_s = answer_s
        """So long somebody waits for an answer; what is asked inline waits to its end."""

    @abstractmethod
    async def _write(self, op: Op[T]) -> T: ...

    @abstractmethod
    async def _read(self, question: Callable[[], T]) -> T: ...

    async def _ask(self, query: Callable[[Connection], T]) -> T:
        return await self._read(partial(self.store.read, query))

    async def write(self, op: Op[T]) -> T:
        """Do one operation of another kind of rows, with the same commits as the journal's."""
        return await self._write(op)

    async def ask(self, query: Callable[[Connection], T]) -> T:
        """Ask something of one moment of the store."""
        return await self._ask(query)

    async def append(self, entry: Append) -> tuple[Recorded, ...]:
        """Make events durable. Raises StaleDecision, StoreUnavailable."""
        return await self._write(journal.append(entry))

    async def open_incident(self, at: datetime, first: Append) -> tuple[Recorded, ...]:
        """Like `append`, into a new incident; the id in `first` is replaced."""
        return await self._write(journal.open_incident(at, first))

    async def settled(self) -> None:
        """Wait until whatever was handed over before, with or without an answer, is done or not."""
        await self._write(lambda tx: None)

    async def read(self, incident_id: IncidentId, *, after_seq: int = 0) -> Sequence[Recorded]:
        """The events of one incident in order; empty for one that does not exist."""
        return await self._ask(
            lambda conn: queries.timeline(conn, incident_id, after_seq=after_seq)
        )

    async def incident_ids(self, *, open_only: bool, limit: int) -> Sequence[IncidentId]:
        """Newest first."""
        return await self._ask(
            lambda conn: queries.incident_ids(conn, open_only=open_only, limit=limit)
        )

    async def fulfilled_in(self, obligation: ObligationId) -> IncidentId | None:
        """The timeline in which it was fulfilled, the newest where there are several."""
        return await self._ask(lambda conn: queries.fulfilled_in(conn, obligation))

    async def next_due(self, lane: Lane) -> datetime | None:
        """The earliest moment at which something without a living lease is due.

        Never: tells when a lease will expire; that is measured by another clock.
        """
        now_us = self.store.lease_now_us()
        return await self._ask(lambda conn: wakes.next_due(conn, lane, now_us=now_us))

    async def claim(
        self, lane: Lane, *, at: datetime, lease_s: float, limit: int
    ) -> Sequence[Claim]:
        """Take leases on what is due at `at`, the longest due first."""
        return await self._write(wakes.claim(lane, at=at, lease_s=lease_s, limit=limit))

    async def release(self, claim: Claim, *, retry_at: datetime | None = None) -> None:
        """Give a lease back; `retry_at` puts off what was claimed where nothing moved it since."""
        await self._write(wakes.release(claim, retry_at=retry_at))

    async def put_blob(self, content: bytes) -> BlobKey:
        """Keep content beside the chain; every call makes a new key."""
        return await self._write(keeping.put_blob(content))

    async def erase_blob(self, key: BlobKey, *, at: datetime) -> bool:
        """Remove content for good; the chain still verifies. False: nothing was there."""
        erased = await self._write(keeping.erase_blob(key, at=at))
        await self._read(self.store.fold_log)
        return erased

    async def blob(self, key: BlobKey) -> Blob:
        """Content by its key; None where it was erased or never kept."""
        return await self._ask(lambda conn: queries.kept_blob(conn, key))

    async def put_policy(self, policy_hash: str, text: str) -> None:
        """Keep a policy's text under its hash; keeping it again changes nothing."""
        await self._write(keeping.put_policy(policy_hash, text))

    async def policy_text(self, policy_hash: str) -> str | None:
        """The text of a policy that was in force once."""
        return await self._ask(lambda conn: queries.policy_text(conn, policy_hash))

    def heads(self) -> dict[str, str]:
        """Writer to `n:hash` of its newest durable entry: what to anchor elsewhere."""
        head = self.store.head
        return {self.store.writer_id: f"{head.n}:{head.hash.hex()}"}

    async def verify(self, anchors: Anchors | None = None) -> ChainReport:
        """Walk every chain. Raises StoreCorrupt where the file cannot be read at all."""
        return await self._read(partial(self.store.verify, anchors))


class InlineStore(_SqlTimelines):
    """Does everything at once in the caller's thread: for commands and simulations.

    Never: for the core process, whose event loop an fsync would hold up.
    """

    async def _write(self, op: Op[T]) -> T:
        return self.store.write(op)

    async def _read(self, question: Callable[[], T]) -> T:
        return question()

    async def close(self) -> None:
        self.store.close()


_Waiting = tuple[Op[Any], "Future[Any]"]


class StoreThread(_SqlTimelines):
    """One thread writes, with one commit for all that wait; reads go beside it.

    An awaited operation is durable when it returns. One that is cancelled before its turn does
    not happen; one that is cancelled later does. The same holds for one that nobody waits for any
    longer, because the disk did not answer.
    """

    def __init__(self, store: SqlStore, *, answer_s: float = ANSWER_S_MAX) -> None:
        """Takes the store over: `close` closes it."""
        super().__init__(store, answer_s=answer_s)
        self._waiting: queue.Queue[_Waiting | None] = queue.Queue(WAITING_MAX)
        self._readers = ThreadPoolExecutor(READ_CONNECTIONS_MAX, "stanch-store-read")
        self._entry = Lock()
        self._closing = False
        self._dues: wakes.Dues | None = None
        self._thread = Thread(target=self._work, name="stanch-store-write", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many operations wait for the writing thread."""
        return self._waiting.qsize()

    async def close(self) -> None:
        """Finish what waits, then close the store. May be called twice."""
        with self._entry:
            if not self._closing:
                self._closing = True
                # Beyond the limit if need be: nothing can follow it.
                self._waiting.maxsize = 0
                self._waiting.put(None)
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._readers.shutdown)
        self.store.close()

    async def _write(self, op: Op[T]) -> T:
        future: Future[T] = Future()
        with self._entry:
            if self._closing:
                raise StoreUnavailable("the store is closed", on=self.store.on)
            try:
                self._waiting.put_nowait((op, future))
            except queue.Full:
                raise StoreUnavailable(
                    f"{WAITING_MAX} operations wait already",
                    on=self.store.on,
                    hint="The disk does not keep up: look at its latency.",
                ) from None
        return await self._in_time(asyncio.wrap_future(future))

    async def _ask(self, query: Callable[[Connection], T]) -> T:
        return await self._in_time(super()._ask(query))

    async def next_due(self, lane: Lane) -> datetime | None:
        """As the newest commit left it, where that is no longer ago than `DUES_US_MAX`.

        Every lane asks after every append, and most of what reading costs is changing threads.
        """
        dues = self._dues
        if dues is None or not 0 <= self.store.lease_now_us() - dues.now_us <= DUES_US_MAX:
            return await super().next_due(lane)
        return dues.at.get(lane)

    async def _in_time(self, answer: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self.answer_s):
                return await answer
        except TimeoutError as error:
            raise StoreUnavailable(
                f"no answer within {self.answer_s:g} s",
                on=self.store.on,
                hint=HANGS_HINT,
            ) from error

    async def _read(self, question: Callable[[], T]) -> T:
        if self._closing:
            raise StoreUnavailable("the store is closed", on=self.store.on)
        return await asyncio.get_running_loop().run_in_executor(self._readers, question)

    def _work(self) -> None:
        running = True
        try:
            while running:
                batch = [self._waiting.get()]
                while len(batch) < TOGETHER_MAX and not self._waiting.empty():
                    batch.append(self._waiting.get_nowait())
                running = None not in batch
                started = [w for w in batch if w and w[1].set_running_or_notify_cancel()]
                try:
                    self._commit(started)
                finally:
                    self._give_up(started)
        finally:
            # Reached with work left only through a bug: nobody may wait for ever because of it.
            self._closing = True
            with suppress(queue.Empty):
                while True:
                    self._give_up([w for w in [self._waiting.get_nowait()] if w])

    def _give_up(self, batch: Sequence[_Waiting]) -> None:
        for _, future in batch:
            if not future.done():
                future.set_exception(StoreUnavailable("the store failed", on=self.store.on))

    def _commit(self, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return
        try:
            *attempts, looked = self.store.transact([*(op for op, _ in batch), wakes.dues()])
        except StoreError as error:
            if len(batch) == 1 or not ran_full(error):
                for _, future in batch:
                    future.set_exception(error)
                return
            # One that is too big for the space left must not stop the small ones beside it.
            for one in batch:
                self._commit([one])
            return
        self._dues = looked.results[0] if looked.error is None else None
        for (_, future), attempt in zip(batch, attempts, strict=True):
            _settle(future, attempt)


def _settle(future: Future[Any], attempt: Attempt[Any]) -> None:
    if attempt.error is not None:
        future.set_exception(attempt.error)
    else:
        future.set_result(attempt.results[0])
