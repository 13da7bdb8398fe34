"""What analyzing and vacuuming a table have in common. Pure."""

from __future__ import annotations

from datetime import datetime

from stanch.facts.maintained import MaintainedTable
from stanch.model.diagnosis import Missing, Scalar
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.quoting import printable
from stanch.respond.guarding import no, unknown
from stanch.respond.sessions import same_moment
from stanch.steps.action import Guard, Param

GUARDS = (
    Guard(name="acting_session", asks="Is there a session for that database to act with?"),
    Guard(name="same_table", asks="Is it the very table that was diagnosed, by oid and name?"),
    Guard(name="on_primary", asks="Is this the primary?"),
    Guard(name="may_maintain", asks="Has the acting role the right to, on that table?"),
    Guard(name="still_needed", asks="Has nobody seen to it since the diagnosis?"),
    Guard(name="lock_free", asks="Does nobody hold or want a lock that it would wait for?"),
)

PARAMS = (
    Param(name="database", kind="text", doc="The database of the table.", identity=True),
    Param(name="table_oid", kind="count", doc="Its oid.", identity=True),
    Param(name="table_schema", kind="text", doc="Its schema.", identity=True),
    Param(name="table_name", kind="text", doc="Its name.", identity=True),
)


def may_tend(
    step: PlannedStep, seen: MaintainedTable | Missing | None, *, last: Scalar
) -> Refusal | MaintainedTable:
    """The table that may be seen to, or the first reason to leave it; `last`: `analyzed` or so."""
    if isinstance(seen, Missing):
        return unknown("same_table", seen)
    if seen is None:
        return no("same_table", "there is no table with that oid any more", lifts="A new plan.")
    if (seen.schema, seen.table) != (step.param("table_schema"), step.param("table_name")):
        reason = f"it is {printable(seen.quoted)} now"
        return no("same_table", reason, lifts="A new plan.")
    if not seen.ordinary:
        return no("same_table", f"{printable(seen.quoted)} is no ordinary table of this database")
    if seen.in_recovery:
        return no("on_primary", "this server is a standby", lifts="The same on its primary.")
    if not seen.may_maintain:
        return _not_allowed(seen)
    then = step.param(f"{last}_at")
    now = seen.analyzed if last == "analyzed" else seen.vacuumed
    if not _same(then, now):
        told = "it is not told any more when" if now is None else f"it was {last} at {now}"
        return no("still_needed", f"{told}, after the diagnosis", lifts="A new diagnosis.")
    if seen.locked:
        lifts = "Whoever holds it is done."
        return no("lock_free", f"there is {printable(seen.locked)} on it", lifts=lifts)
    return seen


def _not_allowed(seen: MaintainedTable) -> Refusal:
    table, role = printable(seen.quoted), printable(seen.role)
    newer = seen.version_num >= 170_000
    lifts = f"GRANT MAINTAIN ON {table} TO {role};" if newer else "Membership in its owner's role."
    return no("may_maintain", f"{role} may not do it on {table}", lifts=lifts)


def _same(then: Scalar, now: datetime | None) -> bool:
    return now is None if then is None else same_moment(then, now)


def is_newer(then: Scalar, now: datetime | None) -> bool:
    """Whether something was done since the moment of a fact; no moment: never before."""
    if now is None:
        return False
    return then is None or (isinstance(then, str) and datetime.fromisoformat(then) < now)
