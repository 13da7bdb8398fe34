"""What ending the named sessions would touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.model.plans import PlannedStep, Refusal
from stanch.model.shown import span
from stanch.policy.policy import TargetPolicy
from stanch.respond.actions.end_sessions.guards import ACTIVE, IDLE, selector_of
from stanch.respond.sessions import spared
from stanch.respond.telling import named
from stanch.steps.action import Planning

PIDS_SHOWN = 10
_LOST: Mapping[str | None, str] = {
    IDLE: "What only they hold is lost; their application logs in anew",
    ACTIVE: "Their statements and all that their transactions did are lost",
}
_LOST_ELSE = "What they have not committed is rolled back"


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    selector = selector_of(params)
    if isinstance(selector, Refusal):
        return f"End sessions; it would be refused: {named(selector.reason, '?')}."
    pids = [str(session.pid) for session in selector.bound]
    more = f" and {len(pids) - PIDS_SHOWN} more" if len(pids) > PIDS_SHOWN else ""
    by = (
        ("of application", selector.application_name),
        ("of role", selector.usename),
        ("of database", selector.datname),
        ("from", selector.client_addr),
    )
    whose = "".join(f" {word} {named(value, 'without a name')}" for word, value in by if value)
    state = f" that are {selector.state}" if selector.state else ""
    older = selector.older_than_s
    since = f" for longer than {span(older)}" if older else ""
    oldest = cause.fact("idle_oldest_s")
    told = f", the first of them for {span(oldest)}" if isinstance(oldest, int | float) else ""
    many = "1 session" if len(pids) == 1 else f"{len(pids)} sessions"
    return (
        f"End {many}{whose}{state}{since}{told}: pid {', '.join(pids[:PIDS_SHOWN])}{more}. "
        f"{_LOST.get(selector.state, _LOST_ELSE)}; backups, superusers and what policy protects "
        "are left alone."
    )


def withheld(step: PlannedStep, _cause: CauseFinding, target: TargetPolicy) -> Refusal | None:
    """A selector that no guard lets through, or an application whose sessions are never ended."""
    selector = selector_of(dict(step.params))
    if isinstance(selector, Refusal):
        return selector
    return spared(selector.application_name or "", target)


def loses_work(_cause: CauseFinding) -> bool:
    """Whatever they are at: how much it was worth, nobody but their owner knows."""
    return True


PLANNING = Planning(preview=preview, withheld=withheld, loses_work=loses_work)
