"""Standbys that are behind, by the stage at which the WAL is held up."""

from __future__ import annotations

from datetime import datetime

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, running_facts
from stanch.diagnose.causes.ids import (
    DISK_FULL_WAL,
    LAG_SENDING,
    REPLAY_CONFLICT,
    REPLAY_PAUSED,
    REPLAY_SATURATED,
    WAL_REMOVED,
)
from stanch.diagnose.clues import lag as behind_by
from stanch.diagnose.clues import replay, sending
from stanch.diagnose.evidence import Evidence
from stanch.model.shown import human_bytes, span
from stanch.model.symptoms import SymptomKind

NOT_OF_A_STANDBY = ("start_server", "set_aside_lock_file")


LAG_SYMPTOMS = (SymptomKind.REPLICATION_LAG, SymptomKind.REPLICATION_DELAY)


NEVER_REBUILD = "Do not rebuild the standby: the same way would carry the whole cluster once more."


NEVER_RESTART = "Do not restart the standby: it would read and replay from its last restartpoint."


def _since(evidence: Evidence) -> datetime | None:
    symptom = behind_by.lag_since(evidence)
    return symptom.since if symptom else None


def _lag_facts(evidence: Evidence) -> Facts:
    lag, behind = behind_by.worst(evidence), behind_by.backlog(evidence)
    return (
        ("server_running", True),
        ("standby", lag.name if lag else None),
        ("sender_state", lag.state if lag else None),
        ("unsent_bytes", lag.sending_bytes if lag else None),
        ("unflushed_bytes", lag.flushing_bytes if lag else None),
        ("unreplayed_bytes", lag.replaying_bytes if lag else behind.bytes if behind else None),
        ("late_s", lag.late_s if lag else behind.late_s if behind else None),
    )


def _reader_facts(evidence: Evidence) -> Facts:
    reader = replay.in_the_way(evidence)
    return (
        *_lag_facts(evidence),
        ("reader_pid", reader.oldest_pid if reader else None),
        ("reader_application", reader.application_name if reader else None),
        ("reader_usename", reader.usename if reader else None),
        ("reader_xact_s", reader.oldest_xact_s if reader else None),
        ("application_name", reader.application_name if reader else None),
        # Of several that do the same, whose transaction is the oldest is not told.
        *running_facts(reader if reader is not None and reader.sessions == 1 else None),
    )


def _whom(evidence: Evidence) -> str:
    lag = behind_by.worst(evidence)
    return lag.name if lag else ""


def _tell_sending(evidence: Evidence) -> str:
    lag, ahead = behind_by.worst(evidence), behind_by.ahead_bytes(evidence)
    if lag is not None and behind_by.is_suspended(lag, evidence):
        return (
            f'The walsender of standby "{lag.name}" (process {lag.pid}) is suspended, by a signal '
            f"or a debugger: {human_bytes(lag.sending_bytes)} are not sent."
        )
    if lag is not None:
        return (
            f'Standby "{lag.name}" is {human_bytes(lag.total_bytes)} behind, of which '
            f"{human_bytes(lag.sending_bytes)} are not even sent: the way there, or the receiving "
            "end, takes less than is written."
        )
    if ahead is not None:
        return f"This standby has not received the last {human_bytes(max(0.0, ahead))} of WAL."
    return "A standby receives WAL more slowly than it is written."


def _behind(evidence: Evidence) -> str:
    behind, lag = behind_by.backlog(evidence), behind_by.worst(evidence)
    if behind is not None:
        late = f", {span(behind.late_s)} late" if behind.late_s is not None else ""
        return f"{human_bytes(behind.bytes)} of WAL wait to be replayed{late}"
    if lag is not None:
        return f'standby "{lag.name}" has {human_bytes(lag.replaying_bytes)} of WAL to replay'
    return "WAL waits to be replayed"


def _tell_conflict(evidence: Evidence) -> str:
    doing, reader = behind_by.replayer(evidence), replay.in_the_way(evidence)
    at = f" (it waits for {doing.wait_event})" if doing and replay.is_conflict(doing) else ""
    who = (
        f'; the oldest is session {reader.oldest_pid} (application "{reader.application_name}", '
        f"for {span(reader.oldest_xact_s or 0.0)})"
        if reader is not None and behind_by.replayer(evidence) is not None
        else ""
    )
    ended = replay.cancelled(evidence)
    if ended and replay.in_conflict.ask(evidence).yes is not True:
        return f"{ended} statements on this standby were cancelled because replay could not wait."
    return (
        f"Replay stands still for sessions that read on the standby{at}: {_behind(evidence)}{who}."
    )


