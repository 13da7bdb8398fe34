"""The store itself, synchronous: one connection that writes, a few that only read."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, insert

from stanch.model.errors import StoreError, StoreLocked, StoreUnavailable
from stanch.model.ids import IncidentId, WriterId
from stanch.model.timeline import ChainReport, Projection
from stanch.store import connect, migrate, queries, statedir, wakes
from stanch.store.chain import Head
from stanch.store.driver import told_apart
from stanch.store.failures import corrupt, from_os
from stanch.store.head import HeadFile, read_head
from stanch.store.journal import stream_of
from stanch.store.mounts import Mount
from stanch.store.schema import meta
from stanch.store.statedir import StateDir
from stanch.store.transaction import Attempt, Draft, Kept, Op, Tx
from stanch.store.verify import Anchors, verify

T = TypeVar("T")


class SqlStore:
    """One database file and the right to write in it.

    Safe to share between threads: writing is one at a time, reading beside it.
    """

    def __init__(
        self,
        *,
        writing: Engine | None,
        reading: Engine,
        projection: Projection[Any],
        state: StateDir | None = None,
        lease_clock_us: Callable[[], int] = connect.machine_clock_us,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Use `open`, `open_reading` or `in_memory`."""
        self.on = str(state.db) if state else "memory"
        self.writer_id = WriterId("")
        self._state = state
        self._writing = writing
        self._reading = reading
        self._projection = projection
        self._lease_clock_us = lease_clock_us
        self._random_bytes = random_bytes
        self._owner = ""
        self._kept = Kept(Head())
        self._turn = RLock()
        self._conn: Connection | None = None
        self._head = HeadFile(state.head) if state else None
        self._held = ExitStack()
        self._file: tuple[int, int] | None = None
        self._alive = False
        self._closed = False

    @classmethod
    def open(
        cls,
        path: Path,
        projection: Projection[Any],
        *,
        lease_clock_us: Callable[[], int] = connect.machine_clock_us,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        mounts: Iterable[Mount] | None = None,
    ) -> SqlStore:
        """Become the writing process of a state directory; make the store where there is none.

        Leases of earlier processes are void afterwards, and wakes are computed anew.
        Raises: StoreLocked, StoreUnsuitable, StoreUnavailable, StoreCorrupt.
        Never: replaces, repairs or shortens a database that is there or was there.
        """
        state = statedir.prepare(path, mounts=mounts)
        with ExitStack() as undo:
            lock = statedir.take_lock(state)
            undo.callback(lock.release)
            with told_apart(str(state.db)):
                _create_where_new(state)
                _check_untouched(state)
                store = cls(
                    writing=connect.writing_engine(state.db),
                    reading=connect.reading_engine(state.db),
                    projection=projection,
                    state=state,
                    lease_clock_us=lease_clock_us,
                    random_bytes=random_bytes,
                )
                undo.callback(store.close)
                store._begin_life()
            undo.pop_all()
            store._held.callback(lock.release)
            return store

    @classmethod
    def open_reading(cls, path: Path, projection: Projection[Any]) -> SqlStore:
        """Look into a store that another process may be writing to; every write is refused.

        Raises: StoreUnsuitable where there is none, StoreCorrupt.
        """
        state = StateDir(path=path)
        if not state.db.is_file():
            raise statedir.no_store(state)
        reading = connect.reading_engine(state.db)
        store = cls(writing=None, reading=reading, projection=projection, state=state)
        with told_apart(store.on):
            store.writer_id = WriterId(store.read(queries.stored_writer) or "")
        return store

    @classmethod
    def in_memory(
        cls,
        projection: Projection[Any],
        *,
        writer_id: WriterId,
        lease_clock_us: Callable[[], int],
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> SqlStore:
        """A store that is gone with the process: the same tables and rules, for simulations."""
        engine = migrate.migrated_memory_engine()
        store = cls(
            writing=engine,
            reading=engine,
            projection=projection,
            lease_clock_us=lease_clock_us,
            random_bytes=random_bytes,
        )
        store.writer_id = writer_id
        store.take_over()
        return store

    def take_over(self) -> None:
        """Begin a new life on this store: leases void, wakes anew, nothing remembered."""
        with told_apart(self.on):
            self._begin_life()

    def transact(self, ops: Sequence[Op[Any]]) -> list[Attempt[Any]]:
        """Do several operations with one commit; each succeeds or is refused by itself.

        Durable once this returns. Raises: StoreUnavailable, StoreCorrupt: then none has happened.
        """
        with self._turn:
            attempts: list[Attempt[Any]] = [Attempt(op) for op in ops]
            try:
                with told_apart(self.on):
                    self._commit(attempts)
            except StoreError:
                self._disconnect()
                raise
            return attempts

    def write(self, op: Op[T]) -> T:
        """Do one operation and commit it."""
        [attempt] = self.transact([op])
        return attempt.outcome()

    def read(self, query: Callable[[Connection], T]) -> T:
        """Ask something of one moment of the store. Raises StoreUnavailable, StoreCorrupt."""
        if self._closed:
            raise StoreUnavailable("the store is closed", on=self.on)
        if self._reading is self._writing:
            with self._turn, told_apart(self.on), self._connected().begin():
                return query(self._connected())
        with told_apart(self.on), self._reading.connect() as conn, conn.begin():
            return query(conn)

    def lease_now_us(self) -> int:
        """The clock leases are measured by."""
        return self._lease_clock_us()

    @property
    def head(self) -> Head:
        """The newest durable entry of this writer."""
        return self._kept.head

    def verify(self, anchors: Anchors | None = None) -> ChainReport:
        """Walk every chain; also against `anchors` and against the head noted in the directory."""
        # Noted before the reading begins, so that it can only be older than what is read.
        noted = self._noted()
        known = dict(anchors or {})
        report = self.read(lambda conn: verify(conn, anchors=known))
        if noted is None or noted.n == 0:
            return report
        own = {self.writer_id: (noted.n, noted.hash.hex())}
        entry = self.read(lambda conn: queries.entry_at(conn, self.writer_id, noted.n))
        if entry is not None and entry.hash == noted.hash:
            return report
        [(writer, (n, digest))] = own.items()
        problem = f"writer {writer!r} entry {n}: not there with the noted hash {digest[:16]}"
        problems = (*report.problems, problem)
        return ChainReport(ok=False, entries=report.entries, heads=report.heads, problems=problems)

    def fold_log(self) -> None:
        """Move everything from the write-ahead log into the file, and empty the log.

        Erased content is gone from the disk only after this. Readers may keep it from finishing.
        """
        with self._turn, told_apart(self.on):
            driver = self._connected().connection.driver_connection
            assert driver is not None
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()

    def close(self) -> None:
        """Let go of the file and the directory. May be called twice."""
        with self._turn:
            self._closed = True
            # The writing connection last: only that one may fold the log back into the file.
            self._reading.dispose()
            self._disconnect()
            if self._writing is not None:
                self._writing.dispose()
            if self._head is not None:
                self._head.close()
            self._held.close()

    # --- inside -----------------------------------------------------------------------------

    def _commit(self, attempts: Sequence[Attempt[Any]]) -> None:
        conn = self._connected()
        self._refuse_moved()
        draft = Draft(self._kept)
        with conn.begin():
            tx = self._tx(conn, draft)
            for attempt in attempts:
                attempt.run(tx)
        draft.publish(self._kept)
        if self._head is not None:
            self._head.write(self._kept.head)

    def _tx(self, conn: Connection, draft: Draft) -> Tx:
        return Tx(
            conn=conn,
            draft=draft,
            projection=self._projection,
            writer_id=self.writer_id,
            owner=self._owner,
            lease_clock_us=self._lease_clock_us,
            random_bytes=self._random_bytes,
        )

    def _connected(self) -> Connection:
        if self._closed:
            raise StoreUnavailable("the store is closed", on=self.on)
        if self._writing is None:
            hint = "Talk to the `stanch run` that writes here, or stop it first."
            raise StoreLocked("was opened for reading only", on=self.on, hint=hint)
        if self._conn is None:
            conn = self._writing.connect()
            try:
                self._find_place(conn)
            except StoreError:
                conn.close()
                raise
            self._file = _identity(self._state) if self._state else None
            self._conn = conn
        return self._conn

    def _refuse_moved(self) -> None:
        """An open file that was deleted takes every write, and loses it with the process."""
        if self._state is None:
            return
        if self._file != _identity(self._state):
            raise StoreUnavailable(
                "the database was moved or deleted while in use",
                on=self.on,
                hint="Put the state directory back as it was, with all its files.",
            )

    def _find_place(self, conn: Connection) -> None:
        """After a failure: is this still our journal, and how far did it come?

        A commit that was reported as failed may have reached the disk after all; then the journal
        is longer than remembered. It can never be shorter.
        """
        if not self._alive:
            return
        with conn.begin():
            found = _checked_head(conn, self.writer_id, self._kept.head, on=self.on)
        if found != self._kept.head:
            self._kept = Kept(found)

    def _disconnect(self) -> None:
        if self._conn is not None and self._state is not None:
            # A memory database is gone with its connection; one on disk is better opened anew.
            self._conn.close()
            assert self._writing is not None
            self._writing.dispose()
            self._reading.dispose()
            self._conn = None

    def _begin_life(self) -> None:
        self._alive = False
        conn = self._connected()
        with conn.begin():
            migrate.upgrade(conn, on=self.on)
            stored = queries.stored_writer(conn)
            if self._state is not None:
                self.writer_id = statedir.writer_id(self._state, stored=stored)
            if stored is None:
                row = {"name": "writer_id", "value": self.writer_id}
                conn.execute(insert(meta), row)
            head = _checked_head(conn, self.writer_id, self._noted(), on=self.on)
        self._kept = Kept(head)
        self._alive = True
        self._owner = f"{self.writer_id}/{self._random_bytes(4).hex()}"
        self.write(wakes.void_leases())
        self._renew_wakes()

    def _renew_wakes(self) -> None:
        """Compute what is due from the timelines: they are the truth, this release the reader."""
        for incident_id in self.read(queries.unfinished):
            self.write(_renewed(incident_id))

    def _noted(self) -> Head | None:
        return read_head(self._state.head) if self._state else None


def _renewed(incident_id: IncidentId) -> Op[None]:
    def run(tx: Tx) -> None:
        stream = stream_of(tx, incident_id)
        due = tx.projection.wakes(stream.state)
        lanes = wakes.recompute(tx, incident_id, due, before=None)
        tx.draft.put(incident_id, replace(stream, lanes=lanes))

    return run


def _identity(state: StateDir) -> tuple[int, int] | None:
    """Which file lies at the database's place now."""
    try:
        info = state.db.stat()
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _checked_head(conn: Connection, writer: WriterId, noted: Head | None, *, on: str) -> Head:
    head = queries.head_of(conn, writer)
    entry = queries.entry_at(conn, writer, noted.n) if noted else None
    queries.check_head(head, noted, entry, on=on)
    return head


def _create_where_new(state: StateDir) -> None:
    try:
        present = state.db.stat().st_size > 0
    except FileNotFoundError:
        present = False
    if present:
        return
    if state.head.exists():
        # An empty file counts as gone: opening it would delete the log that may hold the rest.
        noted = read_head(state.head)
        come = f", though the journal had come to entry {noted.n}" if noted else ""
        raise corrupt(f"the database is gone{come}", on=str(state.db))
    if state.db.exists():
        return
    try:
        connect.create_private(state.db)
        statedir.sync_directory(state.path)
    except OSError as error:
        raise from_os(error, on=str(state.db), doing="create the database") from error


def _check_untouched(state: StateDir) -> None:
    """Look for damage with a connection that cannot write.

    A writing one would tidy up when it closes, and so destroy what could still be rescued.
    """
    if state.db.stat().st_size == 0:
        return
    engine = connect.reading_engine(state.db)
    try:
        with engine.connect() as conn, conn.begin():
            queries.quick_check(conn, on=str(state.db))
            if migrate.revision_of(conn) is not None:
                writer = WriterId(queries.stored_writer(conn) or "")
                _checked_head(conn, writer, read_head(state.head), on=str(state.db))
                for incident_id in queries.unfinished(conn):
                    queries.timeline(conn, incident_id, after_seq=0)
    finally:
        engine.dispose()
