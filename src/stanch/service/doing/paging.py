"""From what is due to people being told: words, deliveries, hand-over, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

from stanch.incident.state import Incident, PlanState
from stanch.incident.titles import title_now
from stanch.incident.work import Due
from stanch.model import events as e
from stanch.model.ids import ChannelName, MessageId, PersonId, StepId
from stanch.model.links import Link
from stanch.model.messages import Delivery, Handover, MessageKind
from stanch.model.plans import StepOutcome
from stanch.model.ports.channels import ChannelPort
from stanch.model.ports.timelines import Timelines
from stanch.model.shown import moment
from stanch.model.symptoms import Symptom
from stanch.model.timeline import Claim
from stanch.notify.deliveries import (
    attempted,
    ended,
    page_deliveries,
    put_off_until,
    update_deliveries,
)
from stanch.notify.run import hand_over
from stanch.notify.story import Story
from stanch.notify.texts import News, PageText, page_text, update_text
from stanch.policy.links import filled
from stanch.policy.policy import Policy
from stanch.service.clock import Clock
from stanch.service.record.book import Book

HAND_OVER_DEADLINE_S = 12.0


class Paging:
    """Raises messages and hands them over; every attempt is written down before and after."""

    def __init__(
        self,
        *,
        book: Book,
        timelines: Timelines,
        clock: Clock,
        ports: Mapping[ChannelName, ChannelPort],
        heads: Callable[[], Mapping[str, str]],
    ) -> None:
        """`heads`: writer to `n:hash` of its newest entry; every message carries them away."""
        self._heads = heads
        self._book = book
        self._timelines = timelines
        self._clock = clock
        self.ports = ports

    async def page(self, claim: Claim, incident: Incident, due: Due, policy: Policy) -> None:
        """Page one level of the ladder, or the owners of what a person wants to override."""
        story, now = self._story(incident, policy), self._clock.now()
        if due.level:
            text = page_text(story, at=now)
        else:
            text = update_text(await self._news(incident, due), story, at=now)
        message_id = MessageId(f"{incident.id}.{incident.messages_raised + 1}")
        raised = _raised(
            due,
            text,
            message_id=message_id,
            kind=MessageKind.UPDATE if due.notice else MessageKind.PAGE,
            persons=due.persons,
            deliveries=page_deliveries(policy, due.persons, message_id=message_id),
        )
        await self._raise(claim, incident, raised)

    async def update(self, claim: Claim, incident: Incident, due: Due, policy: Policy) -> None:
        """Tell those who were paged what is new."""
        news = await self._news(incident, due)
        text = update_text(news, self._story(incident, policy), at=self._clock.now())
        message_id = MessageId(f"{incident.id}.{incident.messages_raised + 1}")
        known = dict.fromkeys((*policy.ladder, *policy.owners))
        persons = tuple(p for p in known if p in incident.paged)
        deliveries = update_deliveries(
            policy, persons, message_id=message_id, but_not=_author(news)
        )
        raised = _raised(
            due,
            text,
            message_id=message_id,
            kind=MessageKind.UPDATE,
            persons=persons,
            deliveries=deliveries,
        )
        await self._raise(claim, incident, raised)

    def _story(self, incident: Incident, policy: Policy) -> Story:
        anchors = tuple(f"{writer}:{head}" for writer, head in self._heads().items())
        links = links_of(incident, policy, self._clock.now())
        return replace(story_of(incident, policy), anchors=anchors, links=links)

    async def _raise(self, claim: Claim, seen: Incident, raised: e.MessageRaised) -> None:
        def decider(now_is: Incident, at: datetime) -> Sequence[e.Event]:
            # Acknowledged or resolved in the meantime: whatever is due then is due on its own.
            return (raised,) if now_is.seq == seen.seq else ()

        await self._book.decide(seen.id, decider, lease=claim)

    async def _news(self, incident: Incident, due: Due) -> News:
        seq = int(due.obligation.rsplit("@", 1)[-1])
        timeline = await self._timelines.read(incident.id, after_seq=seq - 1)
        return cast("News", timeline[0].event)

    # --- hand-over ---

    async def deliver(
        self, incident: Incident, dues: Sequence[Due], policy: Policy
    ) -> datetime | None:
        """Hand over everything that is due for one incident, side by side."""
        tries = [self._deliver(incident, due, policy) for due in dues]
        put_off = [at for at in await asyncio.gather(*tries) if at is not None]
        return min(put_off, default=None)

    async def _deliver(self, incident: Incident, due: Due, policy: Policy) -> datetime | None:
        message = incident.messages[due.message_id]
        state = message.deliveries[due.delivery_id]
        delivery = next(d for d in message.raised.deliveries if d.id == due.delivery_id)
        kind = message.raised.message_kind
        attempt = state.attempts + 1
        repeat = state.in_flight or state.possible_repeat
        begun = attempted(delivery, attempt=attempt, possible_repeat=repeat)
        await self._book.record(incident.id, begun)
        port = self.ports.get(delivery.channel)
        if port is None:
            gone = e.DeliveryEnded(
                id=delivery.id,
                message_id=delivery.message_id,
                attempt=attempt,
                outcome=Handover.FAILED,
                detail=f"channel {delivery.channel} is no longer in the policy",
                retryable=False,
            )
            await self._book.record(incident.id, gone)
            return None
        result = await hand_over(
            message.raised,
            addressed(delivery, message.raised, policy),
            port,
            incident_id=incident.id,
            target=incident.target,
            severity_rank=incident.severity_rank,
            possible_repeat=repeat,
            deadline_s=HAND_OVER_DEADLINE_S,
            links=links_of(incident, policy, self._clock.now()),
            changes=incident.changes.changes if incident.changes is not None else (),
        )
        await self._book.record(incident.id, ended(delivery, result, attempt=attempt, kind=kind))
        return put_off_until(result, kind=kind, at=self._clock.now())


def _raised(
    due: Due,
    text: PageText,
    *,
    message_id: MessageId,
    kind: MessageKind,
    persons: tuple[PersonId, ...],
    deliveries: tuple[Delivery, ...],
) -> e.MessageRaised:
    return e.MessageRaised(
        id=message_id,
        message_kind=kind,
        level=due.level,
        persons=persons,
        deliveries=tuple(without_address(d) for d in deliveries),
        reason=due.reason,
        subject=text.subject,
        short=text.short,
        body=text.body,
        obligation=due.obligation,
    )


# Addresses are personal: the chain, which is for ever, names the person and the contact's place;
# the address is looked up in the policy in force at the moment of hand-over.


def without_address(delivery: Delivery) -> Delivery:
    return replace(delivery, address="")


def addressed(delivery: Delivery, raised: e.MessageRaised, policy: Policy) -> Delivery:
    """The delivery with its address, as the policy in force has it."""
    person = policy.person(delivery.person) if delivery.person is not None else None
    if person is None:
        return delivery
    # Numbered as it was when it was raised: an address that two people share is there once.
    told = {d.person for d in raised.deliveries}
    persons = [p for p in raised.persons if p in told]
    numbered = {d.id: d for d in page_deliveries(policy, persons, message_id=raised.id)}
    same = numbered.get(delivery.id)
    if same is not None and (same.person, same.channel) == (delivery.person, delivery.channel):
        return replace(delivery, address=same.address)
    # The policy has changed since; any address of that person is better than none.
    addresses = [c.address for c in person.contacts if c.channel == delivery.channel]
    return replace(delivery, address=addresses[0]) if addresses else delivery


def _author(news: News) -> tuple[PersonId, ...]:
    return (news.by,) if isinstance(news, e.IncidentAcknowledged) else ()


# --- the story ----------------------------------------------------------------------------------


def story_of(incident: Incident, policy: Policy) -> Story:
    """What messages about an incident are written from."""
    assert incident.since is not None
    plan = incident.plan
    waiting = plan.plan if plan is not None and not plan.ended and not plan.runnable else None
    return Story(
        incident_id=incident.id,
        target=incident.target,
        title=title_now(incident),
        since=incident.since,
        severity_label=incident.severity_label,
        data_at_risk=incident.risk,
        symptoms=(*incident.symptoms.values(), *map(_elsewhere, incident.attached.values())),
        diagnosis=incident.named or incident.diagnosis,
        changes=incident.changes.changes if incident.changes is not None else (),
        past=incident.past.incidents if incident.past is not None else (),
        did=did(plan) if plan is not None else (),
        plan=waiting,
        withheld=incident.withheld,
        people={p.id: p.name for p in policy.people},
        level=level_told(incident),
        taken_by=incident.acknowledged_by,
        over=incident.status.ended,
        drill=incident.drill,
    )


def level_told(incident: Incident) -> str:
    """Which level the incident has reached, in one sentence; empty before the first."""
    levels = incident.levels
    if levels.reached_at is None or not levels.name:
        return ""
    told = f"Level {levels.name} since {moment(levels.reached_at)}"
    return f"{told}: {levels.says}" if levels.says else f"{told}."


def _elsewhere(symptom: Symptom) -> Symptom:
    """What stands on another server of the cluster, with the name of that server."""
    said = symptom.detail or symptom.kind.value.replace("_", " ")
    return replace(symptom, detail=f"on {symptom.target}: {said}")


def links_of(incident: Incident, policy: Policy, now: datetime) -> tuple[Link, ...]:
    """Where to look further, as the policy has it for this incident's target and time."""
    target = policy.target(incident.target)
    links = target.links if target is not None else ()
    until = incident.ended_at or now
    return filled(links, target=incident.target, began=incident.since, until=until)


def did(plan: PlanState) -> tuple[str, ...]:
    """What became of each step that was begun, in one sentence each."""
    return tuple(
        f"{(step.preview or step.action).rstrip('.')}: {_became(plan, step.id)}"
        for step in plan.plan.effects
        if plan.steps[step.id].attempts
    )


def _became(plan: PlanState, step_id: StepId) -> str:
    step = plan.steps[step_id]
    if step.outcome is None:
        return "under way"
    if step.verified is not None:
        return "done and verified" if step.verified else f"not effective ({step.detail})"
    if step.outcome is StepOutcome.DONE:
        return "done, being verified"
    return f"{step.outcome.value.replace('_', ' ')} ({step.detail})"
