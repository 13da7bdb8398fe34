"""A shutdown that does not end: it lets nobody in, and nobody can take it back."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, server_facts
from stanch.diagnose.causes.ids import LONG_RECOVERY, SHUTDOWN_WAITS, STOPPED_CLEANLY
from stanch.diagnose.clues import ending, leaving, lock, wire
from stanch.diagnose.evidence import Evidence
from stanch.model.shown import span
from stanch.model.symptoms import SymptomKind

WAITS_FOR = {
    "smart": "for every session to leave by itself",
    "fast": "for its last checkpoint, a standby or the archive",
}


def _tell(evidence: Evidence) -> str:
    how, ago_s = leaving.how_asked(evidence), leaving.asked_ago_s(evidence) or 0.0
    waits = f" and waits {WAITS_FOR[how]}" if how in WAITS_FOR else " and has not ended"
    left = leaving.processes_left(evidence)
    more = f"; {left} of its processes are left" if left else ""
    return f"The server was told to stop ({how}) {span(ago_s)} ago{waits}{more}."


def _facts(evidence: Evidence) -> Facts:
    return (
        *server_facts(evidence),
        ("shutdown_mode", leaving.how_asked(evidence) or None),
        ("asked_ago_s", leaving.asked_ago_s(evidence)),
        ("processes_left", leaving.processes_left(evidence)),
    )


shutdown_waits = Cause(
    id=SHUTDOWN_WAITS,
    section=Section.PROCESS,
    sentence="The server was told to stop and does not end: a smart shutdown waits until every "
    "session has left, a fast one for its last checkpoint, its standbys and the archive.",
    onset=Onset.AT_ONCE,
    impact="At once for everybody who connects; sessions that are there go on.",
    family="down",
    prior=-2.5,
    weighs=(
        Weigh(clue=wire.leaving, yes=2.5, no=-9.0, now=True),
        Weigh(clue=leaving.asked_long_ago, yes=5.0, no=-5.0),
        Weigh(clue=lock.postmaster_alive, yes=0.5, no=-6.0, now=True),
    ),
    shown_by=((leaving.asked_long_ago, True),),
    tell=_tell,
    facts=_facts,
    apart={
        STOPPED_CLEANLY: "Does a postmaster still run on this data directory?",
        LONG_RECOVERY: "Is a new session told that the server shuts down, or that it starts up?",
    },
    began=lambda e: event.at if (event := ending.request(e)) is not None else None,
    symptoms=(SymptomKind.SERVER_DOWN,),
    safe_first="It cannot be called off. Have the applications disconnect, or ask once more for a "
    "fast shutdown (`pg_ctl stop -m fast`, through its manager), which ends sessions and takes "
    "back what they had not committed; then have it started again.",
    never=(
        "Do not kill its processes with SIGKILL: the next start has to recover.",
        "Do not delete postmaster.pid to start a second server: the first one still has the files.",
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}server-shutdown.html",
)
