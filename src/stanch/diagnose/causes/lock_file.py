"""A lock file that stands in the way: of a dead server, or of a living one."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, server_facts
from stanch.diagnose.causes.ids import LIVE_LOCK_FILE, STALE_LOCK_FILE
from stanch.diagnose.causes.stopping import NEVER_RESETWAL, NEVER_TOUCH_LOCK
from stanch.diagnose.clues import ending, host, lock, wire
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.symptoms import SymptomKind


def _tell_stale(evidence: Evidence) -> str:
    seen = value_of(evidence.lock_file)
    if seen is None or seen.holder_pid is None:
        return "A lock file that a dead server left keeps the server from starting."
    return (
        f"The lock file of a dead server names PID {seen.holder_pid}, which is now "
        f'"{seen.holder_command}": PostgreSQL refuses to start.'
    )


def _tell_live(evidence: Evidence) -> str:
    processes = value_of(evidence.processes)
    if processes is not None and processes.postmaster_pid is not None:
        return (
            f"A server (PID {processes.postmaster_pid}) runs on this data directory but does not "
            "listen where the connection goes; a second one must not be started."
        )
    return "Processes of the old server still use the data directory; none may be started."


def _stale_facts(evidence: Evidence) -> Facts:
    seen = value_of(evidence.lock_file)
    return (
        *server_facts(evidence),
        ("lock_sha256", seen.sha256 if seen else None),
        ("holder_pid", seen.holder_pid if seen else None),
        ("holder_command", seen.holder_command if seen else None),
        ("boot_id", seen.boot_id if seen else None),
    )


stale_lock_file = Cause(
    id=STALE_LOCK_FILE,
    section=Section.PROCESS,
    sentence="The server died and left its lock file; another process has its PID now, so "
    "PostgreSQL believes that the old server still runs and refuses to start.",
    onset=Onset.AT_START,
    impact="At once: the server does not start.",
    family="down",
    prior=-2.5,
    weighs=(
        Weigh(clue=wire.refused, yes=2.0, no=-1.5, now=True),
        Weigh(clue=wire.answers, yes=-9.0, no=0.0, now=True),
        Weigh(clue=lock.foreign_holder, yes=6.0, no=-6.0, now=True),
        Weigh(clue=lock.start_refused, yes=2.0, no=0.0),
        Weigh(clue=lock.postmaster_alive, yes=-8.0, no=0.0, now=True),
        Weigh(clue=lock.orphans, yes=-3.0, no=0.0, now=True),
        Weigh(clue=lock.memory_in_use, yes=-3.0, no=0.0),
    ),
    tell=_tell_stale,
    facts=_stale_facts,
    apart={
        LIVE_LOCK_FILE: "Is the process with the PID in postmaster.pid a postgres that works "
        "in this data directory?",
    },
    symptoms=(SymptomKind.SERVER_DOWN,),
    safe_first="Prove that no server uses the data directory, rename the lock file aside (never "
    "delete it), then start through the manager.",
    never=(
        "Do not end the process that has the PID now: it is somebody else's.",
        NEVER_TOUCH_LOCK,
        NEVER_RESETWAL,
    ),
    runbook="stale-lock-file",
    source=f"{DOC}server-start.html#SERVER-START-FAILURES",
)

live_lock_file = Cause(
    id=LIVE_LOCK_FILE,
    section=Section.PROCESS,
    sentence="The lock file belongs to a server that is alive, or whose children are: the refusal "
    "to start another one is right.",
    onset=Onset.AT_START,
    impact="At once for whoever waits for a start; two postmasters would destroy the data.",
    family="down",
    prior=-2.5,
    weighs=(
        Weigh(clue=wire.refused, yes=1.5, no=-5.0, now=True),
        Weigh(clue=wire.answers, yes=-9.0, no=0.0, now=True),
        Weigh(clue=wire.between, yes=-4.0, no=0.0, now=True),
        Weigh(clue=lock.postmaster_alive, yes=3.0, no=-3.0, now=True),
        Weigh(clue=lock.server_holder, yes=4.0, no=-1.0, now=True),
        Weigh(clue=lock.orphans, yes=2.5, no=-1.5, now=True),
        Weigh(clue=lock.start_refused, yes=2.0, no=0.0),
        Weigh(clue=lock.memory_in_use, yes=6.0, no=0.0),
        Weigh(clue=lock.lock_left, yes=0.5, no=-1.0, now=True),
        Weigh(clue=lock.foreign_holder, yes=-6.0, no=0.0, now=True),
        Weigh(clue=ending.control_clean, yes=-3.0, no=0.0, now=True),
        Weigh(clue=ending.panic_for_space, yes=-3.0, no=0.0),
        # While it begins anew it accepts nobody, and will.
        Weigh(clue=ending.crashed_just_now, yes=-7.0, no=0.0, now=True),
        # It listens, and turns away for want of processes whoever comes.
        Weigh(clue=host.process_refused, yes=-7.0, no=0.0, now=True),
    ),
    tell=_tell_live,
    facts=server_facts,
    symptoms=(SymptomKind.SERVER_DOWN,),
    safe_first="Look at which address and port the living server listens on; wait for children of "
    "an old one to exit.",
    never=(
        NEVER_TOUCH_LOCK,
        "Do not start a second server on this data directory.",
        "Do not end the children of the old server with SIGKILL one by one.",
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}server-start.html#SERVER-START-FAILURES",
)
