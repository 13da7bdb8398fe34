"""Logical replication: a worker that fails again and again, a transaction too large to decode."""

from __future__ import annotations

from datetime import datetime

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts
from stanch.diagnose.causes.ids import (
    APPLY_WORKER_LOOP,
    DECODING_SPILL,
    DISK_FULL_DATA,
    DISK_FULL_WAL,
    LAG_SENDING,
)
from stanch.diagnose.clues import logical as c
from stanch.diagnose.evidence import Evidence
from stanch.model.shown import human_bytes
from stanch.model.symptoms import SymptomKind


def _tell_loop(evidence: Evidence) -> str:
    name, error = c.failing_subscription(evidence), c.apply_error(evidence)
    which = f' of subscription "{name}"' if name else ""
    why = f": {error.text[:160]}" if error else "; its error stands in the log"
    return f"The apply worker{which} ends at the same change again and again{why}."


def _loop_facts(evidence: Evidence) -> Facts:
    error, ends = c.apply_error(evidence), c.worker_ends(evidence)
    return (
        ("server_running", True),
        ("subscription", c.failing_subscription(evidence) or None),
        ("worker_ends", len(ends)),
        ("error", error.text if error else None),
        ("sqlstate", (error.sqlstate or None) if error else None),
    )


def _loop_began(evidence: Evidence) -> datetime | None:
    return next((end.at for end in c.worker_ends(evidence)), None)


def _tell_spill(evidence: Evidence) -> str:
    found = c.spilling(evidence)
    if found is None:
        return "A transaction too large for memory is decoded from disk."
    name, spilled, waiting = found
    return (
        f'Slot "{name}" decodes a transaction that does not fit into memory: '
        f"{human_bytes(spilled)} spilled to disk, the last {human_bytes(waiting)} not confirmed."
    )


def _spill_facts(evidence: Evidence) -> Facts:
    found = c.spilling(evidence)
    return (
        ("server_running", True),
        ("slot", found[0] if found else None),
        ("spilled_bytes", found[1] if found else None),
        ("unconfirmed_bytes", found[2] if found else None),
    )


apply_worker_loop = Cause(
    id=APPLY_WORKER_LOOP,
    section=Section.REPLICATION,
    sentence="The worker of a subscription fails at one change, ends, is started again and fails "
    "at the same change: a row that is there already, a table or column that is not.",
    onset=Onset.AT_ONCE,
    impact="At once for the subscriber, whose data stands still; over hours for the publisher, "
    "whose slot keeps WAL.",
    family="",
    prior=-3.0,
    weighs=(
        Weigh(clue=c.apply_loop, yes=5.0, no=-2.0),
        Weigh(clue=c.gave_up, yes=5.0, no=0.0),
        Weigh(clue=c.apply_errors, yes=1.0, no=-3.0, now=True),
        Weigh(clue=c.worker_absent, yes=1.0, no=-0.5, now=True),
        Weigh(clue=c.worker_error, yes=1.0, no=0.0),
    ),
    shown_by=((c.apply_loop, True), (c.gave_up, True)),
    tell=_tell_loop,
    facts=_loop_facts,
    subject=c.failing_subscription,
    began=_loop_began,
    apart={
        LAG_SENDING: "Does the subscriber's log show its apply worker ending every few seconds?",
        DECODING_SPILL: "Does the worker on the subscriber end, or does it wait for the publisher?",
    },
    symptoms=(SymptomKind.SLOT_INACTIVE, SymptomKind.SLOT_RETAINS_WAL, SymptomKind.LOG_ERRORS),
    safe_first="Disable the subscription (ALTER SUBSCRIPTION ... DISABLE), mend what the error "
    "names on the subscriber, enable it again; only what may be lost is skipped with ALTER "
    "SUBSCRIPTION ... SKIP (lsn = ...).",
    never=(
        "Do not drop the subscription: its slot goes with it, and all tables are copied anew.",
        "Do not skip a transaction unread: all of it is lost, not only the row in the way.",
        "Do not truncate the table on the subscriber to get past the error.",
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}logical-replication-conflicts.html",
)

decoding_spill = Cause(
    id=DECODING_SPILL,
    section=Section.REPLICATION,
    sentence="A logical slot decodes a transaction larger than logical_decoding_work_mem: its "
    "changes go to disk, and the consumer gets nothing until all of it is read.",
    onset=Onset.CREEPING,
    impact="At once for the consumer, who stands still; over time for the disk, which holds both "
    "the WAL and the spilled changes.",
    family="",
    prior=-3.0,
    weighs=(
        Weigh(clue=c.spills, yes=3.5, no=-6.0, now=True),
        Weigh(clue=c.reorders, yes=2.0, no=-1.0, now=True),
    ),
    shown_by=((c.spills, True),),
    tell=_tell_spill,
    facts=_spill_facts,
    subject=lambda e: found[0] if (found := c.spilling(e)) else "",
    apart={
        LAG_SENDING: "Does spill_bytes of pg_stat_replication_slots grow?",
    },
    symptoms=(
        SymptomKind.REPLICATION_LAG,
        SymptomKind.SLOT_STUCK,
        SymptomKind.SLOT_RETAINS_WAL,
        SymptomKind.DISK_FILLING,
    ),
    brings_about=(DISK_FULL_DATA, DISK_FULL_WAL),
    safe_first="Wait while it moves, and watch the disk; more logical_decoding_work_mem, or "
    "streaming for the subscription, spares the next such transaction.",
    never=(
        "Do not end the walsender again and again: it begins with the same transaction anew.",
        "Do not drop the slot: the consumer would have to copy everything.",
        "Do not delete files in pg_replslot: the slot would be broken.",
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}monitoring-stats.html#MONITORING-PG-STAT-REPLICATION-SLOTS-VIEW",
)
