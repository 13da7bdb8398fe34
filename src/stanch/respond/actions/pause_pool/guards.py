"""When a pool may be paused. Pure: from a look at the pooler and the server taken right before."""

from __future__ import annotations

from stanch.facts.pooler import PooledDatabase, Pooler, ServerRoom
from stanch.model.diagnosis import Missing
from stanch.model.plans import Refusal
from stanch.respond.guarding import no
from stanch.respond.pooling.guards import COMMON, LEADS_HERE, leads_here
from stanch.steps.action import Guard

GUARDS = (
    *COMMON,
    LEADS_HERE,
    Guard(name="not_paused", asks="Did nobody else pause it?"),
    Guard(
        name="clients_wait_longer",
        asks="Do clients wait longer (query_wait_timeout) than it may take to resume?",
    ),
)


def may_pause(
    database: PooledDatabase, seen: Pooler, room: ServerRoom | Missing, *, deadline_s: float
) -> Refusal | None:
    if database.paused is not False:
        reason = f"{database.name} is paused already, or it cannot be told"
        return no("not_paused", reason, lifts="Whoever paused it resumes it.")
    waits = seen.setting("query_wait_timeout")
    # 0 stands for no limit at all.
    if waits is None or 0 < waits < 2 * deadline_s:
        reason = f"clients give up after {waits} s (query_wait_timeout), which is too soon"
        return no("clients_wait_longer", reason, lifts="A longer query_wait_timeout.")
    return leads_here(database, seen, room)
