"""What the store's tests share: a projection small enough to see through, and short events."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stanch.model.events import (
    Event,
    IncidentAcknowledged,
    IncidentOpened,
    IncidentResolved,
    MessageRaised,
    NoteAdded,
)
from stanch.model.ids import IncidentId, MessageId, ObligationId, PersonId, TargetName, WriterId
from stanch.model.messages import MessageKind
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.model.timeline import Append, Lane, Recorded
from stanch.store.sql import SqlStore

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Due:
    """What the notes of a timeline ask for: `due <lane> <seconds>`, `done <lane>`."""

    seq: int = 0
    lanes: Mapping[Lane, datetime] = field(default_factory=dict[Lane, datetime])


class NotesProjection:
    """Folds notes into wakes; refuses gaps, as the real one does."""

    def __init__(self) -> None:
        self.applied = 0

    def initial(self, incident_id: IncidentId) -> Due:
        return Due()

    def apply(self, state: Due, recorded: Recorded) -> Due:
        assert recorded.seq == state.seq + 1, f"{recorded.seq} after {state.seq}"
        self.applied += 1
        lanes = dict(state.lanes)
        if isinstance(recorded.event, NoteAdded):
            words = recorded.event.text.split()
            if words[:1] == ["due"]:
                lanes[Lane(words[1])] = T0 + timedelta(seconds=float(words[2]))
            if words[:1] == ["done"]:
                lanes.pop(Lane(words[1]), None)
        return replace(state, seq=recorded.seq, lanes=lanes)

    def wakes(self, state: Due) -> Mapping[Lane, datetime | None]:
        return state.lanes


class LeaseClock:
    """The database's clock, moved by the test."""

    def __init__(self) -> None:
        self.us = 1_000_000_000

    def __call__(self) -> int:
        return self.us

    def move(self, seconds: float) -> None:
        self.us += int(seconds * 1_000_000)


class Kit:
    """Short names for what every test needs."""

    T0 = T0
    Projection = NotesProjection
    LeaseClock = LeaseClock

    def __init__(self) -> None:
        self._open: list[SqlStore] = []

    def store(self, path: Path, **more: Any) -> SqlStore:
        store = SqlStore.open(path, NotesProjection(), **more)
        self._open.append(store)
        return store

    def memory(self, **more: Any) -> SqlStore:
        clock = more.pop("lease_clock_us", LeaseClock())
        counter = itertools.count(1)
        return SqlStore.in_memory(
            NotesProjection(),
            writer_id=WriterId("w"),
            lease_clock_us=clock,
            random_bytes=lambda size: next(counter).to_bytes(size, "big"),
            **more,
        )

    def close(self) -> None:
        for store in self._open:
            store.close()

    @staticmethod
    def at(seconds: float) -> datetime:
        return T0 + timedelta(seconds=seconds)

    @staticmethod
    def opened() -> Event:
        target = TargetName("orders")
        symptom = Symptom(kind=SymptomKind.SERVER_DOWN, target=target, since=T0)
        return IncidentOpened(
            target=target,
            title="orders is down",
            symptom=symptom,
            severity_rank=1,
            severity_label="P1",
            severity_reason="test",
            data_at_risk="none seen",
            policy_hash="0",
            page_after_s=0,
        )

    @staticmethod
    def note(text: str = "seen") -> Event:
        return NoteAdded(by=PersonId("ada"), text=text)

    @staticmethod
    def ack() -> Event:
        return IncidentAcknowledged(by=PersonId("ada"), via="cli")

    @staticmethod
    def resolved() -> Event:
        return IncidentResolved(verified=True, reason="serves again")

    @staticmethod
    def page(obligation: str, *, body: str = "") -> Event:
        return MessageRaised(
            id=MessageId(obligation),
            message_kind=MessageKind.PAGE,
            level=1,
            persons=(),
            deliveries=(),
            reason="",
            subject="",
            short="",
            body=body,
            obligation=ObligationId(obligation),
        )

    def entry(
        self, incident_id: str, basis_seq: int, *events: Event, at_s: float = 0, lease: Any = None
    ) -> Append:
        return Append(
            incident_id=IncidentId(incident_id),
            basis_seq=basis_seq,
            at=self.at(at_s),
            events=events,
            lease=lease,
        )


@pytest.fixture
def kit() -> Iterator[Kit]:
    kit = Kit()
    yield kit
    kit.close()


@pytest.fixture
def small_volume() -> Iterator[Callable[[Path, int], Path]]:
    """Mounts size-limited volumes in memory; gone with the test."""
    mounted: list[Path] = []

    def mount(point: Path, megabytes: int) -> Path:
        point.mkdir()
        argv = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(point)]
        subprocess.run(argv, check=True)
        mounted.append(point)
        return point

    yield mount
    for point in mounted:
        subprocess.run(["umount", "-l", str(point)], check=True)
