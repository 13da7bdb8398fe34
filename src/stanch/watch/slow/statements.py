"""Which statements have become slower than they used to be, from one look to the next.

A statement is compared with itself: with the mean of all its calls before, as the server has
counted them, so that there is a verdict from the second look on. Calls while it is slow do not
count as usual, until it has been slow for a day.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stanch.facts.statements import StatementRead, StatementsRead
from stanch.model.readings import Reading

MEAN, CALLS, SLOWDOWN = "statement_mean_ms", "statement_calls_total", "statement_slowdown_times"
STATEMENT_READINGS = (MEAN, CALLS, SLOWDOWN)

CALLS_MIN = 10
"""Fewer calls since the last verdict say nothing; they are counted on until there are enough."""
USUAL_CALLS_MIN = 50
"""Before so many calls nobody knows what is usual."""
SLOWER = 2.0
"""From so many times the usual mean on calls are not counted as usual."""
USUAL_LOOKS = 288
"""What is usual is the mean of at most so many looks like the last one: a day of them."""
SLOW_IS_USUAL_S = 24 * 3600.0
OVER_S = 3600.0
"""A statement that nobody called for so long is not slow any more."""
SURELY_THE_SAME = 0.1
"""Where the server drops entries and does not say which: an entry that grew by no more than this
part of itself is still the same one."""

NEVER_BEFORE = "nothing to compare with before the second look"
NOT_ALL = "only this role's own statements can be seen: GRANT pg_read_all_stats"

_Key = tuple[str, int, int, bool]


@dataclass(slots=True)
class _Known:
    """One entry of the extension: what it said, and what is usual for it."""

    calls: int
    total_ms: float
    since_s: float | None
    usual_calls: float
    usual_ms: float
    """Of all usual calls together."""
    called_at_s: float
    """The last look that found new calls."""
    waiting: int = 0
    """New calls, too few to be judged."""
    slow_since_s: float | None = None


@dataclass(slots=True)
class _Spent:
    """What one statement took since it was last judged, in all its entries."""

    about: StatementRead
    calls: int = 0
    new_calls: int = 0
    new_ms: float = 0.0
    usual_ms: float = 0.0
    """What the new calls would have taken at the usual mean."""
    judged: bool = True
    called_at_s: float = 0.0


class StatementMemory:
    """What is known of the statements of one server. Never more than one answer has."""

    def __init__(self) -> None:
        self._known: dict[_Key, _Known] = {}
        self._dropped: int | None = None
        self._reset_at_s: float | None = None

    def readings(self, read: StatementsRead, *, at_s: float) -> tuple[Reading, ...]:
        """What came of the time between the last look and this one. The first tells nothing."""
        if not read.sees_all:
            return unknown(NOT_ALL)
        first = not self._known
        all_the_same = read.dropped is not None and read.dropped == self._dropped
        was_reset = self._reset_at_s is not None and read.reset_at_s != self._reset_at_s
        self._dropped, self._reset_at_s = read.dropped, read.reset_at_s
        before, self._known = self._known, {}
        spent: dict[str, _Spent] = {}
        for one in read.largest:
            key = (one.queryid, one.userid, one.dbid, one.top_level)
            known = before.get(key)
            so_far = spent.setdefault(one.queryid, _Spent(about=one))
            so_far.calls += one.calls
            if known is None:
                known = _met(one, at_s=at_s)
            elif was_reset or not _continues(known, one, all_the_same=all_the_same):
                known.calls, known.total_ms, known.since_s = one.calls, one.total_ms, one.since_s
                known.called_at_s, known.waiting = at_s, 0
            else:
                _spend(known, one, so_far, at_s=at_s)
            so_far.called_at_s = max(so_far.called_at_s, known.called_at_s)
            self._known[key] = known
        if not spent:
            return (Reading(name=SLOWDOWN, value=0.0, detail="no statement was counted"),)
        return unknown(NEVER_BEFORE) if first else tuple(_told(spent.values(), at_s=at_s))


def unknown(why: str) -> tuple[Reading, ...]:
    """What is told where nothing can be said about any statement."""
    return tuple(Reading(name=name, value=None, detail=why) for name in STATEMENT_READINGS)


def _met(one: StatementRead, *, at_s: float) -> _Known:
    return _Known(
        calls=one.calls,
        total_ms=one.total_ms,
        since_s=one.since_s,
        usual_calls=one.calls,
        usual_ms=one.total_ms,
        called_at_s=at_s,
    )


def _continues(known: _Known, one: StatementRead, *, all_the_same: bool) -> bool:
    """Whether this is the entry that was seen before, and has only counted on."""
    if one.calls < known.calls or one.total_ms < known.total_ms or one.since_s != known.since_s:
        return False
    if all_the_same or one.since_s is not None:
        return True
    return one.calls - known.calls <= SURELY_THE_SAME * known.calls


def _spend(known: _Known, one: StatementRead, spent: _Spent, *, at_s: float) -> None:
    """Judge what came since, where it is enough, and count it as usual where it is."""
    calls, total_ms = one.calls - known.calls, one.total_ms - known.total_ms
    if calls > known.waiting:
        known.called_at_s = at_s
    known.waiting = calls
    if calls < CALLS_MIN:
        return
    known.calls, known.total_ms, known.waiting = one.calls, one.total_ms, 0
    spent.new_calls += calls
    spent.new_ms += total_ms
    if known.usual_calls < USUAL_CALLS_MIN:
        spent.judged = False
    else:
        usual_ms = calls * known.usual_ms / known.usual_calls
        spent.usual_ms += usual_ms
        if total_ms >= SLOWER * usual_ms:
            known.slow_since_s = at_s if known.slow_since_s is None else known.slow_since_s
            if at_s - known.slow_since_s < SLOW_IS_USUAL_S:
                return
            known.usual_calls = known.usual_ms = 0.0
    known.slow_since_s = None
    kept = min(1.0, USUAL_LOOKS * calls / known.usual_calls) if known.usual_calls else 0.0
    known.usual_calls = known.usual_calls * kept + calls
    known.usual_ms = known.usual_ms * kept + total_ms


def _told(spent: Iterable[_Spent], *, at_s: float) -> Iterable[Reading]:
    for one in spent:
        queryid = one.about.queryid
        yield Reading(name=CALLS, value=float(one.calls), subject=queryid)
        if not one.new_calls:
            few = f"fewer than {CALLS_MIN} calls since the last verdict"
            over = at_s - one.called_at_s >= OVER_S
            yield Reading(name=MEAN, value=None, subject=queryid, detail=few)
            yield Reading(
                name=SLOWDOWN,
                value=0.0 if over else None,
                subject=queryid,
                detail="nobody calls it any more" if over else few,
            )
            continue
        mean_ms, usual_ms = one.new_ms / one.new_calls, one.usual_ms / one.new_calls
        yield Reading(name=MEAN, value=mean_ms, subject=queryid)
        times = mean_ms / usual_ms if one.judged and usual_ms > 0 else None
        yield Reading(
            name=SLOWDOWN, value=times, subject=queryid, detail=_detail(one, mean_ms, usual_ms)
        )


def _detail(one: _Spent, mean_ms: float, usual_ms: float) -> str:
    """Without its text, which may quote what is nobody's business."""
    return (
        f"{mean_ms:.3g} ms a call over {one.new_calls} calls, {usual_ms:.3g} ms before;"
        f" role {one.about.role or '(unknown)'} in database {one.about.database or '(dropped)'}"
    )
