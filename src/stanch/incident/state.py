"""What a timeline adds up to at its head. Bounded: the history itself is never kept here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

from stanch.model.diagnosis import DataAtRisk, Diagnosis
from stanch.model.events import (
    ChangesNoted,
    MessageRaised,
    PastNoted,
    PlanWithheld,
    StepIntended,
)
from stanch.model.ids import DeliveryId, IncidentId, MessageId, PersonId, StepId, TargetName
from stanch.model.messages import MessageKind
from stanch.model.plans import Mode, Plan, StepOutcome
from stanch.model.risk import risk_known
from stanch.model.symptoms import Symptom
from stanch.policy.rules.moments import wrong_now
from stanch.policy.rules.planned import held_in_maintenance

K = TypeVar("K")
V = TypeVar("V")


def frozen(items: Mapping[K, V]) -> Mapping[K, V]:
    """A read-only copy."""
    return MappingProxyType(dict(items))


class Status(StrEnum):
    OPEN = "open"
    RESCUED = "rescued"
    """Serves again for a whole window; watched for stability before it may be called resolved."""
    RESOLVED = "resolved"
    MERGED = "merged"

    @property
    def ended(self) -> bool:
        return self in (Status.RESOLVED, Status.MERGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryState:
    """How far one delivery has come."""

    attempts: int = 0
    in_flight: bool = False
    """Attempted without an outcome: in doubt if the process that attempted it is gone."""
    possible_repeat: bool = False
    """An earlier attempt may have gone through."""
    last_at: datetime | None = None
    accepted: bool = False
    given_up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageState:
    """One message and its deliveries; dropped from the state once nothing is left to deliver."""

    raised: MessageRaised
    raised_at: datetime
    deliveries: Mapping[DeliveryId, DeliveryState]

    @property
    def settled(self) -> bool:
        return all(d.accepted or d.given_up for d in self.deliveries.values())

    @property
    def lost(self) -> bool:
        """A page that no person got; that a shared channel took it wakes nobody."""
        if self.raised.message_kind is not MessageKind.PAGE:
            return False
        personal = [d.id for d in self.raised.deliveries if d.person is not None]
        ids = personal or [d.id for d in self.raised.deliveries]
        return all(self.deliveries[delivery_id].given_up for delivery_id in ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """How far one step of the current plan has come."""

    intended: StepIntended | None = None
    """The newest intent without outcome: the step may be under way, or in doubt."""
    intended_by: str = ""
    abandoned: bool = False
    """The process that intended it is gone: its successor has taken over the same journal."""
    attempts: int = 0
    outcome: StepOutcome | None = None
    verified: bool | None = None
    detail: str = ""

    @property
    def unsettled(self) -> bool:
        """Begun, and nobody has yet looked on the target what became of it."""
        if self.outcome is None:
            return self.intended is not None
        looked_for = (StepOutcome.DONE, StepOutcome.IN_DOUBT)
        return self.outcome in looked_for and self.verified is None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanState:
    plan: Plan
    proposed_seq: int
    approved_by: PersonId | None = None
    steps: Mapping[StepId, StepState] = field(default_factory=lambda: frozen({}))
    ended: bool = False
    completed: bool = False
    ended_reason: str = ""
    ended_at: datetime | None = None

    @property
    def runnable(self) -> bool:
        return not self.ended and (self.plan.mode is Mode.ACT or self.approved_by is not None)

    @property
    def effects(self) -> tuple[StepState, ...]:
        """Of the steps that change something."""
        return tuple(self.steps[step.id] for step in self.plan.effects)

    @property
    def begun(self) -> bool:
        """Something was changed, or may have been; what was only read does not count."""
        return any(step.attempts for step in self.effects)


@dataclass(frozen=True, slots=True, kw_only=True)
class RescueState:
    """The unbroken run of good looks at the target, if there is one."""

    ok_since: datetime | None = None
    ok_seq: int = 0
    """The event of the first good look of this run."""
    ok_checks: int = 0
    last_at: datetime | None = None
    last_ok: bool = False
    last_detail: str = ""
    last_parts: tuple[bool | None, bool | None, bool | None] = (None, None, None)
    """Login, write and headroom of the last look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelState:
    """How far an incident has come in the levels over time."""

    clock_from: datetime | None = None
    """When it was opened, came back, or relapsed."""
    clock_seq: int = 0
    reached_s: float = 0.0
    """Where the newest level that was reached begins."""
    seq: int = 0
    reached_at: datetime | None = None
    name: str = ""
    says: str = ""
    page: tuple[PersonId, ...] = ()
    """Who has yet to be paged for it."""
    propose: str = ""
    """The runbook of which a plan has yet to be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateOwed:
    """Something people who know of the incident have to be told."""

    rule: str
    seq: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One incident at `seq`."""

    id: IncidentId
    seq: int = 0
    status: Status = Status.OPEN
    target: TargetName = TargetName("")
    title: str = ""
    opened_at: datetime | None = None
    since: datetime | None = None
    """Onset, as far as the samples tell."""
    page_after_s: float = 0.0
    """So long, from `down_at` on, a server that is down is left to whoever restarts it."""
    down_at: datetime | None = None
    """When the server was first seen to be down since it was opened, reopened, or came back."""
    policy_hash: str = ""
    severity_rank: int = 4
    severity_label: str = ""
    data_at_risk: DataAtRisk = "possible"
    declared_by: PersonId | None = None
    drill: bool = False

    symptoms: Mapping[str, Symptom] = field(default_factory=lambda: frozen({}))
    """Standing ones, by key."""
    attached: Mapping[str, Symptom] = field(default_factory=lambda: frozen({}))
    """What stands elsewhere in its cluster and is an effect of it, by key; see `effects`."""
    seen: frozenset[str] = frozenset()
    """Keys of all symptoms there ever were."""
    met: frozenset[str] = frozenset()
    """Keys of those since it was opened, or reopened last."""
    unpaged: frozenset[str] = frozenset()
    """Keys of those that stand and that no page has told of."""
    lapsed: frozenset[str] = frozenset()
    """Keys of those that were never over: they only count as usual by now."""
    symptoms_seq: int = 0
    """When the newest symptom joined: a diagnosis older than this is stale."""
    symptoms_at: datetime | None = None
    cleared_at: datetime | None = None
    """Since when nothing is observed to be wrong; None while something is."""

    changes: ChangesNoted | None = None
    """What was seen to change before it opened; None: nothing was."""

    past: PastNoted | None = None
    """Incidents of before that look like it, as compared last."""

    acknowledged_by: PersonId | None = None
    acknowledged_at: datetime | None = None

    diagnosis: Diagnosis | None = None
    named: Diagnosis | None = None
    """The newest diagnosis that named a cause: what people are told, also once it is over."""
    diagnosis_seq: int = 0
    diagnoses: int = 0
    diagnosed_at: datetime | None = None

    paging_seq: int = 0
    """The event that started the present paging: opening or reopening."""
    paging_from: datetime | None = None
    page_held_until: datetime | None = None
    silenced: Mapping[str, datetime] = field(default_factory=lambda: frozen({}))
    """Rules, or single symptoms by their key, that nobody is paged for, each until a moment."""
    page_level: int = 0
    """Escalation level of the newest page of the present paging; 0: nobody was paged yet."""
    paged_at: datetime | None = None
    page_lost: bool = False
    """The newest page reached nobody: every hand-over to a person was refused for good."""
    noticed_seq: int = 0
    """The `paging_seq` for which people were told without being paged."""
    reopens: int = 0
    """How often it came back by itself."""
    paged: frozenset[PersonId] = frozenset()
    messages: Mapping[MessageId, MessageState] = field(default_factory=lambda: frozen({}))
    messages_raised: int = 0
    updates_owed: tuple[UpdateOwed, ...] = ()

    plan: PlanState | None = None
    plans_tried: int = 0
    """Plans of which something was done."""
    acts: tuple[tuple[str, datetime], ...] = ()
    """The last actions that were begun and not refused, with their moments."""
    plans_refused: int = 0
    """Plans that ended before anything was touched."""
    withheld: PlanWithheld | None = None
    withheld_seq: int = 0

    levels: LevelState = field(default_factory=LevelState)
    rescue: RescueState = field(default_factory=RescueState)
    rescued_at: datetime | None = None
    ended_at: datetime | None = None
    ended_verified: bool = False
    merged_into: IncidentId | None = None

    unknown_kinds: frozenset[str] = frozenset()
    """Events of a newer release: page and show, do not decide or act."""

    @property
    def standing(self) -> bool:
        """Is anything observed to be wrong right now?"""
        return bool(wrong_now(self.symptoms, self.met))

    @property
    def everything(self) -> Mapping[str, Symptom]:
        """All that stands in it, wherever it was seen."""
        return {**self.symptoms, **self.attached}

    def speaks_at(self) -> datetime | None:
        """When the first of what stands is no longer silenced. None: something is not silenced.

        Of an incident in which nothing stands any more, all that ever stood counts.
        """
        ends = [self._speaks_at(key) for key in self.symptoms or self.seen]
        known = [until for until in ends if until is not None]
        return min(known, default=None) if len(known) == len(ends) else None

    def held_until(self) -> datetime | None:
        """Before this nobody is told of what stands: it is silenced, or planned work explains it.

        None: something is neither. Of an incident in which nothing stands, all that ever stood
        counts.
        """
        ends = [self._quiet_until(key) for key in self.symptoms or self.seen]
        known = [until for until in ends if until is not None]
        return min(known, default=None) if len(known) == len(ends) else None

    def _quiet_until(self, key: str) -> datetime | None:
        silenced = self._speaks_at(key)
        held = self.page_held_until if held_in_maintenance(key) else None
        return max((end for end in (silenced, held) if end is not None), default=None)

    def _speaks_at(self, key: str) -> datetime | None:
        ends = (self.silenced.get(key), self.silenced.get(key.partition(":")[0]))
        return max((end for end in ends if end is not None), default=None)

    def silent(self, at: datetime) -> bool:
        """Whether all that stands in it is silenced at this moment."""
        until = self.speaks_at()
        return until is not None and at < until

    @property
    def told(self) -> bool:
        """Somebody knows of it: was paged, or given notice."""
        return self.page_level > 0 or 0 < self.noticed_seq == self.paging_seq

    @property
    def risk(self) -> DataAtRisk:
        """Whether data is at risk, as far as is known now."""
        return risk_known(self.data_at_risk, self.named)

    @property
    def short_id(self) -> str:
        """What people type: the counter without the day."""
        return self.id.rsplit("-", 1)[-1]
