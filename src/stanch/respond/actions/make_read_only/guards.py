"""When a database may be made read-only. Pure: from a reading taken right before."""

from __future__ import annotations

from stanch.facts.starting_with import ReadOnly
from stanch.model.diagnosis import Missing
from stanch.model.plans import Refusal
from stanch.policy.quoting import printable
from stanch.respond.guarding import no, unknown
from stanch.steps.action import Guard

ON = frozenset({"on", "true", "yes", "1"})
PERSON = "A person decides."

GUARDS = (
    Guard(name="acting_session", asks="Is there a session that may change the database?"),
    Guard(name="same_server", asks="Is it the cluster that is watched, and its primary?"),
    Guard(name="ordinary_database", asks="Is it the application's, no template, not `postgres`?"),
    Guard(name="plain_names", asks="Can its name be shown, and the way back be pasted?"),
    Guard(name="still_so", asks="Is it not read-only yet, and all that is set for it as read?"),
)


def may_brake(seen: ReadOnly | Missing | None, *, cluster: str) -> Refusal | ReadOnly:
    """The database that may be made read-only, or the first reason not to."""
    if isinstance(seen, Missing):
        return unknown("still_so", seen)
    if seen is None:
        return no("ordinary_database", "there is no such database")
    if cluster and seen.cluster != cluster:
        return no("same_server", f"another cluster answers: {seen.cluster}, not {cluster}")
    if seen.in_recovery:
        return no("same_server", "it is a standby, which takes no writes anyway")
    name = printable(seen.database)
    if seen.template or seen.maintenance:
        reason = f"{name} is for the server's own use"
        return no("ordinary_database", reason, lifts=PERSON)
    if printable(seen.undo) != seen.undo:
        return no("plain_names", f"{name!r} is no plain name", lifts=PERSON)
    if seen.own is not None and seen.own.casefold() in ON:
        return no("still_so", f"{name} is read-only already", lifts="Nothing is needed.")
    return seen
