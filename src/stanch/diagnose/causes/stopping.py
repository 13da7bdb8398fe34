"""Why the server does not run: stopped, crashed, killed, killed for memory."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, server_facts
from stanch.diagnose.causes.ids import (
    CANNOT_START,
    CRASHED,
    DISK_FULL_DATA,
    DISK_FULL_WAL,
    KILLED,
    LIVE_LOCK_FILE,
    LONG_RECOVERY,
    NETWORK_UNREACHABLE,
    OOM_KILLED,
    STALE_LOCK_FILE,
    STOPPED_CLEANLY,
)
from stanch.diagnose.clues import directory, ending, keeper, lock, memory, startup, wire
from stanch.diagnose.clues.ending import SHUTDOWN_REQUESTS
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.symptoms import SymptomKind

NEVER_TOUCH_LOCK = "Do not delete postmaster.pid: a server that starts beside the children of an \
old one destroys the data."
NEVER_RESETWAL = "Do not run pg_resetwal: crash recovery repairs this by itself, pg_resetwal loses \
committed rows."


def _down() -> tuple[Weigh, ...]:
    """What speaks of any server that is down, or against it."""
    return (
        Weigh(clue=wire.refused, yes=2.0, no=-1.5, now=True),
        Weigh(clue=wire.answers, yes=-9.0, no=0.0, now=True),
        Weigh(clue=wire.silent, yes=-3.0, no=0.0, now=True),
        # Whatever ended it before: since then something else keeps it down.
        Weigh(clue=ending.start_gave_up, yes=-6.0, no=0.0),
        Weigh(clue=directory.directory_refused, yes=-6.0, no=0.0, now=True),
        Weigh(clue=startup.upgrade_left, yes=-6.0, no=0.0, now=True),
        Weigh(clue=startup.control_set_aside, yes=-6.0, no=0.0, now=True),
    )


NOT_RUNNING = (
    (wire.refused, True),
    (wire.between, True),
    (lock.postmaster_alive, False),
    (keeper.is_down, True),
)
"""Somebody saw it: a control file "in production" and a quiet log are those of any server."""


def _stop_mode(evidence: Evidence) -> str | None:
    event = ending.request(evidence)
    return SHUTDOWN_REQUESTS[event.kind] if event else None


def _tell_stopped(evidence: Evidence) -> str:
    mode, gone = _stop_mode(evidence), ending.lock_file_gone(evidence)
    if mode == "immediate" and gone is not None:
        return (
            "The server stopped itself at once because postmaster.pid was removed or changed "
            f"under it ({gone.text}); it will recover on start."
        )
    if mode == "immediate":
        return "Somebody stopped the server at once (immediate shutdown); it will recover on start."
    how = f" ({mode} shutdown)" if mode else ""
    return f"Somebody stopped the server in order{how}; it did not fail."


def _tell_crashed(evidence: Evidence) -> str:
    event = ending.crash(evidence)
    return f"The server crashed: {event.text}" if event else "The server crashed."


def _tell_killed(evidence: Evidence) -> str:
    child = ending.killed_child(evidence)
    control = value_of(evidence.control)
    processes = value_of(evidence.processes)
    if child is not None and not (processes and processes.postmaster_pid is None):
        return f"Somebody killed a server process with SIGKILL: {child.text}"
    state = f' (control file still "{control.state}")' if control else ""
    return f"The server was killed without a chance to shut down{state}."


def _oom_facts(evidence: Evidence) -> Facts:
    """`container_short`: its own limit was in the way while the container lives on."""
    facts, kernel = server_facts(evidence), value_of(evidence.kernel)
    told = dict(facts)
    if "container_id" not in told:
        return facts
    short = (
        told.get("server_running") is True
        and told.get("container_memory_bytes") is not None
        and kernel is not None
        and kernel.own_group
    )
    return (*facts, ("container_short", short))


def _tell_oom(evidence: Evidence) -> str:
    kill, died = memory.oom_kill(evidence), ending.killed_child(evidence)
    victim = f" (process {kill.pid}, {kill.name})" if kill else ""
    ran = f" Its process was running: {died.statement[:160]}" if died and died.statement else ""
    return f"The kernel killed the server for want of memory{victim}.{ran}"


stopped_cleanly = Cause(
    id=STOPPED_CLEANLY,
    section=Section.PROCESS,
    sentence="A person, a script or a service manager asked the server to stop, and it did.",
    onset=Onset.AT_ONCE,
    impact="At once, for everybody.",
    family="down",
    prior=-1.5,
    weighs=(
        *_down(),
        Weigh(clue=ending.shutdown_requested, yes=4.0, no=-1.5),
        Weigh(clue=keeper.ended_well, yes=3.0, no=-0.5, now=True),
        Weigh(clue=ending.control_clean, yes=3.5, no=-3.0, now=True),
        Weigh(clue=lock.lock_left, yes=-2.0, no=1.0, now=True),
        Weigh(clue=lock.postmaster_alive, yes=-6.0, no=1.0, now=True),
        Weigh(clue=lock.server_holder, yes=-4.0, no=0.0, now=True),
        Weigh(clue=lock.start_refused, yes=-3.0, no=0.0),
        Weigh(clue=ending.crash_logged, yes=-2.5, no=0.0),
        Weigh(clue=ending.panic_for_space, yes=-4.0, no=0.0),
    ),
    shown_by=(*NOT_RUNNING, (ending.shutdown_requested, True), (ending.control_clean, True)),
    tell=_tell_stopped,
    facts=lambda e: (*server_facts(e), ("stop_mode", _stop_mode(e))),
    apart={
        KILLED: "Does the server log end with a shutdown request, and does pg_controldata "
        'say "shut down"?',
        CRASHED: "Does the server log show a shutdown request before the server ended?",
        OOM_KILLED: 'Does the kernel log (dmesg) show "Out of memory: Killed process" for a '
        "postgres process?",
        NETWORK_UNREACHABLE: "On the machine itself: does a postmaster run?",
        LIVE_LOCK_FILE: "On the machine itself: does a postmaster run on this data directory?",
        STALE_LOCK_FILE: "Is there a postmaster.pid in the data directory, and what runs "
        "under the PID on its first line?",
        CANNOT_START: "Does the server log end with a FATAL line of a later start?",
    },
    symptoms=(SymptomKind.SERVER_DOWN,),
    follows_change=(
        ItemKind.ROLLOUT,
        ItemKind.EVENT,
        ItemKind.IMAGE,
    ),
    safe_first="Find out who stopped it and why; then start it through whoever manages it.",
    never=(
        "Do not start it past its manager (Patroni, systemd, a container engine).",
        "Do not start it while an upgrade, a restore or a copy of its files is under way.",
    ),
    forbids=("set_aside_lock_file",),
    runbook="start-server",
    source=f"{DOC}server-shutdown.html",
)

crashed = Cause(
    id=CRASHED,
    section=Section.PROCESS,
    sentence="A server process crashed (a bug, an extension, broken hardware) or gave up (PANIC).",
    onset=Onset.AT_ONCE,
    impact="At once, for everybody; where the postmaster lives it starts again by itself.",
    family="down",
    prior=-1.5,
    weighs=(
        *_down(),
        Weigh(clue=ending.crash_logged, yes=5.0, no=-4.0),
        Weigh(clue=ending.had_to_recover, yes=0.5, no=-2.0),
        Weigh(clue=ending.panic_for_space, yes=-4.0, no=0.0),
        Weigh(clue=ending.shutdown_requested, yes=-2.0, no=0.5),
        Weigh(clue=ending.child_killed, yes=-3.0, no=0.0),
        # After a crash the postmaster lives on and restarts the rest (restart_after_crash), so a
        # server that is gone altogether was more likely killed.
        Weigh(clue=lock.postmaster_alive, yes=-3.0, no=1.0, now=True),
        Weigh(clue=ending.control_clean, yes=-4.0, no=2.5, now=True),
        Weigh(clue=lock.lock_left, yes=1.0, no=-1.0, now=True),
        Weigh(clue=lock.foreign_holder, yes=-5.0, no=0.5, now=True),
        Weigh(clue=memory.kernel_oom, yes=-2.0, no=0.5),
        Weigh(clue=lock.memory_in_use, yes=-4.0, no=0.0),
    ),
    shown_by=(*NOT_RUNNING, (ending.crash_logged, True)),
    tell=_tell_crashed,
    facts=server_facts,
    apart={
        KILLED: "Which signal does the server log name: 9 (somebody killed it) or another "
        "(it crashed)?",
        OOM_KILLED: 'Does the kernel log (dmesg) show "Out of memory: Killed process" at '
        "that time?",
        DISK_FULL_WAL: "Does the volume of pg_wal have free space?",
        DISK_FULL_DATA: "Does the data volume have free space?",
    },
    symptoms=(SymptomKind.SERVER_DOWN,),
    follows_change=(
        ItemKind.EXTENSION,
        ItemKind.SERVER,
        ItemKind.SETTING,
        ItemKind.IMAGE,
    ),
    brings_about=(LONG_RECOVERY,),
    safe_first="Keep the log and the core file, let crash recovery finish, "
    "and keep the statement that crashed from running again.",
    never=(
        "Do not run the failed statement again to see whether it still crashes.",
        NEVER_RESETWAL,
        NEVER_TOUCH_LOCK,
    ),
    forbids=("set_aside_lock_file",),
    runbook="start-server",
    source=f"{DOC}runtime-config-error-handling.html",
)

killed = Cause(
    id=KILLED,
    section=Section.PROCESS,
    sentence="Somebody ended the server, or one of its processes, with SIGKILL.",
    onset=Onset.AT_ONCE,
    impact="At once, for everybody.",
    family="down",
    prior=-1.5,
    weighs=(
        *_down(),
        Weigh(clue=keeper.killed, yes=3.5, no=-0.5),
        Weigh(clue=keeper.out_of_memory, yes=-5.0, no=0.0),
        Weigh(clue=lock.postmaster_alive, yes=-4.0, no=2.0, now=True),
        Weigh(clue=ending.control_clean, yes=-4.0, no=2.5, now=True),
        Weigh(clue=lock.lock_left, yes=1.0, no=-1.5, now=True),
        Weigh(clue=ending.child_killed, yes=4.5, no=0.0),
        Weigh(clue=ending.had_to_recover, yes=1.5, no=-3.0),
        Weigh(clue=ending.shutdown_requested, yes=-4.0, no=0.5),
        Weigh(clue=ending.crash_logged, yes=-5.0, no=0.5),
        Weigh(clue=ending.panic_for_space, yes=-9.0, no=0.0),
        Weigh(clue=memory.kernel_oom, yes=-5.0, no=0.5),
        Weigh(clue=memory.kernel_oom_nearby, yes=-0.5, no=0.0),
        Weigh(clue=lock.foreign_holder, yes=-5.0, no=0.5, now=True),
        Weigh(clue=lock.server_holder, yes=-6.0, no=0.0, now=True),
        Weigh(clue=lock.start_refused, yes=-2.0, no=0.0),
        Weigh(clue=lock.memory_in_use, yes=-6.0, no=0.0),
    ),
    shown_by=(*NOT_RUNNING, (ending.child_killed, True)),
    tell=_tell_killed,
    facts=server_facts,
    apart={
        CANNOT_START: "Does the server log end with a FATAL line of a later start?",
        OOM_KILLED: "Does the kernel log (dmesg) or the control group's oom_kill counter "
        "show a kill for memory at that time?",
        STALE_LOCK_FILE: "What runs under the PID on the first line of postmaster.pid?",
        LIVE_LOCK_FILE: "Does any process still have files of the data directory open?",
        NETWORK_UNREACHABLE: "On the machine itself: does a postmaster run?",
    },
    symptoms=(SymptomKind.SERVER_DOWN,),
    brings_about=(LONG_RECOVERY,),
    safe_first="Start it through its manager; PostgreSQL replaces the lock file and recovers by "
    "itself. Wait for the old children to exit first.",
    never=(NEVER_TOUCH_LOCK, NEVER_RESETWAL),
    forbids=("set_aside_lock_file",),
    runbook="start-server",
    source=f"{DOC}server-shutdown.html",
)

oom_killed = Cause(
    id=OOM_KILLED,
    section=Section.PROCESS,
    sentence="The kernel ran out of memory and killed a server process.",
    onset=Onset.AT_ONCE,
    impact="At once, for everybody; it comes back with the next load.",
    family="down",
    prior=-2.0,
    weighs=(
        *_down(),
        Weigh(clue=memory.kernel_oom, yes=5.0, no=-5.0),
        Weigh(clue=keeper.out_of_memory, yes=5.0, no=-0.5),
        Weigh(clue=memory.kernel_oom_nearby, yes=1.5, no=0.0),
        Weigh(clue=ending.child_killed, yes=2.5, no=-0.5),
        Weigh(clue=ending.had_to_recover, yes=0.5, no=-2.0),
        Weigh(clue=ending.shutdown_requested, yes=-3.0, no=0.5),
        Weigh(clue=ending.crash_logged, yes=-2.0, no=0.0),
        Weigh(clue=ending.panic_for_space, yes=-4.0, no=0.0),
        Weigh(clue=ending.control_clean, yes=-4.0, no=2.0, now=True),
        Weigh(clue=lock.postmaster_alive, yes=-2.0, no=2.0, now=True),
        Weigh(clue=lock.foreign_holder, yes=-2.0, no=0.0, now=True),
        Weigh(clue=lock.start_refused, yes=-1.0, no=0.0),
    ),
    shown_by=(*NOT_RUNNING, (memory.kernel_oom, True), (ending.child_killed, True)),
    tell=_tell_oom,
    facts=_oom_facts,
    symptoms=(SymptomKind.SERVER_DOWN,),
    follows_change=(
        ItemKind.SETTING,
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
        ItemKind.IMAGE,
    ),
    brings_about=(LONG_RECOVERY,),
    safe_first="Let it recover, then cut concurrency or the work_mem of the role that grew.",
    never=(
        "Do not raise work_mem or max_connections.",
        NEVER_RESETWAL,
        NEVER_TOUCH_LOCK,
    ),
    forbids=("set_aside_lock_file",),
    runbook="killed-for-memory",
    source=f"{DOC}kernel-resources.html#LINUX-MEMORY-OVERCOMMIT",
)
