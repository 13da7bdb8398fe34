"""What whoever keeps the server says of it: a container engine, an orchestrator, a service manager.

For a server on another machine it is often the only word on how it ended.
"""

from __future__ import annotations

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.evidence import Evidence
from stanch.model.machine import ServiceState

SIGKILLED = 137
"""128 + 9: what engines report for a process that was ended with SIGKILL."""


def _told(state: ServiceState) -> str:
    code = f", exit code {state.exit_code}" if state.exit_code is not None else ""
    oom = ", killed for want of memory" if state.oom_killed else ""
    again = f", started again {state.restarts} times" if state.restarts else ""
    return f"{state.name or 'its service'} is {state.status}{code}{oom}{again}"


def _began_lately(state: ServiceState, evidence: Evidence) -> bool:
    """It was started within what is looked back over: how it ended before is part of it."""
    if state.started_at is None:
        return False
    return (evidence.at - state.started_at).total_seconds() <= evidence.lookback_s


def _down(state: ServiceState, _evidence: Evidence) -> YES_NO:
    return not state.running, _told(state)


def _out_of_memory(state: ServiceState, evidence: Evidence) -> YES_NO:
    if state.oom_killed is None:
        return "its keeper does not tell why it ended"
    if state.running and not _began_lately(state, evidence):
        return False, f"{_told(state)}, and was not started again lately"
    return state.oom_killed, _told(state)


def _killed(state: ServiceState, evidence: Evidence) -> YES_NO:
    if state.exit_code is None:
        return "its keeper tells no exit code"
    if state.running and not _began_lately(state, evidence):
        return False, f"{_told(state)}, and was not started again lately"
    return state.exit_code == SIGKILLED and not state.oom_killed, _told(state)


def _ended_well(state: ServiceState, _evidence: Evidence) -> YES_NO:
    if state.running:
        return False, _told(state)
    if state.exit_code is None:
        return "its keeper tells no exit code"
    return state.exit_code == 0, _told(state)


is_down = clue_on(
    "keeper_down", "Does its keeper say that it does not run?", lambda e: e.service, _down
)
out_of_memory = clue_on(
    "keeper_out_of_memory",
    "Does its keeper say that it was killed for want of memory?",
    lambda e: e.service,
    _out_of_memory,
)
killed = clue_on(
    "keeper_killed",
    "Does its keeper say that it ended by SIGKILL, and not for want of memory?",
    lambda e: e.service,
    _killed,
)
ended_well = clue_on(
    "keeper_ended_well",
    "Does its keeper say that it ended with exit code 0?",
    lambda e: e.service,
    _ended_well,
)
