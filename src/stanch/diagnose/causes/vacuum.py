"""Rows that died and stay, who keeps them, and the end of transaction ids."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts
from stanch.diagnose.causes.connections import NEVER_RESTART
from stanch.diagnose.causes.ids import (
    AUTOVACUUM_STARVED,
    CONNECTION_STORM,
    IDLE_IN_TRANSACTION,
    MULTIXACT_WRAPAROUND,
    PLAN_FLIP,
    PREPARED_TRANSACTION_ORPHANED,
    TABLE_BLOAT,
    VACUUM_HELD_BACK,
    XID_WRAPAROUND,
)
from stanch.diagnose.causes.queues import RUNS
from stanch.diagnose.clues import vacuum
from stanch.diagnose.clues.tending import database_asked, identity, table_facts
from stanch.diagnose.clues.vacuum import (
    IDS,
    STOP_BEFORE,
    holder_named,
    horizon,
    left_by_vacuum,
    most_bloated,
    most_dead,
    nearest_end,
    rows_holder,
)
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.readings import Reading
from stanch.model.symptoms import SymptomKind

NEVER_FULL = (
    "Do not run VACUUM FULL while people work: it locks the table for all and needs room for a "
    "whole copy."
)
NEVER_KILL_WRAPAROUND = (
    "Do not end an autovacuum that says (to prevent wraparound): it is the one that helps."
)
NEVER_RESET = "Do not run pg_resetwal -x: it makes rows vanish or come back."
NEVER_SINGLE = (
    "Do not go to single-user mode first: nobody can work meanwhile, and an ordinary VACUUM works "
    "while the server still runs."
)


def _tell_bloat(evidence: Evidence) -> str:
    dead, empty = most_dead(evidence), most_bloated(evidence)
    if dead is not None:
        return f"Table {dead.subject[:100]} has {dead.value:.0f} dead rows; {dead.detail[:100]}."
    if empty is not None and empty.now is not None:
        return f"Table {empty.subject[:100]} is {empty.now:.0f} % empty space, by estimate."
    sparse = vacuum.sparse_is_read.ask(evidence)
    if sparse.yes:
        return f"Table {sparse.text}."
    return "A table is mostly dead rows or empty space."


def _bloated(evidence: Evidence) -> Reading | None:
    return most_dead(evidence) or vacuum.sparse_read(evidence)


def _dead_facts(evidence: Evidence) -> Facts:
    """The table whose dead rows a vacuum would remove; empty space it does not give back."""
    dead = most_dead(evidence)
    known = table_facts(evidence, dead.subject if dead else None)
    return (*known, ("rows_to_vacuum", bool(known)))


table_bloat = Cause(
    id=TABLE_BLOAT,
    section=Section.WORK,
    sentence="A table or its indexes hold far more pages than its rows need: every scan reads dead "
    "rows and empty space.",
    onset=Onset.CREEPING,
    impact="Over days for whoever reads that table, and for the disk.",
    prior=-3.0,
    weighs=(
        Weigh(clue=vacuum.dead_rows, yes=4.0, no=-0.5, now=True),
        Weigh(clue=vacuum.bloat_estimated, yes=4.0, no=-1.0, now=True),
        Weigh(clue=vacuum.sparse_is_read, yes=5.0, no=0.0, now=True),
    ),
    tell=_tell_bloat,
    facts=lambda e: (
        ("server_running", True),
        ("table", table.subject if (table := _bloated(e)) else None),
        ("dead_rows", dead.value if (dead := most_dead(e)) else None),
        *_dead_facts(e),
    ),
    subject=lambda e: table.subject if (table := _bloated(e)) else "",
    apart={
        VACUUM_HELD_BACK: "Does VACUUM (VERBOSE) of the table say that dead rows are not yet "
        "removable?",
        AUTOVACUUM_STARVED: "When did autovacuum last end on the table (pg_stat_user_tables."
        "last_autovacuum)?",
        PLAN_FLIP: "Has the table many more pages than its rows need, or only old statistics?",
    },
    symptoms=(SymptomKind.TABLE_BLOATED, SymptomKind.STATEMENT_SLOWER),
    safe_first="Find whoever holds vacuum back first; then VACUUM that table, and rebuild it in a "
    "quiet hour where the space is needed (pg_repack, REINDEX CONCURRENTLY).",
    never=(NEVER_FULL, NEVER_RESTART),
    forbids=RUNS,
    runbook="dead-rows",
    source=f"{DOC}routine-vacuuming.html#VACUUM-FOR-SPACE-RECOVERY",
    shown_by=(
        (vacuum.dead_rows, True),
        (vacuum.bloat_estimated, True),
        (vacuum.sparse_is_read, True),
    ),
)


def _tell_held(evidence: Evidence) -> str:
    found = horizon(evidence)
    if found is None or found.value is None:
        return "Somebody keeps rows that died long ago from being removed."
    name, left = holder_named(found), left_by_vacuum(evidence)
    head = f"{name[0].upper()}{name[1:]} keeps"
    if left is not None and left.value is not None and rows_holder(evidence) is not None:
        return f"{head} {left.value:.0f} dead rows of {left.subject[:100]} from being removed."
    return (
        f"{head} rows that died up to {found.value / 1e6:.1f} million "
        "transactions ago from being removed."
    )


vacuum_held_back = Cause(
    id=VACUUM_HELD_BACK,
    section=Section.WORK,
    sentence="Vacuum may not remove dead rows because somebody could still see them: a session's "
    "transaction, a standby's feedback, a replication slot or a prepared transaction.",
    onset=Onset.CREEPING,
    impact="Over hours for all: every table that changes grows, in the end ids run out.",
    prior=-3.0,
    weighs=(
        Weigh(clue=vacuum.horizon_old, yes=2.5, no=-3.0, now=True),
        Weigh(clue=vacuum.horizon_far, yes=3.0, no=0.0, now=True),
        # What vacuum had to leave needs no million transactions to be believed.
        Weigh(clue=vacuum.rows_held, yes=9.0, no=0.0, now=True),
        Weigh(clue=vacuum.dead_rows, yes=3.0, no=-1.5, now=True),
    ),
    tell=_tell_held,
    facts=lambda e: (
        ("server_running", True),
        ("holder", held.subject if (held := horizon(e)) else None),
        ("horizon_age_xids", held.value if (held := horizon(e)) else None),
    ),
    subject=lambda e: held.subject if (held := horizon(e)) else "",
    apart={
        AUTOVACUUM_STARVED: "Is the oldest of backend_xmin, slot xmin and prepared transaction far "
        "behind (holder), or does vacuum not run at all?",
        IDLE_IN_TRANSACTION: "Is the oldest holder a session, a standby, a slot or a prepared "
        "transaction?",
        PREPARED_TRANSACTION_ORPHANED: "Is the oldest holder in pg_prepared_xacts?",
    },
    symptoms=(SymptomKind.TABLE_BLOATED, SymptomKind.LONG_TRANSACTION, SymptomKind.XID_WRAPAROUND),
    brings_about=(TABLE_BLOAT, XID_WRAPAROUND, MULTIXACT_WRAPAROUND),
    safe_first="Remove the oldest holder: end its transaction, turn off the standby's feedback or "
    "drop the slot, after asking whose it is.",
    never=(
        NEVER_FULL,
        "Do not tune autovacuum for it: it runs, and may not remove anything.",
        NEVER_RESTART,
    ),
    forbids=("end_idle_sessions", *RUNS),
    runbook="",
    source=f"{DOC}routine-vacuuming.html",
    shown_by=((vacuum.horizon_old, True), (vacuum.rows_held, True)),
)


def _tell_starved(evidence: Evidence) -> str:
    clues = (
        vacuum.autovacuum_is_off,
        vacuum.table_autovacuum_is_off,
        vacuum.autovacuum_canceled,
        vacuum.workers_busy,
    )
    why = [answer.text for clue in clues if (answer := clue.ask(evidence)).yes]
    dead = most_dead(evidence)
    table = f": {dead.subject[:80]} has {dead.value:.0f} dead rows" if dead else ""
    return f"Autovacuum does not keep up{table} ({'; '.join(why) or 'why is not known'})."


autovacuum_starved = Cause(
    id=AUTOVACUUM_STARVED,
    section=Section.WORK,
    sentence="Autovacuum does not come to the tables that need it: it is off, all its workers are "
    "busy, or locks keep calling it off.",
    onset=Onset.CREEPING,
    impact="Over days for all: tables grow, statistics become old, in the end ids run out.",
    prior=-3.0,
    weighs=(
        Weigh(clue=vacuum.autovacuum_is_off, yes=3.0, no=-0.5, now=True),
        Weigh(clue=vacuum.table_autovacuum_is_off, yes=3.0, no=0.0, now=True),
        Weigh(clue=vacuum.autovacuum_canceled, yes=2.5, no=0.0),
        Weigh(clue=vacuum.workers_busy, yes=2.0, no=0.0, now=True),
        Weigh(clue=vacuum.dead_rows, yes=2.0, no=-2.0, now=True),
        Weigh(clue=vacuum.horizon_old, yes=-2.5, no=0.5, now=True),
        Weigh(clue=vacuum.rows_held, yes=-4.0, no=0.0, now=True),
    ),
    tell=_tell_starved,
    facts=lambda e: (
        ("server_running", True),
        ("table", dead.subject if (dead := most_dead(e)) else None),
        ("autovacuum", f.setting("autovacuum") if (f := value_of(e.figures)) else None),
        ("dead_rows", dead.value if (dead := most_dead(e)) else None),
        *_dead_facts(e),
        ("track_counts", f.setting("track_counts") if f else None),
    ),
    subject=lambda e: dead.subject if (dead := most_dead(e)) else "",
    symptoms=(SymptomKind.TABLE_BLOATED, SymptomKind.XID_WRAPAROUND),
    brings_about=(TABLE_BLOAT, PLAN_FLIP, XID_WRAPAROUND, MULTIXACT_WRAPAROUND),
    follows_change=(
        ItemKind.SETTING,
        ItemKind.RELATION,
    ),
    safe_first="Turn it on again, or VACUUM (ANALYZE) the tables with most dead rows by hand; then "
    "give it more workers or a larger cost limit.",
    never=(NEVER_KILL_WRAPAROUND, NEVER_FULL, NEVER_RESTART),
    forbids=RUNS,
    runbook="autovacuum-starved",
    source=f"{DOC}routine-vacuuming.html#AUTOVACUUM",
    shown_by=(
        (vacuum.autovacuum_is_off, True),
        (vacuum.table_autovacuum_is_off, True),
        (vacuum.autovacuum_canceled, True),
        (vacuum.workers_busy, True),
    ),
)


def _tell_near(evidence: Evidence, name: str, what: str) -> str:
    found = nearest_end(evidence, name)
    if found is None or found.value is None:
        return f"{what} run out."
    left = max(0.0, IDS - STOP_BEFORE - found.value) / 1e6
    return (
        f'{what} run out: database "{found.subject[:80]}" is {found.value / 1e6:.0f} million '
        f"behind, {left:.0f} million are left before the server refuses to write."
    )


def _left_s(evidence: Evidence) -> float | None:
    """At the present rate, if every transaction took an id: the soonest it can be."""
    found, history = nearest_end(evidence, "xid_age_of_database"), value_of(evidence.history)
    rate = history.of("commits_total") if history else None
    if found is None or found.value is None or rate is None or not rate.now:
        return None
    return max(0.0, IDS - STOP_BEFORE - found.value) / rate.now


def _oldest_facts(evidence: Evidence) -> Facts:
    """The table that keeps the ids of that database from being used again, where we can see it."""
    figures, near = value_of(evidence.figures), nearest_end(evidence, "xid_age_of_database")
    told = figures.named("table_xid_age") if figures else ()
    oldest = max(told, key=lambda one: (one.value or 0.0, one.subject), default=None)
    database = database_asked(evidence)
    if oldest is None or near is None or database != near.subject:
        return (("table_to_freeze", False),)
    known = identity(oldest, database)
    age = None if oldest.value is None else round(oldest.value)
    return (*known, ("table_xid_age", age), ("table_to_freeze", bool(known)))


xid_wraparound = Cause(
    id=XID_WRAPAROUND,
    section=Section.WORK,
    sentence="Transaction ids run out: old rows were not frozen in time, and three million before "
    "the end the server takes no more writes.",
    onset=Onset.CREEPING,
    impact="At the end for everybody who writes; reading goes on.",
    prior=-3.0,
    weighs=(
        Weigh(clue=vacuum.xid_near_end, yes=4.5, no=-5.0, now=True),
        Weigh(clue=vacuum.xid_at_limit, yes=3.0, no=0.0, now=True),
        Weigh(clue=vacuum.xid_logged, yes=5.0, no=-0.5),
    ),
    tell=lambda e: _tell_near(e, "xid_age_of_database", "Transaction ids"),
    facts=lambda e: (
        ("server_running", True),
        ("database", near.subject if (near := nearest_end(e, "xid_age_of_database")) else None),
        ("xid_age", near.value if (near := nearest_end(e, "xid_age_of_database")) else None),
        *_oldest_facts(e),
    ),
    subject=lambda e: near.subject if (near := nearest_end(e, "xid_age_of_database")) else "",
    impact_in_s=_left_s,
    apart={
        MULTIXACT_WRAPAROUND: "Which is old: age(datfrozenxid) or mxid_age(datminmxid) in "
        "pg_database?",
        VACUUM_HELD_BACK: "Does age(datfrozenxid) reach a thousand million?",
        AUTOVACUUM_STARVED: "Does an autovacuum (to prevent wraparound) run, and how far is it?",
    },
    symptoms=(SymptomKind.XID_WRAPAROUND, SymptomKind.WRITES_FAILING),
    brings_about=(CONNECTION_STORM,),
    safe_first="Remove whoever holds vacuum back, then plain VACUUM of the tables with the oldest "
    "relfrozenxid, oldest first, without FULL and without FREEZE.",
    never=(NEVER_SINGLE, NEVER_RESET, NEVER_FULL, NEVER_KILL_WRAPAROUND),
    forbids=("end_idle_sessions", *RUNS),
    runbook="wraparound",
    source=f"{DOC}routine-vacuuming.html#VACUUM-FOR-WRAPAROUND",
    shown_by=((vacuum.xid_near_end, True), (vacuum.xid_logged, True)),
)

multixact_wraparound = Cause(
    id=MULTIXACT_WRAPAROUND,
    section=Section.WORK,
    sentence="Multixact ids, or the room for their members, run out: rows locked by several "
    "transactions at once (foreign keys, FOR SHARE) were not frozen in time.",
    onset=Onset.CREEPING,
    impact="At the end for everybody who locks or writes such rows; reading goes on.",
    prior=-3.0,
    weighs=(
        Weigh(clue=vacuum.mxid_near_end, yes=4.5, no=-3.0, now=True),
        Weigh(clue=vacuum.mxid_at_limit, yes=3.0, no=0.0, now=True),
        # The room for members can run out with few ids in use.
        Weigh(clue=vacuum.mxid_logged, yes=8.0, no=-0.5),
    ),
    tell=lambda e: _tell_near(e, "mxid_age_of_database", "Multixact ids"),
    facts=lambda e: (
        ("server_running", True),
        ("database", near.subject if (near := nearest_end(e, "mxid_age_of_database")) else None),
        ("mxid_age", near.value if (near := nearest_end(e, "mxid_age_of_database")) else None),
    ),
    subject=lambda e: near.subject if (near := nearest_end(e, "mxid_age_of_database")) else "",
    symptoms=(SymptomKind.MXID_WRAPAROUND, SymptomKind.WRITES_FAILING),
    brings_about=(CONNECTION_STORM,),
    safe_first="Remove whoever holds vacuum back, then plain VACUUM of the tables with the oldest "
    "relminmxid, oldest first.",
    never=(NEVER_SINGLE, NEVER_RESET, NEVER_FULL, NEVER_KILL_WRAPAROUND),
    forbids=("end_idle_sessions", *RUNS),
    runbook="",
    source=f"{DOC}routine-vacuuming.html#VACUUM-FOR-MULTIXACT-WRAPAROUND",
    shown_by=((vacuum.mxid_near_end, True), (vacuum.mxid_logged, True)),
)
