"""Set a timeout with which new sessions of one role start."""

from __future__ import annotations

from stanch.facts.starting_with import ROLE_TIMEOUT_SQL, RoleTimeout, parse_role_timeout
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.policy.quoting import printable
from stanch.respond.actions.set_parameter.parameters import number_of
from stanch.respond.actions.set_role_timeout.guards import GUARDS, may_set, wrong_value
from stanch.respond.actions.set_role_timeout.planning import PLANNING
from stanch.respond.changing.run import Change, acting_database, change_once, no_session, visit
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World

RIGHTS = "It takes CREATEROLE, and from 16 on the ADMIN OPTION on the role (`stanch grants`)."


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look again what the role starts with, and who uses it."""
    seen = await _may(step, world)
    return seen if isinstance(seen, Refusal) else None


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """Set it, on condition that nothing that is set for the role there has changed."""
    seen = await _may(step, world)
    if isinstance(seen, Refusal):
        return seen
    setting, where = step.param("setting"), f" in {seen.database}" if seen.database else ""
    before = "nothing" if seen.own is None else seen.own
    change = Change(
        sql=seen.statement,
        on=printable(f"role {seen.role}{where}"),
        done=printable(f"new sessions of {seen.role}{where} start with another {setting}"),
        before=printable(f"{setting} of {seen.role}{where}: {before}; way back: {seen.undo};"),
        rights=RIGHTS,
    )
    return await change_once(world, await acting_database(world), change, permit)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Is it set for the role? Open sessions show nothing of it."""
    seen = await _role(step, world)
    if isinstance(seen, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {seen.reason}")
    seconds = step.param("seconds")
    assert isinstance(seconds, int | float)
    own = seen.own if seen is not None else None
    if own is not None and number_of(own, "ms") == int(seconds * 1000):
        return Verification(ok=True, detail=printable(f"{step.param('setting')} is {own}"))
    said = "not set" if own is None else own
    return Verification(ok=False, detail=printable(f"{step.param('setting')} is {said}"))


async def _may(step: PlannedStep, world: World) -> RoleTimeout | Refusal:
    if (refusal := no_session(world)) is not None:
        return refusal
    seen = await _role(step, world)
    return may_set(step, seen, target=world.target, cluster=world.cluster)


async def _role(step: PlannedStep, world: World) -> RoleTimeout | Missing | None:
    setting, seconds = str(step.param("setting")), step.param("seconds")
    if wrong := wrong_value(setting, seconds):
        return Missing(what="the timeout", reason=wrong)
    assert isinstance(seconds, int | float)
    values = {
        "role": str(step.param("role")),
        "database": str(step.param("database") or ""),
        "setting": setting,
        "milliseconds": int(seconds * 1000),
    }
    asked = (ROLE_TIMEOUT_SQL, values)
    return await visit(world, await acting_database(world), asked, parse_role_timeout)


SET_ROLE_TIMEOUT = Action(
    name="set_role_timeout",
    sentence="Let new sessions of one role start with a timeout, shorter than what holds now.",
    params=(
        Param(name="role", kind="text", doc="Whose sessions.", identity=True),
        Param(
            name="database",
            kind="text",
            doc="Only in this one; left out: in all of them.",
            identity=True,
            required=False,
        ),
        Param(
            name="setting",
            kind="text",
            doc="statement_timeout, lock_timeout or idle_in_transaction_session_timeout.",
        ),
        Param(name="seconds", kind="seconds", doc="How long."),
    ),
    guards=GUARDS,
    risks=(
        Risk(
            what="a timeout that ends backups, replication or ordinary work",
            guards=("allowed", "ordinary_role", "not_protected", "only_down"),
        ),
        Risk(what="changing what somebody else has just set", guards=("still_so", "same_server")),
    ),
    stands_on="change what a role starts with",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
