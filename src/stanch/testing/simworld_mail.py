"""A simulated mail server, and one life's connection to it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import ClassVar

from stanch.model.messages import Dedup, Delivery, Handover, Message
from stanch.model.ports.channels import HandoverResult
from stanch.testing.simworld_life import Life
from stanch.testing.virtual_time import EPOCH

HANDOVER_S = 0.05


class SimMail:
    """A mail server that keeps what it takes. It outlives every life of the responder."""

    def __init__(self) -> None:
        self.taken: list[tuple[datetime, Message, Delivery]] = []
        self.failing = False
        self.refused = 0


class SimMailChannel:
    """One life's connection to the mail server. `ChannelPort`."""

    dedup: ClassVar[Dedup] = Dedup.KEY

    def __init__(self, mail: SimMail, life: Life) -> None:
        self._mail, self._life = mail, life

    async def send(
        self, message: Message, delivery: Delivery, *, deadline_s: float
    ) -> HandoverResult:
        self._life.check()
        await asyncio.sleep(HANDOVER_S)
        self._life.check()
        if self._mail.failing:
            self._mail.refused += 1
            return HandoverResult(outcome=Handover.FAILED, detail="451 try again later")
        now = EPOCH + timedelta(seconds=asyncio.get_running_loop().time())
        self._mail.taken.append((now, message, delivery))
        self._life.boundary("effect mail")
        await asyncio.sleep(HANDOVER_S)
        self._life.check()
        return HandoverResult(outcome=Handover.ACCEPTED, detail="250 taken")
