"""When the head of a blocking chain may be ended. Pure: from readings taken right before."""

from __future__ import annotations

from collections.abc import Sequence

from stanch.facts.blocking import BlockingChain, blocking_roots
from stanch.facts.sessions import WaitingSession
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.policy import TargetPolicy
from stanch.respond.guarding import no, unknown
from stanch.respond.sessions import IDLE_STATES, same_moment, spared
from stanch.steps.action import Guard

GUARDS = (
    Guard(name="acting_session", asks="Is there a session to look with and one to act with?"),
    Guard(name="same_session", asks="Is it the very session and transaction that was diagnosed?"),
    Guard(name="still_root", asks="Do others still wait for it, and does it wait for nobody?"),
    Guard(name="ordinary_client", asks="Is it an ordinary client, no worker, no replication?"),
    Guard(name="not_protected", asks="Is it no backup, nothing policy protects, not Stanch?"),
    Guard(name="idle_or_approved", asks="Is it idle in its transaction, or did a person approve?"),
)


def may_end(
    step: PlannedStep, rows: Sequence[WaitingSession] | Missing, *, target: TargetPolicy
) -> Refusal | BlockingChain:
    """The chain whose root may be ended, or the first reason not to end it."""
    pid = step.param("root_pid")
    if pid == 0:
        return no(
            "ordinary_client",
            "a prepared transaction holds the locks; no session can be ended for it",
            lifts="A person who commits or rolls back the prepared transaction.",
        )
    if isinstance(rows, Missing):
        return unknown("still_root", rows)
    chain = next((c for c in blocking_roots(rows) if pid == c.root_pid or pid in c.cycle), None)
    if chain is None:
        return no("still_root", f"nobody waits for pid {pid} any more, or it waits itself")
    if chain.cycle:
        lifts = "The server's own deadlock check, within deadlock_timeout."
        return no("still_root", "the sessions wait for each other", lifts=lifts)
    if chain.root is None:
        return no("same_session", f"pid {pid} was gone when its session was read")
    return _root(step, chain.root, target) or chain


def _root(step: PlannedStep, root: WaitingSession, target: TargetPolicy) -> Refusal | None:
    if not same_moment(step.param("root_backend_start"), root.backend_start):
        return no("same_session", f"pid {root.pid} is another session now")
    if not same_moment(step.param("root_xact_start"), root.xact_start):
        return no("same_session", f"pid {root.pid} is in another transaction now")
    if root.backend_type != "client backend":
        return no("ordinary_client", f"pid {root.pid} is a {root.backend_type or 'hidden process'}")
    return spared(root.application_name, target) or _at_work(step, root)


def _at_work(step: PlannedStep, root: WaitingSession) -> Refusal | None:
    """Unasked only what does nothing is ended; a person may decide that work is lost."""
    if step.param("while_idle") is not True or root.state in IDLE_STATES:
        return None
    return no(
        "idle_or_approved",
        f"pid {root.pid} is {root.state or 'in a state that is hidden'}, and not idle in its "
        "transaction any more",
        lifts="A person who approves that its work is lost.",
    )
