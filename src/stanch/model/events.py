"""Everything that can happen to an incident, and to the responder itself.

An event is a *decision* (refused when its writer had not read the newest events) or a *fact*
(sent, acted, observed: never refused, at worst marked late). Kinds end in a version; a change of
shape is a new version, and old ones stay readable for ever (tests/fixtures/timelines/).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from stanch.model.changes import NotedChange
from stanch.model.codec import CodecError, decode, encode
from stanch.model.diagnosis import DataAtRisk, Diagnosis
from stanch.model.ids import (
    BlobKey,
    CauseId,
    CommandId,
    DeliveryId,
    IncidentId,
    MessageId,
    ObligationId,
    PersonId,
    PlanId,
    StepId,
    TargetName,
)
from stanch.model.memory import PastIncident
from stanch.model.messages import Delivery, Handover, MessageKind
from stanch.model.plans import Plan, Refusal, StepOutcome
from stanch.model.symptoms import Symptom

Nature = Literal["decision", "fact"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events; `kind` is what is stored beside the body."""

    kind: ClassVar[str] = ""
    nature: ClassVar[Nature] = "fact"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commanded(Event):
    """Base of the events that a person's command can lead to."""

    command_id: CommandId | None = None
    """The command it came from: one that arrives again finds here that it was done. None: no
    command, or none that said which one it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownEvent(Event):
    """An event of a release this one does not know: page and show, do not decide or act."""

    kind: ClassVar[str] = "unknown"
    stored_kind: str
    body: str


# --- the incident's life ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentOpened(Commanded):
    """Something is wrong with a target."""

    kind: ClassVar[str] = "incident.opened.v1"
    nature: ClassVar[Nature] = "decision"
    target: TargetName
    title: str
    symptom: Symptom
    severity_rank: int
    severity_label: str
    severity_reason: str
    data_at_risk: DataAtRisk
    policy_hash: str
    """The policy in force; what is due is computed from this one."""
    page_after_s: float
    """How long nobody is paged, because a restart may heal it by itself."""
    declared_by: PersonId | None = None
    drill: bool = False
    page_after_source: str = ""
    """Why so long: what the policy says, or who restarts the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SymptomObserved(Event):
    """A symptom joined the incident, or came back."""

    kind: ClassVar[str] = "symptom.observed.v1"
    symptom: Symptom
    page_after_s: float | None = None
    """Where the server went down in an incident that was open: how long nobody is paged for that,
    because a restart may heal it by itself. None: as it was said before."""
    page_after_source: str = ""
    """Why so long: what the policy says, or who restarts the server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SymptomCleared(Event):
    """A symptom is no longer observed."""

    kind: ClassVar[str] = "symptom.cleared.v1"
    key: str
    detail: str = ""
    lapsed: bool = False
    """It still is so, and is only no longer told: it counts as usual from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveritySet(Commanded):
    """The severity changed; timers follow."""

    kind: ClassVar[str] = "severity.set.v1"
    nature: ClassVar[Nature] = "decision"
    rank: int
    label: str
    reason: str
    by: PersonId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentAcknowledged(Commanded):
    """A person has taken the incident: nobody else is paged for it."""

    kind: ClassVar[str] = "incident.acknowledged.v1"
    nature: ClassVar[Nature] = "decision"
    by: PersonId
    via: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteAdded(Commanded):
    """A person wrote something down."""

    kind: ClassVar[str] = "note.added.v1"
    by: PersonId
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRescued(Event):
    """Checked on the database for the whole stated window: it serves again."""

    kind: ClassVar[str] = "incident.rescued.v1"
    nature: ClassVar[Nature] = "decision"
    window_s: float
    checks: int
    detail: str
    obligation: ObligationId


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentResolved(Commanded):
    """The incident is over. `verified` is False only where a person said so without proof."""

    kind: ClassVar[str] = "incident.resolved.v1"
    nature: ClassVar[Nature] = "decision"
    verified: bool
    reason: str
    by: PersonId | None = None
    self_healed: bool = False
    """It was over before anybody was due to be paged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentReopened(Commanded):
    """It is not over after all."""

    kind: ClassVar[str] = "incident.reopened.v1"
    nature: ClassVar[Nature] = "decision"
    reason: str
    by: PersonId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentMerged(Event):
    """The same failure is told by another timeline; this one ends here."""

    kind: ClassVar[str] = "incident.merged.v1"
    nature: ClassVar[Nature] = "decision"
    into: IncidentId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentTakenIn(Event):
    """An incident merged into this one: its failure is the cause of what that one told.

    Whom a page of that one has reached knows already: they get one update, and no second page.
    """

    kind: ClassVar[str] = "incident.taken_in.v1"
    of: IncidentId
    target: TargetName
    title: str
    page_level: int = 0
    """Escalation level of its newest page; 0: no page of it has reached anybody."""
    paged_at: datetime | None = None
    paged: tuple[PersonId, ...] = ()
    acknowledged_by: PersonId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageHeld(Event):
    """Nobody is paged before a moment, because the trouble is expected; a past moment lifts it.

    It holds nothing by which data may be at risk, except that the server is down.
    """

    kind: ClassVar[str] = "page.held.v1"
    nature: ClassVar[Nature] = "decision"
    until: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSilenced(Event):
    """Nobody is paged while nothing stands but symptoms of silenced rules; a past moment lifts it.

    A symptom of any other rule pages as ever, also in the same incident.
    """

    kind: ClassVar[str] = "rule.silenced.v1"
    nature: ClassVar[Nature] = "decision"
    rule: str
    until: datetime
    reason: str
    subject: str = ""
    """Which volume, slot or service alone; empty: all."""

    @property
    def key(self) -> str:
        """That of the symptoms it is about, or of their rule."""
        return f"{self.rule}:{self.subject}" if self.subject else self.rule


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyApplied(Event):
    """From here on another policy is in force."""

    kind: ClassVar[str] = "policy.applied.v1"
    policy_hash: str
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponderResumed(Event):
    """The responder came back after being away; whatever was in flight is in doubt."""

    kind: ClassVar[str] = "responder.resumed.v1"
    away_since: datetime | None
    """The last moment it is known to have been watching: its newest entry. It may have watched on
    for long after that, with nothing to write down."""


# --- diagnosis ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisRecorded(Event):
    """What was found, ranked, with evidence for, against and missing."""

    kind: ClassVar[str] = "diagnosis.recorded.v1"
    diagnosis: Diagnosis
    evidence: BlobKey | None = None


# --- messages -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRaised(Event):
    """Somebody is to be told. The deliveries say over which channels, to which addresses."""

    kind: ClassVar[str] = "message.raised.v1"
    nature: ClassVar[Nature] = "decision"
    id: MessageId
    message_kind: MessageKind
    level: int
    """Place in the escalation, from 1; 0 for updates."""
    persons: tuple[PersonId, ...]
    deliveries: tuple[Delivery, ...]
    reason: str
    subject: str
    short: str
    body: str
    obligation: ObligationId


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAttempted(Event):
    """About to hand one message over; without an outcome after it, the hand-over is in doubt."""

    kind: ClassVar[str] = "delivery.attempted.v1"
    id: DeliveryId
    message_id: MessageId
    attempt: int
    possible_repeat: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryEnded(Event):
    """What came of an attempt to hand a message over."""

    kind: ClassVar[str] = "delivery.outcome.v1"
    id: DeliveryId
    message_id: MessageId
    attempt: int
    outcome: Handover
    detail: str = ""
    retryable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PagedUnrecorded(Event):
    """People were paged from memory while the journal could not be written; told afterwards."""

    kind: ClassVar[str] = "page.unrecorded.v1"
    sent_at: datetime
    persons: tuple[PersonId, ...]
    short: str
    outcomes: tuple[str, ...]
    """One a delivery: channel, person, what came of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnrecordedLost(Event):
    """Pages were sent from memory of which not even the spool has kept a record."""

    kind: ClassVar[str] = "page.unrecorded_lost.v1"
    entries: int
    """At most so many: what gave way to newer ones, was torn, or could not be written."""


