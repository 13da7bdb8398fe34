"""What the machine refuses a server that runs: processes, files, libraries, the right time."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, server_facts
from stanch.diagnose.causes.ids import (
    CLOCK_WRONG,
    CONNECTIONS_LOAD,
    EXTENSION_LIBRARY_MISSING,
    LIVE_LOCK_FILE,
    NETWORK_UNREACHABLE,
    OS_LIMIT_REACHED,
    OUT_OF_MEMORY,
    PRELOAD_LIBRARY_MISSING,
)
from stanch.diagnose.causes.memory import NEVER_RESTART
from stanch.diagnose.clues import host, wire
from stanch.diagnose.clues.startup import said
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.symptoms import SymptomKind


def _tell_limit(evidence: Evidence) -> str:
    event = host.no_process(evidence) or host.no_file(evidence)
    what = "a process" if host.no_process(evidence) else "an open file"
    return f"The operating system refuses the server {what}: {said(event)}."


def _tell_clock(evidence: Evidence) -> str:
    for clue in (host.clock_differs, host.clock_off):
        answer = clue.ask(evidence)
        if answer.yes:
            return f"The machine's time is wrong: {answer.text}."
    return f"The machine's time is wrong: {host.log_disordered.ask(evidence).text}."


def _tell_library(evidence: Evidence) -> str:
    event = host.library_of_a_session(evidence)
    whose = f" for {event.who}" if event and event.who else ""
    return f"A library of an extension cannot be loaded{whose}: {said(event)}."


os_limit_reached = Cause(
    id=OS_LIMIT_REACHED,
    section=Section.PROCESS,
    sentence="The operating system refuses the server one more process or open file, although "
    "there is memory: a limit of its user, its service or its control group.",
    onset=Onset.AT_ONCE,
    impact="At once for new connections, or for statements that open files; sessions that are "
    "open go on.",
    prior=-2.5,
    weighs=(
        Weigh(clue=host.process_refused, yes=5.0, no=-2.0, now=True),
        Weigh(clue=host.file_refused, yes=5.0, no=-2.0, now=True),
        Weigh(clue=host.memory_short, yes=-1.0, no=0.5, now=True),
    ),
    shown_by=((host.process_refused, True), (host.file_refused, True)),
    tell=_tell_limit,
    facts=lambda e: (
        *server_facts(e),
        ("process_refused", host.process_refused.ask(e).yes),
        ("file_refused", host.file_refused.ask(e).yes),
    ),
    apart={
        LIVE_LOCK_FILE: "Does the running server's log say that it could not fork a process?",
        CONNECTIONS_LOAD: "Is a login refused by the server (53300) or by the kernel (could not "
        "fork)?",
        OUT_OF_MEMORY: 'Does the fork fail with "Resource temporarily unavailable" or with '
        '"Cannot allocate memory"?',
    },
    symptoms=(SymptomKind.SERVER_DOWN, SymptomKind.LOG_ERRORS),
    safe_first="Close connections at their source (a pooler, the largest pool), then raise the "
    "limit: LimitNPROC and LimitNOFILE of the service, pids.max of the control group.",
    never=(
        "Do not raise max_connections: each needs a process and files of its own.",
        NEVER_RESTART,
    ),
    forbids=("start_server", "set_aside_lock_file"),
    runbook="",
    source=f"{DOC}kernel-resources.html#KERNEL-RESOURCES-LIMITS",
)

clock_wrong = Cause(
    id=CLOCK_WRONG,
    section=Section.PROCESS,
    sentence="The machine's clock is off or was stepped: times in the log, delays in seconds and "
    "leases lie.",
    onset=Onset.AT_ONCE,
    impact="For whoever trusts times: failover leases, certificates, tokens, restores to a moment.",
    prior=-2.5,
    weighs=(
        # What keeps this machine's clock right says nothing of a server elsewhere.
        Weigh(clue=host.clock_differs, yes=7.0, no=-0.5, now=True),
        Weigh(clue=host.clock_off, yes=4.5, no=-4.0, now=True),
        Weigh(clue=host.log_disordered, yes=2.0, no=0.0, now=True),
    ),
    shown_by=(
        (host.clock_differs, True),
        (host.clock_off, True),
        (host.log_disordered, True),
    ),
    tell=_tell_clock,
    facts=lambda e: (("clock_offset_s", _offset(e)),),
    apart={
        NETWORK_UNREACHABLE: "Do leases and certificates fail while the machine can be reached?",
    },
    symptoms=(SymptomKind.CLOCK_OFF,),
    safe_first="Compare `chronyc tracking` with another machine and let the time service slew the "
    "clock; until then go by LSN, not by time.",
    never=(
        "Do not step the clock back on a primary: rows and leases get times that come twice.",
        "Do not restore to a moment by its time: name an LSN, a transaction or a restore point.",
    ),
    forbids=(),
    runbook="",
    source=f"{DOC}runtime-config-wal.html#GUC-RECOVERY-TARGET-TIME",
)

extension_library_missing = Cause(
    id=EXTENSION_LIBRARY_MISSING,
    section=Section.PROCESS,
    sentence="The library of one extension cannot be loaded by sessions (58P01): its package is "
    "gone, or is for another version.",
    onset=Onset.AT_ONCE,
    impact="For every statement that needs that extension; the others go on.",
    prior=-2.5,
    weighs=(
        Weigh(clue=wire.answers, yes=0.5, no=-3.0, now=True),
        # Somebody who types LOAD by hand makes one such line.
        Weigh(clue=host.library_missed, yes=2.0, no=-6.0, now=True),
        Weigh(clue=host.library_missed_often, yes=3.0, no=0.0, now=True),
    ),
    shown_by=((host.library_missed, True),),
    tell=_tell_library,
    facts=lambda e: _library_facts(e),
    apart={
        PRELOAD_LIBRARY_MISSING: "Does the server run, and only statements fail?",
    },
    symptoms=(SymptomKind.LOG_ERRORS, SymptomKind.ERROR_RATE_HIGH),
    follows_change=(ItemKind.EXTENSION, ItemKind.IMAGE, ItemKind.ROLLOUT),
    safe_first="Install the package of that extension for this version of the server.",
    never=(
        "Do not drop the extension with CASCADE: its tables, columns and indexes go with it.",
        "Do not copy the library of another version into place: it may crash the server.",
    ),
    forbids=(),
    runbook="",
    source=f"{DOC}xfunc-c.html#XFUNC-C-DYNLOAD",
)


def _offset(evidence: Evidence) -> float | None:
    ahead_s = host.clock_ahead_s(evidence)
    if ahead_s is not None and abs(ahead_s) >= host.CLOCK_DIFFERS_S:
        return round(ahead_s)
    history = value_of(evidence.history)
    course = history.of("clock_offset_s") if history else None
    return None if course is None or course.now is None else round(course.now, 3)


def _library_facts(evidence: Evidence) -> Facts:
    event = host.library_of_a_session(evidence)
    return (
        ("server_running", True),
        ("said", said(event) or None),
        ("who", event.who if event and event.who else None),
    )
