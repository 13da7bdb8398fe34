"""Sessions that wait for the server's own short locks (LWLocks)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.inside import Activity
from stanch.facts.pace import Pace
from stanch.model.shown import span

LWLOCK = "LWLock"
SUBTRANS = frozenset({"SubtransSLRU", "SubtransBuffer"})
"""Since version 13; every later one has both."""
SHARE_MIN = 0.5
SESSIONS_MIN = 5
"""A look sees one moment: some sessions on one of these locks are nothing."""
LOOKUPS_PER_S = 10_000.0
"""Who writes in savepoints asks once for each; who reads behind too many, once for each row."""
SUBTRANS_MIN = 3
"""Nobody waits for these where snapshots need not look subtransactions up."""
LASTING_MIN = 10
LASTING_S = 1.0
"""Short statements meet on a lock for a moment; what lasts meets there again and again."""
PILE_SESSIONS = 20
PILE_SHARE = 0.7
LONG_XACT_S = 60.0
SLRU_NAMES = frozenset({"Subtrans", "subtransaction"})
"""As pg_stat_slru calls it before version 17, and since."""
SLRU_READS_MIN = 1000

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "BufferContent": "many sessions change the same few pages",
        "BufferMapping": "many pages are brought into shared_buffers at once",
        "CheckpointerComm": "writes come faster than they can be handed to the checkpointer",
        "LockFastPath": "statements lock many tables, indexes or partitions each",
        "LockManager": "statements lock many tables, indexes or partitions each",
        "MultiXactGen": "rows are locked by several transactions at once (foreign keys, FOR SHARE)",
        "ProcArray": "very many sessions take snapshots and end transactions",
        "WALInsert": "many sessions write to WAL at once",
        "WALWrite": "commits wait for WAL to be written",
        "XidGen": "very many transactions write",
    }
)
MULTIXACT = "rows are locked by several transactions at once (foreign keys, FOR SHARE)"


def meaning(event: str) -> str:
    """What a wait for it says; empty where that is not known."""
    return MULTIXACT if event.startswith("MultiXact") else MEANINGS.get(event, "")


def lwlock_waits(activity: Activity) -> tuple[Counter[str], int]:
    """Active client sessions by the LWLock they wait for, and all that are active."""
    waits, total = Counter[str](), 0
    for one in activity.doings:
        if one.backend_type != "client backend" or one.state != "active":
            continue
        total += one.sessions
        if one.wait_type == LWLOCK:
            waits[one.wait_event] += one.sessions
    return waits, total


def leading_lwlock(activity: Activity) -> tuple[str, int]:
    """The one most sessions wait for, other than those of subtransactions."""
    waits, _ = lwlock_waits(activity)
    rest = sorted((-n, event) for event, n in waits.items() if event not in SUBTRANS)
    return (rest[0][1], -rest[0][0]) if rest else ("", 0)


def subtrans_waits(activity: Activity) -> int:
    waits, _ = lwlock_waits(activity)
    return sum(n for event, n in waits.items() if event in SUBTRANS)


def _many(sessions: int, total: int, least: int = SESSIONS_MIN) -> bool:
    return sessions >= least and sessions >= SHARE_MIN * total


def looked_up_per_s(evidence: Evidence) -> float:
    """How often subtransactions are looked up; 0.0 where it was not counted."""
    pace = value_of(evidence.pace)
    if pace is None or pace.subtrans_lookups is None:
        return 0.0
    return pace.rate(pace.subtrans_lookups)


def _looked_up(pace: Pace, evidence: Evidence) -> YES_NO:
    if pace.subtrans_lookups is None:
        return "look-ups of subtransactions were not counted"
    often = looked_up_per_s(evidence)
    return often >= LOOKUPS_PER_S, f"subtransactions are looked up {often:.0f} times a second"


def _on_subtrans(activity: Activity, evidence: Evidence) -> YES_NO:
    found, (_, total) = subtrans_waits(activity), lwlock_waits(activity)
    if found < SUBTRANS_MIN and looked_up_per_s(evidence) >= LOOKUPS_PER_S:
        return ""  # They come and go between two looks; how many came is counted.
    said = f"{found} of {total} active sessions look up subtransactions (SubtransSLRU)"
    return _many(found, total, SUBTRANS_MIN), said


def _on_lwlock(activity: Activity, _evidence: Evidence) -> YES_NO:
    (event, found), (_, total) = leading_lwlock(activity), lwlock_waits(activity)
    if not event:
        return False, "no active session waits for an LWLock"
    return _many(found, total), f"{found} of {total} active sessions wait for LWLock {event}"


def _piled(activity: Activity, _evidence: Evidence) -> YES_NO:
    (event, found), (_, total) = leading_lwlock(activity), lwlock_waits(activity)
    said = f"{found} of {total} active sessions" + (f" wait for {event}" if event else "")
    return found >= PILE_SESSIONS and found >= PILE_SHARE * total, said


def _lasting(activity: Activity, _evidence: Evidence) -> YES_NO:
    event, _ = leading_lwlock(activity)
    found = sum(
        one.sessions
        for one in activity.doings
        if one.wait_type == LWLOCK
        and one.wait_event == event
        and one.state == "active"
        and (one.oldest_query_s or 0.0) >= LASTING_S
    )
    said = f"{found} of them at statements that take longer than {LASTING_S:g} s"
    return found >= LASTING_MIN, said


def longest_xact_s(evidence: Evidence) -> float | None:
    """The oldest transaction of a client: an idle one has neither query nor wait of its own."""
    figures = value_of(evidence.figures)
    return figures.value("oldest_xact_age_s") if figures else None


def _long_xact(_figures: Figures, evidence: Evidence) -> YES_NO:
    age_s = longest_xact_s(evidence)
    if age_s is None:
        return "how old the oldest transaction is was not read"
    return age_s >= LONG_XACT_S, f"the oldest transaction has been open for {span(age_s)}"


def _slru_read(figures: Figures, _evidence: Evidence) -> YES_NO:
    for one in figures.named("slru_reads_total"):
        if one.subject in SLRU_NAMES and one.value is not None:
            said = f"{one.value:.0f} pages of subtransactions were read back from disk"
            return one.value >= SLRU_READS_MIN, said
    return "pg_stat_slru was not read"


subtrans_looked_up = clue_on(
    "subtrans_looked_up",
    "Are subtransactions looked up by the ten thousand each second?",
    lambda e: e.pace,
    _looked_up,
)
on_subtrans = clue_on(
    "on_subtrans",
    "Do most active sessions look up subtransactions?",
    lambda e: e.activity,
    _on_subtrans,
)
on_lwlock = clue_on(
    "on_lwlock",
    "Do most active sessions wait for one other LWLock?",
    lambda e: e.activity,
    _on_lwlock,
)
lwlock_pile = clue_on(
    "lwlock_pile",
    "Are there twenty and more of them?",
    lambda e: e.activity,
    _piled,
)
lwlock_lasts = clue_on(
    "lwlock_lasts",
    "Do ten and more wait for it in statements that last?",
    lambda e: e.activity,
    _lasting,
)
long_xact = clue_on(
    "long_xact",
    "Has a transaction been open for more than a minute?",
    lambda e: e.figures,
    _long_xact,
    reads=("oldest_xact_age_s",),
)
subtrans_read = clue_on(
    "subtrans_read",
    "Were many pages of subtransactions read back from disk?",
    lambda e: e.figures,
    _slru_read,
    reads=("slru_reads_total",),
)
