"""Entries of the one record, and what a store of them promises.

The promises, with their reasons, are docs/adr/0001-events-wakes-leases-journals.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeVar

from stanch.model.events import Event
from stanch.model.ids import BlobKey, IncidentId, WriterId

State = TypeVar("State")


class Lane(StrEnum):
    """Three queues of due work that never wait for each other."""

    CLOCK = "clock"
    """Deadlines that only append decisions: escalations, expiries, stability windows."""
    DELIVER = "deliver"
    """Messages to hand over."""
    ACT = "act"
    """Everything that reads or touches a target: diagnose, plan, step, verify."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One event at its place in one timeline.

    `event` is an `UnknownEvent` where this release does not know the kind: shown, never decided on.
    """

    incident_id: IncidentId
    seq: int
    """1, 2, 3, ... within the incident, without gaps."""
    at: datetime
    event: Event
    writer_id: WriterId
    n: int
    """1, 2, 3, ... within the writer's journal, without gaps."""
    basis_seq: int
    """The last `seq` its writer had read."""
    hash: bytes

    @property
    def late(self) -> bool:
        """A fact written down by somebody who had not read the newest events."""
        return self.basis_seq != self.seq - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Events to add to one timeline.

    With `basis_seq` behind the head, decisions are refused (StaleDecision) and the whole append
    with them; an append of facts only is rebased onto the head.
    """

    incident_id: IncidentId
    basis_seq: int
    at: datetime
    events: tuple[Event, ...]
    lease: Claim | None = None
    """Given: refused (StaleDecision) unless this lease is still held at this epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A lease on one lane of one incident."""

    incident_id: IncidentId
    lane: Lane
    owner: str
    epoch: int
    due_at: datetime


class Projection(Protocol[State]):
    """How a store keeps wakes true: it folds events and asks what is due next.

    Implemented in the `incident` room, handed to the store, so that wakes are recomputed in the
    very transaction of every append.
    """

    def initial(self, incident_id: IncidentId) -> State: ...

    def apply(self, state: State, recorded: Recorded) -> State: ...

    def wakes(self, state: State) -> Mapping[Lane, datetime | None]:
        """The earliest due moment per lane; None or absent: nothing is due there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainReport:
    """What verifying a journal found. `ok` only if every entry of every chain verifies."""

    ok: bool
    entries: int
    heads: Mapping[WriterId, str]
    """Writer to `N:HASH` of its newest entry; with the writer in front that is an anchor."""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Bulky or personal content beside the chain; erasing it leaves the chain verifiable."""

    key: BlobKey
    content: bytes | None
    """None: erased."""


Timeline = Sequence[Recorded]
