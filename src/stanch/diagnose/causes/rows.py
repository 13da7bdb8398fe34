"""All rows of a table deleted or written anew by one statement."""

from __future__ import annotations

from datetime import datetime

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts
from stanch.diagnose.causes.ids import MASS_DELETE, MASS_UPDATE, TABLE_BLOAT
from stanch.diagnose.causes.loss import FORBIDS, NEVER_EXPIRE, NEVER_IN_PLACE
from stanch.diagnose.clues import rows
from stanch.diagnose.evidence import Evidence
from stanch.model.changes import ItemKind
from stanch.model.shown import shortened
from stanch.model.symptoms import SymptomKind

NEVER_VACUUM = (
    "Do not let VACUUM or autovacuum run on it, nor a REINDEX or a dump with locks: until then the "
    "old rows still lie in its pages."
)


def _tell(evidence: Evidence, verb: str) -> str:
    table, said = rows.of_table(evidence, verb), rows.whole_write(evidence, verb)
    name = shortened(rows.table_of(evidence, verb), 80) or "a table"
    done = "were deleted" if verb == "delete" else "were written anew"
    if said is not None and said.pid is not None:
        return f"Session {said.pid} is about to {verb} every row of {name} ({said.who})."
    if table is not None and verb == "delete":
        count = f"{table.before - table.live:.0f} of {table.before:.0f} rows of {name} {done}"
    elif table is not None:
        count = f"All of the {table.before:.0f} rows of {name} {done}"
    else:
        count = f"All rows of {name} {done}"
    left = f"; {table.dead:.0f} old ones still lie there" if table is not None else ""
    by = f", by {shortened(said.who, 80)}" if said is not None and said.who else ""
    return f"{count}{by}{left}."


def _facts(evidence: Evidence, verb: str) -> Facts:
    table, said = rows.of_table(evidence, verb), rows.whole_write(evidence, verb)
    return (
        ("server_running", True),
        ("database", rows.database_of_tables(evidence) or None),
        ("table", rows.table_of(evidence, verb) or None),
        ("rows_before", table.before if table else None),
        ("rows_dead", table.dead if table else None),
        ("pid", said.pid if said else None),
        ("by", (said.who or None) if said else None),
        ("at", said.at.isoformat() if said and said.at else None),
    )


def _began(evidence: Evidence, verb: str) -> datetime | None:
    said = rows.whole_write(evidence, verb)
    return said.at if said is not None else None


mass_delete = Cause(
    id=MASS_DELETE,
    section=Section.DATA,
    sentence="One statement deleted all rows of a table, or nearly all: a DELETE without WHERE, or "
    "with one that is always true.",
    onset=Onset.AT_ONCE,
    impact="At once, without an error: the application finds no rows; cascades take those of other "
    "tables with them.",
    prior=-3.0,
    weighs=(
        Weigh(clue=rows.rows_lost, yes=4.0, no=-1.5, now=True),
        Weigh(clue=rows.delete_of_all, yes=3.5, no=0.0),
        Weigh(clue=rows.deletes_jumped, yes=2.5, no=-0.5),
        Weigh(clue=rows.deletes_like_a_table, yes=4.5, no=0.0),
    ),
    shown_by=(
        (rows.rows_lost, True),
        (rows.delete_of_all, True),
        (rows.deletes_like_a_table, True),
    ),
    tell=lambda e: _tell(e, "delete"),
    facts=lambda e: _facts(e, "delete"),
    subject=lambda e: rows.table_of(e, "delete"),
    began=lambda e: _began(e, "delete"),
    apart={
        MASS_UPDATE: "Which counter of the table has leapt: n_tup_del or n_tup_upd?",
    },
    symptoms=(SymptomKind.REPORTED, SymptomKind.ERROR_RATE_RAISED),
    brings_about=(TABLE_BLOAT,),
    follows_change=(ItemKind.DEPLOY, ItemKind.ROLLOUT),
    safe_first="If it still runs, cancel it; else switch autovacuum off for that table at once "
    "(ALTER TABLE ... SET (autovacuum_enabled = off)), keep the application from writing to it, "
    "and restore beside this server to right before; ask first whether it was a purge.",
    never=(NEVER_VACUUM, NEVER_IN_PLACE, NEVER_EXPIRE),
    forbids=FORBIDS,
    runbook="mass-write",
    source=f"{DOC}routine-vacuuming.html#VACUUM-FOR-SPACE-RECOVERY",
)

mass_update = Cause(
    id=MASS_UPDATE,
    section=Section.DATA,
    sentence="One statement wrote all rows of a table anew: an UPDATE without WHERE, by mistake or "
    "as a migration in one go.",
    onset=Onset.AT_ONCE,
    impact="At once: values are wrong without an error; WAL, bloat and lag come with it.",
    prior=-3.0,
    weighs=(
        Weigh(clue=rows.rows_rewritten, yes=4.0, no=-1.5, now=True),
        Weigh(clue=rows.update_of_all, yes=3.5, no=0.0),
        Weigh(clue=rows.updates_jumped, yes=2.0, no=-1.5),
        Weigh(clue=rows.updates_like_a_table, yes=4.5, no=0.0),
    ),
    shown_by=(
        (rows.rows_rewritten, True),
        (rows.update_of_all, True),
        (rows.updates_like_a_table, True),
    ),
    tell=lambda e: _tell(e, "update"),
    facts=lambda e: _facts(e, "update"),
    subject=lambda e: rows.table_of(e, "update"),
    began=lambda e: _began(e, "update"),
    symptoms=(SymptomKind.REPORTED, SymptomKind.REPLICATION_LAG, SymptomKind.DISK_FILLING),
    brings_about=(TABLE_BLOAT,),
    follows_change=(ItemKind.DEPLOY, ItemKind.ROLLOUT),
    safe_first="Ask whether it was meant. If not and it still runs, cancel it; else switch "
    "autovacuum off for that table, keep the application from writing to it, and restore beside "
    "this server to right before.",
    never=(NEVER_VACUUM, NEVER_IN_PLACE, NEVER_EXPIRE),
    forbids=FORBIDS,
    runbook="mass-write",
    source=f"{DOC}sql-update.html",
)
