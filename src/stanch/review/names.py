"""What ids in a timeline stand for: people, deliveries, steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stanch.model.events import MessageRaised, PlanProposed
from stanch.model.ids import DeliveryId, PersonId, PlanId, StepId
from stanch.model.messages import MessageKind
from stanch.model.plans import PlannedStep
from stanch.model.shown import shortened
from stanch.model.timeline import Recorded
from stanch.policy.quoting import printable

TEXT_CHARS_MAX = 400


def shown(text: str, chars_max: int = TEXT_CHARS_MAX) -> str:
    """Text from anywhere on one printable line of bounded length."""
    cut = text[: chars_max + 1]
    return shortened((cut if cut.isprintable() else printable(cut)).strip(), chars_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What one delivery carries, over what, to whom."""

    kind: MessageKind
    level: int
    channel: str
    person: PersonId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Looked up from the timeline itself, so that every sentence can name things."""

    people: Mapping[PersonId, str]
    sendings: Mapping[DeliveryId, Sending]
    steps: Mapping[tuple[PlanId, StepId], PlannedStep]

    def person(self, person: PersonId) -> str:
        return shown(self.people.get(person, person), 60) or "somebody"

    def persons(self, persons: Sequence[PersonId]) -> str:
        return ", ".join(self.person(p) for p in persons)

    def sending(self, delivery: DeliveryId) -> str:
        """Such as `page 2 to Ann over mail`."""
        sending = self.sendings.get(delivery)
        if sending is None:
            return f"message {shown(delivery, 60)}"
        what = f"page {sending.level}" if sending.kind is MessageKind.PAGE else "update"
        whom = f" to {self.person(sending.person)}" if sending.person else ""
        return f"{what}{whom} over {shown(sending.channel, 40)}"

    def step(self, plan: PlanId, step: StepId) -> str:
        planned = self.steps.get((plan, step))
        return shown(planned.action if planned else step, 60)


def names_in(timeline: Sequence[Recorded], people: Mapping[PersonId, str]) -> Names:
    """The names that a whole timeline gives away."""
    sendings: dict[DeliveryId, Sending] = {}
    steps: dict[tuple[PlanId, StepId], PlannedStep] = {}
    for recorded in timeline:
        event = recorded.event
        if isinstance(event, MessageRaised):
            for d in event.deliveries:
                sendings[d.id] = Sending(
                    kind=event.message_kind, level=event.level, channel=d.channel, person=d.person
                )
        elif isinstance(event, PlanProposed):
            steps |= {(event.plan.id, step.id): step for step in event.plan.steps}
    return Names(people=people, sendings=sendings, steps=steps)
