"""From a diagnosis to a plan, or to why there is none. Pure.

Whatever can be known to fail is withheld here with options, before anybody is asked to approve it;
the guards of each action read everything again right before acting.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from stanch.model.codec import encode
from stanch.model.diagnosis import CauseFinding, Diagnosis, Scalar, Verdict
from stanch.model.events import PlanWithheld
from stanch.model.ids import IncidentId, PlanId, StepId
from stanch.model.plans import BindingFact, Lift, Mode, Plan, PlannedStep, Refusal
from stanch.model.shown import percent
from stanch.policy.levels import Level
from stanch.policy.policy import SESSION_ACTIONS, SIGNALLING_ACTIONS, TargetPolicy
from stanch.respond.blast_radius import Acts, spent
from stanch.respond.guarding import first_no, no
from stanch.respond.options import options_for
from stanch.respond.runbook import GATHER, Runbook, RunbookStep
from stanch.steps.action import Action, Planning, check_params
from stanch.steps.never import POLICY, overridden, refuse_by_diagnosis

ACT_PROBABILITY_MIN = 0.6
"""Below this a plan waits for a person, whatever policy allows."""


def plan_for(
    diagnosis: Diagnosis,
    target: TargetPolicy,
    runbooks: Sequence[Runbook],
    *,
    actions: Mapping[str, Action],
    at: datetime,
    incident_id: IncidentId,
    halted: bool,
    asked_by: str = "",
    acts: Acts = (),
    level: Level | None = None,
    lifted: Sequence[Lift] = (),
) -> Plan | PlanWithheld:
    """The plan for the first cause, or why there is none with what people could do.

    `asked_by`: a person wants these runbooks, for whichever cause they answer; they always approve.
    `acts`: what was begun on this target lately. `level`: the one that the incident has reached.
    `lifted`: what the person who asks overrides; the plan carries it.
    """
    causes = diagnosis.causes if asked_by else diagnosis.causes[:1]
    if diagnosis.verdict is not Verdict.CAUSE or not causes:
        refusal = no("diagnosis", f"no cause is known ({diagnosis.verdict.value})")
        return PlanWithheld(cause="", refusal=refusal)
    fitting = ((c, r) for c in causes for r in runbooks if c.id in r.causes)
    cause, runbook = next(fitting, (causes[0], None))
    refusal = _runbook_missing(cause) if runbook is None else None
    if halted:
        refusal = no("halt", "Stanch was told not to act on anything", lifts="`stanch halt --lift`")
    if refusal is not None or runbook is None:
        assert refusal is not None
        return _withheld(cause, target, refusal)
    chosen = tuple(step for step in runbook.steps if _wanted(step, cause))
    if all(actions[step.do].reads_only for step in chosen):
        return _withheld(cause, target, _nothing_fits(runbook, cause))
    steps = tuple(
        _planned(step, cause, n, planning=actions[step.do].planning)
        for n, step in enumerate(chosen, 1)
    )
    steps, held = _allowed(steps, cause, diagnosis, target=target, actions=actions, lifted=lifted)
    if held is not None:
        return replace(_withheld(cause, target, held[1]), action=held[0].action)
    kept = {step.id for step in steps}
    taken = [step for n, step in enumerate(chosen, 1) if _id(step, n) in kept]
    asks = _asks_because(taken, cause, actions=actions) or _by_level(taken, level)
    asks = asks or spent([step.do for step in taken], acts, target.blast_radius, at=at)
    acts_alone = not asked_by and all(target.mode(step.do) is Mode.ACT for step in taken)
    mode = Mode.ACT if acts_alone and not asks else Mode.ADVISE
    return _plan(
        runbook,
        cause,
        _unasked(steps, actions) if mode is Mode.ACT else steps,
        mode=mode,
        at=at,
        expires_at=at + timedelta(seconds=target.approve_within_s),
        incident_id=incident_id,
        asked_by=asked_by,
        asks_because=asks if acts_alone else "",
        lifted=tuple(lifted),
    )


def still_bound(plan: Plan, diagnosis: Diagnosis) -> Refusal | None:
    """Refuses an approved plan whose facts no longer hold in a newer diagnosis."""
    cause = next((c for c in diagnosis.causes if c.id == plan.cause), None)
    if cause is None:
        return no("binding", f"{plan.cause} is no longer found", lifts="A new plan.")
    for step in plan.steps:
        for fact in step.binding:
            now = cause.fact(fact.name)
            if not fact.holds(now):
                reason = f"{fact.name} was {fact.value!r} and is now {now!r}"
                return no("binding", reason, lifts="A new plan for what is there now.")
    return None


def digest_of(
    runbook: str, cause: str, steps: Sequence[PlannedStep], lifted: Sequence[Lift] = ()
) -> str:
    """SHA-256 over everything an approval approves."""
    seal = hashlib.sha256(b"stanch/plan/1")
    parts = [runbook.encode(), cause.encode(), *(encode(step) for step in steps)]
    parts += [b"lifted", *(encode(lift) for lift in lifted)] if lifted else []
    for part in parts:
        seal.update(len(part).to_bytes(8, "big"))
        seal.update(part)
    return seal.hexdigest()


# --- steps --------------------------------------------------------------------------------------


def _wanted(step: RunbookStep, cause: CauseFinding) -> bool:
    return step.when is None or cause.fact(step.when.fact) == step.when.value


def _id(step: RunbookStep, n: int) -> StepId:
    return StepId(f"{n}-{step.do}")


def _planned(step: RunbookStep, cause: CauseFinding, n: int, *, planning: Planning) -> PlannedStep:
    params = tuple((name, _bound(value, cause)) for name, value in sorted(step.params.items()))
    return PlannedStep(
        id=_id(step, n),
        action=step.do,
        params=tuple((name, value) for name, value in params if value is not None),
        binding=_binding(step, cause, planning),
        preview=planning.preview(dict(params), cause),
        verify=step.verify,
        deadline_s=step.deadline_s,
        undo=step.undo,
        no_undo=step.no_undo,
        on_failure=step.on_failure,
        reads_only=step.do == GATHER,
    )


def _bound(value: Scalar, cause: CauseFinding) -> Scalar:
    if isinstance(value, str) and value.startswith("$"):
        return cause.fact(value[1:])
    return value


def _binding(step: RunbookStep, cause: CauseFinding, planning: Planning) -> tuple[BindingFact, ...]:
    """Identities exactly as they are, quantities within their range."""
    names = sorted(v[1:] for v in step.params.values() if isinstance(v, str) and v.startswith("$"))
    exact = tuple(
        BindingFact(name=name, value=cause.fact(name))
        for name in dict.fromkeys(names)
        if cause.fact(name) is not None
    )
    ranged = tuple(
        BindingFact(name=name, value=cause.fact(name), low=low, high=high)
        for name, low, high in planning.ranges
        if cause.fact(name) is not None
    )
    return exact + ranged


# --- reasons to withhold ------------------------------------------------------------------------


def _runbook_missing(cause: CauseFinding) -> Refusal:
    lifts = "A runbook of your own in `runbook_directory`."
    return no("runbook", f"nothing Stanch can do is safe for {cause.id}", lifts=lifts)


def _nothing_fits(runbook: Runbook, cause: CauseFinding) -> Refusal:
    """Each step waits for a fact: before things are that bad, and after it has done its work."""
    if all(step.do == GATHER for step in runbook.steps):
        lifts = f"A person who follows it: `stanch runbook show {runbook.id}`."
        return no("runbook", f"{runbook.id} has nothing for Stanch to do by itself", lifts=lifts)
    waiting = (
        f"{step.do} is for {step.when.fact} = {_written(step.when.value)},"
        f" now {_written(cause.fact(step.when.fact))}"
        for step in runbook.steps
        if step.when is not None
    )
    return no("runbook", f"no step of {runbook.id} fits just now: {'; '.join(waiting)}")


def _written(value: Scalar) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not known" if value is None else str(value)


def _allowed(
    steps: tuple[PlannedStep, ...],
    cause: CauseFinding,
    diagnosis: Diagnosis,
    *,
    target: TargetPolicy,
    actions: Mapping[str, Action],
    lifted: Sequence[Lift],
) -> tuple[tuple[PlannedStep, ...], tuple[PlannedStep, Refusal] | None]:
    """The steps that may be planned. One without which the rest goes on is left out where it may
    not be; any other refuses the plan, and so does one that would be left with nothing to do."""
    left_out: dict[StepId, tuple[PlannedStep, Refusal]] = {}
    for step in steps:
        action = actions[step.action]
        its = overridden(lifted, action)
        answers = (
            _by_policy(step.action, target),
            _by_session(step.action, target),
            refuse_by_diagnosis(step.action, diagnosis, its),
            action.planning.withheld(step, cause, target),
            check_params(action, step),
        )
        refusal = first_no(answers, its)
        if refusal is not None and step.on_failure != "continue":
            return (), (step, refusal)
        if refusal is not None:
            left_out[step.id] = (step, refusal)
    kept = tuple(step for step in steps if step.id not in left_out)
    if all(step.reads_only for step in kept):
        return (), next(iter(left_out.values()))
    return kept, None


def _by_policy(action: str, target: TargetPolicy) -> Refusal | None:
    if target.mode(action) is Mode.OBSERVE:
        lifts = f"`actions: {{{action}: advise}}` for this target."
        return no(POLICY.name, f"policy only observes where {action} is concerned", lifts=lifts)
    return None


def _by_session(action: str, target: TargetPolicy) -> Refusal | None:
    if action in SESSION_ACTIONS and not target.acting_dsn:
        lifts = "`acting_dsn` for this target; `stanch grants` prints the role."
        may = "that may end others" if action in SIGNALLING_ACTIONS else "of the acting role"
        return no("acting_session", f"there is no session {may}", lifts=lifts)
    return None


def _withheld(cause: CauseFinding, target: TargetPolicy, refusal: Refusal) -> PlanWithheld:
    return PlanWithheld(cause=cause.id, refusal=refusal, options=options_for(cause, target))


# --- the plan -----------------------------------------------------------------------------------


def _asks_because(
    steps: Sequence[RunbookStep], cause: CauseFinding, *, actions: Mapping[str, Action]
) -> str:
    """Why a person is asked whatever policy allows; empty where nothing speaks for it."""
    if cause.probability < ACT_PROBABILITY_MIN:
        return f"the cause is not sure enough ({percent(cause.probability)})"
    if any(step.approval == "always" for step in steps):
        return "its runbook always asks"
    if any(actions[step.do].planning.loses_work(cause) for step in steps):
        return "work may be lost"
    return ""


def _by_level(steps: Sequence[RunbookStep], level: Level | None) -> str:
    if level is None or all(level.lets_act(s.do) for s in steps if s.do != GATHER):
        return ""
    return f"level {level.name} has begun, in which a person decides"


def _unasked(
    steps: tuple[PlannedStep, ...], actions: Mapping[str, Action]
) -> tuple[PlannedStep, ...]:
    """The steps as they run where nobody approves them."""
    return tuple(
        replace(step, params=(*step.params, *actions[step.action].planning.unasked))
        for step in steps
    )


def _plan(
    runbook: Runbook,
    cause: CauseFinding,
    steps: tuple[PlannedStep, ...],
    *,
    mode: Mode,
    at: datetime,
    expires_at: datetime,
    incident_id: IncidentId,
    asked_by: str,
    asks_because: str,
    lifted: tuple[Lift, ...],
) -> Plan:
    digest = digest_of(runbook.id, cause.id, steps, lifted)
    return Plan(
        id=PlanId(f"{incident_id}/{runbook.id}/{at:%H%M%S%f}"),
        runbook=runbook.id,
        cause=cause.id,
        steps=steps,
        mode=mode,
        made_at=at,
        expires_at=expires_at,
        digest=digest,
        asked_by=asked_by,
        asks_because=asks_because,
        lifted=lifted,
    )
