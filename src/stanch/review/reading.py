"""A timeline sorted by what a review asks of it; nothing is concluded here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from stanch.model import events as e
from stanch.model.diagnosis import CauseFinding, DataAtRisk, Diagnosis, Verdict, known_by
from stanch.model.ids import DeliveryId, PersonId, PlanId, StepId
from stanch.model.messages import MessageKind
from stanch.model.risk import risk_known
from stanch.model.timeline import Recorded
from stanch.review.durations import Durations, durations
from stanch.review.names import Names, names_in

E = TypeVar("E", bound=e.Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One incident's timeline with its names and durations."""

    timeline: tuple[Recorded, ...]
    names: Names
    durations: Durations
    until: datetime | None
    """The moment of the review; None: only what the timeline itself says is known."""

    def all(self, kind: type[E]) -> list[tuple[datetime, E]]:
        """Every event of one kind with its time, oldest first."""
        return [(r.at, r.event) for r in self.timeline if isinstance(r.event, kind)]

    def events(self, kind: type[E]) -> list[E]:
        return [event for _, event in self.all(kind)]

    def last(self, kind: type[E]) -> E | None:
        found = self.events(kind)
        return found[-1] if found else None

    @property
    def opened(self) -> e.IncidentOpened | None:
        found = self.events(e.IncidentOpened)
        return found[0] if found else None

    @property
    def pages(self) -> list[tuple[datetime, e.MessageRaised]]:
        raised = self.all(e.MessageRaised)
        return [(at, m) for at, m in raised if m.message_kind is MessageKind.PAGE]

    @property
    def diagnosis(self) -> Diagnosis | None:
        """What people know it by; the newest of all where none names a cause."""
        made = [d.diagnosis for d in self.events(e.DiagnosisRecorded)]
        return self._known or (made[-1] if made else None)

    @property
    def _known(self) -> Diagnosis | None:
        named: Diagnosis | None = None
        for recorded in self.events(e.DiagnosisRecorded):
            named = known_by(named, recorded.diagnosis)
        return named

    @property
    def risk(self) -> DataAtRisk | None:
        """Whether data is at risk as people were told last; None: it was never opened."""
        if self.opened is None:
            return None
        named: Diagnosis | None = None
        for event in (r.event for r in self.timeline):
            if isinstance(event, e.IncidentReopened):
                named = None
            elif isinstance(event, e.DiagnosisRecorded):
                named = known_by(named, event.diagnosis)
        return risk_known(self.opened.data_at_risk, named)

    @property
    def causes_named(self) -> list[CauseFinding]:
        """The first cause of every diagnosis that dared to name one, oldest first."""
        named = [
            d.diagnosis.first
            for d in self.events(e.DiagnosisRecorded)
            if d.diagnosis.verdict is Verdict.CAUSE
        ]
        return [cause for cause in named if cause is not None]

    @property
    def unsettled_sendings(self) -> list[DeliveryId]:
        """Deliveries whose last attempt has no outcome: what became of it was never written."""
        last: dict[DeliveryId, bool] = {}
        for recorded in self.timeline:
            event = recorded.event
            if isinstance(event, e.DeliveryAttempted | e.DeliveryEnded):
                last[event.id] = isinstance(event, e.DeliveryEnded)
        return [delivery for delivery, settled in last.items() if not settled]

    @property
    def unsettled_steps(self) -> list[tuple[PlanId, StepId]]:
        """Steps about to be taken whose outcome was never written."""
        last: dict[tuple[PlanId, StepId], bool] = {}
        for recorded in self.timeline:
            event = recorded.event
            if isinstance(event, e.StepIntended | e.StepEnded | e.StepVerified):
                key = (event.plan_id, event.step_id)
                last[key] = not isinstance(event, e.StepIntended)
        return [step for step, settled in last.items() if not settled]

    @property
    def cause(self) -> CauseFinding | None:
        """What people know it by; None: no diagnosis dared to name one."""
        return self._known.first if self._known else None

    @property
    def ending(self) -> e.Event | None:
        """How it stands: the last of opened, rescued, resolved, reopened, merged."""
        kinds = (
            e.IncidentOpened,
            e.IncidentRescued,
            e.IncidentResolved,
            e.IncidentReopened,
            e.IncidentMerged,
        )
        standing = [r.event for r in self.timeline if isinstance(r.event, kinds)]
        relapsed = self.durations.outages and self.durations.outages[-1].end is None
        last = standing[-1] if standing else None
        if isinstance(last, e.IncidentRescued) and relapsed:
            return self.opened
        return last


def read(
    timeline: Sequence[Recorded], *, people: Mapping[PersonId, str], until: datetime | None
) -> Reading:
    return Reading(
        timeline=tuple(timeline),
        names=names_in(timeline, people),
        durations=durations(timeline),
        until=until,
    )
