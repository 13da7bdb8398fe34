"""Messages to people: pages want an acknowledgement, updates do not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stanch.model.changes import NotedChange
from stanch.model.ids import ChannelName, DeliveryId, IncidentId, MessageId, PersonId
from stanch.model.links import Link

UPDATE_ATTEMPTS_MAX = 10
"""After so many attempts an update is given up, visibly; a page never is for this reason."""


class MessageKind(StrEnum):
    PAGE = "page"
    UPDATE = "update"


class Dedup(StrEnum):
    """How a channel keeps a repeated hand-over from becoming a second message."""

    KEY = "key"
    """The far side drops a second message with the same key."""
    LOOKUP = "lookup"
    """The channel can be asked whether the message is there."""
    NONE = "none"


class Handover(StrEnum):
    """What is known after trying to hand a message over."""

    ACCEPTED = "accepted"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    """It may or may not have gone through: time-out, or the process died in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as it leaves for one address."""

    id: MessageId
    incident_id: IncidentId
    kind: MessageKind
    subject: str
    short: str
    """At most 160 characters: all a lock screen shows."""
    body: str
    thread: str
    """Same incident, same thread."""
    possible_repeat: bool = False
    severity_rank: int = 1
    target: str = ""
    links: tuple[Link, ...] = ()
    """Where to look further, as it was when the message left."""
    changes: tuple[NotedChange, ...] = ()
    """What was seen to change before the incident opened, newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message on its way to one address over one channel."""

    id: DeliveryId
    message_id: MessageId
    channel: ChannelName
    address: str = ""
    """Empty for channels with one fixed destination."""
    person: PersonId | None = None
