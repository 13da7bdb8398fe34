import asyncio
from typing import ClassVar

import pytest

from stanch.model.ids import IncidentId
from stanch.model.messages import Dedup, Delivery, Handover, Message, MessageKind
from stanch.model.ports.channels import ChannelPort, HandoverResult
from stanch.notify import run
from stanch.notify.run import hand_over
from timelines import ORDERS, page

RAISED = page()
[DELIVERY] = RAISED.deliveries


class Recording:
    """A channel that takes everything and remembers it."""

    dedup: ClassVar[Dedup] = Dedup.KEY

    def __init__(self) -> None:
        self.sent: list[tuple[Message, Delivery, float]] = []

    async def send(
        self, message: Message, delivery: Delivery, *, deadline_s: float
    ) -> HandoverResult:
        self.sent.append((message, delivery, deadline_s))
        return HandoverResult(outcome=Handover.ACCEPTED, detail="taken")


class Deaf:
    """A channel that keeps to no deadline."""

    dedup: ClassVar[Dedup] = Dedup.NONE

    async def send(
        self, message: Message, delivery: Delivery, *, deadline_s: float
    ) -> HandoverResult:
        await asyncio.Event().wait()
        raise AssertionError("nothing sets this event")


async def given(
    port: ChannelPort, *, possible_repeat: bool = False, deadline_s: float = 5.0
) -> HandoverResult:
    return await hand_over(
        RAISED,
        DELIVERY,
        port,
        incident_id=IncidentId("20260301-001"),
        target=ORDERS,
        severity_rank=2,
        possible_repeat=possible_repeat,
        deadline_s=deadline_s,
    )


async def test_the_channel_gets_the_message_as_it_was_raised() -> None:
    port = Recording()
    result = await given(port, possible_repeat=True)
    [(message, delivery, deadline_s)] = port.sent
    assert result.outcome is Handover.ACCEPTED
    assert (message.id, message.kind) == (RAISED.id, MessageKind.PAGE)
    assert (message.subject, message.short, message.body) == ("s", "s", "b")
    assert message.thread == message.incident_id == "20260301-001"
    assert (message.target, message.severity_rank) == (ORDERS, 2)
    assert message.possible_repeat
    assert (delivery, deadline_s) == (DELIVERY, 5.0)


async def test_a_channel_that_keeps_to_no_deadline_leaves_the_hand_over_in_doubt() -> None:
    result = await given(Deaf(), deadline_s=0.05 - run.GRACE_S)
    assert (result.outcome, result.retryable) == (Handover.IN_DOUBT, True)


async def test_cancelling_says_nothing_about_the_hand_over() -> None:
    task = asyncio.create_task(given(Deaf()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
