"""Timeline to incident: one small function per event kind, applied in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from stanch.incident.state import (
    UPDATE_ATTEMPTS_MAX,
    DeliveryState,
    Incident,
    MessageState,
    PlanState,
    RescueState,
    Status,
    StepState,
    UpdateOwed,
    frozen,
)
from stanch.model import events as e
from stanch.model.diagnosis import Verdict
from stanch.model.ids import IncidentId
from stanch.model.messages import Handover, MessageKind
from stanch.model.plans import Mode, StepOutcome
from stanch.model.timeline import Recorded


def fold(incident_id: IncidentId, timeline: Iterable[Recorded]) -> Incident:
    """The incident a whole timeline adds up to."""
    incident = Incident(id=incident_id)
    for recorded in timeline:
        incident = apply(incident, recorded)
    return incident


def apply(incident: Incident, recorded: Recorded) -> Incident:
    """The incident after one more event. Any prefix of a timeline folds."""
    assert recorded.seq == incident.seq + 1, f"{recorded.seq} after {incident.seq}"
    event = recorded.event
    if isinstance(event, e.UnknownEvent):
        kinds = incident.unknown_kinds | {event.stored_kind}
        return replace(incident, seq=recorded.seq, unknown_kinds=kinds)
    rule = _RULES.get(type(event))
    after = rule(incident, event, recorded) if rule else incident
    return replace(after, seq=recorded.seq)


def _opened(i: Incident, event: e.IncidentOpened, r: Recorded) -> Incident:
    return replace(
        i,
        status=Status.OPEN,
        target=event.target,
        title=event.title,
        opened_at=r.at,
        since=event.symptom.since,
        page_after_s=event.page_after_s,
        policy_hash=event.policy_hash,
        severity_rank=event.severity_rank,
        severity_label=event.severity_label,
        data_at_risk=event.data_at_risk,
        declared_by=event.declared_by,
        drill=event.drill,
        symptoms=frozen({event.symptom.key: event.symptom}),
        seen=frozenset({event.symptom.key}),
        symptoms_seq=r.seq,
        symptoms_at=r.at,
        paging_seq=r.seq,
        paging_from=r.at,
    )


def _observed(i: Incident, event: e.SymptomObserved, r: Recorded) -> Incident:
    key = event.symptom.key
    joined = replace(
        i,
        symptoms=frozen({**i.symptoms, key: event.symptom}),
        seen=i.seen | {key},
        cleared_at=None,
        rescue=RescueState(),
    )
    if key not in i.symptoms:
        joined = replace(joined, symptoms_seq=r.seq, symptoms_at=r.at)
    if i.status is Status.RESCUED:
        # A relapse: whatever was proven before no longer holds.
        joined = replace(joined, status=Status.OPEN, rescued_at=None)
    return joined


def _cleared(i: Incident, event: e.SymptomCleared, r: Recorded) -> Incident:
    left = frozen({k: s for k, s in i.symptoms.items() if k != event.key})
    return replace(i, symptoms=left, cleared_at=None if left else (i.cleared_at or r.at))


def _severity(i: Incident, event: e.SeveritySet, r: Recorded) -> Incident:
    changed = replace(i, severity_rank=event.rank, severity_label=event.label)
    return _owe(changed, "severity", r) if event.rank < i.severity_rank else changed


def _acknowledged(i: Incident, event: e.IncidentAcknowledged, r: Recorded) -> Incident:
    kept = {k: m for k, m in i.messages.items() if m.raised.message_kind is MessageKind.UPDATE}
    taken = replace(i, acknowledged_by=event.by, acknowledged_at=r.at, messages=frozen(kept))
    return _owe(taken, "acknowledged", r)


def _rescued(i: Incident, event: e.IncidentRescued, r: Recorded) -> Incident:
    return _owe(replace(i, status=Status.RESCUED, rescued_at=r.at), "rescued", r)


def _resolved(i: Incident, event: e.IncidentResolved, r: Recorded) -> Incident:
    kept = {k: m for k, m in i.messages.items() if m.raised.message_kind is MessageKind.UPDATE}
    ended = replace(i, status=Status.RESOLVED, ended_at=r.at, messages=frozen(kept))
    return _owe(replace(ended, symptoms=frozen({})), "resolved", r)


def _reopened(i: Incident, event: e.IncidentReopened, r: Recorded) -> Incident:
    return replace(
        i,
        status=Status.OPEN,
        ended_at=None,
        rescued_at=None,
        acknowledged_by=None,
        acknowledged_at=None,
        paging_seq=r.seq,
        paging_from=r.at,
        page_level=0,
        paged_at=None,
        diagnosis=None,
        named=None,
        diagnosis_seq=0,
        symptoms_seq=r.seq,
        symptoms_at=r.at,
        plan=None,
        withheld=None,
        rescue=RescueState(),
        updates_owed=(),
    )


def _merged(i: Incident, event: e.IncidentMerged, r: Recorded) -> Incident:
    return replace(
        i,
        status=Status.MERGED,
        ended_at=r.at,
        merged_into=event.into,
        messages=frozen({}),
        updates_owed=(),
    )


def _page_held(i: Incident, event: e.PageHeld, r: Recorded) -> Incident:
    return replace(i, page_held_until=event.until)


def _policy(i: Incident, event: e.PolicyApplied, r: Recorded) -> Incident:
    # What was withheld may be allowed now, so it is asked for again.
    return replace(i, policy_hash=event.policy_hash, withheld=None, withheld_seq=0)


def _resumed(i: Incident, event: e.ResponderResumed, r: Recorded) -> Incident:
    """Nobody watched for a while: a stability window with a gap in it starts again."""
    return replace(i, rescue=RescueState())


def _diagnosed(i: Incident, event: e.DiagnosisRecorded, r: Recorded) -> Incident:
    before = i.named.first if i.named else None
    names = event.diagnosis.verdict is Verdict.CAUSE
    now = event.diagnosis.first if names else None
    news = now is not None and (before is None or before.id != now.id)
    recorded = replace(
        i,
        diagnosis=event.diagnosis,
        named=event.diagnosis if names else i.named,
        diagnosis_seq=r.seq,
        diagnosed_at=r.at,
        diagnoses=i.diagnoses + 1,
    )
    return _owe(recorded, "cause", r) if news else recorded


def _message(i: Incident, event: e.MessageRaised, r: Recorded) -> Incident:
    state = MessageState(
        raised=event,
        raised_at=r.at,
        deliveries=frozen({d.id: DeliveryState() for d in event.deliveries}),
    )
    raised = replace(
        i,
        messages=frozen({**i.messages, event.id: state}),
        messages_raised=i.messages_raised + 1,
    )
    if event.level == 0:
        owed = tuple(u for u in i.updates_owed if obligation(u.rule, 1, u.seq) != event.obligation)
        return replace(raised, updates_owed=owed)
    # A page tells the whole story up to now, so nothing older is owed to anyone any more.
    return replace(
        raised,
        page_level=event.level,
        paged_at=r.at,
        paged=i.paged | frozenset(event.persons),
        updates_owed=(),
    )


def _attempted(i: Incident, event: e.DeliveryAttempted, r: Recorded) -> Incident:
    return _with_delivery(
        i,
        event,
        lambda d: replace(
            d,
            attempts=event.attempt,
            in_flight=True,
            possible_repeat=event.possible_repeat,
            last_at=r.at,
        ),
    )


def _delivered(i: Incident, event: e.DeliveryEnded, r: Recorded) -> Incident:
    message = i.messages.get(event.message_id)
    update = message is not None and message.raised.message_kind is MessageKind.UPDATE
    hopeless = not event.retryable or (update and event.attempt >= UPDATE_ATTEMPTS_MAX)
    return _with_delivery(
        i,
        event,
        lambda d: replace(
            d,
            in_flight=False,
            last_at=r.at,
            accepted=d.accepted or event.outcome is Handover.ACCEPTED,
            given_up=hopeless and event.outcome is not Handover.ACCEPTED,
            possible_repeat=d.possible_repeat or event.outcome is Handover.IN_DOUBT,
        ),
    )


def _with_delivery(
    i: Incident,
    event: e.DeliveryAttempted | e.DeliveryEnded,
    change: Callable[[DeliveryState], DeliveryState],
) -> Incident:
    message = i.messages.get(event.message_id)
    if message is None or event.id not in message.deliveries:
        return i
    deliveries = {**message.deliveries, event.id: change(message.deliveries[event.id])}
    changed = replace(message, deliveries=frozen(deliveries))
    messages = {**i.messages, event.message_id: changed}
    if changed.settled:
        del messages[event.message_id]
    return replace(i, messages=frozen(messages))


def _proposed(i: Incident, event: e.PlanProposed, r: Recorded) -> Incident:
    steps = frozen({step.id: StepState() for step in event.plan.steps})
    plan = PlanState(plan=event.plan, proposed_seq=r.seq, steps=steps)
    proposed = replace(i, plan=plan, withheld=None)
    return proposed if event.plan.mode is Mode.ACT else _owe(proposed, "approval", r)


def _withheld(i: Incident, event: e.PlanWithheld, r: Recorded) -> Incident:
    return _owe(replace(i, withheld=event, withheld_seq=r.seq), "withheld", r)


def _approved(i: Incident, event: e.PlanApproved, r: Recorded) -> Incident:
    if i.plan is None or i.plan.plan.id != event.plan_id:
        return i
    return replace(i, plan=replace(i.plan, approved_by=event.by))


def _plan_ended(i: Incident, event: e.PlanEnded, r: Recorded) -> Incident:
    if i.plan is None or i.plan.plan.id != event.plan_id:
        return i
    ended = replace(
        i.plan,
        ended=True,
        completed=event.completed,
        ended_reason=event.reason,
        ended_at=r.at,
    )
    if _touched(ended):
        return _owe(replace(i, plan=ended, plans_tried=i.plans_tried + 1), "acted", r)
    # Refused before anything was touched: told once, tried again later, and no try of ours used up.
    refused = replace(i, plan=ended, plans_refused=i.plans_refused + 1)
    return refused if i.plans_refused else _owe(refused, "acted", r)


def _touched(plan: PlanState) -> bool:
    untouched = (None, StepOutcome.REFUSED, StepOutcome.EXPIRED)
    return any(s.outcome not in untouched or s.unsettled for s in plan.steps.values())


def _intended(i: Incident, event: e.StepIntended, r: Recorded) -> Incident:
    return _with_step(
        i,
        event,
        lambda s: replace(
            s,
            intended=event,
            intended_by=r.writer_id,
            attempts=event.attempt,
            outcome=None,
            verified=None,
        ),
    )


def _step_ended(i: Incident, event: e.StepEnded, r: Recorded) -> Incident:
    settled = event.outcome is not StepOutcome.IN_DOUBT
    return _with_step(
        i,
        event,
        lambda s: replace(
            s,
            intended=None if settled else s.intended,
            outcome=event.outcome,
            detail=event.detail,
        ),
    )


def _step_verified(i: Incident, event: e.StepVerified, r: Recorded) -> Incident:
    return _with_step(
        i, event, lambda s: replace(s, verified=event.ok, intended=None, detail=event.detail)
    )


def _with_step(
    i: Incident,
    event: e.StepIntended | e.StepEnded | e.StepVerified,
    change: Callable[[StepState], StepState],
) -> Incident:
    plan = i.plan
    if plan is None or plan.plan.id != event.plan_id or event.step_id not in plan.steps:
        return i
    steps = frozen({**plan.steps, event.step_id: change(plan.steps[event.step_id])})
    return replace(i, plan=replace(plan, steps=steps))


def _rescue_checked(i: Incident, event: e.RescueChecked, r: Recorded) -> Incident:
    before = i.rescue
    if not event.ok:
        parts = (event.login_ok, event.write_ok, event.headroom_ok)
        failed = RescueState(last_at=r.at, last_detail=event.detail, last_parts=parts)
        relapsed = replace(i, rescue=failed)
        if i.status is Status.RESCUED:
            relapsed = replace(relapsed, status=Status.OPEN, rescued_at=None)
        return relapsed
    rescue = RescueState(
        ok_since=before.ok_since or r.at,
        ok_seq=before.ok_seq or r.seq,
        ok_checks=before.ok_checks + 1,
        last_at=r.at,
        last_ok=True,
        last_detail=event.detail,
    )
    return replace(i, rescue=rescue)


def obligation(rule: str, ordinal: int, seq: int) -> str:
    """The id of one obligation: rule, how often it fired, and the event that caused it."""
    return f"{rule}/{ordinal}@{seq}"


def _owe(i: Incident, rule: str, r: Recorded) -> Incident:
    """Updates are owed only to people who were paged: the page itself tells what came before."""
    if i.page_level == 0:
        return i
    owed = UpdateOwed(rule=rule, seq=r.seq, at=r.at)
    # One update a rule: the newest replaces one nobody has sent yet.
    others = tuple(u for u in i.updates_owed if u.rule != rule)
    return replace(i, updates_owed=(*others, owed))


_RULES: dict[type[e.Event], Callable[[Incident, Any, Recorded], Incident]] = {
    e.IncidentOpened: _opened,
    e.SymptomObserved: _observed,
    e.SymptomCleared: _cleared,
    e.SeveritySet: _severity,
    e.IncidentAcknowledged: _acknowledged,
    e.IncidentRescued: _rescued,
    e.IncidentResolved: _resolved,
    e.IncidentReopened: _reopened,
    e.IncidentMerged: _merged,
    e.PageHeld: _page_held,
    e.PolicyApplied: _policy,
    e.ResponderResumed: _resumed,
    e.DiagnosisRecorded: _diagnosed,
    e.MessageRaised: _message,
    e.DeliveryAttempted: _attempted,
    e.DeliveryEnded: _delivered,
    e.PlanProposed: _proposed,
    e.PlanWithheld: _withheld,
    e.PlanApproved: _approved,
    e.PlanEnded: _plan_ended,
    e.StepIntended: _intended,
    e.StepEnded: _step_ended,
    e.StepVerified: _step_verified,
    e.RescueChecked: _rescue_checked,
}
