"""Paging from memory while the journal cannot be written: always page, never act.

Duplicates are allowed here and a missing page is not. What was sent is kept in the spool, which
needs no free space, and told to the timeline once it can be written again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from stanch.incident.due import due
from stanch.incident.state import Incident
from stanch.incident.work import Job
from stanch.model import events as e
from stanch.model.codec import CodecError, decode
from stanch.model.ids import (
    RESPONDER,
    ChannelName,
    IncidentId,
    MessageId,
    ObligationId,
    PersonId,
)
from stanch.model.messages import Delivery, Handover, MessageKind
from stanch.model.ports.channels import ChannelPort
from stanch.model.symptoms import Symptom
from stanch.notify.deliveries import page_deliveries
from stanch.notify.run import hand_over
from stanch.notify.story import Story
from stanch.notify.texts import page_text
from stanch.policy.links import filled
from stanch.policy.policy import Policy
from stanch.service.clock import Clock
from stanch.service.doing.paging import links_of, story_of
from stanch.service.record.book import Book
from stanch.service.record.policies import Policies

DEADLINE_S = 10.0
OPENED_WITHIN_S = 60.0
"""So long after the journal's return a page from memory waits for its incident to be opened."""

UNRECORDED = IncidentId("unrecorded")
WHY = "Stanch cannot write its journal and acts on nothing"

log = structlog.get_logger("emergency")


class Spool(Protocol):
    """Where events go that the journal cannot take (`store.spool.Spool`)."""

    def put(self, kind: str, at: datetime, *, incident_hint: str, body: bytes) -> bool: ...


class SpooledEvent(Protocol):
    @property
    def at(self) -> datetime: ...

    @property
    def incident_hint(self) -> IncidentId: ...

    @property
    def body(self) -> bytes: ...


class Emergency:
    """Pages the whole ladder, again and again, because no acknowledgement can be kept."""

    def __init__(
        self,
        *,
        book: Book,
        policies: Policies,
        clock: Clock,
        ports: Callable[[], Mapping[ChannelName, ChannelPort]],
        spool: Spool,
    ) -> None:
        self._book = book
        self._policies = policies
        self._clock = clock
        self._ports = ports
        self._spool = spool
        self._told_at: dict[str, datetime] = {}
        self._vain_at = clock.now()
        """When the journal was last known not to take anything; at first, our own start."""
        self._numbers = 0

    async def symptom(self, symptom: Symptom) -> None:
        """New trouble that could not be opened as an incident."""
        self._vain_at = self._clock.now()
        policy = self._policies.current
        story = Story(
            incident_id=UNRECORDED,
            target=symptom.target,
            title=f"{symptom.key.replace('_', ' ')}. {WHY}",
            since=symptom.since,
            severity_label=policy.severity(1).label,
            data_at_risk="possible",
            symptoms=(symptom,),
            people={p.id: p.name for p in policy.people},
            links=filled(
                target.links if (target := policy.target(symptom.target)) else (),
                target=symptom.target,
                began=symptom.since,
                until=self._clock.now(),
            ),
        )
        await self._page(f"{symptom.target}/{symptom.key}", story, policy)

    async def overdue(self) -> None:
        """Pages of known incidents that are due and cannot be written down."""
        now = self._vain_at = self._clock.now()
        for incident in self._book.known():
            policy = self._policies.for_incident(incident.policy_hash)
            if any(d.at <= now and _pages(d.job, incident) for d in due(policy, incident, now)):
                story = story_of(incident, policy)
                title, links = f"{story.title}. {WHY}", links_of(incident, policy, now)
                await self._page(incident.id, replace(story, title=title, links=links), policy)

    async def _page(self, key: str, story: Story, policy: Policy) -> None:
        now = self._clock.now()
        again_after = timedelta(seconds=policy.severity(1).ack_within_s)
        told_at = self._told_at.get(key)
        if told_at is not None and now - told_at < again_after:
            return
        self._told_at[key] = now
        raised = self._raised(story, policy, now)
        outcomes = await asyncio.gather(
            *(self._hand_over(raised, delivery, story) for delivery in raised.deliveries)
        )
        log.error("paged from memory", incident=story.incident_id, outcomes=outcomes)
        told = e.PagedUnrecorded(
            sent_at=now, persons=raised.persons, short=raised.short, outcomes=tuple(outcomes)
        )
        self._spool.put(told.kind, now, incident_hint=story.incident_id, body=e.to_body(told))

    def _raised(self, story: Story, policy: Policy, now: datetime) -> e.MessageRaised:
        self._numbers += 1
        text = page_text(story, at=now)
        message_id = MessageId(f"{story.incident_id}.emergency.{now:%Y%m%d%H%M%S}.{self._numbers}")
        persons: tuple[PersonId, ...] = tuple(dict.fromkeys(policy.ladder))
        return e.MessageRaised(
            id=message_id,
            message_kind=MessageKind.PAGE,
            level=1,
            persons=persons,
            deliveries=page_deliveries(policy, persons, message_id=message_id),
            reason=WHY,
            subject=text.subject,
            short=text.short,
            body=text.body,
            obligation=ObligationId(""),
        )

    async def _hand_over(self, raised: e.MessageRaised, delivery: Delivery, story: Story) -> str:
        who = f"{delivery.channel} {delivery.person or ''}".strip()
        port = self._ports().get(delivery.channel)
        if port is None:
            return f"{who}: no such channel"
        result = await hand_over(
            raised,
            delivery,
            port,
            incident_id=story.incident_id,
            target=story.target,
            severity_rank=1,
            possible_repeat=True,
            deadline_s=DEADLINE_S,
            links=story.links,
        )
        taken = result.outcome is Handover.ACCEPTED
        return f"{who}: accepted" if taken else f"{who}: {result.outcome.value} {result.detail}"

    async def tell(self, spooled: Sequence[SpooledEvent], *, lost: int = 0) -> bool:
        """The journal can be written again: what was spooled becomes facts of the timeline.

        So does that entries are missing: nobody is to think that the rest is all there was.
        False where the trouble they tell of is about to be opened as an incident: ask again.
        """
        if any(self._too_early(entry) for entry in spooled):
            return False
        for entry in spooled:
            try:
                told = decode(e.PagedUnrecorded, entry.body)
            except CodecError as error:
                log.error("a spooled event cannot be read", error=str(error))
                continue
            known = [i for i in self._book.known() if i.id == entry.incident_hint]
            belongs = known[0].id if known else self._newest_open() or RESPONDER
            await self._book.record(belongs, told)
        if lost:
            log.error("entries of the spool are lost", entries=lost)
            await self._book.record(
                self._newest_open() or RESPONDER, e.UnrecordedLost(entries=lost)
            )
        self._told_at.clear()
        return True

    def _too_early(self, entry: SpooledEvent) -> bool:
        """The watch tells the trouble again with its next sample, a moment after the spool does."""
        waited_s = (self._clock.now() - max(entry.at, self._vain_at)).total_seconds()
        unrecorded = entry.incident_hint == UNRECORDED and self._newest_open() is None
        return unrecorded and 0 <= waited_s < OPENED_WITHIN_S

    def _newest_open(self) -> IncidentId | None:
        """What unrecorded trouble was opened as by now; None where it healed before that."""
        opened = [i for i in self._book.known() if i.opened_at and not i.status.ended]
        return max((i.id for i in opened), default=None)


def _pages(job: Job, incident: Incident) -> bool:
    if job is Job.PAGE:
        return True
    waiting = incident.messages.values()
    return job is Job.DELIVER and any(m.raised.message_kind is MessageKind.PAGE for m in waiting)
