"""The impure half of the executor: intent, guards, act, verify, outcome, in this order.

Crash reasoning, boundary by boundary. Before the intent is durable nothing has happened. Between
intent and outcome the step is in doubt and `settle` looks instead of repeating. After the outcome
only the look is missing, and looking twice is harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from stanch.model.errors import ActionFailed, ProbeFailed
from stanch.model.events import Event, StepEnded, StepIntended
from stanch.model.plans import Plan, PlannedStep, Refusal, StepOutcome
from stanch.model.ports.acting import BootClock
from stanch.model.timeline import Claim
from stanch.steps.action import Action, ActReport, Permit, Verification, check_params
from stanch.steps.executor import (
    Window,
    ended,
    intent,
    open_window,
    refused,
    settle_at,
    verified,
)
from stanch.steps.never import overridden, refuse_by_diagnosis
from stanch.steps.world import World

VERIFY_EVERY_S = 0.25
LOOK_DEADLINE_S = 5.0
"""One look may take this long; a look that hangs counts as one that saw nothing."""
PENDING_RETRY_S = 2.0
"""When a step whose effect is still under way is looked at again."""


class Record(Protocol):
    """Makes an event durable, an intent only while the lease is held at its epoch.

    Raises: StoreUnavailable, StaleDecision. Nothing may be touched then.
    """

    async def __call__(self, event: Event, lease: Claim | None) -> None: ...


def _unlimited() -> Refusal | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Under what an act happens, asked again each time."""

    claim: Claim
    lease_until_boot_ns: Callable[[], int]
    """The end of the lease on CLOCK_BOOTTIME; renewing it moves this."""
    halted: Callable[[], bool]
    spend: Callable[[], Refusal | None] = _unlimited
    """Asked once before each single effect: whether there may be one more just now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    boot: BootClock
    at: Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """What came of running or settling one step; everything in it is already durable."""

    outcome: StepOutcome | None
    """None: nothing was intended, or the step was settled without a new attempt."""
    refusal: Refusal | None = None
    verification: Verification | None = None
    retry_at: datetime | None = None
    """Nothing more can be said before this moment; ask `settle` then."""


async def execute(
    step: PlannedStep,
    plan: Plan,
    *,
    action: Action,
    attempt: int,
    authority: Authority,
    world: World,
    record: Record,
    clocks: Clocks,
) -> Executed:
    """Run one step of a plan, once.

    Raises: whatever `record` raises. If that happens after the intent, the step is in doubt.
    """
    assert step.action == action.name, f"{step.action} is not {action.name}"
    if authority.halted():
        return Executed(outcome=None, refusal=_halt())
    window = open_window(
        at=clocks.at(),
        boot_ns=clocks.boot.now_ns(),
        boot_id=clocks.boot.boot_id,
        lease_until_boot_ns=authority.lease_until_boot_ns(),
    )
    if isinstance(window, Refusal):
        return Executed(outcome=None, refusal=window)
    begun = intent(plan, step, attempt=attempt, epoch=authority.claim.epoch, window=window)
    await record(begun, authority.claim)
    permit = _permit(window, authority, clocks)
    world = replace(_keyed(world, plan, step), lifted=overridden(plan.lifted, action))
    outcome = await _guard_and_act(
        step,
        plan,
        action=action,
        world=world,
        permit=permit,
        spend=authority.spend,
        n=attempt,
    )
    await record(outcome, None)
    if outcome.outcome is not StepOutcome.DONE:
        retry_at = clocks.at() if outcome.outcome is StepOutcome.IN_DOUBT else None
        return Executed(outcome=outcome.outcome, refusal=outcome.refusal, retry_at=retry_at)
    return await _verify(
        step, plan, action=action, world=world, record=record, clocks=clocks, wait_s=step.deadline_s
    )


async def settle(
    step: PlannedStep,
    plan: Plan,
    *,
    action: Action,
    intended: StepIntended | None,
    world: World,
    record: Record,
    clocks: Clocks,
    abandoned: bool = False,
) -> Executed:
    """Look what became of a step that was begun, and write it down. Never repeats it.

    `intended` is the intent without outcome, or None where only the look is missing. While whoever
    intended it could still be acting, the answer is a moment to ask again. A look that sees no
    effect is recorded as such; only then may a new attempt be made, with all its guards.
    `abandoned`: whoever intended it is known to be gone and is in the middle of nothing; what it
    handed over to a manager is at work for all to see, and a new attempt's guards look for that.
    """
    if intended is not None:
        wait_until = settle_at(
            intended,
            deadline_s=0.0 if abandoned else step.deadline_s,
            at=clocks.at(),
            boot_ns=clocks.boot.now_ns(),
            boot_id=clocks.boot.boot_id,
        )
        if wait_until is not None:
            return Executed(outcome=None, retry_at=wait_until)
    world = _keyed(world, plan, step)
    return await _verify(
        step, plan, action=action, world=world, record=record, clocks=clocks, wait_s=0.0
    )


# --- the parts ----------------------------------------------------------------------------------


def _keyed(world: World, plan: Plan, step: PlannedStep) -> World:
    """With what names this step in every attempt; the plan's id has the incident's in it."""
    return replace(world, step_key=f"{plan.id}/{step.id}", planned_at=plan.made_at)


def _permit(window: Window, authority: Authority, clocks: Clocks) -> Permit:
    def ask() -> Refusal | None:
        if authority.halted():
            return _halt()
        boot_ns = clocks.boot.now_ns()
        if boot_ns >= authority.lease_until_boot_ns():
            return Refusal(guard="lease", reason="the lease has run out", lifts="A new lease.")
        return window.closed(boot_ns=boot_ns, boot_id=clocks.boot.boot_id)

    return ask


def _halt() -> Refusal:
    return Refusal(
        guard="halt",
        reason="Stanch was told not to act on anything",
        lifts="`stanch halt --lift` by a person.",
    )


async def _guard_and_act(
    step: PlannedStep,
    plan: Plan,
    *,
    action: Action,
    world: World,
    permit: Permit,
    spend: Permit,
    n: int,
) -> StepEnded:
    refusal = permit() or await answer_guards(step, action, world=world) or permit()
    if refusal is not None:
        return refused(plan, step, attempt=n, refusal=refusal)
    result = await _acted(step, action, world=world, permit=lambda: permit() or spend())
    if isinstance(result, Refusal):
        return refused(plan, step, attempt=n, refusal=result)
    return ended(plan, step, attempt=n, report=result)


async def answer_guards(step: PlannedStep, action: Action, *, world: World) -> Refusal | None:
    """The first no of this moment; None: it may be done. Touches nothing; unknown means no."""
    refusal = check_params(action, step) or refuse_by_diagnosis(
        action.name, world.diagnosis, world.lifted
    )
    if refusal is not None:
        return refusal
    try:
        async with asyncio.timeout(LOOK_DEADLINE_S):
            return await action.check(step, world)
    except TimeoutError:
        reason = f"its guards had no answer within {LOOK_DEADLINE_S:g} s"
    except ProbeFailed as error:
        reason = f"a guard had no answer: {error}"
    return Refusal(guard="unknown", reason=reason, lifts="An answer; unknown means no.", firm=True)


async def _acted(
    step: PlannedStep, action: Action, *, world: World, permit: Permit
) -> ActReport | Refusal:
    try:
        async with asyncio.timeout(step.deadline_s):
            return await action.act(step, world, permit)
    except TimeoutError:
        detail = f"no answer within {step.deadline_s:g} s; it may have happened all the same"
        return ActReport(outcome=StepOutcome.IN_DOUBT, detail=detail)
    except ProbeFailed as error:
        detail = f"{error}; it may have happened all the same"
        return ActReport(outcome=StepOutcome.IN_DOUBT, detail=detail)
    except ActionFailed as error:
        hint = f" ({error.hint})" if error.hint else ""
        return ActReport(outcome=StepOutcome.FAILED, detail=f"{error}{hint}")


async def _verify(
    step: PlannedStep,
    plan: Plan,
    *,
    action: Action,
    world: World,
    record: Record,
    clocks: Clocks,
    wait_s: float,
) -> Executed:
    outcome = StepOutcome.DONE if wait_s else None
    seen = await _look(step, action, world=world)
    until_ns = clocks.boot.now_ns() + int(wait_s * 1e9)
    while not seen.ok and clocks.boot.now_ns() < until_ns:
        await asyncio.sleep(VERIFY_EVERY_S)
        seen = await _look(step, action, world=world)
    if seen.pending and not seen.ok:
        retry_at = clocks.at() + timedelta(seconds=PENDING_RETRY_S)
        return Executed(outcome=outcome, verification=seen, retry_at=retry_at)
    await record(verified(plan, step, seen), None)
    return Executed(outcome=outcome, verification=seen)


async def _look(step: PlannedStep, action: Action, *, world: World) -> Verification:
    try:
        async with asyncio.timeout(LOOK_DEADLINE_S):
            return await action.verify(step, world)
    except TimeoutError:
        detail = f"the look itself took over {LOOK_DEADLINE_S:g} s"
    except ProbeFailed as error:
        detail = f"could not look: {error}"
    # Not having seen is not the same as having seen nothing: no new attempt may follow from it.
    return Verification(ok=False, pending=True, detail=detail)
