"""Read and change a server in visits of the acting role, and tell what came of it.

A visit begins with what is in force, where a session that was idle reads the settings files as they
lie there when it is asked; and it asks first whether the cluster is the one that is watched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed, ProbeFailed
from stanch.model.plans import Refusal, StepOutcome
from stanch.model.ports.server import SqlParams
from stanch.respond.guarding import no
from stanch.respond.reading.run import QUESTION_TIMEOUT_S
from stanch.steps.action import ActReport, Permit
from stanch.steps.world import World

DATABASE_SQL = "SELECT pg_catalog.current_database()::text AS name"
WRITE_DEADLINE_S = 4.0
"""With a login."""
MOVED_ON = "STN01"
"""The SQLSTATE of our statements where what they are bound to is no longer so."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One statement that changes something if it is still what it was, and how it is told."""

    sql: str
    on: str
    done: str
    before: str
    """What was there, and the exact way back."""
    rights: str
    """Where the right for it is told."""


def no_session(world: World) -> Refusal | None:
    if world.actor is not None and world.visits is not None:
        return None
    lifts = "`acting_dsn` for this target; `stanch grants` prints the role and its rights."
    return no("acting_session", "there is no session to act with", lifts=lifts)


async def acting_database(world: World) -> str | Missing:
    """Where the acting session is: there the acting role has its rights on functions and views."""
    if world.actor is None:
        return Missing(what="database", reason="there is no session to the server")
    asked = await world.actor.execute(DATABASE_SQL, deadline_s=QUESTION_TIMEOUT_S)
    name = asked.rows[0].get("name") if asked.outcome == "done" and asked.rows else None
    return name or Missing(what="database", reason=asked.detail or asked.outcome)


async def visit(
    world: World,
    database: str | Missing,
    asked: tuple[str, SqlParams],
    parse: Callable[[str | None], T],
    *,
    what: str = "the server's answer",
) -> T | Missing:
    """What one question of a visit answers, or why there is no answer."""
    if isinstance(database, Missing):
        return database
    if world.visits is None:
        return Missing(what=what, reason="there is no acting session")
    sql, params = asked
    try:
        rows = await world.visits.fetch_rows(database, sql, params, timeout_s=QUESTION_TIMEOUT_S)
        return parse(rows[0].get("answer") if rows else None)
    except ProbeFailed as error:
        return Missing(what=what, reason=str(error))


async def send(world: World, database: str | Missing, change: Change) -> ActReport | None:
    """Once. None: done. Raises: ActionFailed, where the server said no and nothing happened."""
    if isinstance(database, Missing) or world.visits is None:
        raise ActionFailed("there is no session to act with", on=change.on)
    acted = await world.visits.execute(database, change.sql, deadline_s=WRITE_DEADLINE_S)
    if acted.outcome == "in_doubt":
        return ActReport(outcome=StepOutcome.IN_DOUBT, detail=acted.detail, before=change.before)
    if acted.outcome == "done":
        return None
    if acted.sqlstate == MOVED_ON:
        raise MovedOn(change.on)
    what = f"the server did not change it: {acted.detail or acted.outcome}"
    raise ActionFailed(f"{what}; before: {change.before}", on=change.on, hint=change.rights)


class MovedOn(Exception):
    """What a statement is bound to was no longer so when it came; it touched nothing."""


async def change_once(
    world: World, database: str | Missing, change: Change, permit: Permit
) -> ActReport | Refusal:
    """The whole of an action that is one conditional statement. Raises: ActionFailed."""
    refusal = permit()
    if refusal is not None:
        return refusal
    try:
        doubt = await send(world, database, change)
    except MovedOn:
        reason = f"{change.on} had just been changed by somebody else; nothing was touched"
        return no("still_so", reason, lifts="A new plan.")
    return doubt or ActReport(detail=change.done, before=change.before)
