"""Send one conditional signal to one backend, and tell what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stanch.facts.sessions import parse_end
from stanch.model.errors import ActionFailed
from stanch.model.plans import Refusal, StepOutcome
from stanch.model.ports.server import ServerActor, SqlParams
from stanch.respond.guarding import no
from stanch.steps.action import ActReport, Permit

SIGNAL_DEADLINE_S = 2.0
RIGHTS = "A superuser's session takes a superuser; others take pg_signal_backend."


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One statement that signals a backend, if it is still what it was, and answers `outcome`."""

    sql: str
    parameters: SqlParams
    pid: int
    verb: Literal["end", "cancel"]
    unless: str
    """The guard that is answered with no where it had just become another."""
    done: str
    before: str


async def send(signal: Signal, actor: ServerActor, permit: Permit) -> ActReport | Refusal:
    """Raises: ActionFailed, where the server did not let us."""
    refusal = permit()
    if refusal is not None:
        return refusal
    on = f"pid {signal.pid}"
    acted = await actor.execute(signal.sql, signal.parameters, deadline_s=SIGNAL_DEADLINE_S)
    if acted.outcome == "in_doubt":
        return ActReport(outcome=StepOutcome.IN_DOUBT, detail=acted.detail, before=signal.before)
    if acted.outcome != "done" or not acted.rows:
        what = f"the server did not {signal.verb} it: {acted.detail or acted.outcome}"
        raise ActionFailed(what, on=on, hint=RIGHTS)
    outcome = parse_end(acted.rows[0].get("outcome"))
    if not outcome.matched:
        return no(signal.unless, f"{on} had just ended or moved on; nothing was touched")
    if not outcome.signalled:
        raise ActionFailed("the signal could not be sent", on=on)
    return ActReport(detail=signal.done, before=signal.before)
