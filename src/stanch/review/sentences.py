"""One plain sentence for every kind of event: what `stanch show` and the post-mortem print.

Whatever came from outside is escaped and bounded; the sentence is one printable line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stanch.model import events as e
from stanch.model.diagnosis import Verdict
from stanch.model.messages import Handover, MessageKind
from stanch.model.plans import Mode, StepOutcome
from stanch.model.shown import moment, percent, span
from stanch.review.names import Names, shown


def sentence(event: e.Event, names: Names) -> str:
    """What happened, for a person who was not there."""
    if isinstance(event, e.UnknownEvent):
        return f"Something this release cannot read: {shown(event.stored_kind, 60)}."
    return SENTENCES[type(event)](event, names)


def _clause(text: str) -> str:
    """Text from outside as the last part of a sentence: its own full stop would be a second one."""
    return shown(text).rstrip(".")


def _tail(text: str) -> str:
    return f": {_clause(text)}" if text.strip() else ""


# --- the incident's life ------------------------------------------------------------------------


def _opened(event: e.IncidentOpened, n: Names) -> str:
    drill = "Drill opened" if event.drill else "Incident opened"
    by = f" by {n.person(event.declared_by)}" if event.declared_by else ""
    label, reason = shown(event.severity_label, 20), _tail(event.severity_reason)
    observed = _tail(event.symptom.detail or event.symptom.key)
    wait = ""
    if event.page_after_s > 0:
        wait = f" Nobody is paged for {span(event.page_after_s)}{_tail(event.page_after_source)}."
    return f"{drill}{by}{_tail(event.title)}; observed{observed}; severity {label}{reason}.{wait}"


def _observed(event: e.SymptomObserved, n: Names) -> str:
    return f"Observed {shown(event.symptom.key, 80)}{_tail(event.symptom.detail)}."


def _cleared(event: e.SymptomCleared, n: Names) -> str:
    return f"No longer observed: {shown(event.key, 80)}{_tail(event.detail)}."


def _severity(event: e.SeveritySet, n: Names) -> str:
    by = f" by {n.person(event.by)}" if event.by else ""
    return f"Severity set to {shown(event.label, 20)}{by}{_tail(event.reason)}."


def _acknowledged(event: e.IncidentAcknowledged, n: Names) -> str:
    return f"{n.person(event.by)} took the incident (via {shown(event.via, 40)})."


def _note(event: e.NoteAdded, n: Names) -> str:
    return f"{n.person(event.by)} noted{_tail(event.text)}."


def _rescued(event: e.IncidentRescued, n: Names) -> str:
    proof = f"checked {event.checks} times over {span(event.window_s)}"
    return f"It serves again, {proof}{_tail(event.detail)}."


def _resolved(event: e.IncidentResolved, n: Names) -> str:
    if not event.verified:
        by = f" by {n.person(event.by)}" if event.by else ""
        return f"Closed{by} without proof on the database{_tail(event.reason)}."
    how = "Resolved by itself" if event.self_healed else "Resolved"
    by = f" by {n.person(event.by)}" if event.by else ""
    return f"{how}{by}, checked on the database{_tail(event.reason)}."


def _reopened(event: e.IncidentReopened, n: Names) -> str:
    by = f" by {n.person(event.by)}" if event.by else ""
    return f"Reopened{by}{_tail(event.reason)}."


def _merged(event: e.IncidentMerged, n: Names) -> str:
    return f"Continued in incident {shown(event.into, 40)}{_tail(event.reason)}."


def _taken_in(event: e.IncidentTakenIn, n: Names) -> str:
    told = ""
    if event.page_level:
        told = f" Paged for it already: {n.persons(event.paged)}; they are not paged again."
    what = f"{shown(event.title).rstrip('.')} on {shown(event.target, 80)}"
    return f"Took in incident {shown(event.of, 40)}, an effect of this one: {what}.{told}"


def _held(event: e.PageHeld, n: Names) -> str:
    return f"Nobody is to be paged before {moment(event.until)}{_tail(event.reason)}."


def _silenced(event: e.RuleSilenced, n: Names) -> str:
    what, until = _rule(event.rule, event.subject), moment(event.until)
    return f"Nobody is to be paged for {what} before {until}{_tail(event.reason)}."


def _rule(rule: str, subject: str) -> str:
    return f"{shown(rule, 60)} of {shown(subject, 120)}" if subject else shown(rule, 60)


def _policy(event: e.PolicyApplied, n: Names) -> str:
    by = f" by {shown(event.by, 60)}" if event.by else ""
    return f"Policy {shown(event.policy_hash, 12)} came into force{by}."


def _resumed(event: e.ResponderResumed, n: Names) -> str:
    if event.away_since is None:
        return "Stanch came back; since when it had been away is not known."
    return f"Stanch came back; its last entry before that is of {moment(event.away_since)}."


def _diagnosed(event: e.DiagnosisRecorded, n: Names) -> str:
    diagnosis, first = event.diagnosis, event.diagnosis.first
    took = f"after {span(diagnosis.elapsed_ms / 1000)} of looking"
    if first is None or diagnosis.verdict is not Verdict.CAUSE:
        return f"Diagnosis {took}: {diagnosis.verdict.value}."
    others = len(diagnosis.causes) - 1
    more = f", {others} more considered" if others > 0 else ""
    return f"Cause found {took}: {_clause(first.summary)} ({percent(first.probability)}{more})."


# --- messages -----------------------------------------------------------------------------------


def _message(event: e.MessageRaised, n: Names) -> str:
    channels = ", ".join(dict.fromkeys(shown(d.channel, 40) for d in event.deliveries))
    over = f" over {channels}" if channels else ", with nowhere to send it"
    whom = f" to {n.persons(event.persons)}" if event.persons else ""
    if event.message_kind is MessageKind.PAGE:
        return f"Page {event.level} raised{whom}{over}{_tail(event.reason)}."
    return f"Update raised{whom}{over}{_tail(event.reason)}."


def _attempted(event: e.DeliveryAttempted, n: Names) -> str:
    repeat = ", possibly a repeat" if event.possible_repeat else ""
    return f"Attempt {event.attempt} to hand over {n.sending(event.id)}{repeat}."


def _delivered(event: e.DeliveryEnded, n: Names) -> str:
    said = {
        Handover.ACCEPTED: "was taken",
        Handover.FAILED: "failed",
        Handover.IN_DOUBT: "is in doubt: it may or may not have arrived",
    }[event.outcome]
    last = "" if event.retryable or event.outcome is Handover.ACCEPTED else "; given up"
    return f"Attempt {event.attempt}, {n.sending(event.id)}, {said}{_tail(event.detail)}{last}."


def _unrecorded_lost(event: e.UnrecordedLost, _n: Names) -> str:
    return (
        f"Records of pages sent while the journal could not be written are lost: {event.entries}."
    )


def _unrecorded(event: e.PagedUnrecorded, n: Names) -> str:
    whom = n.persons(event.persons) or "nobody by name"
    outcomes = _tail("; ".join(event.outcomes[:8]))
    return f"Paged from memory at {moment(event.sent_at)}, to {whom}{outcomes}."


# --- acting -------------------------------------------------------------------------------------


def _proposed(event: e.PlanProposed, n: Names) -> str:
    plan = event.plan
    steps = "; ".join(_clause(s.preview or s.action) for s in plan.effects)
    waits = "runs by itself" if plan.mode is Mode.ACT else "waits for approval"
    return shown(f"Plan from runbook {plan.runbook} {waits}: {steps}").rstrip(".") + "."


def _requested(event: e.PlanRequested, n: Names) -> str:
    asked = f"{n.person(event.by)} asked for runbook {shown(event.runbook, 64)}"
    refusal = event.refusal
    if event.overrides:
        asked += f", to override {shown(', '.join(event.overrides), 120)} ({shown(event.why, 200)})"
    if refusal is None:
        return f"{asked}."
    return f"{asked}; refused ({shown(refusal.guard, 60)}){_tail(refusal.reason)}."


def _level(event: e.LevelReached, n: Names) -> str:
    paged = f"; paged for it: {', '.join(map(n.person, event.page))}" if event.page else ""
    asks = "; from here on a person decides" if event.asks else ""
    return f"Level {shown(event.name, 60)} after {span(event.after_s)}{asks}{paged}."


def _withheld(event: e.PlanWithheld, n: Names) -> str:
    refusal = event.refusal
    return f"Stanch does not act ({shown(refusal.guard, 60)}){_tail(refusal.reason)}."


def _approved(event: e.PlanApproved, n: Names) -> str:
    over = f", overriding {shown(', '.join(event.overrides), 120)}" if event.overrides else ""
    return f"{n.person(event.by)} approved plan {shown(event.digest, 12)}{over}."


def _plan_ended(event: e.PlanEnded, n: Names) -> str:
    how = "completed" if event.completed else "ended without completing"
    return f"The plan {how}{_tail(event.reason)}."


def _intended(event: e.StepIntended, n: Names) -> str:
    again = f", attempt {event.attempt}" if event.attempt > 1 else ""
    return f"About to act: {shown(event.action, 60)}{again}, not after {moment(event.act_before)}."


def _step_ended(event: e.StepEnded, n: Names) -> str:
    step = n.step(event.plan_id, event.step_id)
    if event.outcome is StepOutcome.REFUSED:
        guard = f" by guard {shown(event.refusal.guard, 60)}" if event.refusal else ""
        reason = event.refusal.reason if event.refusal else event.detail
        return f"Step {step} refused{guard}, nothing was touched{_tail(reason)}."
    said = {
        StepOutcome.DONE: "done",
        StepOutcome.FAILED: "failed",
        StepOutcome.IN_DOUBT: "is in doubt: it may or may not have happened",
        StepOutcome.EXPIRED: "came too late, nothing was touched",
    }[event.outcome]
    return f"Step {step} {said}{_tail(event.detail)}."


def _step_verified(event: e.StepVerified, n: Names) -> str:
    step = n.step(event.plan_id, event.step_id)
    said = "had its effect" if event.ok else "did not have its effect"
    return f"Looked on the target: step {step} {said}{_tail(event.detail)}."


def _checked(event: e.RescueChecked, n: Names) -> str:
    said = "serves" if event.ok else "does not serve"
    looks = (("login", event.login_ok), ("write", event.write_ok), ("headroom", event.headroom_ok))
    words = {True: "works", False: "fails", None: "not tried"}
    parts = ", ".join(f"{name} {words[ok]}" for name, ok in looks)
    return f"Checked: it {said} ({parts}){_tail(event.detail)}."


def _kept(event: e.EvidenceKept, n: Names) -> str:
    return f"Evidence kept: {shown(event.name, 80)}, {event.size_bytes} bytes."


def _past(event: e.PastNoted, n: Names) -> str:
    if not event.incidents:
        return f"No incident of before looks like this one ({shown(event.cause, 60)})."
    one = event.incidents[0]
    more = len(event.incidents) - 1
    others = f", and {more} more" if more else ""
    return f"Seen before: {shown(one.told, 300)}{others}."


def _changes(event: e.ChangesNoted, n: Names) -> str:
    count = len(event.changes) + event.more
    noun = "change was" if count == 1 else "changes were"
    newest = event.changes[0] if event.changes else None
    told = "" if newest is None else f"; the newest: {shown(newest.what, 80)}{_tail(newest.told)}"
    return f"{count} {noun} seen here since {moment(event.since)}{told}."


# --- the responder itself -----------------------------------------------------------------------


def _halted(event: e.HaltSet, n: Names) -> str:
    return f"{n.person(event.by)} stopped all acting{_tail(event.reason)}."


def _unhalted(event: e.HaltLifted, n: Names) -> str:
    return f"{n.person(event.by)} allowed acting again{_tail(event.reason)}."


def _maintenance(event: e.MaintenanceSet, n: Names) -> str:
    until, target = moment(event.until), shown(event.target, 60)
    return f"{n.person(event.by)} set maintenance on {target} until {until}{_tail(event.reason)}."


def _maintained(event: e.MaintenanceEnded, n: Names) -> str:
    target = shown(event.target, 60)
    return f"{n.person(event.by)} ended maintenance on {target}{_tail(event.reason)}."


def _silence(event: e.SilenceSet, n: Names) -> str:
    what = f"{_rule(event.rule, event.subject)} on {shown(event.target, 60)}"
    until = moment(event.until)
    return f"{n.person(event.by)} silenced {what} until {until}{_tail(event.reason)}."


def _unsilenced(event: e.SilenceEnded, n: Names) -> str:
    what = f"{_rule(event.rule, event.subject)} on {shown(event.target, 60)}"
    return f"{n.person(event.by)} ended the silence of {what}{_tail(event.reason)}."


def _learned(event: e.TopologyLearned, n: Names) -> str:
    return f"{shown(event.target, 60)} was seen to be a standby of {shown(event.upstream, 60)}."


def _forgotten(event: e.TopologyForgotten, n: Names) -> str:
    what = f"{shown(event.target, 60)} is no standby of {shown(event.upstream, 60)} any more"
    return f"{what}{_tail(event.reason)}."


def _blind(event: e.BlindnessEntered, n: Names) -> str:
    return f"Stanch cannot see {len(event.targets)} targets{_tail(event.reason)}."


def _sees(event: e.BlindnessLeft, n: Names) -> str:
    return f"Stanch sees again{_tail(event.reason)}."


def _started(event: e.ResponderStarted, n: Names) -> str:
    where = f"{shown(event.host, 60)}, pid {event.pid}"
    return f"Stanch {shown(event.version, 30)} began watching on {where}."


def _stopped(event: e.ResponderStopped, n: Names) -> str:
    return f"Stanch stopped watching{_tail(event.reason)}."


SENTENCES: dict[type[e.Event], Callable[[Any, Names], str]] = {
    e.IncidentOpened: _opened,
    e.SymptomObserved: _observed,
    e.SymptomCleared: _cleared,
    e.SeveritySet: _severity,
    e.IncidentAcknowledged: _acknowledged,
    e.NoteAdded: _note,
    e.IncidentRescued: _rescued,
    e.IncidentResolved: _resolved,
    e.IncidentReopened: _reopened,
    e.IncidentMerged: _merged,
    e.IncidentTakenIn: _taken_in,
    e.PageHeld: _held,
    e.RuleSilenced: _silenced,
    e.PolicyApplied: _policy,
    e.ResponderResumed: _resumed,
    e.DiagnosisRecorded: _diagnosed,
    e.MessageRaised: _message,
    e.DeliveryAttempted: _attempted,
    e.DeliveryEnded: _delivered,
    e.PagedUnrecorded: _unrecorded,
    e.UnrecordedLost: _unrecorded_lost,
    e.PlanProposed: _proposed,
    e.PlanRequested: _requested,
    e.LevelReached: _level,
    e.PlanWithheld: _withheld,
    e.PlanApproved: _approved,
    e.PlanEnded: _plan_ended,
    e.StepIntended: _intended,
    e.StepEnded: _step_ended,
    e.StepVerified: _step_verified,
    e.RescueChecked: _checked,
    e.EvidenceKept: _kept,
    e.ChangesNoted: _changes,
    e.PastNoted: _past,
    e.HaltSet: _halted,
    e.HaltLifted: _unhalted,
    e.SilenceSet: _silence,
    e.SilenceEnded: _unsilenced,
    e.MaintenanceSet: _maintenance,
    e.MaintenanceEnded: _maintained,
    e.TopologyLearned: _learned,
    e.TopologyForgotten: _forgotten,
    e.BlindnessEntered: _blind,
    e.BlindnessLeft: _sees,
    e.ResponderStarted: _started,
    e.ResponderStopped: _stopped,
}
"""Every kind of `stanch.model.events.KINDS` has its sentence here; a test keeps it so."""
