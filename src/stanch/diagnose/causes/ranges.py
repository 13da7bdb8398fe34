"""Numbers that have come to their end."""

from __future__ import annotations

from datetime import datetime

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC
from stanch.diagnose.causes.ids import CONNECTION_STORM, INT4_OVERFLOW, SEQUENCE_EXHAUSTED
from stanch.diagnose.clues import ranges
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.shown import shortened
from stanch.model.symptoms import SymptomKind


def _began(evidence: Evidence, kind: str) -> datetime | None:
    log = value_of(evidence.log)
    counted = log.count(kind) if log is not None else None
    return counted.first_at if counted is not None else None


def sequence_named(evidence: Evidence) -> str:
    """The sequence, from the log or else the one nearest to its end."""
    logged, used = ranges.exhausted(evidence), ranges.used_most(evidence, ranges.SEQUENCE_USED)
    if logged is not None:
        return logged[0]
    return used.subject if used is not None else ""


def key_named(evidence: Evidence) -> str:
    """The key column nearest to its end, else the table that the refused statements name."""
    used = ranges.used_most(evidence, ranges.KEY_USED)
    if used is not None and used.pct >= ranges.FAR_PCT:
        return used.subject
    return ranges.overflowing_table(evidence)


def _tell_sequence(evidence: Evidence) -> str:
    found, name = ranges.exhausted(evidence), shortened(sequence_named(evidence), 100)
    near = ranges.nearly_used(evidence, ranges.SEQUENCE_USED)
    if found is None and near is not None:
        return f"Sequence {name} has given out {near.pct:.1f} % of its numbers: inserts fail soon."
    if found is None:
        return (
            f"Sequence {name} has given out its last number: the next insert that needs it fails."
        )
    return f"Sequence {name} has no number left after {found[1]}: every insert that needs it fails."


def _tell_key(evidence: Evidence) -> str:
    name = shortened(key_named(evidence), 120)
    about = f" {name}" if name else ""
    count = len(ranges.overflows(evidence))
    near = ranges.nearly_used(evidence, ranges.KEY_USED)
    if not count and near is not None:
        return f"Integer column{about} has used {near.pct:.1f} % of its numbers: inserts fail soon."
    return f"Numbers no longer fit the integer column{about}: {count} statements were refused."


sequence_exhausted = Cause(
    id=SEQUENCE_EXHAUSTED,
    section=Section.DATA,
    sentence="A sequence has given out its last number; nextval fails from then on.",
    onset=Onset.CREEPING,
    impact="At once for every insert that takes its key from the sequence; reads go on.",
    prior=-3.0,
    weighs=(
        Weigh(clue=ranges.sequence_logged, yes=5.0, no=-1.5),
        Weigh(clue=ranges.sequence_used_up, yes=3.5, no=-1.5, now=True),
        # It takes the place of what fails once the numbers are gone.
        Weigh(clue=ranges.sequence_nearly_used, yes=6.0, no=0.0, now=True),
    ),
    shown_by=(
        (ranges.sequence_logged, True),
        (ranges.sequence_used_up, True),
        (ranges.sequence_nearly_used, True),
    ),
    hurts_later=lambda e: (
        ranges.exhausted(e) is None and ranges.sequence_nearly_used.ask(e).yes is True
    ),
    tell=_tell_sequence,
    facts=lambda e: (
        ("server_running", True),
        ("sequence", sequence_named(e) or None),
        ("last_value", found[1] if (found := ranges.exhausted(e)) else None),
    ),
    subject=sequence_named,
    began=lambda e: _began(e, "sequence_exhausted"),
    apart={
        INT4_OVERFLOW: "Which SQLSTATE do the failing inserts carry: 2200H (the sequence) or 22003 "
        "(the column)?",
    },
    symptoms=(SymptomKind.SEQUENCE_NEAR_END, SymptomKind.WRITES_FAILING, SymptomKind.LOG_ERRORS),
    brings_about=(CONNECTION_STORM,),
    safe_first="Look at the column that it fills: where that is bigint, ALTER SEQUENCE ... AS "
    "bigint and raise MAXVALUE; where it is integer, let the sequence go on below zero (RESTART "
    "with the smallest number) until the column is bigint, once the application is known to "
    "take negative keys.",
    never=(
        "Do not let it CYCLE: it gives out keys that are taken.",
        "Do not RESTART it at 1: it gives out keys that are taken.",
        "Do not restart the server: it changes nothing.",
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}sql-altersequence.html",
)

int4_overflow = Cause(
    id=INT4_OVERFLOW,
    section=Section.DATA,
    sentence="A key has outgrown its integer column, or the integer column of another table that "
    "refers to it; 2147483647 is the largest number there.",
    onset=Onset.CREEPING,
    impact="At once for every insert into that table; reads go on.",
    prior=-3.0,
    weighs=(
        Weigh(clue=ranges.integer_overflows, yes=2.5, no=-2.0),
        Weigh(clue=ranges.overflows_while_writing, yes=1.5, no=-2.5),
        Weigh(clue=ranges.key_used_up, yes=4.0, no=-2.5, now=True),
        # It takes the place of what fails once the numbers are gone.
        Weigh(clue=ranges.key_nearly_used, yes=6.5, no=0.0, now=True),
        Weigh(clue=ranges.sequence_logged, yes=-0.5, no=0.0),
    ),
    shown_by=((ranges.integer_overflows, True), (ranges.key_nearly_used, True)),
    hurts_later=lambda e: (
        not ranges.overflows(e) and ranges.nearly_used(e, ranges.KEY_USED) is not None
    ),
    tell=_tell_key,
    facts=lambda e: (
        ("server_running", True),
        ("column", key_named(e) or None),
        ("table", ranges.overflowing_table(e) or None),
    ),
    subject=key_named,
    began=lambda e: _began(e, "integer_out_of_range"),
    symptoms=(SymptomKind.INT4_KEY_NEAR_END, SymptomKind.WRITES_FAILING, SymptomKind.LOG_ERRORS),
    brings_about=(CONNECTION_STORM,),
    safe_first="As a stopgap let the sequence go on at -2147483648, where the application takes "
    "negative keys; then move to a bigint column beside it, filled in batches, and the columns "
    "that refer to it.",
    never=(
        "Do not run ALTER COLUMN ... TYPE bigint on the live table: it writes the whole table anew "
        "while everybody waits.",
        "Do not restart the server: it changes nothing.",
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}datatype-numeric.html#DATATYPE-INT",
)
