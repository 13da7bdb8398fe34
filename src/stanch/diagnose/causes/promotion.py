"""Two servers of one cluster that both take writes, and histories that part."""

from __future__ import annotations

from datetime import datetime

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts
from stanch.diagnose.causes.ids import (
    OTHER_CLUSTER,
    SPLIT_BRAIN,
    STANDBY_PROMOTED,
    STANDBY_WRITTEN_TO,
    TIMELINE_DIVERGED,
    WAL_REMOVED,
)
from stanch.diagnose.clues import promotion as p
from stanch.diagnose.clues import replication as r
from stanch.diagnose.evidence import Evidence
from stanch.model.shown import moment
from stanch.model.symptoms import SymptomKind

FORBIDDEN = (
    "start_server",
    "set_aside_lock_file",
    "end_idle_sessions",
    "end_blocking_session",
)
NEVER_REWIND = (
    "Do not rewind or rebuild either of them before the rows that only one has are saved."
)
NEVER_BOTH = "Do not leave both writable while people look: every commit makes it harder to join."


def _facts(evidence: Evidence) -> Facts:
    others, own = p.other_primaries(evidence), p.itself(evidence)
    found = p.promoted(evidence)
    return (
        ("server_running", True),
        ("system_identifier", p.identifier(evidence) or None),
        ("timeline", own.timeline if own else None),
        ("other_primary", others[0].target if others else None),
        ("other_timeline", others[0].timeline if others else None),
        ("promoted", found[0] if found else None),
        ("promoted_at", found[1].isoformat() if found else None),
    )


def _other(evidence: Evidence) -> str:
    others = p.other_primaries(evidence)
    return others[0].target if others else ""


def _tell_split(evidence: Evidence) -> str:
    others, own = p.other_primaries(evidence), p.itself(evidence)
    if not others:
        return "Two servers of one cluster take writes."
    both = f'"{evidence.target}" and "{others[0].target}"'
    lines = (
        f" (timelines {own.timeline} and {others[0].timeline})"
        if own is not None and None not in (own.timeline, others[0].timeline)
        else ""
    )
    return f"{both} are of one cluster and both take writes{lines}: their data drifts apart."


def _tell_promoted(evidence: Evidence) -> str:
    found = p.promoted(evidence)
    if found is None:
        return "A standby was promoted while its primary may still take writes."
    name, at, other = found
    lives = p.followed_lives.ask(evidence)
    beside = (
        f'while "{other.target}" went on as a primary'
        if other is not None
        else f"and {lives.text}"
        if lives.yes
        else "and whether its primary still takes writes is not known"
    )
    return f'"{name}" was promoted at {moment(at)}, {beside}.'


def _promoted_at(evidence: Evidence) -> datetime | None:
    found = p.promoted(evidence)
    return found[1] if found else None


def _tell_diverged(evidence: Evidence) -> str:
    line = p.diverged_line(evidence)
    said = f" ({line.text[:160]})" if line else ""
    return f"This server cannot follow its primary, their histories part{said}."


def _parted_at(evidence: Evidence) -> datetime | None:
    line = p.diverged_line(evidence)
    return line.at if line else None


split_brain = Cause(
    id=SPLIT_BRAIN,
    section=Section.REPLICATION,
    sentence="Two servers of one cluster take writes at the same time: each has rows that the "
    "other one lacks.",
    onset=Onset.AT_ONCE,
    impact="At once and for good: what is written to one of them will have to be brought over by "
    "hand or lost.",
    family="",
    prior=-4.0,
    weighs=(
        Weigh(clue=p.two_primaries, yes=7.5, no=-7.0, now=True),
        Weigh(clue=p.timelines_apart, yes=1.0, no=-1.0, now=True),
    ),
    shown_by=((p.two_primaries, True),),
    tell=_tell_split,
    facts=_facts,
    subject=_other,
    began=_promoted_at,
    apart={
        STANDBY_PROMOTED: "Did the old primary run all the time, or did it come back after a "
        "failover?",
        OTHER_CLUSTER: "Is the system_identifier of pg_control_system() the same on both?",
        TIMELINE_DIVERGED: "Does pg_is_in_recovery() say false on both?",
    },
    symptoms=(SymptomKind.STANDBY_GONE, SymptomKind.OTHER_CLUSTER),
    safe_first="Fence one of the two now: keep applications away from it (pooler, address, "
    "pg_hba.conf), best the one with fewer new rows; keep both data directories as they are.",
    never=(
        NEVER_REWIND,
        NEVER_BOTH,
        "Do not start, restart or promote anything until it is decided which of the two stays.",
    ),
    forbids=FORBIDDEN,
    runbook="",
    source=f"{DOC}warm-standby-failover.html",
)

