"""Dead rows, who keeps them, whether autovacuum comes to them, how near the end of ids is."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_figures, clue_on_log
from stanch.diagnose.clues.work import live_rows
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import Course, History
from stanch.diagnose.outside import Log
from stanch.facts.pace import Pace
from stanch.model.readings import Reading

DEAD_ROWS_MIN = 100_000
DEAD_SHARE = 0.5
BLOAT_PCT = 70.0
"""As the rule `table_bloated` has it."""
HORIZON_XIDS = 1_000_000
"""Further back than the busiest minutes; with dead rows that is somebody who holds on."""
HORIZON_XIDS_FAR = 20_000_000
NEAR_END = 1_000_000_000
"""Half of the way, as the rules have it."""
STOP_BEFORE = 3_000_000
"""The server takes no writes so many before the end (one million up to version 13)."""
IDS = 2**31
CANCELED_MIN = 3
SPARSE_READS_MIN = 2.0
LEFT_ROWS_MIN = 10_000
HELD_S_MIN = 5.0
"""A transaction that is younger is nobody's story."""
FEEDBACK_S = 10.0
"""So seldom a standby says anew what it needs (wal_receiver_status_interval)."""

HERE: Final = ("session:", "prepared:")
_PID: Final = re.compile(r"pid (\d{1,10}), ")


def most_dead(evidence: Evidence) -> Reading | None:
    """The table with most dead rows, where they are half as many as the living."""
    figures = value_of(evidence.figures)
    bloated = [
        one
        for one in (figures.named("table_dead_rows") if figures else ())
        if one.value is not None
        and one.value >= DEAD_ROWS_MIN
        and one.value >= DEAD_SHARE * (live_rows(one) or 0)
    ]
    return max(bloated, key=lambda one: (one.value or 0.0, one.subject), default=None)


def _dead_rows(_figures: Figures, evidence: Evidence) -> YES_NO:
    found = most_dead(evidence)
    if found is None:
        return False, "no large table is half dead rows"
    return True, f"{found.subject} has {found.value:.0f} dead rows; {found.detail[:120]}"


def sparse_read(evidence: Evidence) -> Reading | None:
    """The largest table with fewer rows than pages, of which all pages are read again and again."""
    figures, pace = value_of(evidence.figures), value_of(evidence.pace)
    if figures is None or pace is None:
        return None
    read = {t.name for t in pace.tables if t.whole_scans.by >= SPARSE_READS_MIN}
    found = [one for one in figures.named("table_sparse_pages") if one.subject in read]
    return max(found, key=lambda one: (one.value or 0.0, one.subject), default=None)


def _sparse_read(_pace: Pace, evidence: Evidence) -> YES_NO:
    found = sparse_read(evidence)
    if found is None:
        return False, "no table with fewer rows than pages is read whole again and again"
    said = f"{found.subject} has {found.value:.0f} pages for {found.detail} rows"
    return True, f"{said}, and all of them are read again and again"


def most_bloated(evidence: Evidence) -> Course | None:
    """The table with most empty space, by the watch's estimate."""
    history = value_of(evidence.history)
    told = history.named("table_bloat_pct") if history else ()
    return max(
        (c for c in told if c.now is not None),
        key=lambda c: (c.now or 0.0, c.subject),
        default=None,
    )


def _bloat_estimated(_history: History, evidence: Evidence) -> YES_NO:
    found = most_bloated(evidence)
    if found is None or found.now is None:
        return "empty space in tables is not recorded"
    return found.now >= BLOAT_PCT, f"{found.subject} is {found.now:.0f} % empty space, by estimate"


def horizon(evidence: Evidence) -> Reading | None:
    """Who holds back vacuum furthest: a session, a standby, a slot or a prepared transaction."""
    figures = value_of(evidence.figures)
    if figures is None:
        return None

    def place(one: Reading) -> tuple[float, bool, float, str]:
        # Whoever begins later takes over the oldest id: the same age is that of who began first, on
        # this server before those elsewhere.
        is_here = one.subject.startswith(HERE)
        return one.value or 0.0, is_here, _held_s(figures, one) or 0.0, one.subject

    told = (one for one in figures.named("horizon_age_xids") if one.value is not None)
    return max(told, key=place, default=None)


def _held_s(figures: Figures, holder: Reading) -> float | None:
    found = (
        one.value
        for one in figures.named("horizon_held_s")
        if (one.subject, one.detail) == (holder.subject, holder.detail)
    )
    return next(found, None)


