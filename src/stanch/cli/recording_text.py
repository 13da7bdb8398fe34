"""A recording as lines for a terminal, and as one JSON value."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from stanch.cli.sparkline import Point, buckets, rates, sparkline
from stanch.model.codec import to_iso
from stanch.model.shown import human_bytes, moment, shortened, span
from stanch.store.recorder.reading import Recording, Said

SCHEMA = "stanch.recording/1"
LABEL_CELLS = 22
NUMBER_CELLS = 13
CELLS_MIN = 16
SAID_MAX = 12
GAP_S = 5.0
"""Looks come once a second; a longer pause is told."""
TEXT_CHARS_MAX = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One line of the picture."""

    label: str
    names: tuple[str, ...]
    """Added up where there are several."""
    rate: bool = False
    unit: Literal["", "bytes", "s"] = ""
    lowest: bool = False
    """The least of all subjects and moments is what matters, not the most."""
    of_log: bool = False


ROWS = (
    _Row(label="connections", names=("backends",)),
    _Row(label="active", names=("active_sessions",)),
    _Row(label="waiting for a lock", names=("sessions_waiting_on_lock",)),
    _Row(label="idle in transaction", names=("idle_in_transaction_sessions",)),
    _Row(label="oldest transaction", names=("oldest_xact_age_s",), unit="s"),
    _Row(label="transactions a second", names=("commits_total", "rollbacks_total"), rate=True),
    _Row(label="logins a second", names=("sessions_total",), rate=True),
    _Row(label="WAL a second", names=("wal_bytes_total",), rate=True, unit="bytes"),
    _Row(label="replay lag", names=("replay_lag_bytes_max",), unit="bytes"),
    _Row(label="replay lag", names=("replay_lag_s",), unit="s"),
    _Row(label="WAL kept by slots", names=("slot_retained_bytes_max",), unit="bytes"),
    _Row(label="free space", names=("volume_free_bytes",), unit="bytes", lowest=True),
)
CLASS_OF_LOG = "log_class_total"
CLASSES_MAX = 6


def recording_lines(recording: Recording, *, columns: int) -> Iterator[str]:
    """What was going on, oldest on the left; then what changed, and who was there at the peak."""
    yield _head(recording)
    if not recording.frames:
        yield "  no values in it"
    else:
        yield from _picture(recording, max(CELLS_MIN, columns - LABEL_CELLS - 2 * NUMBER_CELLS - 4))
    yield from _said("States", recording.states, _state)
    yield from _said("Notes", recording.notes, _note)
    yield from _busiest(recording)
    if recording.damaged:
        yield f"{recording.damaged} stretches were damaged and are left out."


def _head(recording: Recording) -> str:
    frames = recording.frames
    if not frames:
        return f"{recording.target}  made {moment(recording.created_at)}"
    first, last = frames[0].at, frames[-1].at
    length = span((last - first).total_seconds())
    pauses = _gaps([frame.at for frame in frames])
    told = f", {len(pauses)} pauses, the longest {span(max(pauses))}" if pauses else ""
    return f"{recording.target}  {moment(first)} + {length}  ({len(frames)} looks{told})"


def _gaps(moments: Sequence[datetime]) -> list[float]:
    pairs = itertools.pairwise(moments)
    passed = [(after - before).total_seconds() for before, after in pairs]
    return [seconds for seconds in passed if seconds > GAP_S]


def _picture(recording: Recording, cells: int) -> Iterator[str]:
    begin_s = recording.frames[0].at.timestamp()
    end_s = recording.frames[-1].at.timestamp()
    yield f"{'':<{LABEL_CELLS}}{'at most':>{NUMBER_CELLS}}{'at last':>{NUMBER_CELLS}}"
    for row in (*ROWS, *_classes(recording)):
        points = _points(recording, row)
        if not points:
            continue
        pick = min if row.lowest else max
        line = sparkline(buckets(points, begin_s=begin_s, end_s=end_s, cells=cells, pick=pick))
        peak = _number(pick(value for _, value in points), row)
        peak = f"≥ {peak}" if row.lowest else peak
        last = _number(points[-1][1], row)
        label = shortened(row.label, LABEL_CELLS - 1)
        yield f"{label:<{LABEL_CELLS}}{peak:>{NUMBER_CELLS}}{last:>{NUMBER_CELLS}}  {line}".rstrip()


def _classes(recording: Recording) -> list[_Row]:
    """Classes of log lines that came up, the most frequent first."""
    counts: dict[str, float] = {}
    last = recording.frames[-1].values
    first = recording.frames[0].values
    for (name, subject), value in last.items():
        if name == CLASS_OF_LOG and value > first.get((name, subject), 0.0):
            counts[subject] = value - first.get((name, subject), 0.0)
    busiest = sorted(counts, key=lambda subject: -counts[subject])[:CLASSES_MAX]
    return [
        _Row(label=f"log: {s}", names=(f"{CLASS_OF_LOG} {s}",), rate=True, of_log=True)
        for s in busiest
    ]


