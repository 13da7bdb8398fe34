"""Who receives a server's WAL, who makes it keep WAL, and whether it follows another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stanch.facts.reading import Answer, read_object
from stanch.facts.sql import load

REPLICATION_SQL: Final = load("health_replication")


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """One receiver of this server's WAL. Lag is None where it was not measured."""

    name: str
    address: str
    state: str
    sync_state: str
    replay_lag_s: float | None
    replay_lag_bytes: int | None
    replays: bool
    """False: it only stores what it receives, as pg_receivewal does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    name: str
    kind: str
    active: bool
    wal_status: str
    safe_bytes: int | None
    """What may still be written before the slot is lost; None where nothing limits it."""
    retained_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """Of a standby: how it follows."""

    status: str
    """Of the process that receives; empty where none runs."""
    host: str
    heard_age_s: float | None
    replay_age_s: float | None
    """Since the newest transaction replayed; grows also while the primary is idle."""
    replayed_all: bool | None
    paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationRead:
    receivers: tuple[Receiver, ...]
    slots: tuple[Slot, ...]
    following: Following | None
    """None: this is a primary."""


def parse_replication(payload: object) -> ReplicationRead:
    """What the answer to REPLICATION_SQL says. Raises ProbeFailed."""
    answer = read_object(payload, "replication")
    return ReplicationRead(
        receivers=tuple(_receiver(part) for part in answer.parts("receivers")),
        slots=tuple(_slot(part) for part in answer.parts("slots")),
        following=_following(answer) if answer.flag("in_recovery") else None,
    )


def _receiver(part: Answer) -> Receiver:
    return Receiver(
        name=part.text("name"),
        address=part.text("address"),
        state=part.text("state"),
        sync_state=part.text("sync_state"),
        replay_lag_s=part.age_s("replay_lag_s"),
        replay_lag_bytes=part.whole_or_none("replay_lag_bytes"),
        replays=part.flag("replays"),
    )


def _slot(part: Answer) -> Slot:
    return Slot(
        name=part.text("name"),
        kind=part.text("type"),
        active=part.flag("active"),
        wal_status=part.text("wal_status"),
        safe_bytes=part.whole_or_none("safe_bytes"),
        retained_bytes=part.whole_or_none("retained_bytes"),
    )


def _following(answer: Answer) -> Following:
    source = answer.part_or_none("source")
    return Following(
        status=source.text("status") if source else "",
        host=source.text("host") if source else "",
        heard_age_s=source.age_s("heard_age_s") if source else None,
        replay_age_s=answer.age_s("replay_age_s"),
        replayed_all=answer.fields.get("replayed_all") is True,
        paused=answer.fields.get("replay_paused") is True,
    )