def holder_named(one: Reading) -> str:
    """The holder as a person would point at it."""
    kind, _, name = one.subject.partition(":")
    words = {
        "session": "session",
        "standby": "the standby's feedback",
        "slot": "replication slot",
        "prepared": "prepared transaction",
    }.get(kind, kind)
    return f'{words} "{name[:80]}"' + (f" ({one.detail[:100]})" if one.detail else "")


def _horizon_old(_figures: Figures, evidence: Evidence) -> YES_NO:
    return _held(evidence, HORIZON_XIDS)


def _horizon_far(_figures: Figures, evidence: Evidence) -> YES_NO:
    return _held(evidence, HORIZON_XIDS_FAR)


def _held(evidence: Evidence, at_least: int) -> YES_NO:
    found = horizon(evidence)
    if found is None or found.value is None:
        return False, "nobody holds back vacuum"
    said = f"{holder_named(found)} holds back vacuum by {found.value:.0f} transactions"
    return found.value >= at_least, said


def left_by_vacuum(evidence: Evidence) -> Reading | None:
    """The table in which vacuum left most dead rows, where they are half as many as the living."""
    figures = value_of(evidence.figures)
    left = [
        one
        for one in (figures.named("table_dead_rows_left") if figures else ())
        if one.value is not None
        and one.value >= LEFT_ROWS_MIN
        and one.value >= DEAD_SHARE * (live_rows(one) or 0)
    ]
    return max(left, key=lambda one: (one.value or 0.0, one.subject), default=None)


def rows_holder(evidence: Evidence) -> Reading | None:
    """Whose view made that vacuum leave them: it is the oldest, and was there before the vacuum."""
    figures, left, oldest = value_of(evidence.figures), left_by_vacuum(evidence), horizon(evidence)
    if figures is None or left is None or oldest is None:
        return None
    vacuum_age_s = figures.value("table_vacuum_age_s", left.subject)
    held_s = _held_s(figures, oldest)
    if vacuum_age_s is None or held_s is None:
        return None
    at_least_s = HELD_S_MIN if oldest.subject.startswith(HERE) else FEEDBACK_S
    return oldest if held_s > max(at_least_s, vacuum_age_s) else None


def holder_pid(holder: Reading) -> int | None:
    """Of a session; a slot or a prepared transaction has none."""
    found = _PID.match(holder.detail) if holder.subject.startswith("session:") else None
    return int(found[1]) if found else None


def _rows_held(figures: Figures, evidence: Evidence) -> YES_NO:
    if not figures.named("tables"):
        return "the statistics of tables were not told"
    left, holder = left_by_vacuum(evidence), rows_holder(evidence)
    if left is None:
        return False, "of no large table vacuum left the dead rows"
    said = f"vacuum came to {left.subject} and left {left.value:.0f} dead rows"
    if holder is None:
        return False, f"{said}; nobody is known whose view was there before it"
    return True, f"{said}, which {holder_named(holder)} may still see"


def _is_off(figures: Figures, _evidence: Evidence) -> YES_NO:
    said = [(name, figures.setting(name)) for name in ("autovacuum", "track_counts")]
    if all(value is None for _, value in said):
        return "whether autovacuum is on was not read"
    off = [name for name, value in said if value == "off"]
    return bool(off), f"{' and '.join(off)} is off" if off else "autovacuum is on"


def _table_off(figures: Figures, evidence: Evidence) -> YES_NO:
    off = {one.subject for one in figures.named("table_autovacuum_off")}
    found = most_dead(evidence)
    if found is None or found.subject not in off:
        return False, "of no table with many dead rows autovacuum is switched off"
    return True, f"autovacuum is switched off for {found.subject}"


def _all_busy(figures: Figures, _evidence: Evidence) -> YES_NO:
    workers, most = figures.value("autovacuum_workers"), figures.setting("autovacuum_max_workers")
    if workers is None or most is None or not most.isdecimal():
        return "how many autovacuum workers run, or may, was not read"
    return int(most) > 0 and workers >= int(most), f"{workers:.0f} of {most} autovacuum workers run"


def _canceled(log: Log, evidence: Evidence) -> YES_NO:
    if not log.records_read:
        return f"nothing of use in {log.path}"
    since = evidence.at - timedelta(seconds=evidence.lookback_s)
    found = [e for e in log.events if e.kind == "autovacuum_canceled" and e.at and e.at >= since]
    said = f"autovacuum was called off {len(found)} times lately"
    return len(found) >= CANCELED_MIN, said, found[-1].at if found else None


