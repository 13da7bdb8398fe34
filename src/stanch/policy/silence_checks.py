"""Silences of the policy that cannot be meant: unknown names, and those that never end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

from stanch.model.ids import TargetName
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.policy.places import PathTo, Places
from stanch.policy.policy import TargetPolicy
from stanch.policy.quoting import quoted
from stanch.policy.reading import nearest
from stanch.policy.rules import declared_rules
from stanch.policy.silences import (
    DAY_S,
    MILDEST,
    NAME_ONE,
    NEVER_SILENT,
    ONE_BY_ONE,
    PolicySilence,
    mildest,
)

Contradiction = tuple[PathTo, str, str]

SOME_WEEK = datetime(2026, 1, 12, tzinfo=UTC)
"""One in which no clock is changed."""


def silence_contradictions(
    silences: Sequence[PolicySilence], known: Sequence[TargetPolicy], places: Places
) -> Iterator[Contradiction]:
    """Rules and targets that do not exist, and windows that hold nothing or would never end."""
    rules = tuple(kind.value for kind in declared_rules())
    targets = tuple(target.name for target in known)
    for silence in silences:
        path = ("silences", silence.name)
        if not silence.rules and not places.failed((*path, "rules")):
            yield (*path, "rules"), "is empty", "Name what nobody is to be paged for."
        for index, rule in enumerate(silence.rules, 1):
            at = (*path, "rules", str(index))
            if rule not in rules:
                hint = nearest(rule, rules) or "`stanch rules` lists every rule."
                yield at, f"unknown rule {quoted(rule)}", hint
            elif rule in NEVER_SILENT:
                yield at, f"{rule} cannot be silenced", "Take it out."
            elif rule == ONE_BY_ONE and not silence.subjects:
                yield at, f"{rule} is silenced alert by alert, and `subjects` names none", NAME_ONE
        for index, target in enumerate(silence.targets, 1):
            if target not in targets and not places.given(("targets", target)):
                hint = nearest(target, tuple(targets)) or "Define it under `targets`."
                yield (*path, "targets", str(index)), f"unknown target {quoted(target)}", hint
        if not places.failed(path):
            yield from _endless(silence, path)
            yield from _holding_nothing(silence, known, path)
    read = [s for s in silences if not places.failed(("silences", s.name)) and known_zone(s.zone)]
    yield from _endless_together([s for s in read if not _ceaseless(s)], targets)


def _holding_nothing(
    silence: PolicySilence, known: Sequence[TargetPolicy], path: PathTo
) -> Iterator[Contradiction]:
    """Rules that are always worse than the worst that is held."""
    mine = [t for t in known if not silence.targets or t.name in silence.targets]
    for kind in declared_rules():
        rank = max((mildest(kind, t.rank(kind)) for t in mine), default=MILDEST)
        if kind.value in silence.rules and silence.up_to is not None and rank < silence.up_to:
            what = f"{kind.value} is never milder than severity {rank}, so it is never held"
            yield (*path, "up_to"), what, f"Write {rank} or less, or leave it out."


def _endless_together(
    silences: Sequence[PolicySilence], targets: Sequence[TargetName]
) -> Iterator[Contradiction]:
    """Silences each of which ends, but always in another one about the same symptom."""
    told, judged = set[str](), set[tuple[str, ...]]()
    weekly = [s for s in silences if s.begin.on is None]
    for rule in sorted({r for s in weekly for r in s.rules} & {k.value for k in declared_rules()}):
        about = [s for s in weekly if rule in s.rules]
        subjects = {"", *(subject for s in about for subject in s.subjects)}
        for target, subject in product(targets, sorted(subjects)):
            symptom = Symptom(
                kind=SymptomKind(rule), target=target, since=SOME_WEEK, subject=subject
            )
            mine = [s for s in about if s.names(symptom)]
            names = tuple(s.name for s in mine)
            if len(mine) < 2 or names in judged or mine[-1].name in told:
                continue
            judged.add(names)
            if not _cover_a_week(mine):
                continue
            told.add(mine[-1].name)
            what = f"with {', '.join(names[:-1])} it silences {rule} at every moment of the week"
            hint = "Leave a gap, or switch the rule off."
            yield ("silences", mine[-1].name, "from"), what, hint


def _cover_a_week(silences: Sequence[PolicySilence]) -> bool:
    until = SOME_WEEK
    end = SOME_WEEK + timedelta(seconds=7 * DAY_S)
    while until < end:
        ends = [w.ends for s in silences if (w := s.window(until)) is not None]
        if not ends:
            return False
        until = max(ends)
    return True


def _endless(silence: PolicySilence, path: PathTo) -> Iterator[Contradiction]:
    if not known_zone(silence.zone):
        hint = "Write it like Europe/Berlin, as `timedatectl list-timezones` lists it."
        yield (*path, "zone"), f"unknown time zone {quoted(silence.zone)}", hint
        return
    if _ceaseless(silence):
        yield (*path, "for"), "lasts until the next one begins, so it never ends", "Shorten it."


def _ceaseless(silence: PolicySilence) -> bool:
    begin = silence.begin
    if begin.on is not None:
        return False
    days = begin.days or tuple(range(7))
    gaps = [(b - a - 1) % 7 + 1 for a, b in zip(days, (*days[1:], days[0]), strict=True)]
    return silence.length_s >= min(gaps) * DAY_S


def known_zone(zone: str) -> bool:
    """Whether this machine knows a time zone by this name."""
    try:
        ZoneInfo(zone)
    except (OSError, ValueError, KeyError):
        return False
    return True
