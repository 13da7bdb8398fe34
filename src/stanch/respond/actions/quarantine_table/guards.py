"""When rights to write may be taken away. Pure: from a reading taken right before."""

from __future__ import annotations

from stanch.facts.quarantine import Quarantine
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.quoting import printable
from stanch.respond.guarding import no, unknown
from stanch.steps.action import Guard

KINDS = ("table", "schema")
TABLES_MAX = 100
SYSTEM = frozenset({"information_schema", "stanch"})
PERSON = "A person decides."

GUARDS = (
    Guard(name="acting_session", asks="Is there a session that may change rights?"),
    Guard(name="same_server", asks="Is it the cluster that is watched, and its primary?"),
    Guard(
        name="same_table", asks="Is there exactly such a table, with that oid where one is told?"
    ),
    Guard(name="ordinary_table", asks="Is it the application's, and not too many of them?"),
    Guard(name="given_by_owner", asks="Did the owner give every right, so that all come back?"),
    Guard(name="others_write", asks="May anybody but the owner write to it?"),
    Guard(name="plain_names", asks="Can all names be shown, and the way back be pasted?"),
    Guard(name="still_so", asks="Can all rights be read, and are they the same at the effect?"),
)


def may_quarantine(
    step: PlannedStep, seen: Quarantine | Missing, *, cluster: str
) -> Refusal | Quarantine:
    """What may be quarantined, or the first reason not to."""
    if isinstance(seen, Missing):
        return unknown("still_so", seen)
    if cluster and seen.cluster != cluster:
        return no("same_server", f"another cluster answers: {seen.cluster}, not {cluster}")
    if seen.in_recovery:
        return no("same_server", "it is a standby, which takes no writes anyway")
    return _which(step, seen) or _rights(seen) or seen


def _which(step: PlannedStep, seen: Quarantine) -> Refusal | None:
    kind, name = step.param("kind"), printable(str(step.param("name")))
    if kind not in KINDS:
        return no("same_table", f"{printable(str(kind))} is neither table nor schema")
    if not seen.tables or (kind == "table" and len(seen.tables) > 1):
        return no("same_table", f"there is not exactly one {kind} {name}")
    oid = step.param("oid")
    if oid is not None and [table.oid for table in seen.tables] != [oid]:
        return no("same_table", f"{name} is another table now", lifts="A new plan.")
    if any(t.schema.startswith("pg_") or t.schema in SYSTEM for t in seen.tables):
        return no("ordinary_table", f"{name} belongs to the server or to Stanch", lifts=PERSON)
    if len(seen.tables) > TABLES_MAX:
        reason = f"{name} has {len(seen.tables)} tables, more than {TABLES_MAX}"
        return no("ordinary_table", reason, lifts=PERSON)
    return None


def _rights(seen: Quarantine) -> Refusal | None:
    if seen.granted_by_others or seen.unnamed:
        reason = "some rights were not given by the owner, who could not give them again"
        return no("given_by_owner", reason, lifts=PERSON)
    owners = printable(", ".join(sorted({table.owner for table in seen.tables})))
    if not seen.writers:
        reason = f"nobody but the owner ({owners}) may write to it, and an owner always may"
        return no("others_write", reason, lifts="`make_read_only`, which is for all roles.")
    if printable(seen.undo) != seen.undo or printable(seen.statement) != seen.statement:
        return no("plain_names", "some name cannot be shown", lifts=PERSON)
    return None
