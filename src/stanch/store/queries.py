"""What can be asked of the store; each question is answered from one moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import Connection, select

from stanch.model.ids import BlobKey, IncidentId, ObligationId
from stanch.model.timeline import Blob, Recorded
from stanch.store.chain import COLUMNS, Entry, Head, entry_from, entry_hash, storable
from stanch.store.failures import corrupt
from stanch.store.journal import checked_timeline
from stanch.store.schema import blob, fired, incident, journal, meta, policy, wake

_COLUMNS = [journal.c[name] for name in COLUMNS]


def timeline(conn: Connection, incident_id: IncidentId, *, after_seq: int) -> list[Recorded]:
    """The events of one incident in order; empty for an incident that does not exist.

    Raises: StoreCorrupt where one of them is not as it was written.
    """
    return list(checked_timeline(conn, storable(incident_id), after_seq=after_seq))


def unfinished(conn: Connection) -> list[IncidentId]:
    """Incidents that are open, and timelines in which something is due."""
    known = select(incident.c.incident_id).where(incident.c.is_open != 0)
    due = select(wake.c.incident_id).where(wake.c.due_us.is_not(None))
    return [IncidentId(row[0]) for row in conn.execute(known.union(due))]


def incident_ids(conn: Connection, *, open_only: bool, limit: int) -> Sequence[IncidentId]:
    """Newest first, by the order in which they were opened."""
    wanted = select(incident.c.incident_id).order_by(incident.c.opened_n.desc()).limit(limit)
    if open_only:
        wanted = wanted.where(incident.c.is_open != 0)
    return [IncidentId(row[0]) for row in conn.execute(wanted)]


def fulfilled_in(conn: Connection, obligation: ObligationId) -> IncidentId | None:
    """The timeline in which it was fulfilled, the newest where there are several."""
    wanted = select(fired.c.incident_id).where(fired.c.obligation == storable(obligation))
    newest = conn.execute(wanted.order_by(fired.c.incident_id.desc()).limit(1)).scalar()
    return None if newest is None else IncidentId(newest)


def kept_blob(conn: Connection, key: BlobKey) -> Blob:
    """Content by its key; None where it was erased, and where no such key was ever kept."""
    wanted = select(blob.c.content).where(blob.c.key == storable(key))
    return Blob(key=key, content=conn.execute(wanted).scalar())


def policy_text(conn: Connection, policy_hash: str) -> str | None:
    """The text of a policy that was in force once."""
    wanted = select(policy.c.text).where(policy.c.hash == storable(policy_hash))
    return conn.execute(wanted).scalar()


def entry_at(conn: Connection, writer_id: str, n: int) -> Entry | None:
    """One journal entry by its place."""
    wanted = select(*_COLUMNS).where(journal.c.writer_id == writer_id, journal.c.n == n)
    row = conn.execute(wanted).first()
    return None if row is None else entry_from(tuple(row))


def head_of(conn: Connection, writer_id: str) -> Head:
    """The newest entry of a writer. Raises StoreCorrupt where that entry does not verify."""
    wanted = (
        select(*_COLUMNS)
        .where(journal.c.writer_id == writer_id)
        .order_by(journal.c.n.desc())
        .limit(1)
    )
    row = conn.execute(wanted).first()
    if row is None:
        return Head()
    entry = entry_from(tuple(row))
    if entry.hash != entry_hash(entry):
        raise corrupt("its content does not match its hash", on=entry.place)
    return Head(n=entry.n, hash=entry.hash)


def stored_writer(conn: Connection) -> str | None:
    """The writer this database belongs to."""
    return conn.execute(select(meta.c.value).where(meta.c.name == "writer_id")).scalar()


def quick_check(conn: Connection, *, on: str) -> None:
    """Read every page once. Raises StoreCorrupt. Cost: the whole file."""
    first = str(cast("Any", conn.exec_driver_sql("PRAGMA quick_check(1)").scalar()))
    if first != "ok":
        raise corrupt(f"the database file is damaged: {first}", on=on)


def check_head(found: Head, noted: Head | None, entry: Entry | None, *, on: str) -> None:
    """Compare the journal with what was noted beside it; `entry` is the one the note names.

    Raises StoreCorrupt where entries are missing, or the named one is another.
    """
    if noted is None or noted.n == 0:
        return
    if found.n < noted.n:
        raise corrupt(
            f"the journal ends at entry {found.n}, but had come to {noted.n}: its end is missing",
            on=on,
        )
    if entry is None or entry.hash != noted.hash:
        raise corrupt(f"entry {noted.n} is not the one that was written", on=on)
