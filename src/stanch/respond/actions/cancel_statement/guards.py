"""When a running statement may be cancelled. Pure: from a reading taken right before."""

from __future__ import annotations

from stanch.facts.running import RunningStatement
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.policy import TargetPolicy
from stanch.respond.guarding import no, unknown
from stanch.respond.sessions import same_moment, spared
from stanch.steps.action import Guard

GUARDS = (
    Guard(name="acting_session", asks="Is there a session to look with and one to act with?"),
    Guard(name="still_running", asks="Does it still run?"),
    Guard(name="same_statement", asks="Is it the very statement that was diagnosed?"),
    Guard(name="still_waiting", asks="Where its wait is the trouble: does it still wait?"),
    Guard(name="ordinary_client", asks="Is it an ordinary client, no worker, no replication?"),
    Guard(name="not_protected", asks="Is it no backup, nothing policy protects, not Stanch?"),
)


def may_cancel(
    step: PlannedStep, seen: RunningStatement | Missing | None, *, target: TargetPolicy
) -> Refusal | RunningStatement:
    """The statement that may be cancelled, or the first reason to leave it alone."""
    pid = step.param("pid")
    if isinstance(seen, Missing):
        return unknown("still_running", seen)
    if seen is None:
        gone = f"there is no session {pid} any more"
        return no("still_running", gone, lifts="Nothing is needed.")
    if not same_moment(step.param("backend_start"), seen.backend_start):
        return no("same_statement", f"pid {pid} is another session now")
    if seen.state != "active":
        state = seen.state or "in a state that is hidden"
        return no("still_running", f"pid {pid} is {state}: it runs nothing")
    if not same_moment(step.param("query_start"), seen.query_start):
        return no("same_statement", f"pid {pid} runs another statement now")
    if step.param("while_waiting") is True and seen.wait_type != "Lock":
        lifts = "A person who approves that its work is lost."
        return no("still_waiting", f"pid {pid} waits for no lock any more", lifts=lifts)
    if seen.backend_type != "client backend":
        return no("ordinary_client", f"pid {pid} is a {seen.backend_type or 'hidden process'}")
    return spared(seen.application_name, target) or seen
