"""Standbys that cannot go on, or are missed by commits."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts
from stanch.diagnose.causes.ids import (
    BLOCKING_CHAIN,
    COMMITS_BEHIND_NOTIFY,
    CONNECTIONS_LOAD,
    LAG_SENDING,
    SYNC_STANDBY_GONE,
    WAL_REMOVED,
)
from stanch.diagnose.clues import replication as r
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.model.shown import shortened, span
from stanch.model.symptoms import SymptomKind

NOT_OF_A_STANDBY = ("start_server", "set_aside_lock_file")


def _tell_sync(evidence: Evidence) -> str:
    activity, figures = value_of(evidence.activity), value_of(evidence.figures)
    waiting = r.sync_waiters(activity) if activity else ()
    names = (figures.setting("synchronous_standby_names") if figures else None) or ""
    longest = span(max((d.oldest_query_s or 0 for d in waiting), default=0))
    return (
        f"{sum(d.sessions for d in waiting)} sessions wait at their commit for a synchronous "
        f"standby, the longest for {longest}, and {_who_is_there(figures, names)}."
    )


def _who_is_there(figures: Figures | None, names: str) -> str:
    """Whom commits wait for, and who is connected instead: a name that is no longer right shows."""
    asked = f"synchronous_standby_names = '{shortened(names, 80)}'"
    there = r.sync_standbys(figures) if figures else ()
    if there:
        return f"only {len(there)} of {r.sync_asked_for(names)} that {asked} asks for are connected"
    others = sorted({s.subject for s in figures.named("sender")}) if figures else []
    named = ", ".join(f'"{shortened(name, 60)}"' for name in others[:3])
    beside = f"; connected is {named}" if others else ""
    return f"none of {asked} is connected{beside}"


def _sync_facts(evidence: Evidence) -> Facts:
    activity, figures = value_of(evidence.activity), value_of(evidence.figures)
    waiting = r.sync_waiters(activity) if activity else ()
    return (
        ("server_running", True),
        ("waiting_commits", sum(d.sessions for d in waiting)),
        ("oldest_wait_s", max((d.oldest_query_s or 0.0 for d in waiting), default=None)),
        (
            "synchronous_standby_names",
            figures.setting("synchronous_standby_names") if figures else None,
        ),
        ("standbys_connected", len(figures.named("sender")) if figures else None),
    )


def _lost_slot(evidence: Evidence) -> str:
    figures = value_of(evidence.figures)
    slots = figures.named("slot_retained_bytes") if figures else ()
    return next((slot.subject for slot in slots if slot.detail == "lost"), "")


def _tell_removed(evidence: Evidence) -> str:
    log, slot = value_of(evidence.log), _lost_slot(evidence)
    line = log.newest("wal_removed") if log is not None else None
    which = f" ({line.text[:150]})" if line is not None else ""
    if slot:
        return f'Slot "{slot}" is lost: the WAL its standby or consumer needs is removed{which}.'
    return f"A standby asks for WAL that its primary has removed{which}."


wal_removed = Cause(
    id=WAL_REMOVED,
    section=Section.REPLICATION,
    sentence="A standby or a consumer needs WAL that its server has removed: it cannot go on from "
    "where it is, unless the archive still has it.",
    onset=Onset.AT_ONCE,
    impact="At once for whoever relies on that standby: it is a copy of the past, and no safety.",
    family="",
    prior=-3.0,
    weighs=(
        Weigh(clue=r.removed_logged, yes=5.0, no=-0.5),
        Weigh(clue=r.slot_lost, yes=5.5, no=-0.5, now=True),
        Weigh(clue=r.receiver_streams, yes=-5.0, no=1.0, now=True),
    ),
    shown_by=((r.removed_logged, True), (r.slot_lost, True)),
    tell=_tell_removed,
    facts=lambda e: (("server_running", True), ("slot", _lost_slot(e) or None)),
    subject=_lost_slot,
    apart={
        SYNC_STANDBY_GONE: "Does the standby log that requested WAL has already been removed?",
    },
    symptoms=(SymptomKind.SLOT_LOST, SymptomKind.STANDBY_GONE, SymptomKind.REPLICATION_LAG),
    safe_first="Look whether the archive has the segment that the log names: with restore_command "
    "set the standby fetches it and goes on. Only if it has not, the standby is made anew.",
    never=(
        "Do not delete the data of the only standby before a new one is there.",
        "Do not copy WAL files by hand from elsewhere: one wrong segment corrupts the standby.",
        "Do not drop the lost slot while its consumer may still be asked how far it got.",
    ),
    forbids=NOT_OF_A_STANDBY,
    runbook="",
    source=f"{DOC}warm-standby.html#STREAMING-REPLICATION",
)


sync_standby_gone = Cause(
    id=SYNC_STANDBY_GONE,
    section=Section.REPLICATION,
    sentence="Commits wait for a synchronous standby that is not connected: readers go on, "
    "every writer hangs at its commit.",
    onset=Onset.AT_ONCE,
    impact="At once for everybody who writes; within minutes for all, when connections run out.",
    family="",
    prior=-3.0,
    weighs=(
        Weigh(clue=r.sync_wait, yes=4.5, no=-6.0, now=True),
        Weigh(clue=r.no_sync_standby, yes=2.5, no=-4.0, now=True),
        Weigh(clue=r.sync_named, yes=0.0, no=-6.0, now=True),
        Weigh(clue=r.standby_gone, yes=1.0, no=0.0, now=True),
        Weigh(clue=r.sync_canceled, yes=1.0, no=0.0),
    ),
    shown_by=((r.sync_wait, True),),
    tell=_tell_sync,
    facts=_sync_facts,
    apart={
        CONNECTIONS_LOAD: "Do the active sessions wait for SyncRep in pg_stat_activity?",
        BLOCKING_CHAIN: "Does the session at the root wait for SyncRep?",
        LAG_SENDING: "Has a standby in pg_stat_replication sync_state sync or quorum?",
    },
    symptoms=(
        SymptomKind.STANDBY_GONE,
        SymptomKind.SLOW_QUERY,
        SymptomKind.CONNECTIONS_HIGH,
        SymptomKind.CONNECTIONS_EXHAUSTED,
    ),
    brings_about=(BLOCKING_CHAIN, COMMITS_BEHIND_NOTIFY, CONNECTIONS_LOAD),
    safe_first="Bring the standby back. Is that not to be had soon, the owner of the data decides "
    "whether commits may go on without a second copy: then synchronous_standby_names names "
    "another standby or nobody, and a reload lets every waiting commit go.",
    never=(
        "Do not restart the primary: what waits is committed there already and not acknowledged.",
        "Do not end the waiting sessions: they are committed here, and their clients learn it not.",
        "Do not empty synchronous_standby_names without the owner's word: a failover after that "
        "can lose commits.",
    ),
    forbids=(*NOT_OF_A_STANDBY, "end_blocking_session", "end_idle_sessions"),
    runbook="",
    source=f"{DOC}warm-standby.html#SYNCHRONOUS-REPLICATION",
)
