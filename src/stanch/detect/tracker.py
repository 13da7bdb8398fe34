"""Conditions over time: when one becomes a symptom, and when that symptom is over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from stanch.model.ids import TargetName
from stanch.model.symptoms import Symptom, SymptomKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What one rule says about one reading: bad, good, or (None) cannot tell."""

    kind: SymptomKind
    bad: bool | None
    subject: str = ""
    measured: float | None = None
    limit: float | None = None
    unit: str = ""
    detail: str = ""
    since: datetime | None = None
    """Onset where the reading itself knows it, such as the oldest waiter's start."""
    hold_s: float = 0.0
    """How long it must stay bad before it is a symptom; 0 where it was already confirmed."""

    @property
    def key(self) -> str:
        return f"{self.kind.value}:{self.subject}" if self.subject else self.kind.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    symptom: Symptom


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    key: str
    detail: str


Change = Raised | Cleared


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One condition's recent past."""

    bad_since: datetime | None = None
    good_since: datetime | None = None
    standing: bool = False


Tracks = Mapping[str, Track]


def step(
    tracks: Tracks,
    conditions: Iterable[Condition],
    *,
    target: TargetName,
    at: datetime,
    clear_hold_s: float,
) -> tuple[Tracks, tuple[Change, ...]]:
    """The tracks after one sample, and what changed by it."""
    after, changes = dict(tracks), list[Change]()
    for condition in conditions:
        track = after.get(condition.key, Track())
        moved, change = _move(track, condition, target=target, at=at, clear_hold_s=clear_hold_s)
        after[condition.key] = moved
        if change is not None:
            changes.append(change)
    return after, tuple(changes)


def _move(
    track: Track, condition: Condition, *, target: TargetName, at: datetime, clear_hold_s: float
) -> tuple[Track, Change | None]:
    match condition.bad:
        case None:
            # Unknown: a run of bad readings is not broken by it, nor is a run of good ones proven.
            return replace(track, good_since=None), None
        case True:
            return _bad(track, condition, target, at)
        case False:
            return _good(track, condition, at, clear_hold_s)
        case _:
            assert_never(condition.bad)


def _bad(
    track: Track, condition: Condition, target: TargetName, at: datetime
) -> tuple[Track, Change | None]:
    bad_since = track.bad_since or condition.since or at
    seen = replace(track, bad_since=bad_since, good_since=None)
    held = at - (track.bad_since or at) >= timedelta(seconds=condition.hold_s)
    if track.standing or not held:
        return seen, None
    symptom = Symptom(
        kind=condition.kind,
        target=target,
        since=min(condition.since or bad_since, at),
        subject=condition.subject,
        measured=condition.measured,
        limit=condition.limit,
        unit=condition.unit,
        detail=condition.detail,
    )
    return replace(seen, standing=True), Raised(symptom=symptom)


def _good(
    track: Track, condition: Condition, at: datetime, clear_hold_s: float
) -> tuple[Track, Change | None]:
    if not track.standing:
        return Track(), None
    good_since = track.good_since or at
    if at - good_since < timedelta(seconds=clear_hold_s):
        return replace(track, good_since=good_since), None
    return Track(), Cleared(key=condition.key, detail=condition.detail)
