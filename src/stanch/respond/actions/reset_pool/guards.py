"""When the connections of a pool may be renewed. Pure: from a look taken right before."""

from __future__ import annotations

from stanch.facts.pooler import PooledDatabase, Pooler, ServerRoom
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.respond.guarding import no, unknown
from stanch.respond.pooling.guards import COMMON, LEADS_HERE, leads_here
from stanch.respond.sessions import same_moment
from stanch.steps.action import Guard

GUARDS = (
    *COMMON,
    LEADS_HERE,
    Guard(name="its_connection", asks="Does it still hold the very backend that has to go?"),
    Guard(name="not_paused", asks="Is it not paused?"),
    Guard(name="server_has_room", asks="Has the server a connection left for the first new one?"),
)


def may_reset(
    step: PlannedStep, database: PooledDatabase, seen: Pooler, room: ServerRoom | Missing
) -> Refusal | None:
    if database.paused is not False:
        return no("not_paused", f"{database.name} is paused, or it cannot be told")
    refusal = leads_here(database, seen, room)
    if refusal is not None:
        return refusal
    if isinstance(room, Missing):
        return unknown("server_has_room", room)
    pid = step.param("backend_pid")
    links = {link.pid for link in seen.links if link.database == database.name}
    held = next((s for s in room.sessions if s.pid == pid and pid in links), None)
    if held is None or not same_moment(step.param("backend_start"), held.backend_start):
        reason = f"{database.name} does not hold that backend {pid} any more"
        return no("its_connection", reason, lifts="Nothing is needed.")
    if room.left < 1:
        reason = "the server has no connection left: what is closed would not come back"
        return no("server_has_room", reason, lifts="Connections of the server that are free again.")
    return None
