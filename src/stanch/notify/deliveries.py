"""Who gets a message over which channel, and what an attempt to hand it over adds up to. Pure.

Whom to page when, and how long to wait between attempts, is decided with the other deadlines in
`incident/due.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta

from stanch.model.events import DeliveryAttempted, DeliveryEnded
from stanch.model.ids import ChannelName, DeliveryId, MessageId, PersonId
from stanch.model.messages import UPDATE_ATTEMPTS_MAX, Delivery, Handover, MessageKind
from stanch.model.ports.channels import HandoverResult
from stanch.policy.policy import Policy, SmtpChannel

PUT_OFF_PAGE_S_MAX = 60.0
PUT_OFF_UPDATE_S_MAX = 3600.0
"""How far a far side's "later, please" is heeded: nobody may keep a page waiting for long."""


def page_deliveries(
    policy: Policy, persons: Sequence[PersonId], *, message_id: MessageId
) -> tuple[Delivery, ...]:
    """Every contact of every person, and every channel that everybody reads.

    All of a person's contacts at once: at night the one that is answered is not known before.
    """
    return _numbered(policy, persons, message_id)


def update_deliveries(
    policy: Policy,
    persons: Sequence[PersonId],
    *,
    message_id: MessageId,
    but_not: Collection[PersonId] = (),
) -> tuple[Delivery, ...]:
    """Those who know of the incident, without whoever caused the news, and every shared channel."""
    return _numbered(policy, [p for p in persons if p not in but_not], message_id)


def _numbered(
    policy: Policy, persons: Sequence[PersonId], message_id: MessageId
) -> tuple[Delivery, ...]:
    # The same address twice (two persons, one team mailbox) is told once.
    reached: dict[tuple[ChannelName, str], PersonId | None] = {}
    for channel, address, person in _addresses(policy, persons):
        reached.setdefault((channel, address), person)
    return tuple(
        Delivery(
            id=DeliveryId(f"{message_id}.{number}"),
            message_id=message_id,
            channel=channel,
            address=address,
            person=person,
        )
        for number, ((channel, address), person) in enumerate(reached.items(), start=1)
    )


def _addresses(
    policy: Policy, persons: Sequence[PersonId]
) -> Iterator[tuple[ChannelName, str, PersonId | None]]:
    shared = [c.name for c in policy.channels if not isinstance(c, SmtpChannel)]
    known = {c.name for c in policy.channels}
    for person_id in persons:
        person = policy.person(person_id)
        for contact in person.contacts if person else ():
            # A shared channel gets one message of its own below, for everybody who reads it.
            if contact.channel in known and contact.channel not in shared:
                yield contact.channel, contact.address, person_id
    yield from ((name, "", None) for name in shared)


def attempted(
    delivery: Delivery, *, attempt: int, possible_repeat: bool = False
) -> DeliveryAttempted:
    """What has to be durable before a hand-over is tried."""
    return DeliveryAttempted(
        id=delivery.id,
        message_id=delivery.message_id,
        attempt=attempt,
        possible_repeat=possible_repeat,
    )


def ended(
    delivery: Delivery, result: HandoverResult, *, attempt: int, kind: MessageKind
) -> DeliveryEnded:
    """What to write down after it: the last attempt of an update says that it was the last."""
    taken = result.outcome is Handover.ACCEPTED
    exhausted = kind is MessageKind.UPDATE and attempt >= UPDATE_ATTEMPTS_MAX and not taken
    given_up = f"; given up after {attempt} attempts" if exhausted and result.retryable else ""
    return DeliveryEnded(
        id=delivery.id,
        message_id=delivery.message_id,
        attempt=attempt,
        outcome=result.outcome,
        detail=result.detail + given_up,
        retryable=result.retryable and not exhausted,
    )


def put_off_until(result: HandoverResult, *, kind: MessageKind, at: datetime) -> datetime | None:
    """The moment the far side asked to be left alone until, as far as that is heeded."""
    if result.retry_after_s is None or not result.retryable:
        return None
    most_s = PUT_OFF_PAGE_S_MAX if kind is MessageKind.PAGE else PUT_OFF_UPDATE_S_MAX
    return at + timedelta(seconds=min(max(0.0, result.retry_after_s), most_s))
