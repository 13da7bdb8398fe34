"""Conditions over time: when one becomes a symptom, and when that symptom is over.

A condition that comes back again and again is damped: from its second return within ten minutes on,
each has to be good twice as long as the one before until it counts as over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from stanch.model.ids import TargetName
from stanch.model.symptoms import Symptom, SymptomKind

DAMP_WINDOW_S = 600.0
"""A return later than this after it was over is a new story."""

DAMPED_MAX_S = 900.0
"""No symptom has to be good for longer than this until it is over."""


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
    clear_hold_s: float | None = None
    """How long it must stay good until it is over; None: what holds for the target."""
    damped: bool = False
    """Whether it takes longer to be over each time it comes back."""
    anew: bool = False
    """It happened once more just now: what is told of the time before does not tell of it."""
    lapsed: bool = False
    """It still is so, and is good only because it counts as usual from now on."""

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
    lapsed: bool = False
    """It still is so: it is only no longer told."""


Change = Raised | Cleared


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One condition's recent past."""

    bad_since: datetime | None = None
    good_since: datetime | None = None
    standing: bool = False
    over_at: datetime | None = None
    """When it was last over; kept only while a return would count as one."""
    returns: int = 0
    """How often it has come back so far."""
    anew: bool = False
    """It happened once more since it was told."""


IDLE = Track()
"""Nothing to remember; such a track is not kept."""

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
        key = condition.key
        track = after.get(key, IDLE)
        moved, change = _move(track, condition, target=target, at=at, clear_hold_s=clear_hold_s)
        if moved is not IDLE:
            after[key] = moved
        else:
            after.pop(key, None)
        if change is not None:
            changes.append(change)
    return after, tuple(changes)


def _move(
    track: Track, condition: Condition, *, target: TargetName, at: datetime, clear_hold_s: float
) -> tuple[Track, Change | None]:
    match condition.bad:
        case None:
            # Unknown: a run of bad readings is not broken by it, nor is a run of good ones proven.
            return track if track.good_since is None else replace(track, good_since=None), None
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
    anew = track.standing and condition.anew
    if anew:
        bad_since = at
    seen = replace(track, bad_since=bad_since, good_since=None, anew=anew or track.anew)
    held = at - (track.bad_since or at) >= _seconds(condition.hold_s)
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
    came_back = track.over_at is not None and at - track.over_at <= _seconds(DAMP_WINDOW_S)
    returns = track.returns + 1 if came_back and condition.damped else 0
    return replace(seen, standing=True, returns=returns), Raised(symptom=symptom)


def _good(
    track: Track, condition: Condition, at: datetime, clear_hold_s: float
) -> tuple[Track, Change | None]:
    if not track.standing:
        if track.over_at is None or at - track.over_at > _seconds(DAMP_WINDOW_S):
            return IDLE, None
        return replace(track, bad_since=None, good_since=None), None
    good_since = track.good_since or at
    if at - good_since < _seconds(clear_after_s(track, condition, clear_hold_s)):
        return replace(track, good_since=good_since), None
    cleared = Cleared(key=condition.key, detail=condition.detail, lapsed=condition.lapsed)
    past = Track(over_at=at, returns=track.returns) if condition.damped else IDLE
    return past, cleared


def clear_after_s(track: Track, condition: Condition, clear_hold_s: float) -> float:
    """How long this one has to be good: doubled with every return but the first."""
    own_s = clear_hold_s if condition.clear_hold_s is None else condition.clear_hold_s
    return min(own_s * 2 ** max(0, track.returns - 1), max(own_s, DAMPED_MAX_S))


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)
