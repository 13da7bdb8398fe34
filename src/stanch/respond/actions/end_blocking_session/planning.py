"""What the end of a root would touch, and which roots no guard will let go. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.model.plans import PlannedStep, Refusal
from stanch.model.shown import span
from stanch.policy.policy import TargetPolicy
from stanch.respond.guarding import no
from stanch.respond.sessions import IDLE_STATES, spared
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    pid = named(params.get("root_pid"), "?")
    application = named(cause.fact("root_application"), "an unnamed application")
    waiters = named(cause.fact("waiters"), "some")
    oldest = cause.fact("oldest_wait_s")
    since = span(oldest) if isinstance(oldest, int | float) else "a while"
    return (
        f"End session {pid} of {application}, roll back its transaction, and so free {waiters} "
        f"sessions, the first of which has waited for {since}.{_work_lost(cause)}"
    )


def _work_lost(cause: CauseFinding) -> str:
    state, began = cause.fact("state"), cause.fact("root_xact_start")
    if state in IDLE_STATES:
        return ""
    told = f"It is {named(state, 'in a state that is hidden')}, not idle"
    return f" {told}: what it did since {named(began, 'its transaction began')} is lost."


def withheld(step: PlannedStep, cause: CauseFinding, target: TargetPolicy) -> Refusal | None:
    """Roots that no guard will let go."""
    if step.param("root_pid") == 0:
        lifts = "A person who commits or rolls it back."
        return no("ordinary_client", "a prepared transaction holds the locks", lifts=lifts)
    kind = cause.fact("root_backend_type")
    if kind and kind != "client backend":
        lifts = "Cancel the schema change that waits for it; it ends by itself."
        return no("ordinary_client", f"the root is no client but a {kind}", lifts=lifts)
    if step.param("root_backend_start") is not None and step.param("root_xact_start") is None:
        reason = "the root holds its lock outside of a transaction, as an advisory lock is held"
        return no("same_session", reason, lifts="A person who knows what that lock is for.")
    return spared(str(cause.fact("root_application") or ""), target)


def loses_work(cause: CauseFinding) -> bool:
    """A root that is at work: a migration or a long statement may be worth the wait."""
    return cause.fact("state") not in IDLE_STATES


PLANNING = Planning(
    preview=preview,
    ranges=(("waiters", 1, None),),
    withheld=withheld,
    loses_work=loses_work,
    unasked=(("while_idle", True),),
)
