"""Send one request that policy names, and see that it did its work."""

from __future__ import annotations

from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed
from stanch.model.hooks import Hook
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.respond.actions.call_hook.guards import GUARDS, may_call, named_hook, shown
from stanch.respond.actions.call_hook.planning import PLANNING
from stanch.respond.reading.run import QUESTION_TIMEOUT_S
from stanch.steps.action import Action, ActReport, Param, Permit, Risk, Verification
from stanch.steps.world import World


async def check(step: PlannedStep, world: World) -> Refusal | None:
    """Look how it is now."""
    hook = named_hook(step, world.target)
    if isinstance(hook, Refusal):
        return hook
    return may_call(hook, await _value(hook, world))


async def act(step: PlannedStep, world: World, permit: Permit) -> ActReport | Refusal:
    """Send it once, with the step as its idempotency key. Raises: ActionFailed."""
    hook = named_hook(step, world.target)
    if isinstance(hook, Refusal):
        return hook
    now = await _value(hook, world)
    refusal = may_call(hook, now) or permit()
    if refusal is not None:
        return refusal
    assert world.hooks is not None
    assert isinstance(now, str)
    undo = f"; the hook {hook.undo} takes it back" if hook.undo else ""
    before = f"{hook.json} was {shown(now)}{undo}"
    acted = await world.hooks.call(hook, key=world.step_key, deadline_s=step.deadline_s)
    if acted.outcome == "in_doubt":
        return ActReport(outcome=StepOutcome.IN_DOUBT, detail=acted.detail, before=before)
    if acted.outcome != "done":
        raise ActionFailed(f"it was not taken: {acted.detail or acted.outcome}", on=hook.name)
    return ActReport(detail=f"called {hook.name}: {acted.detail}", before=before)


async def verify(step: PlannedStep, world: World) -> Verification:
    """Does `verify_url` tell the value that the hook is for?"""
    hook = named_hook(step, world.target)
    if isinstance(hook, Refusal):
        return Verification(ok=False, detail=hook.reason)
    now = await _value(hook, world)
    if isinstance(now, Missing):
        return Verification(ok=False, pending=True, detail=f"cannot be read: {now.reason}")
    return Verification(ok=now == hook.equals, detail=f"{hook.json} is {shown(now)}")


async def _value(hook: Hook, world: World) -> str | Missing:
    if world.hooks is None:
        return Missing(what="the hook", reason="there is nobody to call it")
    return await world.hooks.value(hook, timeout_s=QUESTION_TIMEOUT_S)


CALL_HOOK = Action(
    name="call_hook",
    sentence="Send one request that policy names (a flag, a deployment, a name that leads "
    "elsewhere), and look at what it did.",
    params=(Param(name="hook", kind="text", doc="Its name under `hooks`.", identity=True),),
    guards=GUARDS,
    risks=(
        Risk(
            what="sending a request to what stands beside the server",
            guards=("named_hook", "known_before", "not_so_yet"),
        ),
    ),
    stands_on="call its hooks",
    planning=PLANNING,
    check=check,
    act=act,
    verify=verify,
)
