"""More WAL than usual, and checkpoints that come before the last one has settled."""

from __future__ import annotations

import re

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts
from stanch.diagnose.causes.disk import NEVER_IN_PG_WAL, disk_facts
from stanch.diagnose.causes.ids import (
    CHECKPOINT_STORM,
    DISK_FULL_WAL,
    WAL_BURST,
)
from stanch.diagnose.clues import wal, wire
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.shown import human_bytes
from stanch.model.symptoms import SymptomKind


def _rates(evidence: Evidence) -> tuple[float | None, float | None]:
    history = value_of(evidence.history)
    course = history.of("wal_bytes_total") if history else None
    return (course.usual, course.now) if course else (None, None)


def _tell_burst(evidence: Evidence) -> str:
    usual, now = _rates(evidence)
    if usual is None or now is None:
        burst = wal.wal_burst.ask(evidence)
        return f"Far more WAL is written than usual{f': {burst.text}' if burst.yes else ''}."
    bulk = wal.bulk_work.ask(evidence)
    doing = f" ({bulk.text})" if bulk.yes else ""
    return f"{human_bytes(now)} of WAL a second are written, usually {human_bytes(usual)}{doing}."


def _burst_facts(evidence: Evidence) -> Facts:
    usual, now = _rates(evidence)
    return (
        *disk_facts(evidence, "wal"),
        ("wal_bytes_per_s", None if now is None else round(now)),
        ("usual_wal_bytes_per_s", None if usual is None else round(usual)),
    )


def _tell_storm(evidence: Evidence) -> str:
    often = wal.checkpoints_too_often.ask(evidence)
    size = _setting(evidence, "max_wal_size")
    with_size = f" with max_wal_size at {size}" if size else ""
    said = often.text if often.yes else "checkpoints come too early"
    return f"{said[0].upper()}{said[1:]}{with_size}: pages are written over and over."


def _setting(evidence: Evidence, name: str) -> str | None:
    figures = value_of(evidence.figures)
    return figures.setting(name) if figures else None


def _doubled(size: str | None) -> str | None:
    """Twice as much as a setting says (1GB), in the same unit; None where it is no size."""
    found = re.fullmatch(r"(\d{1,9})(MB|GB|TB)", size or "")
    return f"{int(found[1]) * 2}{found[2]}" if found is not None else None


def _storm_facts(evidence: Evidence) -> Facts:
    return (
        ("max_wal_size", size := _setting(evidence, "max_wal_size")),
        ("max_wal_size_doubled", _doubled(size)),
        ("checkpoint_timeout", _setting(evidence, "checkpoint_timeout")),
        ("full_page_writes", _setting(evidence, "full_page_writes")),
        *_burst_facts(evidence)[-2:],
    )


wal_burst = Cause(
    id=WAL_BURST,
    section=Section.DISK,
    sentence="A job writes far more WAL than is usual here; nothing retains it.",
    onset=Onset.AT_ONCE,
    impact="For whoever waits for the disk or reads on a standby; for everybody when the volume of "
    "pg_wal is too small for it.",
    prior=-3.0,
    weighs=(
        Weigh(clue=wal.wal_burst, yes=3.0, no=-6.0, now=True),
        # Twice as much work at the end of the month is no trouble as long as there is room.
        Weigh(clue=wal.burst_hurts, yes=2.0, no=-3.0, now=True),
        Weigh(clue=wal.nothing_keeps_wal, yes=1.0, no=-3.0, now=True),
        Weigh(clue=wal.bulk_work, yes=1.0, no=-0.5, now=True),
    ),
    shown_by=((wal.wal_burst, True),),
    tell=_tell_burst,
    facts=_burst_facts,
    symptoms=(
        SymptomKind.DISK_FILLING,
        SymptomKind.DISK_LOW,
        SymptomKind.DISK_FULL,
        SymptomKind.REPLICATION_LAG,
        SymptomKind.REPLICATION_DELAY,
    ),
    brings_about=(DISK_FULL_WAL, CHECKPOINT_STORM),
    follows_change=(ItemKind.DEPLOY, ItemKind.ROLLOUT, ItemKind.RELATION, ItemKind.SETTING),
    safe_first="Find the job (pg_stat_statements.wal_bytes, pg_stat_progress_copy) and slow it "
    "down or put it off; where whole pages are most of it, switch wal_compression on and reload.",
    never=(
        "Do not lower max_wal_size: more checkpoints write more whole pages, and so more WAL.",
        "Do not switch full_page_writes or fsync off: the next crash would damage the data.",
        NEVER_IN_PG_WAL,
    ),
    forbids=("set_aside_lock_file",),
    runbook="disk-full",
    source=f"{DOC}wal-configuration.html",
)

checkpoint_storm = Cause(
    id=CHECKPOINT_STORM,
    section=Section.DISK,
    sentence="Checkpoints are forced by the amount of WAL, one right after the other.",
    onset=Onset.AT_ONCE,
    impact="For whoever waits for the disk: after each checkpoint whole pages go to WAL again.",
    prior=-3.0,
    weighs=(
        Weigh(clue=wal.checkpoints_too_often, yes=5.0, no=-6.0, now=True),
        # The log of a server that is gone tells of what was.
        Weigh(clue=wire.answers, yes=0.0, no=-6.0, now=True),
        Weigh(clue=wal.writers_wait, yes=1.0, no=-0.5, now=True),
        Weigh(clue=wal.wal_burst, yes=0.5, no=-0.5, now=True),
    ),
    shown_by=((wal.checkpoints_too_often, True),),
    tell=_tell_storm,
    facts=_storm_facts,
    apart={
        WAL_BURST: "Is far more WAL written than usual, or does max_wal_size not even hold what is "
        "usual?",
    },
    symptoms=(SymptomKind.LATENCY_UNUSUAL, SymptomKind.STATEMENT_SLOWER),
    follows_change=(ItemKind.SETTING, ItemKind.DEPLOY, ItemKind.ROLLOUT),
    safe_first="Raise max_wal_size to what is written between two timed checkpoints, and reload; "
    "no restart is needed. Make sure that the volume of pg_wal has room for it.",
    never=(
        "Do not lower max_wal_size or checkpoint_timeout: both make checkpoints more frequent.",
        "Do not switch full_page_writes or fsync off: the next crash would damage the data.",
        "Do not run CHECKPOINT by hand: it is one more of what there is too much of.",
    ),
    hurts_later=lambda _e: True,
    runbook="checkpoint-storm",
    source=f"{DOC}runtime-config-wal.html#GUC-CHECKPOINT-WARNING",
)
