"""Overriding one of the few guards that yield to people: who may ask, and what is overridden.

Whatever is lifted is one no about one thing, found to be said right now; the plan carries it, and
every other guard still holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from stanch.model.events import PlanWithheld
from stanch.model.ids import PersonId
from stanch.model.plans import Lift, Plan, Refusal
from stanch.policy.policy import Policy
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.runbook import Runbook
from stanch.service.requests import BadRequest, Request, person_in, text_in
from stanch.steps.action import Action
from stanch.steps.never import overridden, yielding
from stanch.steps.run import answer_guards
from stanch.steps.world import World

WHY_WORDS_MIN = 3
LIFTS_MAX = 20

PlanWith = Callable[[Sequence[Lift]], Plan | Refusal | PlanWithheld]


@dataclass(frozen=True, slots=True, kw_only=True)
class Glass:
    """Which guards a person wants to override in one plan, and why."""

    guards: tuple[str, ...]
    by: PersonId
    why: str

    def lift(self, refusal: Refusal, action: Action) -> Lift | None:
        """This no overridden; None: it was not asked for, or it yields to nobody."""
        names = {guard.name for guard in yielding(action)}
        if refusal.firm or refusal.guard not in names.intersection(self.guards):
            return None
        return Lift(
            guard=refusal.guard,
            action=action.name,
            about=refusal.about,
            reason=refusal.reason,
            by=self.by,
            why=self.why,
        )


def glass_in(request: Request, runbook: Runbook, policy: Policy) -> Glass | None:
    """What the request wants overridden; None where it wants nothing. Raises BadRequest."""
    asked: object = request.get("break_glass")
    if asked is None or asked == []:
        return None
    if not isinstance(asked, list | tuple):
        raise BadRequest("break_glass must be a list of guards")
    yields = {g.name: g for step in runbook.steps for g in yielding(CATALOGUE[step.do])}
    has = {g.name for step in runbook.steps for g in CATALOGUE[step.do].guards}
    guards = tuple(dict.fromkeys(str(name)[:100] for name in asked))  # pyright: ignore
    for name in guards:
        if name not in yields:
            what = "yields to nobody" if name in has else f"is no guard of {runbook.id}"
            raise BadRequest(f"{name!r} {what}", hint=f"These yield: {', '.join(sorted(yields))}.")
    why = " ".join(text_in(request, "reason", required=True).split())
    if len(re.findall(r"\w{2,}", why)) < WHY_WORDS_MIN:
        hint = "Say in a sentence why it is right here; people read it tonight and later."
        raise BadRequest(f"{why!r} is no reason to override a guard", hint=hint)
    by = person_in(request)
    if policy.person(by) is None:
        hint = "`--as` with the id of one of the `people` of the policy."
        raise BadRequest(f"{by} is nobody the policy names", hint=hint)
    return Glass(guards=guards, by=by, why=why)


async def lifts_for(glass: Glass, plan_with: PlanWith, world: World) -> tuple[Lift, ...] | Refusal:
    """Everything that is overridden, or why nothing is. Reads the guards now; touches nothing."""
    lifted: tuple[Lift, ...] = ()
    held = ""
    for _ in range(LIFTS_MAX):
        planned = plan_with(lifted)
        if isinstance(planned, Refusal):
            return planned
        if isinstance(planned, PlanWithheld):
            refusal = planned.refusal
            action = CATALOGUE.get(planned.action)
            one = glass.lift(refusal, action) if action is not None else None
            if one is None:
                return refusal
        else:
            one, held = await _next(glass, planned, world, lifted)
        if one is None:
            break
        lifted = (*lifted, one)
    idle = [name for name in glass.guards if name not in {lift.guard for lift in lifted}]
    return _nothing_to_lift(idle[0], held) if idle else lifted


async def _next(
    glass: Glass, plan: Plan, world: World, lifted: Sequence[Lift]
) -> tuple[Lift | None, str]:
    """The next no that is asked to be overridden; else the first one that is not."""
    held = ""
    for step in plan.effects:
        action = CATALOGUE[step.action]
        as_lifted = replace(world, lifted=overridden(lifted, action))
        refusal = await answer_guards(step, action, world=as_lifted)
        if refusal is None:
            continue
        one = glass.lift(refusal, action)
        if one is not None:
            return one, ""
        held = held or f"{refusal.guard} says no to {step.action}: {refusal.reason}"
    return None, held


def _nothing_to_lift(guard: str, held: str) -> Refusal:
    reason = f"{guard} does not say no now: there is nothing to override"
    lifts = f"Ask without `--break-glass {guard}`."
    if held:
        # Guards are asked in order: a no that yields to nobody hides those behind it.
        reason, lifts = f"{guard} was not what refused, nothing is overridden; {held}", ""
    return Refusal(guard="break_glass", reason=reason, lifts=lifts)