standby_promoted = Cause(
    id=STANDBY_PROMOTED,
    section=Section.REPLICATION,
    sentence="A standby was promoted while its primary lived on: by hand, by a script, or by a "
    "manager that could not see the primary.",
    onset=Onset.AT_ONCE,
    impact="From the first write that goes to the wrong one of the two.",
    family="",
    prior=-3.0,
    weighs=(
        Weigh(clue=p.promoted_beside, yes=6.0, no=-4.0, now=True),
        Weigh(clue=p.promotion_asked, yes=2.0, no=-0.5),
        Weigh(clue=p.followed_lives, yes=4.0, no=-1.0, now=True),
    ),
    shown_by=((p.promoted_beside, True), (p.promotion_asked, True)),
    tell=_tell_promoted,
    facts=_facts,
    subject=lambda e: found[0] if (found := p.promoted(e)) else "",
    began=_promoted_at,
    symptoms=(SymptomKind.STANDBY_GONE,),
    brings_about=(SPLIT_BRAIN,),
    apart={
        TIMELINE_DIVERGED: "Does pg_is_in_recovery() say true on the one that cannot follow?",
    },
    safe_first="Ask who promoted it (the manager's history, the shell's, a deploy); then fence the "
    "one that was promoted and keep its data: it is rewound once its new rows are saved.",
    never=(
        NEVER_BOTH,
        NEVER_REWIND,
        "Do not point applications at it because it answers: its primary answers as well.",
    ),
    forbids=FORBIDDEN,
    runbook="",
    source=f"{DOC}functions-admin.html#FUNCTIONS-RECOVERY-CONTROL",
)

timeline_diverged = Cause(
    id=TIMELINE_DIVERGED,
    section=Section.REPLICATION,
    sentence="A server cannot follow its primary because it has WAL of its own past the point "
    "where their timelines part, most often an old primary after a failover.",
    onset=Onset.AT_START,
    impact="It gets no newer data, and it is no safety for the primary, until it is rewound or "
    "made anew.",
    family="",
    prior=-3.0,
    weighs=(
        Weigh(clue=p.histories_part, yes=5.5, no=-5.0),
        Weigh(clue=r.receiver_streams, yes=-5.0, no=0.5, now=True),
        Weigh(clue=p.two_primaries, yes=-2.0, no=0.0, now=True),
    ),
    shown_by=((p.histories_part, True),),
    tell=_tell_diverged,
    facts=_facts,
    began=_parted_at,
    apart={
        WAL_REMOVED: "Does its log say that WAL was removed, or that a timeline is no child of "
        "this server's history?",
    },
    symptoms=(SymptomKind.STANDBY_GONE, SymptomKind.SERVER_DOWN),
    # Who was sent to it while it led is still sent there.
    brings_about=(STANDBY_WRITTEN_TO,),
    safe_first="Find out what it has that the primary lacks (pg_waldump from the fork on), save "
    "those rows, and only then run pg_rewind or make it anew.",
    never=(
        "Do not run pg_rewind before the rows that only this server has are saved.",
        "Do not point it at another primary until it is known which history is the right one.",
        "Do not promote it: that makes a second primary with a history of its own.",
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}app-pgrewind.html",
)
