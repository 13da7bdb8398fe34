"""What people may decide about an incident: command and incident in, events or a refusal out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from stanch.incident.state import Incident, Status
from stanch.model import events as e
from stanch.model.ids import PersonId, PlanId
from stanch.model.plans import Plan, Refusal
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.policy.policy import Policy
from stanch.policy.rules.moments import wrong_now


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    by: PersonId
    via: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddNote:
    by: PersonId
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSeverity:
    by: PersonId
    rank: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolve:
    by: PersonId
    reason: str
    unverified: bool = False
    """The person says so although the database was not, or could not be, asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopen:
    by: PersonId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Approve:
    by: PersonId
    plan_id: PlanId | None = None
    digest: str = ""
    """What the person saw; empty: whatever is waiting now, as long as nothing changed since."""
    target: str = ""
    """As the person wrote it: asked of whoever overrides a guard alone."""


Command = Acknowledge | AddNote | SetSeverity | Resolve | Reopen | Approve
Decided = tuple[e.Event, ...] | Refusal


def decide(command: Command, incident: Incident, policy: Policy, at: datetime) -> Decided:
    """The events a command leads to, or why it may not be."""
    if incident.opened_at is None:
        return Refusal(guard="exists", reason="there is no such incident")
    match command:
        case AddNote(by=by, text=text):
            return (e.NoteAdded(by=by, text=text),)
        case Acknowledge():
            return _acknowledge(command, incident)
        case SetSeverity():
            return _severity(command, incident, policy)
        case Resolve():
            return _resolve(command, incident, at)
        case Reopen():
            return _reopen(command, incident, at)
        case Approve():
            return _approve(command, incident, policy, at)


def _acknowledge(command: Acknowledge, incident: Incident) -> Decided:
    if incident.status.ended:
        return Refusal(guard="open", reason=f"it is already {incident.status.value}")
    if incident.acknowledged_by == command.by:
        return ()
    return (e.IncidentAcknowledged(by=command.by, via=command.via),)


def _severity(command: SetSeverity, incident: Incident, policy: Policy) -> Decided:
    if incident.status.ended:
        return Refusal(guard="open", reason=f"it is already {incident.status.value}")
    severity = policy.severity(command.rank)
    return (
        e.SeveritySet(
            rank=severity.rank, label=severity.label, reason=command.reason, by=command.by
        ),
    )


FRESH_CHECK_S = 60.0
"""A rescue check older than this proves nothing about now."""


def _resolve(command: Resolve, incident: Incident, at: datetime) -> Decided:
    if incident.status.ended:
        return Refusal(guard="open", reason=f"it is already {incident.status.value}")
    why_not = None if command.unverified else _unproven(incident, at)
    if why_not is not None:
        return Refusal(
            guard="verified",
            reason=why_not,
            lifts="wait for the checks, or add --unverified and say why; every text will say so",
        )
    # What only a person saw may be closed by a person; "checked" is said only where it was.
    proven = not incident.lapsed and _not_checked(incident, at) is None
    verified = proven and not command.unverified
    return (e.IncidentResolved(verified=verified, reason=command.reason, by=command.by),)


def _unproven(incident: Incident, at: datetime) -> str | None:
    wrong = wrong_now(incident.symptoms, incident.met)
    observed = [k for k in wrong if incident.symptoms[k].kind is not SymptomKind.REPORTED]
    if observed:
        return f"still observed: {', '.join(observed)}"
    if all(key.startswith(SymptomKind.REPORTED.value) for key in incident.seen):
        # Only a person ever saw it, so only a person can say that it is over.
        return None
    return _not_checked(incident, at)


def _not_checked(incident: Incident, at: datetime) -> str | None:
    """Why no check on the database speaks for it now; None where a fresh one does."""
    checked = incident.rescue.last_at
    if checked is None or not incident.rescue.last_ok:
        return "no check has shown yet that the target serves again"
    if at - checked > timedelta(seconds=FRESH_CHECK_S):
        return f"the last check is {(at - checked).total_seconds():.0f} s old"
    return None


def _reopen(command: Reopen, incident: Incident, at: datetime) -> Decided:
    if incident.status is Status.MERGED:
        return Refusal(guard="not_merged", reason=f"it continues in {incident.merged_into}")
    if not incident.status.ended:
        return Refusal(guard="ended", reason="it is still open")
    # What a person sees is a symptom like any other: without one there is nothing to page for.
    seen = Symptom(
        kind=SymptomKind.REPORTED, target=incident.target, since=at, detail=command.reason
    )
    reopened = e.IncidentReopened(reason=command.reason, by=command.by)
    return (reopened, e.SymptomObserved(symptom=seen))


def _approve(command: Approve, incident: Incident, policy: Policy, at: datetime) -> Decided:
    state = incident.plan
    if state is None or state.ended:
        return Refusal(guard="waiting", reason="no plan is waiting for approval")
    if state.runnable:
        return Refusal(guard="waiting", reason="this plan needs no approval any more")
    if command.plan_id not in (None, state.plan.id):
        return Refusal(guard="same_plan", reason=f"the plan waiting now is {state.plan.id}")
    if command.digest and not state.plan.digest.startswith(command.digest):
        return Refusal(
            guard="same_plan",
            reason="the plan changed since it was shown",
            lifts="look at it again with `stanch show` and approve that one",
        )
    if at >= state.plan.expires_at:
        return Refusal(guard="not_expired", reason="the plan has expired")
    refusal = _glass(command, incident, state.plan, policy) if state.plan.lifted else None
    if refusal is not None:
        return refusal
    approved = e.PlanApproved(
        plan_id=state.plan.id,
        digest=state.plan.digest,
        by=command.by,
        overrides=state.plan.overrides,
    )
    return (approved,)


def _glass(command: Approve, incident: Incident, plan: Plan, policy: Policy) -> Refusal | None:
    """Who may approve a plan that overrides guards: a named person, and where policy has two,
    not the one who asked for it."""
    what = f"this plan overrides {', '.join(plan.overrides)}"
    if policy.person(command.by) is None:
        lifts = "`--as` with the id of one of the `people` of the policy."
        reason = f"{what}, and {command.by} is nobody the policy names"
        return Refusal(guard="named_person", reason=reason, lifts=lifts)
    alone = command.by == plan.asked_by
    if alone and policy.break_glass.people > 1:
        reason = f"{what}, and policy wants another person than {command.by} to approve it"
        return Refusal(guard="second_person", reason=reason, lifts="Anybody else of the policy.")
    if not command.digest:
        lifts = "The digest, as `stanch show` and the page have it."
        return Refusal(guard="same_plan", reason=f"{what}: say which plan it is", lifts=lifts)
    if alone and command.target != incident.target:
        lifts = f"`stanch approve` with `--target {incident.target}`."
        reason = f"{what}: whoever does that alone writes the name of the target"
        return Refusal(guard="target_named", reason=reason, lifts=lifts)
    return None
