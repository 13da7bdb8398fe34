"""What somebody outside says about a target: alerts of other monitors, reports of people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from stanch.model.ids import IncidentId, TargetName


class SignalStatus(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"


Bounded = Literal[
    "starts_in_the_future", "starts_long_ago", "labels", "links", "text", "key", "too_many_keys"
]
"""What of a signal was cut or replaced because it was beyond the limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One alert or report, in one state, as its source tells it. Every text is printable."""

    source: str
    """The source's name in the policy."""
    key: str
    """What tells this alert from the others of its source; the same in every repeat."""
    status: SignalStatus
    title: str
    severity: str = ""
    """The source's own word, such as `critical` or `P1`; empty where it gives none."""
    detail: str = ""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    occurred_at: datetime | None = None
    """When the state changed, where the source says so: news older than that changes nothing."""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    links: tuple[str, ...] = ()
    reported: bool = False
    """A person says it, so only a person can say that it is over."""
    digest: str = ""
    """Hex SHA-256 of the payload it came in."""
    bounded: tuple[Bounded, ...] = ()


RefusedBecause = Literal[
    "malformed", "unknown_shape", "too_large", "unauthorized", "ignored", "busy", "store"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why something that arrived is no signal, in a closed word for counting and a sentence."""

    because: RefusedBecause
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What one payload holds: the usable part of it, and why the rest is not."""

    signals: tuple[Signal, ...] = ()
    refused: tuple[Refused, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """A signal with what the policy makes of it."""

    signal: Signal
    target: TargetName | None
    """None: it matches no target."""
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSignal:
    """Everything that was heard under one key of one source, collapsed into one row."""

    id: str
    signal: Signal
    target: TargetName | None
    rank: int
    first_at: datetime
    heard_at: datetime
    """The newest arrival, repeats included."""
    changed_at: datetime
    """The newest change of state."""
    count: int = 1
    """How often it arrived."""
    changes: int = 1
    """How often it changed between firing and resolved."""
    told: SignalStatus | None = None
    """What the incident was told last; it is owed the state where that is another one."""
    owed_at: datetime | None = None
    """From when the incident is to be told; None: it knows."""
    incident_id: IncidentId | None = None
    symptom: str = ""
    """Under which key the incident knows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What is kept of a heartbeat that has to arrive."""

    name: str
    since: datetime
    """When it was first waited for."""
    heard_at: datetime | None = None
    count: int = 0
    grace_from: datetime | None = None
    """The first start of the responder in the present silence."""
