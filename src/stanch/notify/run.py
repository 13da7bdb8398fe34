"""Handing one message to one channel; what came of it is stored elsewhere."""

from __future__ import annotations

import asyncio

from stanch.model.changes import NotedChange
from stanch.model.events import MessageRaised
from stanch.model.ids import IncidentId, TargetName
from stanch.model.links import Link
from stanch.model.messages import Delivery, Handover, Message
from stanch.model.ports.channels import ChannelPort, HandoverResult

GRACE_S = 1.0
"""Beyond its deadline a channel gets this long to say what it knows."""


async def hand_over(
    raised: MessageRaised,
    delivery: Delivery,
    port: ChannelPort,
    *,
    incident_id: IncidentId,
    target: TargetName,
    severity_rank: int,
    possible_repeat: bool,
    deadline_s: float,
    links: tuple[Link, ...] = (),
    changes: tuple[NotedChange, ...] = (),
) -> HandoverResult:
    """One attempt; answers by the deadline and a little grace even where the channel does not.

    The caller has made `attempted` durable before and writes `ended` after. Cancelled in between,
    the attempt has no outcome, and whoever resumes must take it to be in doubt.
    """
    message = Message(
        id=raised.id,
        incident_id=incident_id,
        kind=raised.message_kind,
        subject=raised.subject,
        short=raised.short,
        body=raised.body,
        thread=incident_id,
        possible_repeat=possible_repeat,
        severity_rank=severity_rank,
        target=target,
        links=links,
        changes=changes,
    )
    try:
        async with asyncio.timeout(deadline_s + GRACE_S):
            return await port.send(message, delivery, deadline_s=deadline_s)
    except TimeoutError:
        detail = f"the channel said nothing within {deadline_s + GRACE_S:g} s"
        return HandoverResult(outcome=Handover.IN_DOUBT, detail=detail)