# --- acting -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanProposed(Event):
    """A runbook became a plan bound to facts. `act` plans need no approval."""

    kind: ClassVar[str] = "plan.proposed.v1"
    nature: ClassVar[Nature] = "decision"
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequested(Commanded):
    """A person wants this runbook followed: the next entry is its plan, or it was refused."""

    kind: ClassVar[str] = "plan.requested.v1"
    nature: ClassVar[Nature] = "decision"
    runbook: str
    by: PersonId
    refusal: Refusal | None = None
    overrides: tuple[str, ...] = ()
    """Guards whose no the person wants to override, and `why`."""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelReached(Event):
    """So long without rescue that something else holds from here on, as policy has it."""

    kind: ClassVar[str] = "level.reached.v1"
    nature: ClassVar[Nature] = "decision"
    name: str
    after_s: float
    """Since the incident was opened, or came back."""
    asks: bool = False
    """Something that ran by itself before waits for a person from here on."""
    page: tuple[PersonId, ...] = ()
    """Who is paged for it, and for levels that nobody was there to reach."""
    propose: str = ""
    """The runbook of which a plan is made now."""
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanWithheld(Event):
    """There is something to do, but not by Stanch: no runbook, a guard, or policy; with options."""

    kind: ClassVar[str] = "plan.withheld.v1"
    nature: ClassVar[Nature] = "decision"
    cause: str
    refusal: Refusal
    options: tuple[str, ...] = ()
    action: str = ""
    """The one that was refused; empty: it was not about one of them."""
    """What a person could do, safest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanApproved(Commanded):
    """A person approved exactly this plan."""

    kind: ClassVar[str] = "plan.approved.v1"
    nature: ClassVar[Nature] = "decision"
    plan_id: PlanId
    digest: str
    by: PersonId
    overrides: tuple[str, ...] = ()
    """Guards that it overrides; people are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanEnded(Event):
    """No further step of this plan will run."""

    kind: ClassVar[str] = "plan.ended.v1"
    nature: ClassVar[Nature] = "decision"
    plan_id: PlanId
    completed: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepIntended(Event):
    """About to act. Nothing may be touched before this is durable, nor after `act_before`."""

    kind: ClassVar[str] = "step.intended.v1"
    nature: ClassVar[Nature] = "decision"
    plan_id: PlanId
    step_id: StepId
    action: str
    attempt: int
    epoch: int
    """The lease epoch under which it is intended."""
    act_before: datetime
    """For people and for other machines: after this moment the step cannot have begun."""
    act_before_boot_ns: int
    """CLOCK_BOOTTIME, what the acting process compares: a wall clock may jump."""
    boot_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnded(Event):
    """What came of an attempted step."""

    kind: ClassVar[str] = "step.outcome.v1"
    plan_id: PlanId
    step_id: StepId
    attempt: int
    outcome: StepOutcome
    detail: str
    refusal: Refusal | None = None
    before: str = ""
    """Evidence kept from right before acting, shortened."""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepVerified(Event):
    """Looked on the target whether the step had its effect."""

    kind: ClassVar[str] = "step.verified.v1"
    plan_id: PlanId
    step_id: StepId
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RescueChecked(Event):
    """One look at whether the target really serves: logins, writes, headroom, retainer."""

    kind: ClassVar[str] = "rescue.checked.v1"
    ok: bool
    detail: str
    login_ok: bool | None = None
    write_ok: bool | None = None
    headroom_ok: bool | None = None
    after_gap: bool = False
    """Nobody had looked for longer than planned: what was seen before proves nothing now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceKept(Event):
    """Something was set aside so that it survives what comes next."""

    kind: ClassVar[str] = "evidence.kept.v1"
    name: str
    blob: BlobKey
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesNoted(Event):
    """What was seen to change at the target in the hours before the incident opened or reopened."""

    kind: ClassVar[str] = "changes.noted.v1"
    since: datetime
    changes: tuple[NotedChange, ...]
    """Newest first."""
    more: int = 0
    """So many others are left out here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PastNoted(Event):
    """Incidents of before that look like this one, with what ended them."""

    kind: ClassVar[str] = "past.noted.v1"
    cause: CauseId
    """The cause that this one had when it was compared."""
    incidents: tuple[PastIncident, ...]
    """The most alike first."""


