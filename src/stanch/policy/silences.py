"""Windows of the policy in which nobody is paged for some rules: when each begins and ends."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from stanch.model.ids import TargetName
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.policy.kinds import JsonSchema, Written, Wrong
from stanch.policy.quoting import quoted

NEVER_SILENT = (SymptomKind.BLIND, SymptomKind.REPORTED)
"""Stanch itself, and what a person declares."""

ONE_BY_ONE = SymptomKind.OUTSIDE_ALERT
"""Alerts from outside share one rule whatever they say, so each is silenced by its name: all of
them at once would hide one that is worse than those that were meant."""

MAY_GET_WORSE = (SymptomKind.SERVER_DOWN, SymptomKind.OUTSIDE_ALERT)
"""How severe they are is not known beforehand: a standby may be the primary by now, and a source
may call the same alert critical tomorrow."""

UP_TO = 2
"""The worst severity of those that a silence holds unless it says more."""

MILDEST = 4

NAME_ONE = (
    "Name it by `SOURCE:KEY`, as `stanch signals --json` lists it, or acknowledge the incident."
)

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_S = 86_400.0
LENGTH_S_MAX = 7 * DAY_S
CHAINED_MAX = 100

_AT = re.compile(r"(?:(\d{4}-\d\d-\d\d|[A-Za-z,-]+)[ T]+)?(\d\d?):(\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """When a window opens, by the clock on the wall."""

    at: time
    days: tuple[int, ...] = ()
    """Days of the week, Monday is 0. Empty: every day, or `on` alone."""
    on: date | None = None

    def times(self, zone: ZoneInfo, *, around: datetime, back_s: float) -> Iterator[datetime]:
        """Beginnings from `back_s` before a moment to ten days after it."""
        if self.on is not None:
            yield datetime.combine(self.on, self.at, zone).astimezone(UTC)
            return
        day = around.astimezone(zone).date() - timedelta(days=int(back_s // DAY_S) + 1)
        last = around.astimezone(zone).date() + timedelta(days=10)
        while day <= last:
            if not self.days or day.weekday() in self.days:
                yield datetime.combine(day, self.at, zone).astimezone(UTC)
            day += timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One stretch of time, from and until."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySilence:
    """Nobody is paged for these rules, now and then, for a reason."""

    name: str
    reason: str
    rules: tuple[str, ...]
    begin: Begin
    length_s: float
    targets: tuple[TargetName, ...] = ()
    """Empty: all."""
    subjects: tuple[str, ...] = ()
    """Which slot, volume, service; empty: all."""
    zone: str = "UTC"
    up_to: int | None = None
    """The worst severity that it holds, 1 the worst there is; None: see `MAY_GET_WORSE`."""

    def window(self, at: datetime) -> Window | None:
        """The window that a moment is in. Of several the one that ends last."""
        length = timedelta(seconds=self.length_s)
        times = self.begin.times(ZoneInfo(self.zone), around=at, back_s=self.length_s)
        found = [Window(begins=b, ends=b + length) for b in times if b <= at < b + length]
        return max(found, key=lambda w: w.ends, default=None)

    def next_begin(self, at: datetime) -> datetime | None:
        """When the next window opens; None: never again."""
        times = self.begin.times(ZoneInfo(self.zone), around=at, back_s=0.0)
        return min((b for b in times if b > at), default=None)

    def names(self, symptom: Symptom) -> bool:
        """Whether it is about this symptom, at any time."""
        return (
            symptom.kind.value in self.rules
            and (not self.targets or symptom.target in self.targets)
            and (not self.subjects or symptom.subject in self.subjects)
        )

    def holds(self, symptom: Symptom) -> bool:
        """Whether it is about this symptom, as severe as that is."""
        usual = UP_TO if symptom.kind in MAY_GET_WORSE else 1
        up_to = usual if self.up_to is None else self.up_to
        return self.names(symptom) and not 0 < symptom.rank < up_to


def mildest(kind: SymptomKind, rank: int) -> int:
    """The mildest that a symptom of a rule of this rank may be; a silence up to less holds none."""
    if kind is ONE_BY_ONE:
        return MILDEST
    return max(rank, UP_TO) if kind in MAY_GET_WORSE else rank


def silenced_by(
    silences: Sequence[PolicySilence], symptom: Symptom, at: datetime
) -> tuple[PolicySilence, datetime] | None:
    """The first silence of the policy that a symptom falls under, and when all of it ends.

    Windows that overlap or touch are one, so that nobody is paged between two of them.
    """
    mine = [s for s in silences if s.holds(symptom)]
    first: PolicySilence | None = None
    until = at
    for _ in range(CHAINED_MAX):
        found = [(w.ends, s) for s in mine if (w := s.window(until)) is not None]
        if not found:
            break
        until, silence = max(found, key=lambda pair: pair[0])
        first = first or silence
    return None if first is None else (first, until)


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginKind:
    """`02:00`, `sat 02:00`, `mon-fri 22:00`, `2026-12-24 20:00`."""

    word: str = "beginning"

    def read(self, written: Written) -> Begin | Wrong:
        text = written.text.strip()
        found = _AT.fullmatch(text)
        hint = 'Write it like "02:00", "sat,sun 02:00", "mon-fri 22:00" or "2026-12-24 20:00".'
        if found is None or int(found[2]) > 23 or int(found[3]) > 59:
            return Wrong(what=f"{quoted(text)} is no beginning of a window", hint=hint)
        at = time(int(found[2]), int(found[3]))
        said = found[1] or ""
        if said[:1].isdigit():
            try:
                on = date.fromisoformat(said)
            except ValueError:
                return Wrong(what=f"{quoted(said)} is not a day of the calendar", hint=hint)
            if not 2000 <= on.year < 3000:
                return Wrong(what=f"{quoted(said)} is not in this millennium", hint=hint)
            return Begin(at=at, on=on)
        days = _days(said.lower()) if said else ()
        if days is None:
            return Wrong(what=f"{quoted(said)} names no days of the week", hint=hint)
        return Begin(at=at, days=days)

    def show(self, value: object) -> str:
        return begin_text(value) if isinstance(value, Begin) else '""'

    def schema(self) -> JsonSchema:
        return {"type": ["string", "integer"], "pattern": r"^(\S+[ T]+)?\d{1,2}:\d\d$"}


def begin_text(begin: Begin) -> str:
    """A beginning as it stands in the file."""
    days = ",".join(WEEK[day] for day in begin.days)
    day = begin.on.isoformat() if begin.on is not None else days
    return f"{day} {begin.at:%H:%M}".strip()


def _days(text: str) -> tuple[int, ...] | None:
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in WEEK or (dash and last not in WEEK):
            return None
        start, end = WEEK.index(first), WEEK.index(last if dash else first)
        found |= {day % 7 for day in range(start, end + 1 if end >= start else end + 8)}
    return tuple(sorted(found))
