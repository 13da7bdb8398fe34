"""What was usual before it began, and what came since: the flight recorder, condensed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import fmean, median

Series = tuple[str, str]
"""Name and subject."""
Points = Sequence[tuple[datetime, float]]
"""Oldest first."""

USUAL_S = 1800.0
"""So long before the onset counts as usual."""
SETTLED_S = 5.0
"""Nobody notices in the very second: the last moments before the onset belong to neither."""
POINTS_MIN = 5
"""Fewer looks than this say nothing about what is usual."""
RECENT_S = 30.0
"""What is as old as this at the end is what is so now."""
COURSES_MAX = 400
TRACKED = (
    "client_backends",
    "active_sessions",
    "sessions_waiting_on_lock",
    "commits_total",
    "rollbacks_total",
    "wal_bytes_total",
    "volume_free_bytes",
    "replay_lag_bytes_max",
    "slot_retained_bytes_max",
    "oldest_xact_age_s",
)
TRACKS_MAX = 12
TRACK_STEPS = 120
TRACK_BEFORE_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One number over time. Of a counter (`_total`) every value is how much it grew a second."""

    name: str
    subject: str
    usual: float | None = None
    """The median before the onset; None: too few looks."""
    high: float | None = None
    """The highest before the onset."""
    low: float | None = None
    now: float | None = None
    """The median of the last moments; None: it is not read any more."""
    peak: float | None = None
    """The highest since the onset."""
    trough: float | None = None
    """The lowest since the onset."""
    lead: float | None = None
    """The highest of the seconds before the onset, which are not counted as usual: whoever reports
    trouble does so when it has begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One number as a curve, for whoever wants to look; of a counter, how fast it grew."""

    name: str
    subject: str
    begins_at: datetime
    step_s: float
    values: tuple[float | None, ...]
    """The mean of each step; None: nothing was read in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The recording of one target around an onset."""

    begins_at: datetime
    ends_at: datetime
    onset: datetime
    courses: tuple[Course, ...]
    tracks: tuple[Track, ...] = ()

    def of(self, name: str, subject: str = "") -> Course | None:
        return next((c for c in self.courses if c.name == name and c.subject == subject), None)

    def named(self, name: str) -> tuple[Course, ...]:
        return tuple(course for course in self.courses if course.name == name)


def history_from(
    frames: Iterable[tuple[datetime, Mapping[Series, float]]], *, onset: datetime
) -> History | None:
    """The courses of all numbers in a recording; None where nothing was recorded."""
    points: dict[Series, list[tuple[datetime, float]]] = defaultdict(list)
    first = last = None
    for at, values in frames:
        first, last = first or at, at
        for series, value in values.items():
            points[series].append((at, value))
    if first is None or last is None:
        return None
    courses = [_course(series, points[series], onset, last) for series in sorted(points)]
    return History(
        begins_at=first,
        ends_at=last,
        onset=onset,
        courses=tuple(courses[:COURSES_MAX]),
        tracks=tuple(_tracks(points, onset, last)),
    )


def _tracks(points: Mapping[Series, Points], onset: datetime, ends_at: datetime) -> Iterator[Track]:
    """Curves of the numbers people look at first, from some minutes before the onset."""
    begins_at = max(onset - timedelta(seconds=TRACK_BEFORE_S), ends_at - timedelta(hours=1))
    step_s = max(1.0, (ends_at - begins_at).total_seconds() / TRACK_STEPS)
    shown = [series for name in TRACKED for series in sorted(points) if series[0] == name]
    for name, subject in shown[:TRACKS_MAX]:
        seen = points[name, subject]
        curve = [*_growth(seen)] if name.endswith("_total") else seen
        yield Track(
            name=name,
            subject=subject,
            begins_at=begins_at,
            step_s=step_s,
            values=_means(curve, begins_at, step_s),
        )


def _means(points: Points, begins_at: datetime, step_s: float) -> tuple[float | None, ...]:
    steps: list[list[float]] = [[] for _ in range(TRACK_STEPS)]
    for at, value in points:
        step = int((at - begins_at).total_seconds() / step_s)
        if at >= begins_at:
            steps[min(step, TRACK_STEPS - 1)].append(value)
    return tuple(round(fmean(step), 6) if step else None for step in steps)


def _course(series: Series, points: Points, onset: datetime, ends_at: datetime) -> Course:
    name, subject = series
    seen = [*_growth(points)] if name.endswith("_total") else points
    until = onset - timedelta(seconds=SETTLED_S)
    since = onset - timedelta(seconds=USUAL_S)
    before = [value for at, value in seen if since <= at <= until]
    after = [value for at, value in seen if at > onset]
    recent = [value for at, value in seen if at > ends_at - timedelta(seconds=RECENT_S)]
    # What began seconds ago must not be drowned by the seconds before.
    lately = [value for at, value in seen if at > max(onset, ends_at - timedelta(seconds=RECENT_S))]
    told = len(before) >= POINTS_MIN
    return Course(
        name=name,
        subject=subject,
        usual=median(before) if told else None,
        high=max(before) if told else None,
        low=min(before) if told else None,
        now=median(lately or recent) if recent else None,
        peak=max(after, default=None),
        trough=min(after, default=None),
        lead=max((value for at, value in seen if until < at <= onset), default=None),
    )


def _growth(points: Points) -> Iterator[tuple[datetime, float]]:
    """How much a counter grew a second between two looks; a reset is no growth."""
    for (before_at, before), (at, value) in pairwise(points):
        seconds = (at - before_at).total_seconds()
        if seconds > 0 and value >= before:
            yield at, (value - before) / seconds
