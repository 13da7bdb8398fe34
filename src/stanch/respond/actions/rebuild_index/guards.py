"""When an index may be built anew. Pure: from readings taken right before."""

from __future__ import annotations

from typing import Final

from stanch.facts.rebuilt import RebuiltIndex
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.model.shown import span
from stanch.policy.quoting import printable
from stanch.respond.guarding import first_no, no, unknown
from stanch.steps.action import Guard

BYTES_S: Final = 16 * 1024**2
"""Of the table, read twice, sorted and written, on a plain disk that others use, too."""
OLD_S: Final = 60.0
"""A transaction that is older may go on for long, and the build would wait for it."""

GUARDS = (
    Guard(name="acting_session", asks="Is there a session for that database to act with?"),
    Guard(name="same_index", asks="Is it the very index that was diagnosed, by oid and name?"),
    Guard(name="on_primary", asks="Is this the primary?"),
    Guard(name="still_invalid", asks="Is it still invalid?"),
    Guard(name="can_be_rebuilt", asks="Can it be built anew while people work?"),
    Guard(name="may_rebuild", asks="Has the acting role the right to?"),
    Guard(name="no_other_build", asks="Does nobody build, vacuum or change that table?"),
    Guard(name="no_long_transaction", asks="Is there no old transaction it would wait for?"),
    Guard(name="nothing_left_behind", asks="Was no earlier rebuild of that table cut short?"),
    Guard(name="ends_in_time", asks="Is the table small enough to end before the deadline?"),
    Guard(name="room", asks="Where it can be seen: is there room for a second copy and its WAL?"),
)


def may_rebuild(
    step: PlannedStep, seen: RebuiltIndex | Missing | None, *, free_bytes: int | None
) -> Refusal | RebuiltIndex:
    """The index that may be built anew, or the first reason to leave it.

    `free_bytes`: of the fuller volume of data and WAL; None: nobody here can see them.
    """
    if isinstance(seen, Missing):
        return unknown("same_index", seen)
    if seen is None or seen.oid != step.param("index_oid"):
        what = "it is another index of that name" if seen else "there is no such index any more"
        return no("same_index", what, lifts="A new plan.")
    answers = (
        _as_it_is(seen),
        _beside_others(seen),
        _in_time(step, seen, free_bytes=free_bytes),
    )
    return first_no(answers) or seen


def _as_it_is(seen: RebuiltIndex) -> Refusal | None:
    if seen.in_recovery:
        return no("on_primary", "this server is a standby", lifts="The same on its primary.")
    if seen.valid:
        return no("still_invalid", "it is valid by now", lifts="Nothing is needed.")
    if not seen.rebuildable:
        lifts = "A person who rebuilds it in a quiet hour: that locks its table."
        return no("can_be_rebuilt", "PostgreSQL cannot build it beside its users", lifts=lifts)
    if not seen.may_rebuild:
        table, role = printable(seen.table), printable(seen.role)
        newer = seen.version_num >= 170_000
        right = f"MAINTAIN on {table} for {role}." if newer else "Membership in its owner's role."
        return no("may_rebuild", f"{role} may not do it on {table}", lifts=right)
    return None


def _beside_others(seen: RebuiltIndex) -> Refusal | None:
    if seen.locked:
        lifts = "Whoever holds it is done."
        return no("no_other_build", f"there is {printable(seen.locked)} on it", lifts=lifts)
    if seen.oldest and (seen.oldest_s is None or seen.oldest_s >= OLD_S):
        since = "for a time not known" if seen.oldest_s is None else f"for {span(seen.oldest_s)}"
        reason = f"it would wait for {printable(seen.oldest)}, in its transaction {since}"
        return no("no_long_transaction", reason, lifts="The end of that transaction.")
    if seen.left_behind:
        lifts = f"DROP INDEX CONCURRENTLY {printable(seen.left_behind)}; by a person."
        reason = f"an earlier rebuild left {printable(seen.left_behind)}"
        return no("nothing_left_behind", reason, lifts=lifts)
    return None


def _in_time(step: PlannedStep, seen: RebuiltIndex, *, free_bytes: int | None) -> Refusal | None:
    takes_s = seen.table_bytes / BYTES_S
    if takes_s > step.deadline_s:
        reason = f"its table has {seen.table_bytes} bytes: it would take about {span(takes_s)}"
        lifts = "A person who runs it by hand, in a session that may take that long."
        return no("ends_in_time", reason, lifts=lifts)
    if free_bytes is not None and free_bytes < 2 * seen.table_bytes:
        reason = f"{free_bytes} bytes are free, and its table has {seen.table_bytes}"
        return no("room", reason, lifts="Twice that much on the volumes of data and WAL.")
    return None
