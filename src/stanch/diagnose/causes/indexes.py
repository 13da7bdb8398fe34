"""Indexes that do not say what their tables say, and collations that sort otherwise than before."""

from __future__ import annotations

import re

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC
from stanch.diagnose.causes.damage import FORBIDS, NEVER_RESTART, asked, began, said
from stanch.diagnose.causes.ids import CATALOG_CORRUPTION, COLLATION_DRIFT, INDEX_CORRUPTION
from stanch.diagnose.clues import damage
from stanch.diagnose.evidence import Evidence
from stanch.model.changes import ItemKind
from stanch.model.shown import shortened
from stanch.model.symptoms import SymptomKind


def index_named(evidence: Evidence) -> str:
    """The index that the newest line names; empty where it names none."""
    found = re.findall(r"index \"([^\"\n]{1,130})\"", said(evidence, "index_damaged"))
    return found[-1] if found else next(iter(damage.damaged_indexes(evidence) or ()), "")


def _tell_index(evidence: Evidence) -> str:
    drift = damage.collation_of_database.ask(evidence)
    why = f"; collations have changed: {drift.text}" if drift.yes else ""
    broken = damage.damaged_indexes(evidence)
    pages = f"pages of {', '.join(broken)} are not what was written" if broken else ""
    words = said(evidence, "index_damaged") or pages or "the watch has seen signs of it"
    return shortened(f"An index is damaged: {words}{why}.", 290)


def _tell_collation(evidence: Evidence) -> str:
    differ = damage.mismatched(evidence)
    if differ:
        return shortened(
            f"The collation of {', '.join(differ)} has changed under its indexes.", 290
        )
    recorded = [c.subject for c in damage.recorded_mismatches(evidence) if c.now]
    where = f" in {', '.join(recorded[:3])}" if recorded else ""
    return f"Collations{where} have changed under the indexes that were built with them."


index_corruption = Cause(
    id=INDEX_CORRUPTION,
    section=Section.DATA,
    sentence="An index does not say what its table says: rows are not found by it, or are found "
    "twice, though the table itself is whole.",
    onset=Onset.CREEPING,
    impact="At once for statements that use the index: they fail or, worse, answer wrongly; "
    "duplicates get past a unique one.",
    prior=-3.0,
    weighs=(
        Weigh(clue=damage.index_logged, yes=5.5, no=-3.0),
        Weigh(clue=damage.only_indexes, yes=9.0, no=0.0),
        Weigh(clue=damage.index_seen, yes=3.5, no=0.0),
        Weigh(clue=damage.collation_of_database, yes=0.5, no=0.0),
        Weigh(clue=damage.page_logged, yes=-0.5, no=0.5),
    ),
    shown_by=(
        (damage.index_logged, True),
        (damage.index_seen, True),
        (damage.only_indexes, True),
    ),
    tell=_tell_index,
    facts=lambda e: (
        ("server_running", True),
        ("index", index_named(e) or None),
        ("statement", asked(e, "index_damaged")),
    ),
    subject=index_named,
    began=lambda e: began(e, "index_damaged"),
    apart={
        COLLATION_DRIFT: "Is it an index on text, and does "
        "pg_database_collation_actual_version differ from datcollversion?",
        CATALOG_CORRUPTION: "Is the index one of pg_catalog?",
    },
    symptoms=(SymptomKind.LOG_CORRUPTION,),
    safe_first="Check it and its neighbours with amcheck (bt_index_check with heapallindexed), "
    "then REINDEX INDEX CONCURRENTLY; where it is unique, look for duplicates in the table first.",
    never=(
        "Do not drop the index of a primary key or a unique constraint: nothing would keep "
        "duplicates out.",
        NEVER_RESTART,
        "Do not run ALTER ... REFRESH VERSION before the indexes were built anew: it silences the "
        "warning and keeps the damage.",
    ),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}amcheck.html",
)

collation_drift = Cause(
    id=COLLATION_DRIFT,
    section=Section.DATA,
    sentence="The operating system or ICU sorts text in another order than when the indexes were "
    "built: after an upgrade of either, or on a standby or a restored copy with other libraries.",
    onset=Onset.AT_START,
    impact="Without a sound: rows are not found by indexes on text, duplicates get past unique "
    "ones, rows go into the wrong partition.",
    prior=-3.0,
    weighs=(
        Weigh(clue=damage.collation_of_database, yes=4.5, no=-0.5, now=True),
        # Looked for every few minutes alone; a warning is from the moment at which it was met.
        Weigh(clue=damage.collation_recorded, yes=4.0, no=-1.0, now=True),
        Weigh(clue=damage.collation_logged, yes=5.0, no=0.0),
    ),
    shown_by=(
        (damage.collation_of_database, True),
        (damage.collation_recorded, True),
        (damage.collation_logged, True),
    ),
    tell=_tell_collation,
    facts=lambda e: (
        ("server_running", True),
        ("databases", ", ".join(damage.mismatched(e))[:200] or None),
    ),
    subject=lambda e: next(iter(damage.mismatched(e)), "").partition(" (")[0],
    began=lambda e: min(
        (s.since for s in e.symptoms if s.kind is SymptomKind.COLLATION_CHANGED), default=None
    ),
    symptoms=(SymptomKind.COLLATION_CHANGED,),
    brings_about=(INDEX_CORRUPTION,),
    follows_change=(ItemKind.SERVER, ItemKind.IMAGE, ItemKind.ROLLOUT),
    safe_first="Check the indexes on text with amcheck, REINDEX CONCURRENTLY those that use the "
    "collation, unique ones first; only then ALTER DATABASE (or COLLATION) ... REFRESH VERSION.",
    never=(
        "Do not run ALTER DATABASE ... REFRESH COLLATION VERSION first: it silences the warning "
        "and keeps the damage.",
        "Do not fail over or replicate physically between machines whose libraries differ.",
        "Do not upgrade the operating system of the other servers before this is mended.",
    ),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}sql-altercollation.html",
)