def _tell_paused(evidence: Evidence) -> str:
    other = replay.paused_elsewhere(evidence)
    if other is None:
        return f"Replay on the standby is paused: {_behind(evidence)}."
    waiting = human_bytes(other.unreplayed_bytes or 0)
    return f'Replay on the standby "{other.target}" is paused: {waiting} of WAL wait there.'


def _paused_facts(evidence: Evidence) -> Facts:
    other = replay.paused_elsewhere(evidence)
    if other is None:
        return _lag_facts(evidence)
    told = {"standby": other.target, "unreplayed_bytes": other.unreplayed_bytes}
    return tuple({**dict(_lag_facts(evidence)), **told}.items())


def _whose_replay(evidence: Evidence) -> str:
    other = replay.paused_elsewhere(evidence)
    return _whom(evidence) if other is None else other.target


def _hurts_the_standby_alone(evidence: Evidence) -> bool:
    """Who works on the primary is kept from nothing by it."""
    return replay.paused_elsewhere(evidence) is not None and not behind_by.lag_since(evidence)


lag_sending = Cause(
    id=LAG_SENDING,
    section=Section.REPLICATION,
    sentence="A standby falls behind because WAL does not reach it as fast as it is written: a "
    "slow or lossy network, a receiver that stands still, a sender without processor or disk.",
    onset=Onset.CREEPING,
    impact="At once for reads on the standby; a failover now would lose what is not sent.",
    family="lag",
    prior=-3.0,
    weighs=(
        Weigh(clue=sending.unsent, yes=5.0, no=-4.0, now=True),
        Weigh(clue=sending.primary_ahead, yes=5.0, no=-1.0, now=True),
        Weigh(clue=sending.sender_waits, yes=1.0, no=0.0, now=True),
        Weigh(clue=sending.sender_suspended, yes=4.0, no=0.0, now=True),
        Weigh(clue=sending.catching_up, yes=-1.5, no=0.0, now=True),
        Weigh(clue=sending.was_level, yes=-2.0, no=0.5, now=True),
        Weigh(clue=replay.unreplayed, yes=-2.0, no=0.0, now=True),
    ),
    shown_by=((sending.unsent, True), (sending.primary_ahead, True)),
    tell=_tell_sending,
    facts=_lag_facts,
    subject=_whom,
    began=_since,
    apart={
        REPLAY_CONFLICT: "In pg_stat_replication of the primary: is the gap before sent_lsn, or "
        "between flush_lsn and replay_lsn?",
        REPLAY_SATURATED: "In pg_stat_replication of the primary: is the gap before sent_lsn, or "
        "between flush_lsn and replay_lsn?",
        WAL_REMOVED: "Is the standby in pg_stat_replication at all, and does its sent_lsn move?",
    },
    symptoms=LAG_SYMPTOMS,
    brings_about=(DISK_FULL_WAL,),
    safe_first="Look at the way between the two (loss, a throttled link, a backup that fills it) "
    "and at the standby's receiver; put off what writes most on the primary.",
    never=(
        NEVER_REBUILD,
        "Do not drop the standby's slot to save space: it could not go on from where it is.",
        "Do not fail over to it: what is not sent would be lost.",
    ),
    forbids=NOT_OF_A_STANDBY,
    runbook="",
    source=f"{DOC}monitoring-stats.html#MONITORING-PG-STAT-REPLICATION-VIEW",
)


