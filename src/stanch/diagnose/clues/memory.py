"""Whether the kernel killed this server for want of memory, and not a neighbour of it.

A machine may run several servers, and all their processes are called postgres. A kill is this
server's only by its PID, by the server's own control group, or by the moment at which its log tells
of a death by signal 9 where PIDs cannot be compared.
"""

from __future__ import annotations

from datetime import timedelta

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.clues.ending import killed_child
from stanch.diagnose.evidence import Evidence, is_open, value_of
from stanch.diagnose.outside import Kernel, Kill
from stanch.model.shown import span
from stanch.model.symptoms import SymptomKind

CONTAINER_PID = 1
"""A postmaster with this PID is the first process of a container."""
NEAR = timedelta(seconds=10)
"""Kernel log and server log tell of the same death within this; both clocks are this host's."""
RECENT = timedelta(minutes=15)
"""A kill of nobody known that is older than this says nothing about now."""


def oom_kill(evidence: Evidence) -> Kill | None:
    """The kernel's kill that was this server's."""
    kernel = value_of(evidence.kernel)
    if kernel is None:
        return None
    pids, died = _pids(evidence), killed_child(evidence)
    for kill in reversed(_since_well(kernel, evidence)):
        if kill.pid in pids:
            return kill
        at_once = died is not None and died.at is not None and abs(died.at - kill.at) <= NEAR
        if at_once and not _comparable(kernel, pids):
            return kill
    return None


def _pids(evidence: Evidence) -> frozenset[int]:
    """Of processes known to have been this server's: noted, in its lock file, in its log."""
    lock, died = value_of(evidence.lock_file), killed_child(evidence)
    known = {evidence.noted_pid, lock.pid if lock else None, died.named_pid if died else None}
    return frozenset(pid for pid in known if pid is not None)


def _comparable(kernel: Kernel, pids: frozenset[int]) -> bool:
    """The kernel's log and the server number processes alike, and one of them is known."""
    return kernel.same_pids and bool(pids - {CONTAINER_PID})


def _since_well(kernel: Kernel, evidence: Evidence) -> tuple[Kill, ...]:
    """Kills that can have ended the server: not those it outlived."""
    reach, well_at = value_of(evidence.reach), evidence.well_at
    if well_at is None or (reach is not None and is_open(reach)):
        return kernel.kills
    return tuple(kill for kill in kernel.kills if kill.at >= well_at - NEAR)


def _left_nothing(evidence: Evidence) -> bool:
    """No lock file and no death in the log: whoever is killed leaves one of them behind."""
    lock = value_of(evidence.lock_file)
    return lock is not None and not lock.present and killed_child(evidence) is None


def _somebodys(kernel: Kernel, evidence: Evidence) -> Kill | None:
    """The newest recent kill that may have been this server's, or another's."""
    if _comparable(kernel, _pids(evidence)) or _left_nothing(evidence):
        return None
    recent = [k for k in _since_well(kernel, evidence) if evidence.at - k.at <= RECENT]
    return recent[-1] if recent else None


def _ours(kernel: Kernel, evidence: Evidence) -> YES_NO:
    kill = oom_kill(evidence)
    if kill is not None:
        return True, f"the kernel killed process {kill.pid} ({kill.name}) for memory", kill.at
    if kernel.new_oom_kills and kernel.own_group:
        group = "of this server's control group since the last look"
        return True, f"the kernel killed {kernel.new_oom_kills} more for memory {group}"
    if (counted := _counted_in_ours(kernel, evidence)) is not None:
        return counted
    if _somebodys(kernel, evidence) is not None:
        return "the kernel killed a server process for memory; it may have been another server's"
    if kernel.kills:
        newest = kernel.kills[-1]
        whose = f"process {newest.pid} at {newest.at:%H:%M:%S} UTC, not of this server's end"
        return False, f"the kernel's newest kill for memory was {whose}"
    return _counted(kernel)


def _counted_in_ours(kernel: Kernel, evidence: Evidence) -> YES_NO | None:
    """What nobody counted before tells all the same, where the watch has told of it, or where the
    group itself is as young as the trouble: a container's counter begins with the container."""
    told = next((s for s in evidence.symptoms if s.kind is SymptomKind.OOM_KILL), None)
    if told is not None and kernel.own_group:
        return True, f"the watch saw a kill for memory in its control group: {told.detail}"
    keeper = value_of(evidence.service)
    if not kernel.own_group or not kernel.oom_kills or keeper is None or keeper.started_at is None:
        return None
    age_s = (evidence.at - keeper.started_at).total_seconds()
    if not 0 <= age_s <= evidence.lookback_s:
        return None
    times = f"killed for memory {kernel.oom_kills} times in its control group"
    return True, f"the kernel {times}, which began {span(age_s)} ago"


def _counted(kernel: Kernel) -> YES_NO:
    """Where no log names anybody, a counter can only rule it out."""
    if kernel.oom_kills is None:
        return "this system does not count kills for memory"
    if kernel.oom_kills == 0 or kernel.new_oom_kills == 0:
        return False, "the kernel killed no server process for memory"
    if kernel.new_oom_kills:
        more = f"the kernel killed {kernel.new_oom_kills} more for memory since the last look"
        return f"{more}; whose is not known"
    return f"the kernel has killed {kernel.oom_kills} for memory since it started, times unknown"


def _nearby(kernel: Kernel, evidence: Evidence) -> YES_NO:
    answer = _ours(kernel, evidence)
    if not isinstance(answer, str):
        return ""  # Settled by the question above.
    kill = _somebodys(kernel, evidence)
    if kill is not None:
        who = f"process {kill.pid} ({kill.name})"
        return True, f"the kernel killed {who} for memory; it may be another server's", kill.at
    if kernel.new_oom_kills:
        return True, f"{answer}: it may be another server's, or no server's"
    return ""


kernel_oom = clue_on(
    "kernel_oom",
    "Did the kernel kill this server, or a process of it, for memory?",
    lambda e: e.kernel,
    _ours,
)
kernel_oom_nearby = clue_on(
    "kernel_oom_nearby",
    "Did the kernel kill for memory at that time, whoever it was?",
    lambda e: e.kernel,
    _nearby,
)