# --- the responder itself (stream RESPONDER) ----------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltSet(Commanded):
    """Stanch does not act on any target until it is lifted."""

    kind: ClassVar[str] = "halt.set.v1"
    by: PersonId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltLifted(Commanded):
    """Stanch may act again where policy says so."""

    kind: ClassVar[str] = "halt.lifted.v1"
    by: PersonId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceSet(Commanded):
    """Expected trouble on a target until a moment: nobody is paged for it, everything is kept.

    What may cost data pages as ever.
    """

    kind: ClassVar[str] = "maintenance.set.v1"
    target: TargetName
    until: datetime
    by: PersonId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceEnded(Commanded):
    """Trouble on the target is unexpected again."""

    kind: ClassVar[str] = "maintenance.ended.v1"
    target: TargetName
    by: PersonId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceSet(Commanded):
    """Nobody is paged for one rule on a target until a moment; every other rule pages as ever.

    What is more severe than it was meant for pages, too.
    """

    kind: ClassVar[str] = "silence.set.v1"
    target: TargetName
    rule: str
    until: datetime
    by: PersonId
    reason: str
    subject: str = ""
    """Which volume, slot or service alone; empty: all."""
    up_to: int = 1
    """The worst severity that it holds, 1 the worst there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceEnded(Commanded):
    """The rule pages again on that target."""

    kind: ClassVar[str] = "silence.ended.v1"
    target: TargetName
    rule: str
    by: PersonId
    reason: str
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyLearned(Event):
    """A server was seen to receive the WAL of another one: they are one cluster."""

    kind: ClassVar[str] = "topology.learned.v1"
    target: TargetName
    """The standby."""
    upstream: TargetName
    cluster: str
    """The system identifier that both have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyForgotten(Event):
    """They are not one cluster any more."""

    kind: ClassVar[str] = "topology.forgotten.v1"
    target: TargetName
    upstream: TargetName
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindnessEntered(Event):
    """The responder cannot tell the state of its targets apart from its own trouble."""

    kind: ClassVar[str] = "blindness.entered.v1"
    reason: str
    targets: tuple[TargetName, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindnessLeft(Event):
    """The responder sees again."""

    kind: ClassVar[str] = "blindness.left.v1"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponderStarted(Event):
    """`stanch run` began watching."""

    kind: ClassVar[str] = "responder.started.v1"
    version: str
    host: str
    pid: int
    policy_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponderStopped(Event):
    """`stanch run` ended on purpose."""

    kind: ClassVar[str] = "responder.stopped.v1"
    reason: str


def _kinds() -> dict[str, type[Event]]:
    """Every event of this module, in the order in which they stand here."""
    found = [v for v in globals().values() if isinstance(v, type) and issubclass(v, Event)]
    return {cls.kind: cls for cls in found if cls.kind not in ("", UnknownEvent.kind)}


KINDS: dict[str, type[Event]] = _kinds()


def to_body(event: Event) -> bytes:
    """The exact bytes that are hashed and stored."""
    if isinstance(event, UnknownEvent):
        return event.body.encode()
    return encode(event)


def from_body(kind: str, body: bytes) -> Event:
    """The event behind stored bytes; an `UnknownEvent` where this release cannot read it."""
    cls = KINDS.get(kind)
    if cls is None:
        return UnknownEvent(stored_kind=kind, body=body.decode("utf-8", "replace"))
    try:
        return decode(cls, body)
    except CodecError:
        return UnknownEvent(stored_kind=kind, body=body.decode("utf-8", "replace"))


def stored_kind(event: Event) -> str:
    """The kind to store beside the body."""
    return event.stored_kind if isinstance(event, UnknownEvent) else event.kind


def obligation_of(event: Event) -> ObligationId | None:
    """The obligation this event fulfils; a store lets each be fulfilled once per incident."""
    if isinstance(event, Commanded):
        return None if event.command_id is None else obligation_to(event.command_id)
    return getattr(event, "obligation", None)


def obligation_to(command_id: CommandId) -> ObligationId:
    """What a command asks for, to be fulfilled once however often it arrives."""
    return ObligationId(f"command/{command_id}")
