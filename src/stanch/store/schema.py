"""The tables, for queries; `migrations/` makes them, and a test keeps the two alike."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)


class StoredBytes(LargeBinary):
    """Bytes as they are: the usual conversion would turn a damaged number n into n zero bytes."""

    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        return None


metadata = MetaData()

journal = Table(
    "journal",
    metadata,
    Column("writer_id", Text, nullable=False),
    Column("n", Integer, nullable=False),
    Column("incident_id", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("basis_seq", Integer, nullable=False),
    Column("at_us", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("prev_hash", StoredBytes, nullable=False),
    Column("hash", StoredBytes, nullable=False),
    Column("body", StoredBytes, nullable=False),
    PrimaryKeyConstraint("writer_id", "n"),
    UniqueConstraint("incident_id", "seq"),
)

incident = Table(
    "incident",
    metadata,
    Column("incident_id", Text, primary_key=True),
    # The writer's n of the first event: ids alone do not sort past 999 a day.
    Column("opened_n", Integer, nullable=False),
    Column("opened_us", Integer, nullable=False),
    Column("is_open", Integer, nullable=False),
)

wake = Table(
    "wake",
    metadata,
    Column("incident_id", Text, nullable=False),
    Column("lane", Text, nullable=False),
    # NULL: nothing is due. The row stays, because its epoch must never start again.
    Column("due_us", Integer),
    Column("owner", Text),
    Column("epoch", Integer, nullable=False),
    Column("lease_until_us", Integer),
    PrimaryKeyConstraint("incident_id", "lane"),
    Index("wake_due", "lane", "due_us"),
)

fired = Table(
    "fired",
    metadata,
    Column("incident_id", Text, nullable=False),
    Column("obligation", Text, nullable=False),
    PrimaryKeyConstraint("incident_id", "obligation"),
    # A command that opened an incident cannot name it.
    Index("fired_obligation", "obligation"),
)

blob = Table(
    "blob",
    metadata,
    Column("key", Text, primary_key=True),
    # Erasing takes the salt as well: with it, short content could be guessed from the key.
    Column("salt", StoredBytes),
    Column("content", StoredBytes),
    Column("erased_us", Integer),
)

policy = Table(
    "policy",
    metadata,
    Column("hash", Text, primary_key=True),
    Column("text", Text, nullable=False),
    # Over name and text, so that damage shows: `hash` is the policy room's own figure.
    Column("digest", StoredBytes, nullable=False),
)

signal = Table(
    "signal",
    metadata,
    # Of source and key: whatever a source calls its alerts, this stays short.
    Column("id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("starts_us", Integer),
    Column("ends_us", Integer),
    Column("occurred_us", Integer),
    Column("labels", Text, nullable=False),
    Column("links", Text, nullable=False),
    Column("reported", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("target", Text),
    Column("rank", Integer, nullable=False),
    Column("first_us", Integer, nullable=False),
    Column("heard_us", Integer, nullable=False),
    Column("changed_us", Integer, nullable=False),
    Column("times", Integer, nullable=False),
    Column("changes", Integer, nullable=False),
    # What the incident was told last; NULL: nothing.
    Column("told", Text),
    # From when the incident is owed the present state; NULL: it knows.
    Column("owed_us", Integer),
    Column("incident_id", Text),
    Column("symptom", Text, nullable=False),
    Index("signal_owed", "owed_us"),
    Index("signal_of_source", "source", "status", "heard_us"),
    Index("signal_of_incident", "incident_id"),
)

heartbeat = Table(
    "heartbeat",
    metadata,
    Column("name", Text, primary_key=True),
    Column("since_us", Integer, nullable=False),
    Column("heard_us", Integer),
    Column("times", Integer, nullable=False),
    # The first start of the responder in the present silence; a beat clears it.
    Column("grace_us", Integer),
)

usual = Table(
    "usual",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("target", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("learned_us", Integer, nullable=False),
    Column("content", StoredBytes, nullable=False),
    UniqueConstraint("target", "rule", "subject"),
    Index("usual_by_age", "learned_us"),
)

change = Table(
    "change",
    metadata,
    # Of the target and what makes the change this one: told twice, it is there once.
    Column("id", Text, primary_key=True),
    # Empty: of every target.
    Column("target", Text, nullable=False),
    Column("at_us", Integer, nullable=False),
    Column("since_us", Integer),
    Column("kind", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("source", Text, nullable=False),
    Column("done_by", Text, nullable=False),
    Column("how", Text, nullable=False),
    Column("link", Text, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("times", Integer, nullable=False),
    Index("change_of_target", "target", "at_us"),
    Index("change_at", "at_us"),
)

inventory = Table(
    "inventory",
    metadata,
    Column("target", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("digest", StoredBytes, nullable=False),
    # Packed; empty where it is too large to be kept.
    Column("content", StoredBytes, nullable=False),
    PrimaryKeyConstraint("target", "place"),
)

looked = Table(
    "looked",
    metadata,
    Column("target", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("at_us", Integer, nullable=False),
    PrimaryKeyConstraint("target", "lane"),
)

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

TRIGGERS = {
    "journal_no_update": """
        CREATE TRIGGER journal_no_update BEFORE UPDATE ON journal
        BEGIN SELECT RAISE(ABORT, 'events are never changed'); END""",
    "journal_no_delete": """
        CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal
        BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END""",
    # REPLACE deletes without firing delete triggers, so an insert may only ever extend.
    "journal_only_extended": """
        CREATE TRIGGER journal_only_extended BEFORE INSERT ON journal
        WHEN NEW.n <> 1 + (SELECT coalesce(max(n), 0) FROM journal
                           WHERE writer_id = NEW.writer_id)
          OR NEW.seq <> 1 + (SELECT coalesce(max(seq), 0) FROM journal
                             WHERE incident_id = NEW.incident_id)
        BEGIN SELECT RAISE(ABORT, 'events are only ever appended'); END""",
}
"""What keeps the journal append-only against every program that opens the file."""
