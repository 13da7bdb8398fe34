"""Memory that a running server wants and does not get, or takes until the kernel kills."""

from __future__ import annotations

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, server_facts
from stanch.diagnose.causes.ids import (
    CONNECTION_STORM,
    CONNECTIONS_LOAD,
    DISK_FULL_DATA,
    OOM_KILLED,
    OUT_OF_MEMORY,
    SHARED_MEMORY_SMALL,
    WORK_MEM_TOO_HIGH,
)
from stanch.diagnose.clues import host, memory, space, wire
from stanch.diagnose.clues.startup import said
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.shown import human_bytes
from stanch.model.symptoms import SymptomKind

NEVER_RESTART = "Do not restart the server blindly: everybody loses their work, and the same load \
comes back."


def _memory_facts(evidence: Evidence) -> Facts:
    kernel, claim = value_of(evidence.kernel), host.largest_claim(evidence)
    return (
        ("memory_total_bytes", kernel.memory_total_bytes if kernel else None),
        ("memory_available_bytes", kernel.memory_available_bytes if kernel else None),
        ("work_mem_bytes", claim.work_mem if claim else None),
        ("work_mem_of", claim.whose if claim and claim.whose else None),
        ("sessions_at_work", claim.sessions if claim else None),
    )


def _said_facts(evidence: Evidence, *kinds: str) -> Facts:
    event = host.newest(evidence, *kinds)
    return (
        *server_facts(evidence),
        ("said", said(event) or None),
        ("who", event.who if event and event.who else None),
    )


def _tell_memory(evidence: Evidence) -> str:
    event = host.newest(evidence, "out_of_memory")
    whose = f" of {event.who}" if event and event.who else ""
    return f"A session{whose} was refused memory: {said(event) or 'out of memory'}."


def _tell_shared(evidence: Evidence) -> str:
    event = host.newest(evidence, "no_space_shared_memory")
    return f"Parallel queries find no room in /dev/shm: {said(event)}."


def _tell_work_mem(evidence: Evidence) -> str:
    claim, kernel = host.largest_claim(evidence), value_of(evidence.kernel)
    if claim is None or kernel is None or kernel.memory_available_bytes is None:
        return "Sessions at work take nearly all memory with their work_mem."
    whose = f" of {claim.whose}" if claim.whose else ""
    who = "1 session" if claim.sessions == 1 else f"{claim.sessions} sessions"
    are = "is" if claim.sessions == 1 else "are"
    work = f"{who}{whose} {are} at work with work_mem = {human_bytes(claim.work_mem)} each"
    if host.memory_short.ask(evidence).yes:
        left = human_bytes(kernel.memory_available_bytes)
        return f"{work}, and {left} of memory are left: the kernel will kill next."
    total = human_bytes(kernel.memory_total_bytes or 0)
    return f"{work}, of {total} of memory: {host.memory_ran_out.ask(evidence).text}."


out_of_memory = Cause(
    id=OUT_OF_MEMORY,
    section=Section.PROCESS,
    sentence="A session asked for memory and the kernel refused it (53200): overcommitting is "
    "switched off or a limit is reached, so nobody was killed.",
    onset=Onset.AT_ONCE,
    impact="For the statement that failed; for others as soon as they need memory, too.",
    prior=-2.5,
    weighs=(
        Weigh(clue=host.out_of_memory, yes=4.0, no=-6.0, now=True),
        Weigh(clue=memory.kernel_oom, yes=-2.0, no=0.5),
        Weigh(clue=host.memory_short, yes=0.5, no=0.0, now=True),
        Weigh(clue=wire.refused, yes=-2.0, no=0.0, now=True),
    ),
    shown_by=((host.out_of_memory, True),),
    tell=_tell_memory,
    facts=lambda e: (*_said_facts(e, "out_of_memory"), *_memory_facts(e)),
    apart={
        OOM_KILLED: 'Does the kernel log (dmesg) show "Out of memory: Killed process", or did a '
        "session get error 53200 and live on?",
        SHARED_MEMORY_SMALL: "Does the error name a shared memory segment (53100) or a memory "
        "context (53200)?",
    },
    symptoms=(SymptomKind.LOG_OUT_OF_MEMORY, SymptomKind.MEMORY_LOW),
    follows_change=(ItemKind.SETTING, ItemKind.ROLE, ItemKind.DEPLOY),
    brings_about=(CONNECTION_STORM,),
    safe_first="Cancel the session that grows (pg_log_backend_memory_contexts shows where its "
    "memory is, from version 14 on), then lower the work_mem of its role.",
    never=(NEVER_RESTART, "Do not raise work_mem, shared_buffers or max_connections."),
    forbids=(),
    runbook="",
    source=f"{DOC}kernel-resources.html#LINUX-MEMORY-OVERCOMMIT",
)

