"""A server that recovers, and takes so long that people believe it hangs."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, server_facts
from stanch.diagnose.causes.ids import (
    CANNOT_START,
    CRASHED,
    LONG_RECOVERY,
    STANDBY_WITHOUT_SESSIONS,
)
from stanch.diagnose.clues import lock, recovering, wire
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.shown import human_bytes, span
from stanch.model.symptoms import SymptomKind


def _tell(evidence: Evidence) -> str:
    lasts_s, pace = recovering.recovering_for_s(evidence), recovering.replay_bytes_per_s(evidence)
    left_s, left = recovering.recovery_left_s(evidence), recovering.wal_left_bytes(evidence)
    said = f"The server replays its WAL for {span(lasts_s)}" if lasts_s else "It replays its WAL"
    if pace is not None:
        said += f", {human_bytes(pace)} a second"
    if left_s is not None and left is not None:
        said += f"; {human_bytes(left)} are left, about {span(left_s)}"
    return f"{said}. It does not hang: wait."


def _facts(evidence: Evidence) -> Facts:
    processes = value_of(evidence.processes)
    lasts_s, pace = recovering.recovering_for_s(evidence), recovering.replay_bytes_per_s(evidence)
    return (
        *server_facts(evidence),
        ("recovering_s", None if lasts_s is None else round(lasts_s, 1)),
        ("replay_bytes_per_s", None if pace is None else round(pace)),
        ("wal_left_bytes", recovering.wal_left_bytes(evidence)),
        ("startup_process", processes.recovering if processes and processes.recovering else None),
    )


long_recovery = Cause(
    id=LONG_RECOVERY,
    section=Section.PROCESS,
    sentence="The server replays the WAL since its last checkpoint and lets nobody in until it is "
    "done; it does not hang.",
    onset=Onset.AT_START,
    impact="For as long as it takes, for everybody; whoever restarts it makes it begin again.",
    prior=-3.0,
    weighs=(
        Weigh(clue=wire.between, yes=2.0, no=-3.0, now=True),
        Weigh(clue=wire.answers, yes=-9.0, no=0.0, now=True),
        Weigh(clue=wire.refused, yes=-5.0, no=0.0, now=True),
        Weigh(clue=wire.no_hot_standby, yes=-6.0, no=0.0, now=True),
        Weigh(clue=lock.recovering, yes=1.0, no=-0.5, now=True),
        Weigh(clue=lock.postmaster_alive, yes=0.5, no=-6.0, now=True),
        Weigh(clue=recovering.recovery_long, yes=3.5, no=-4.0, now=True),
        Weigh(clue=recovering.recovery_advances, yes=1.0, no=-1.5, now=True),
    ),
    shown_by=((recovering.recovery_long, True),),
    tell=_tell,
    facts=_facts,
    apart={
        CANNOT_START: "Does the startup process live, and does the segment in its title (ps) move?",
        CRASHED: "Does the server recover at this moment, or is it gone?",
        STANDBY_WITHOUT_SESSIONS: "Does the refusal name hot standby mode?",
    },
    began=recovering.recovery_began,
    symptoms=(SymptomKind.SERVER_DOWN,),
    safe_first="Wait, and tell people how long it will take: the segment in the startup process's "
    "title, or the server's own `redo in progress` lines, say how far it is.",
    never=(
        "Do not restart or kill it: recovery would begin from the start again.",
        "Do not run pg_resetwal: recovery repairs this by itself, pg_resetwal loses committed "
        "rows.",
        "Do not delete anything in pg_wal: recovery reads it.",
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}runtime-config-logging.html#GUC-LOG-STARTUP-PROGRESS-INTERVAL",
)
