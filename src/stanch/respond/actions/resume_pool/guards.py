"""When a paused pool may be resumed. Pure: from a look at the pooler taken right before."""

from __future__ import annotations

from stanch.facts.pooler import PooledDatabase
from stanch.model.plans import Refusal
from stanch.respond.guarding import no
from stanch.respond.pooling.guards import COMMON
from stanch.steps.action import Guard

GUARDS = (
    *COMMON,
    Guard(name="is_paused", asks="Is it paused, by itself and not with the whole pooler?"),
)


def may_resume(database: PooledDatabase) -> Refusal | None:
    if database.paused is None:
        return no("is_paused", "whether it is paused cannot be told, and unknown means no")
    if not database.paused:
        return no("is_paused", f"{database.name} is not paused", lifts="Nothing is needed.")
    return None
