"""A page that says it is a test, sent the way real ones are, with a code to be typed back."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from stanch.adapters.channels.build import build_channel
from stanch.model.ids import DeliveryId, IncidentId, MessageId
from stanch.model.messages import Delivery, Message, MessageKind
from stanch.model.ports.channels import ChannelPort, HandoverResult
from stanch.policy.policy import Channel, Contact, Person

CODE_CHARS = 6
# Letters and digits that are not mistaken for each other on a telephone at night.
ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def new_code() -> str:
    """A short code that nobody types by accident."""
    return "".join(secrets.choice(ALPHABET) for _ in range(CODE_CHARS))


def same_code(given: str, code: str) -> bool:
    """Whether a person typed this code; case, spaces and dashes do not matter."""
    return given.replace(" ", "").replace("-", "").strip().upper() == code


async def send_trial(
    channel: Channel,
    *,
    person: Person,
    contact: Contact | None,
    code: str,
    deadline_s: float,
    build: Callable[[Channel], ChannelPort] = build_channel,
) -> HandoverResult:
    """Hand one test page over to one channel; `contact` where the channel needs an address."""
    unique = secrets.token_hex(8)
    message = Message(
        id=MessageId(f"trial-{unique}"),
        incident_id=IncidentId("trial"),
        kind=MessageKind.PAGE,
        subject="Stanch: test page, nothing is wrong",
        short=f"Stanch test page for {person.name[:60]}: nothing is wrong. Code: {code}",
        body=BODY.format(code=code),
        thread=f"trial-{unique}",
        severity_rank=4,
    )
    delivery = Delivery(
        id=DeliveryId(f"trial-{unique}-1"),
        message_id=message.id,
        channel=channel.name,
        address=contact.address if contact else "",
        person=person.id,
    )
    return await build(channel).send(message, delivery, deadline_s=deadline_s)


BODY = """\
This is a test. Pages about broken databases will look like this and come this way.

Type this code where Stanch asks for it: {code}

If you are not at that prompt, nothing needs to be done.
"""
