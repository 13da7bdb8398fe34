"""Take the rights to write to a table, or to those of a schema, from all but their owners."""

from __future__ import annotations

from stanch.facts.quarantine import QUARANTINE_SQL, Quarantine, parse_quarantine
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.quoting import printable
from stanch.respond.actions.quarantine_table.guards import GUARDS, may_quarantine
from stanch.respond.actions.quarantine_table.planning import PLANNING
from stanch.respond.changing.run import Change, change_once, no_session, visit
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World

RIGHTS = "Only the owner may (`stanch grants` prints how the acting role gets there)."


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look again who may write to it."""
    seen = await _may(step, world)
    return seen if isinstance(seen, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """Revoke, in one transaction, on condition that all rights are those that were read."""
    seen = await _may(step, world)
    if isinstance(seen, Refusal):
        return seen
    who = ", ".join(seen.writers)
    change = Change(
        sql=seen.statement,
        on=printable(_name(step)),
        done=printable(f"{who} may only read {_name(step)}; the owner and superusers still write"),
        before=printable(_told(seen)),
        rights=RIGHTS,
    )
    return await change_once(world, str(step.param("database")), change, permit)


async def verify(step: PlannedStep, world: World) -> Verification:
    """May nobody but the owner write to it any more?"""
    seen = await _rights(step, world)
    if isinstance(seen, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {seen.reason}")
    if not seen.tables:
        return Verification(ok=False, detail="there is no such table any more")
    if seen.writers:
        who = printable(", ".join(seen.writers))
        return Verification(ok=False, detail=f"{who} may still write to it")
    return Verification(ok=True, detail="only the owner and superusers may write to it")


async def _may(step: PlannedStep, world: World) -> Quarantine | Refusal:
    if (refusal := no_session(world)) is not None:
        return refusal
    return may_quarantine(step, await _rights(step, world), cluster=world.cluster)


async def _rights(step: PlannedStep, world: World) -> Quarantine | Missing:
    values = {"kind": str(step.param("kind")), "name": str(step.param("name"))}
    return await visit(
        world, str(step.param("database")), (QUARANTINE_SQL, values), parse_quarantine
    )


def _name(step: PlannedStep) -> str:
    return f"{step.param('kind')} {step.param('name')}"


def _told(seen: Quarantine) -> str:
    """Every right as it was, and the statements that bring all of them back."""
    tables = (
        f"{table.name} ({table.oid}): {table.acl or 'no rights granted'}"
        + (f", columns {table.columns}" if table.columns else "")
        for table in seen.tables
    )
    return f"{'; '.join(tables)}; way back: {seen.undo};"


QUARANTINE_TABLE = Action(
    name="quarantine_table",
    sentence="Take the rights to write to a table, or a schema's tables, from all but the owner.",
    params=(
        Param(name="database", kind="text", doc="Where it is.", identity=True),
        Param(name="kind", kind="text", doc="table or schema."),
        Param(name="name", kind="text", doc="As schema.table, or the schema.", identity=True),
        Param(
            name="oid",
            kind="count",
            doc="Of the table, where it is known.",
            identity=True,
            required=False,
        ),
    ),
    guards=GUARDS,
    risks=(
        Risk(
            what="taking rights away that do not come back",
            guards=("given_by_owner", "same_table", "still_so", "plain_names"),
        ),
        Risk(
            what="stopping the writes of an application",
            guards=("same_server", "ordinary_table", "others_write"),
        ),
    ),
    stands_on="quarantine tables",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