replay_conflict = Cause(
    id=REPLAY_CONFLICT,
    section=Section.REPLICATION,
    sentence="Replay on a standby waits for a session there that still reads what is to be "
    "removed or locked; after max_standby_streaming_delay the session is cancelled.",
    onset=Onset.AT_ONCE,
    impact="At once for everybody who reads on the standby: what they see stands still.",
    family="lag",
    prior=-3.0,
    weighs=(
        Weigh(clue=replay.in_conflict, yes=5.0, no=-5.0, now=True),
        Weigh(clue=replay.cancelled_again, yes=4.5, no=0.0, now=True),
        Weigh(clue=replay.unreplayed, yes=1.5, no=-4.0, now=True),
        Weigh(clue=replay.old_reader, yes=1.0, no=-1.0, now=True),
        Weigh(clue=replay.conflicts_logged, yes=1.0, no=0.0),
        Weigh(clue=replay.paused, yes=-3.0, no=0.0, now=True),
    ),
    shown_by=(
        (replay.in_conflict, True),
        (replay.unreplayed, True),
        (replay.cancelled_again, True),
    ),
    tell=_tell_conflict,
    facts=_reader_facts,
    subject=_whom,
    began=_since,
    apart={
        REPLAY_PAUSED: "On the standby: what does pg_is_wal_replay_paused() say?",
        REPLAY_SATURATED: "On the standby: does the startup process in pg_stat_activity wait for "
        "a conflict or a lock, or is it at work?",
    },
    symptoms=LAG_SYMPTOMS,
    safe_first="Cancel the one statement on the standby that reads longest, after asking whose it "
    "is; replay goes on at once.",
    never=(
        "Do not leave hot_standby_feedback switched on for it: the primary's tables would bloat.",
        NEVER_RESTART,
        "Do not set max_standby_streaming_delay to -1: one session could stop replay for good.",
    ),
    forbids=NOT_OF_A_STANDBY,
    runbook="replay-conflict",
    source=f"{DOC}hot-standby.html#HOT-STANDBY-CONFLICT",
)


replay_paused = Cause(
    id=REPLAY_PAUSED,
    section=Section.REPLICATION,
    sentence="Replay on a standby is paused, by somebody or because a setting of the primary no "
    "longer fits the standby's; WAL is received and not replayed.",
    onset=Onset.AT_ONCE,
    impact="At once for whoever reads on the standby; a failover to it takes longer by the hour.",
    family="lag",
    prior=-3.0,
    weighs=(
        Weigh(clue=replay.paused, yes=7.0, no=-7.0, now=True),
        Weigh(clue=replay.unreplayed, yes=0.5, no=-0.5, now=True),
    ),
    shown_by=((replay.paused, True), (replay.unreplayed, True)),
    tell=_tell_paused,
    facts=_paused_facts,
    subject=_whose_replay,
    began=_since,
    hurts_later=_hurts_the_standby_alone,
    apart={
        REPLAY_SATURATED: "On the standby: what does pg_is_wal_replay_paused() say?",
    },
    symptoms=LAG_SYMPTOMS,
    safe_first="Ask who paused it and what for (a look at the past, a backup, a deploy); then "
    "SELECT pg_wal_replay_resume(). Is nobody behind it, look in the log for settings of the "
    "primary that were raised above the standby's.",
    never=(
        "Do not resume it before asking: it may be held just before a mistake that is to be saved.",
        NEVER_RESTART,
        "Do not promote it: what it has received and not replayed would have to be replayed first.",
    ),
    forbids=NOT_OF_A_STANDBY,
    runbook="",
    source=f"{DOC}functions-admin.html#FUNCTIONS-RECOVERY-CONTROL",
)


replay_saturated = Cause(
    id=REPLAY_SATURATED,
    section=Section.REPLICATION,
    sentence="A standby replays as fast as its one replaying process can, and the primary writes "
    "more than that.",
    onset=Onset.CREEPING,
    impact="Over minutes for whoever reads on the standby; a failover takes as long as the rest "
    "needs to be replayed.",
    family="lag",
    prior=-3.0,
    weighs=(
        Weigh(clue=replay.unreplayed, yes=1.5, no=-5.0, now=True),
        Weigh(clue=replay.replay_works, yes=3.0, no=-5.0, now=True),
        Weigh(clue=replay.replay_moves, yes=1.0, no=-3.0, now=True),
        Weigh(clue=replay.in_conflict, yes=-5.0, no=0.0, now=True),
        Weigh(clue=replay.paused, yes=-7.0, no=0.0, now=True),
        Weigh(clue=sending.was_level, yes=-2.0, no=0.0, now=True),
    ),
    shown_by=((replay.unreplayed, True),),
    tell=lambda e: f"Replay is at work without a pause and does not keep up: {_behind(e)}.",
    facts=_lag_facts,
    subject=_whom,
    began=_since,
    symptoms=LAG_SYMPTOMS,
    safe_first="Slow the writer on the primary down (a job, a bulk load); where replay waits for "
    "reads, recovery_prefetch (from version 15 on) helps.",
    never=(
        NEVER_RESTART,
        NEVER_REBUILD,
        "Do not fail over to it before it has replayed all it has received.",
    ),
    forbids=NOT_OF_A_STANDBY,
    runbook="",
    source=f"{DOC}runtime-config-wal.html#GUC-RECOVERY-PREFETCH",
)