def nearest_end(evidence: Evidence, name: str) -> Reading | None:
    """The database whose ids are oldest."""
    figures = value_of(evidence.figures)
    told = figures.named(name) if figures else ()
    return max(
        (one for one in told if one.value is not None),
        key=lambda one: (one.value or 0.0, one.subject),
        default=None,
    )


def _near_end(found: tuple[Reading, ...], _evidence: Evidence) -> YES_NO:
    ages = [one.value for one in found if one.value is not None]
    if not ages:
        return "the age of the oldest id was not read"
    return max(ages) >= NEAR_END, f"{max(ages) / 1e6:.0f} of 2147 million ids are in use"


def _at_limit(found: tuple[Reading, ...], _evidence: Evidence) -> YES_NO:
    ages = [one.value for one in found if one.value is not None]
    if not ages:
        return "the age of the oldest id was not read"
    left = max(0.0, IDS - STOP_BEFORE - max(ages))
    return left <= 40_000_000, f"{left / 1e6:.1f} million ids are left"


dead_rows = clue_on(
    "dead_rows",
    "Is a large table half dead rows?",
    lambda e: e.figures,
    _dead_rows,
    reads=("table_dead_rows",),
)
sparse_is_read = clue_on(
    "sparse_is_read",
    "Is a table that has fewer rows than pages read whole again and again?",
    lambda e: e.pace,
    _sparse_read,
    reads=("table_sparse_pages",),
)
bloat_estimated = clue_on(
    "bloat_estimated",
    "Is most of a table empty space, by estimate?",
    lambda e: e.history,
    _bloat_estimated,
    reads=("table_bloat_pct",),
)
rows_held = clue_on(
    "rows_held",
    "Did vacuum have to leave the dead rows of a table, for somebody who may still see them?",
    lambda e: e.figures,
    _rows_held,
    reads=("tables", "table_dead_rows_left", "table_vacuum_age_s", "horizon_held_s"),
)
horizon_old = clue_on(
    "horizon_old",
    "Does somebody keep rows that died a million transactions ago?",
    lambda e: e.figures,
    _horizon_old,
    reads=("horizon_age_xids",),
)
horizon_far = clue_on(
    "horizon_far",
    "Even twenty million ago?",
    lambda e: e.figures,
    _horizon_far,
    reads=("horizon_age_xids",),
)
autovacuum_is_off = clue_on(
    "autovacuum_is_off",
    "Is autovacuum off, or what it counts by?",
    lambda e: e.figures,
    _is_off,
    reads=("setting",),
)
table_autovacuum_is_off = clue_on(
    "table_autovacuum_is_off",
    "Is autovacuum switched off for the table with most dead rows?",
    lambda e: e.figures,
    _table_off,
    reads=("table_autovacuum_off", "table_dead_rows"),
)
workers_busy = clue_on(
    "workers_busy",
    "Do as many autovacuum workers run as may?",
    lambda e: e.figures,
    _all_busy,
    reads=("autovacuum_workers", "setting"),
)
autovacuum_canceled = clue_on(
    "autovacuum_canceled",
    "Was autovacuum called off again and again, for the lock somebody wanted?",
    lambda e: e.log,
    _canceled,
)
xid_near_end = clue_on_figures(
    "xid_near_end",
    "Is half of all transaction ids in use?",
    "xid_age_of_database",
    _near_end,
)
xid_at_limit = clue_on_figures(
    "xid_at_limit",
    "Are fewer than 40 million left?",
    "xid_age_of_database",
    _at_limit,
)
xid_logged = clue_on_log(
    "xid_logged",
    "Does the log warn of, or refuse for, the end of transaction ids?",
    ("xid_wraparound",),
)
mxid_near_end = clue_on_figures(
    "mxid_near_end",
    "Is half of all multixact ids in use?",
    "mxid_age_of_database",
    _near_end,
)
mxid_at_limit = clue_on_figures(
    "mxid_at_limit",
    "Are fewer than 40 million multixact ids left?",
    "mxid_age_of_database",
    _at_limit,
)
mxid_logged = clue_on_log(
    "mxid_logged",
    "Does the log warn of, or refuse for, the end of multixacts or their members?",
    ("multixact_wraparound",),
)
