"""What notifying needs from a channel, without naming which channel it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from stanch.model.messages import Dedup, Delivery, Handover, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoverResult:
    """What is known after one attempt to hand a message over."""

    outcome: Handover
    detail: str = ""
    """One printable line for the timeline; never holds a secret or a whole address book."""
    retryable: bool = True
    """False: trying again cannot help until somebody changes something."""
    retry_after_s: float | None = None
    """How long the far side asks to be left alone; None where it did not say."""


class ChannelPort(Protocol):
    """One way to reach people.

    Never: raise for delivery trouble, or report `FAILED` once the far side may have the whole
    message: from that moment on only its own answer decides, and silence is `IN_DOUBT`.
    """

    dedup: ClassVar[Dedup]

    async def send(
        self, message: Message, delivery: Delivery, *, deadline_s: float
    ) -> HandoverResult:
        """Hand one message over once; answers within `deadline_s`, whatever the far side does."""
        ...