def _points(recording: Recording, row: _Row) -> list[Point]:
    found: list[Point] = []
    combine: Callable[[list[float]], float] = min if row.lowest else sum
    for frame in recording.frames:
        values = [
            value
            for (name, subject), value in frame.values.items()
            if name in row.names or (subject and f"{name} {subject}" in row.names)
        ]
        if not values and row.of_log and any(n == CLASS_OF_LOG for n, _ in frame.values):
            # A class is told from its first line on; the log was read, and there was none.
            values = [0.0]
        if values:
            found.append((frame.at.timestamp(), combine(values)))
    return rates(found) if row.rate else found


def _number(value: float, row: _Row) -> str:
    if row.unit == "bytes":
        return human_bytes(value)
    if row.unit == "s":
        return span(value)
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _said(title: str, every: Sequence[Said], words: Callable[[Said], str]) -> Iterator[str]:
    if not every:
        return
    yield f"{title}:"
    if len(every) > SAID_MAX:
        yield f"  ({len(every) - SAID_MAX} earlier ones left out; --json has all)"
    for said in every[-SAID_MAX:]:
        yield f"  {said.at:%H:%M:%S}.{said.at.microsecond // 1000:03d}  {words(said)}"


def _state(said: Said) -> str:
    value = _object(said)
    state, detail = str(value.get("state", "?")), str(value.get("detail") or "")
    parts = [state if not detail else f"{state}: {detail}"]
    if value.get("lets_in") is False:
        parts.append("lets nobody new in")
    if value.get("confirmed") is False:
        parts.append("not confirmed by a second witness")
    return shortened("; ".join(parts), TEXT_CHARS_MAX)


def _object(said: Said) -> dict[str, Any]:
    value = said.value
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _note(said: Said) -> str:
    value = _object(said)
    return shortened(str(value.get("text", "")), TEXT_CHARS_MAX)


def _busiest(recording: Recording) -> Iterator[str]:
    """The groups of sessions at the moment with most sessions of all that were written down."""
    if not recording.activity:
        return
    said = max(recording.activity, key=lambda one: sum(row[4] for row in activity_rows(one)))
    rows = activity_rows(said)
    if not rows:
        return
    yield f"Most sessions, at {said.at:%H:%M:%S}:"
    for application, role, database, state, sessions, age_s in rows:
        age = f", the oldest for {span(age_s)}" if age_s is not None else ""
        name = application or "(no name)"
        yield f"  {sessions:>5}  {shortened(f'{name}: {role} in {database}', 60)}, {state}{age}"


def activity_rows(said: Said) -> list[tuple[str, str, str, str, int, float | None]]:
    """The rows of one snapshot; what does not fit is left out."""
    found: list[tuple[str, str, str, str, int, float | None]] = []
    value = said.value
    for row in cast("list[object]", value) if isinstance(value, list) else []:
        cells = cast("list[object]", row) if isinstance(row, list) else []
        if len(cells) != 6 or not isinstance(cells[4], int):
            continue
        age = cells[5]
        found.append(
            (
                str(cells[0]),
                str(cells[1]),
                str(cells[2]),
                str(cells[3]),
                cells[4],
                float(age) if isinstance(age, int | float) else None,
            )
        )
    return found


def recording_value(recording: Recording) -> dict[str, Any]:
    """Everything in it; times as ISO 8601 for moments and seconds since 1970 for points."""
    series: dict[tuple[str, str], list[Point]] = {}
    for frame in recording.frames:
        at_s = round(frame.at.timestamp(), 3)
        for key, value in frame.values.items():
            series.setdefault(key, []).append((at_s, value))
    return {
        "schema": SCHEMA,
        "target": recording.target,
        "created_at": to_iso(recording.created_at),
        "from": to_iso(recording.frames[0].at) if recording.frames else None,
        "to": to_iso(recording.frames[-1].at) if recording.frames else None,
        "looks": len(recording.frames),
        "damaged": recording.damaged,
        "series": [
            {"name": name, "subject": subject, "points": points}
            for (name, subject), points in sorted(series.items())
        ],
        "states": [_dated(said) for said in recording.states],
        "notes": [_dated(said) for said in recording.notes],
        "activity": [_dated(said) for said in recording.activity],
    }


def _dated(said: Said) -> dict[str, Any]:
    return {"at": to_iso(said.at), "value": said.value}
