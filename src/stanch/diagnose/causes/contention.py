"""Sessions that get in each other's way inside the server: no lock of a table, no processor."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC
from stanch.diagnose.causes.connections import NEVER_RAISE, NEVER_RESTART
from stanch.diagnose.causes.ids import (
    CONNECTIONS_LOAD,
    LOAD_SPIKE,
    LWLOCK_CONTENTION,
    POOL_EXHAUSTED,
    STATEMENT_TIMEOUTS,
    SUBTRANSACTION_OVERFLOW,
)
from stanch.diagnose.causes.queues import RUNS
from stanch.diagnose.clues import contention, pace
from stanch.diagnose.clues.contention import (
    leading_lwlock,
    longest_xact_s,
    lwlock_waits,
    meaning,
    subtrans_waits,
)
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.shown import span
from stanch.model.symptoms import SymptomKind

FAMILY = "contention"


def _tell_subtrans(evidence: Evidence) -> str:
    seen, age_s = value_of(evidence.activity), longest_xact_s(evidence)
    looked_up = contention.subtrans_looked_up.ask(evidence)
    if seen is None:
        return "Sessions wait to look up subtransactions."
    _, total = lwlock_waits(seen)
    old = f", while a transaction has been open for {span(age_s)}" if age_s else ""
    if looked_up.yes:
        return f"{looked_up.text[0].upper()}{looked_up.text[1:]}{old}."
    return f"{subtrans_waits(seen)} of {total} active sessions look up subtransactions{old}."


def _tell_lwlock(evidence: Evidence) -> str:
    seen = value_of(evidence.activity)
    if seen is None:
        return "Sessions wait for one of the server's own short locks."
    (event, found), (_, total) = leading_lwlock(seen), lwlock_waits(seen)
    why = f": {meaning(event)}" if meaning(event) else ""
    return f"{found} of {total} active sessions wait for LWLock {event}{why}."


subtransaction_overflow = Cause(
    id=SUBTRANSACTION_OVERFLOW,
    section=Section.LOCKS,
    sentence="A long transaction together with more than 64 savepoints (or exception blocks) in "
    "another: every snapshot has to look subtransactions up in a small cache, which thrashes.",
    onset=Onset.AT_ONCE,
    impact="Within minutes for all who read the rows written so, on standbys most of all; "
    "processors are idle.",
    family=FAMILY,
    prior=-3.0,
    weighs=(
        Weigh(clue=contention.on_subtrans, yes=5.5, no=-6.0, now=True),
        Weigh(clue=contention.subtrans_looked_up, yes=5.5, no=-0.5, now=True),
        Weigh(clue=contention.long_xact, yes=1.0, no=-1.0, now=True),
        Weigh(clue=contention.subtrans_read, yes=1.0, no=-0.5, now=True),
        Weigh(clue=pace.less_done, yes=1.0, no=-1.0, now=True),
    ),
    tell=_tell_subtrans,
    facts=lambda e: (
        ("server_running", True),
        ("oldest_xact_age_s", longest_xact_s(e)),
    ),
    subject=lambda _e: "SubtransSLRU",
    apart={
        LWLOCK_CONTENTION: "Is the wait_event of most active sessions SubtransSLRU or "
        "SubtransBuffer?",
    },
    symptoms=(SymptomKind.LATENCY_UNUSUAL, SymptomKind.LONG_TRANSACTION),
    brings_about=(CONNECTIONS_LOAD, POOL_EXHAUSTED, STATEMENT_TIMEOUTS),
    follows_change=(
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
    ),
    safe_first="End the longest transaction of the primary (also one that only reads): the "
    "look-ups stop. Then take the savepoints out of the application's loops.",
    never=(
        "Do not add processors: they are idle while sessions wait.",
        "Do not send more reads to standbys: they suffer most.",
        NEVER_RESTART,
    ),
    forbids=("end_idle_sessions", *RUNS),
    runbook="",
    source=f"{DOC}subxacts.html",
    shown_by=((contention.on_subtrans, True), (contention.subtrans_looked_up, True)),
)

lwlock_contention = Cause(
    id=LWLOCK_CONTENTION,
    section=Section.LOCKS,
    sentence="Most sessions wait for one of the server's own short locks (LWLock); which one it is "
    "says what they do too much of.",
    onset=Onset.AT_ONCE,
    impact="At once for all: less is done the more arrives.",
    family=FAMILY,
    prior=-3.0,
    weighs=(
        Weigh(clue=contention.on_lwlock, yes=3.0, no=-6.0, now=True),
        Weigh(clue=contention.lwlock_pile, yes=2.0, no=0.0, now=True),
        Weigh(clue=contention.lwlock_lasts, yes=1.5, no=0.0, now=True),
        Weigh(clue=pace.piled_up, yes=2.0, no=-3.0, now=True),
        Weigh(clue=pace.less_done, yes=1.0, no=-0.5, now=True),
    ),
    tell=_tell_lwlock,
    facts=lambda e: (
        ("server_running", True),
        ("wait_event", leading_lwlock(seen)[0] if (seen := value_of(e.activity)) else None),
        ("sessions", leading_lwlock(seen)[1] if (seen := value_of(e.activity)) else None),
    ),
    subject=lambda e: leading_lwlock(seen)[0] if (seen := value_of(e.activity)) else "",
    apart={
        LOAD_SPIKE: "Is the wait_event_type of most active sessions LWLock, or empty (on a "
        "processor)?",
    },
    symptoms=(SymptomKind.LATENCY_UNUSUAL,),
    brings_about=(CONNECTIONS_LOAD, POOL_EXHAUSTED, STATEMENT_TIMEOUTS),
    follows_change=(
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
        ItemKind.SETTING,
    ),
    safe_first="Slow down the statement that most of the waiting sessions run (rate limit, "
    "smaller pool); fewer sessions at once get more done.",
    never=(
        NEVER_RAISE,
        "Do not let more sessions in: each one more makes the wait longer.",
        NEVER_RESTART,
    ),
    forbids=("end_idle_sessions", *RUNS),
    runbook="",
    source=f"{DOC}monitoring-stats.html#WAIT-EVENT-LWLOCK-TABLE",
    shown_by=((contention.on_lwlock, True),),
)
