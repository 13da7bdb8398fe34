"""Tables, databases and rows that somebody took away, and names that never were there."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts
from stanch.diagnose.causes.ids import (
    CONNECTION_STORM,
    DATABASE_DROPPED,
    MASS_DELETE,
    OTHER_CLUSTER,
    SCHEMA_MISMATCH,
    TABLE_DROPPED,
    TABLE_TRUNCATED,
)
from stanch.diagnose.clues import directory, loss, newcomers, truncated
from stanch.diagnose.clues import missed as seen
from stanch.diagnose.clues.missed import Missed, missed
from stanch.diagnose.evidence import Evidence
from stanch.model.changes import ItemKind
from stanch.model.shown import shortened
from stanch.model.symptoms import SymptomKind

FORBIDS = ("start_server", "set_aside_lock_file", "free_space")
"""Old logs tell who did it, and when exactly: that is what a restore needs to know."""
NEVER_IN_PLACE = (
    "Do not restore in place: everything that was written since, elsewhere, would be lost; restore "
    "beside it, to right before that transaction."
)
NEVER_EMPTY = (
    "Do not make it anew and empty: the application would go on and write rows that collide with "
    "the old ones."
)
NEVER_EXPIRE = "Do not let backups or archived WAL expire until the rows are back."


def _shown(name: str) -> str:
    return shortened(name, 80)


def _who(found: Missed) -> str:
    first = next(iter(found.who), "")
    more = f" and {len(found.who) - 1} others" if len(found.who) > 1 else ""
    return f" (asked for by {shortened(first, 60)}{more})" if first else ""


def _tell_dropped(evidence: Evidence) -> str:
    found = missed(evidence, "no_such_table")
    if found is None:
        return "A table is gone."
    said = loss.table_drop_logged.ask(evidence), loss.table_gone.ask(evidence)
    how = next((f": {shortened(answer.text, 110)}" for answer in said if answer.yes), "")
    return (
        f"Table {_shown(found.name)} is gone since {found.first_at:%H:%M:%S} UTC, and "
        f"{found.lines} statements missed it{_who(found)}{how}."
    )


def _dropped_facts(evidence: Evidence) -> Facts:
    found = missed(evidence, "no_such_table")
    by = loss.dropped_by(evidence, "no_such_table", "table")
    at = by.at if by else None
    return (
        ("server_running", True),
        ("table", found.name if found else None),
        ("database", found.database if found else None),
        ("first_missed_at", found.first_at.isoformat() if found else None),
        ("dropped_at", at.isoformat() if at else None),
        ("dropped_by", (by.who or None) if by else None),
    )


def _tell_mismatch(evidence: Evidence) -> str:
    column, table = missed(evidence, "no_such_column"), missed(evidence, "no_such_table")
    found = max((m for m in (table, column) if m), key=lambda m: (m.lines, m.name), default=None)
    if found is None:
        return "Statements ask for names that are not there."
    sort = "column" if found is column else "table"
    why = [loss.deployed.ask(evidence), loss.search_path_changed.ask(evidence)]
    after = next((f"; {shortened(answer.text, 110)}" for answer in why if answer.yes), "")
    return (
        f"{found.lines} statements since {found.first_at:%H:%M:%S} UTC ask for {sort} "
        f"{_shown(found.name)}, which they do not find{_who(found)}{after}."
    )


def _tell_truncated(evidence: Evidence) -> str:
    name, at, _ = truncated.truncated(evidence)
    size = truncated.table_size_lost.ask(evidence)
    lost = f"; {size.text}" if size.yes else ""
    when = f" at {at:%H:%M:%S} UTC" if at else ""
    return shortened(f"Table {_shown(name) or 'of great size'} was truncated{when}{lost}.", 290)


def _tell_database(evidence: Evidence) -> str:
    name, found = loss.database_missed(evidence), missed(evidence, "no_such_database")
    said = loss.database_drop_logged.ask(evidence), loss.database_gone.ask(evidence)
    how = next((f": {shortened(answer.text, 110)}" for answer in said if answer.yes), "")
    many = f", and {found.lines} logins asked for it" if found else ""
    return f"Database {_shown(name)} is gone{many}{how}."


table_dropped = Cause(
    id=TABLE_DROPPED,
    section=Section.DATA,
    sentence="A table that is in use was dropped: by a person on the wrong server, by a migration, "
    "by a script.",
    onset=Onset.AT_ONCE,
    impact="At once for every statement that names it.",
    family="missing",
    prior=-3.0,
    weighs=(
        Weigh(clue=seen.relations_missed, yes=3.0, no=-4.0),
        Weigh(clue=loss.table_gone, yes=4.0, no=-1.5),
        Weigh(clue=loss.table_drop_logged, yes=4.5, no=0.0),
        # A drop in a function or among other statements of one message is not seen as one.
        Weigh(clue=newcomers.drops_logged, yes=-1.5, no=0.0),
        Weigh(clue=newcomers.missed_by_newcomers, yes=-2.5, no=1.0, now=True),
        Weigh(clue=loss.table_still_there, yes=-5.0, no=0.5, now=True),
        Weigh(clue=truncated.table_size_lost, yes=1.5, no=0.0, now=True),
        Weigh(clue=seen.missed_by_several, yes=0.5, no=0.0),
        Weigh(clue=seen.columns_missed, yes=-1.5, no=0.0),
    ),
    shown_by=((seen.relations_missed, True),),
    tell=_tell_dropped,
    facts=_dropped_facts,
    subject=lambda e: found.name if (found := missed(e, "no_such_table")) else "",
    began=lambda e: found.first_at if (found := missed(e, "no_such_table")) else None,
    apart={
        SCHEMA_MISMATCH: "Did that table exist before, in that schema of that database: in the "
        "last inventory, or in the last backup?",
        TABLE_TRUNCATED: "Do statements that name the table fail (42P01), or find no rows?",
        DATABASE_DROPPED: "Do logins fail (3D000), or statements (42P01)?",
    },
    symptoms=(SymptomKind.ERROR_RATE_HIGH, SymptomKind.ERROR_RATE_RAISED, SymptomKind.LOG_ERRORS),
    follows_change=(ItemKind.RELATION, ItemKind.OBJECT, ItemKind.DEPLOY, ItemKind.ROLLOUT),
    brings_about=(CONNECTION_STORM,),
    safe_first="Keep the application from writing, note the exact time, and restore the newest "
    "backup beside this server to right before the drop; take the table from there.",
    never=(NEVER_IN_PLACE, NEVER_EMPTY, NEVER_EXPIRE),
    forbids=FORBIDS,
    runbook="table-dropped",
    source=f"{DOC}continuous-archiving.html#BACKUP-PITR-RECOVERY",
)

schema_mismatch = Cause(
    id=SCHEMA_MISMATCH,
    section=Section.DATA,
    sentence="Statements name tables or columns as they are not: an application that was deployed "
    "before its migration or after its removal, another search_path, the wrong database.",
    onset=Onset.AT_ONCE,
    impact="At once for the statements of that version or that role; no row is lost.",
    family="missing",
    prior=-3.0,
    weighs=(
        Weigh(clue=seen.relations_missed, yes=2.0, no=0.0),
        Weigh(clue=seen.columns_missed, yes=4.5, no=0.0),
        Weigh(clue=loss.table_still_there, yes=3.0, no=0.0, now=True),
        Weigh(clue=loss.deployed, yes=2.5, no=-0.5),
        Weigh(clue=loss.search_path_changed, yes=3.0, no=0.0),
        Weigh(clue=loss.table_gone, yes=-4.0, no=0.5),
        Weigh(clue=loss.table_drop_logged, yes=-4.0, no=0.0),
        Weigh(clue=newcomers.drops_logged, yes=1.5, no=0.0),
        Weigh(clue=newcomers.missed_by_newcomers, yes=3.0, no=-1.5, now=True),
    ),
    shown_by=((seen.relations_missed, True), (seen.columns_missed, True)),
    tell=_tell_mismatch,
    facts=lambda e: (
        ("server_running", True),
        ("table", found.name if (found := missed(e, "no_such_table")) else None),
        ("column", found.name if (found := missed(e, "no_such_column")) else None),
    ),
    subject=lambda e: (
        found.name if (found := missed(e, "no_such_column") or missed(e, "no_such_table")) else ""
    ),
    began=lambda e: (
        found.first_at
        if (found := missed(e, "no_such_column") or missed(e, "no_such_table"))
        else None
    ),
    symptoms=(SymptomKind.ERROR_RATE_HIGH, SymptomKind.ERROR_RATE_RAISED, SymptomKind.LOG_ERRORS),
    follows_change=(ItemKind.DEPLOY, ItemKind.ROLLOUT, ItemKind.ROLE, ItemKind.SETTING),
    brings_about=(CONNECTION_STORM,),
    safe_first="Compare what the application expects with \\d of the table: deploy the version "
    "that fits, run the migration that is missing, or set search_path of the role back.",
    never=(
        "Do not restore a backup: nothing was lost.",
        "Do not make the missing table by hand and empty: the migration that makes it would fail.",
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}ddl-schemas.html#DDL-SCHEMAS-PATH",
)

table_truncated = Cause(
    id=TABLE_TRUNCATED,
    section=Section.DATA,
    sentence="A table that is in use was emptied with TRUNCATE; the files with its rows are gone "
    "at once.",
    onset=Onset.AT_ONCE,
    impact="At once, without an error: the application finds no rows, and writes new ones.",
    prior=-3.0,
    weighs=(
        Weigh(clue=truncated.table_truncated, yes=2.0, no=-1.0),
        Weigh(clue=truncated.table_vanished, yes=1.5, no=-1.5, now=True),
        Weigh(clue=truncated.table_emptied_lately, yes=2.5, no=-1.0, now=True),
        # What is filled, read through and emptied is emptied lately, too, every day.
        Weigh(clue=truncated.table_much_read, yes=1.5, no=-3.5),
        Weigh(clue=truncated.table_size_lost, yes=3.0, no=0.0, now=True),
        Weigh(clue=truncated.truncated_before, yes=-3.0, no=0.0),
        Weigh(clue=seen.relations_missed, yes=-2.0, no=0.0),
    ),
    shown_by=((truncated.table_truncated, True), (truncated.table_emptied_lately, True)),
    tell=_tell_truncated,
    facts=lambda e: (
        ("server_running", True),
        ("table", truncated.truncated(e)[0] or None),
        ("truncated_at", at.isoformat() if (at := truncated.truncated(e)[1]) else None),
    ),
    subject=lambda e: truncated.truncated(e)[0],
    began=lambda e: truncated.truncated(e)[1],
    apart={
        MASS_DELETE: "Do the old rows still lie in the table (n_dead_tup, the size of its file), "
        "or is the file itself empty?",
    },
    symptoms=(SymptomKind.REPORTED, SymptomKind.ERROR_RATE_RAISED),
    follows_change=(ItemKind.RELATION, ItemKind.DEPLOY, ItemKind.ROLLOUT),
    safe_first="Keep the application from writing to it, note the exact time, and restore the "
    "newest backup beside this server to right before the statement; take the rows from there.",
    never=(NEVER_IN_PLACE, NEVER_EXPIRE),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}sql-truncate.html",
)

database_dropped = Cause(
    id=DATABASE_DROPPED,
    section=Section.DATA,
    sentence="A database that is in use was dropped or renamed: its files are removed at once.",
    onset=Onset.AT_ONCE,
    impact="At once for every login to it.",
    prior=-3.0,
    weighs=(
        Weigh(clue=loss.databases_missed, yes=2.5, no=-0.5),
        Weigh(clue=loss.own_database, yes=2.5, no=0.0, now=True),
        Weigh(clue=loss.database_was_there, yes=2.5, no=0.0),
        Weigh(clue=loss.database_served, yes=3.0, no=0.0),
        Weigh(clue=loss.database_had_size, yes=3.0, no=-0.5),
        Weigh(clue=loss.database_flushed, yes=2.0, no=0.0),
        Weigh(clue=loss.database_gone, yes=4.0, no=-0.5),
        Weigh(clue=loss.database_drop_logged, yes=4.5, no=0.0),
        Weigh(clue=loss.database_listed, yes=-7.0, no=0.5, now=True),
        Weigh(clue=directory.database_folder, yes=-9.0, no=0.5, now=True),
    ),
    shown_by=((loss.databases_missed, True), (loss.own_database, True)),
    tell=_tell_database,
    facts=lambda e: (("server_running", True), ("database", loss.database_missed(e) or None)),
    subject=loss.database_missed,
    began=lambda e: found.first_at if (found := missed(e, "no_such_database")) else None,
    apart={
        OTHER_CLUSTER: "Is the system identifier of the server that answers the one that is "
        "expected?",
    },
    symptoms=(SymptomKind.UNWATCHED, SymptomKind.ERROR_RATE_HIGH, SymptomKind.LOG_ERRORS),
    follows_change=(ItemKind.DATABASE,),
    safe_first="Ask whether it was renamed (the list of databases tells); if not, note the exact "
    "time and restore the newest backup of the whole cluster beside this server to right before.",
    never=(NEVER_IN_PLACE, NEVER_EMPTY, NEVER_EXPIRE),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}sql-dropdatabase.html",
)
