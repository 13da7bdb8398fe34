"""postmaster.pid, and the processes that live on the data directory."""

from __future__ import annotations

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.clues.ending import ending
from stanch.diagnose.evidence import Evidence, postmaster_lives
from stanch.diagnose.outside import LockFileSeen, Log, ServerProcesses


def _left(lock: LockFileSeen, _evidence: Evidence) -> YES_NO:
    return lock.present, "a lock file is there" if lock.present else "no lock file is left"


def _foreign_holder(lock: LockFileSeen, _evidence: Evidence) -> YES_NO:
    if not lock.present:
        return False, "no lock file is left"
    if lock.holder_unknown:
        return f"whether PID {lock.pid} in the lock file is alive could not be found out"
    if lock.holder_pid is None:
        return False, f"nothing runs under the PID in the lock file ({lock.pid})"
    who = f"PID {lock.holder_pid} in the lock file is now {lock.holder_command}"
    if lock.holder_is_postmaster or lock.state == "live":
        return False, f"PID {lock.holder_pid} in the lock file is a server of this data directory"
    if lock.holder_is_postmaster is None or lock.holder_blocks_start is None:
        return f"{who}; whether it stands in the way is not known"
    if not lock.holder_blocks_start:
        return False, f"{who}, of another user: PostgreSQL ignores it"
    return True, f"{who}, not this server: PostgreSQL refuses to start because of it"


def _server_holder(lock: LockFileSeen, _evidence: Evidence) -> YES_NO:
    if not lock.present:
        return False, "no lock file is left"
    if lock.holder_is_postmaster or lock.state == "live":
        return True, f"PID {lock.pid} in the lock file is a living server of this data directory"
    if lock.holder_unknown or (lock.holder_pid and lock.holder_is_postmaster is None):
        return f"what runs under PID {lock.pid} in the lock file could not be found out"
    return False, f"PID {lock.pid} in the lock file is no living server"


def _start_refused(log: Log, evidence: Evidence) -> YES_NO:
    if not log.events:
        return f"nothing of use in {log.path}"
    for event in reversed(ending(evidence)):
        if event.kind == "lock_file_exists":
            return True, f"a start was refused: {event.text}", event.at
    return False, "no start was refused because of the lock file"


def _memory_in_use(log: Log, evidence: Evidence) -> YES_NO:
    if not log.events:
        return f"nothing of use in {log.path}"
    for event in reversed(ending(evidence)):
        if event.kind == "shared_memory_in_use":
            return True, f"a start was refused: {event.text}", event.at
    return False, "no start was refused because of shared memory in use"


def _alive(processes: ServerProcesses, evidence: Evidence) -> YES_NO:
    lives = postmaster_lives(evidence)
    if lives is None:
        return f"{processes.uninspected} processes could not be inspected"
    if not lives:
        return False, "no postmaster runs on this data directory"
    state = ", suspended" if processes.postmaster_stopped else ""
    return True, f"postmaster {processes.postmaster_pid} runs on this data directory{state}"


def _suspended(processes: ServerProcesses, _evidence: Evidence) -> YES_NO:
    if processes.postmaster_pid is None:
        if processes.uninspected:
            return f"{processes.uninspected} processes could not be inspected"
        return False, "no postmaster runs on this data directory"
    who = f"postmaster {processes.postmaster_pid}"
    if processes.postmaster_traced:
        return True, f"{who} is held by a debugger or tracer (state t)"
    if processes.postmaster_stopped:
        return True, f"{who} is suspended (state T)"
    return False, f"{who} is not suspended"


def _orphans(processes: ServerProcesses, _evidence: Evidence) -> YES_NO:
    if processes.orphans:
        return True, f"{processes.orphans} processes of the old server still run"
    if processes.uninspected and processes.postmaster_pid is None:
        return f"{processes.uninspected} processes could not be inspected"
    return False, "no process of an old server is left"


def _recovering(processes: ServerProcesses, _evidence: Evidence) -> YES_NO:
    if processes.recovering:
        return True, f"the server replays its log: {processes.recovering}"
    return False, "no process replays WAL"


lock_left = clue_on("lock_left", "Is a lock file left?", lambda e: e.lock_file, _left)
foreign_holder = clue_on(
    "foreign_holder",
    "Does the PID in the lock file belong to a process that is no server and blocks a start?",
    lambda e: e.lock_file,
    _foreign_holder,
)
server_holder = clue_on(
    "server_holder",
    "Does the PID in the lock file belong to a living server of this data directory?",
    lambda e: e.lock_file,
    _server_holder,
)
start_refused = clue_on(
    "start_refused",
    "Was a start refused because of the lock file?",
    lambda e: e.log,
    _start_refused,
)
memory_in_use = clue_on(
    "memory_in_use",
    "Was a start refused because an old server's shared memory is in use?",
    lambda e: e.log,
    _memory_in_use,
)
postmaster_alive = clue_on(
    "postmaster_alive",
    "Does a postmaster run on this data directory?",
    lambda e: e.processes,
    _alive,
)
postmaster_suspended = clue_on(
    "postmaster_suspended",
    "Is the postmaster suspended?",
    lambda e: e.processes,
    _suspended,
)
orphans = clue_on(
    "orphans", "Do processes of an old server still run?", lambda e: e.processes, _orphans
)
recovering = clue_on(
    "recovering", "Does the server replay WAL?", lambda e: e.processes, _recovering
)