shared_memory_small = Cause(
    id=SHARED_MEMORY_SMALL,
    section=Section.PROCESS,
    sentence="Parallel queries find no room for their shared memory in /dev/shm, as in a container "
    "with the usual 64 MB; the disks are fine although the error says there is no space.",
    onset=Onset.AT_ONCE,
    impact="For statements that run in parallel; the others go on.",
    prior=-2.5,
    weighs=(
        Weigh(clue=host.shared_memory_refused, yes=5.0, no=-6.0, now=True),
        Weigh(clue=space.data_full, yes=-2.0, no=0.5, now=True),
    ),
    shown_by=((host.shared_memory_refused, True),),
    tell=_tell_shared,
    facts=lambda e: _said_facts(e, "no_space_shared_memory"),
    apart={
        DISK_FULL_DATA: "Does the error name a shared memory segment, or a file of the data "
        "directory?",
    },
    symptoms=(SymptomKind.LOG_ERRORS,),
    brings_about=(CONNECTION_STORM,),
    safe_first="Set max_parallel_workers_per_gather = 0 and reload; then give the container more "
    "(--shm-size) at its next start.",
    never=(
        "Do not delete data or WAL to make room: the disks are not what is full.",
        "Do not delete files in /dev/shm: running sessions use them.",
    ),
    forbids=("free_space",),
    runbook="",
    source=f"{DOC}runtime-config-resource.html#GUC-DYNAMIC-SHARED-MEMORY-TYPE",
)

work_mem_too_high = Cause(
    id=WORK_MEM_TOO_HIGH,
    section=Section.WORK,
    sentence="work_mem times the sessions at work is more than the machine has: each sort and hash "
    "of each session and parallel worker may take that much.",
    onset=Onset.CREEPING,
    impact="Soon: the kernel kills a server process, and all sessions end with it.",
    prior=-3.0,
    weighs=(
        Weigh(clue=host.memory_ran_out, yes=2.5, no=-6.0, now=True),
        Weigh(clue=host.work_mem_claims, yes=3.0, no=-4.0, now=True),
        Weigh(clue=wire.answers, yes=0.5, no=-1.0, now=True),
    ),
    shown_by=((host.memory_ran_out, True),),
    tell=_tell_work_mem,
    facts=lambda e: (("server_running", True), *_memory_facts(e)),
    subject=lambda e: claim.whose if (claim := host.largest_claim(e)) else "",
    apart={
        CONNECTIONS_LOAD: "Is it connections that run out, or memory?",
    },
    brings_about=(OOM_KILLED, OUT_OF_MEMORY),
    symptoms=(SymptomKind.MEMORY_LOW, SymptomKind.OOM_KILL),
    follows_change=(ItemKind.SETTING, ItemKind.ROLE, ItemKind.DEPLOY),
    safe_first="Lower work_mem for the role that is named (ALTER ROLE ... SET work_mem) and cancel "
    "its largest statements; new sessions take the new value.",
    never=(
        "Do not raise work_mem or hash_mem_multiplier.",
        "Do not add connections: each brings its own work_mem.",
    ),
    forbids=(),
    runbook="",
    source=f"{DOC}runtime-config-resource.html#GUC-WORK-MEM",
)
