"""Reports by mail: the mailbox is read as mails come, and how far is kept with what was in them.

A mail is stored and the place moved in one commit, so none is lost and none counts twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from stanch.adapters.channels.imap import ImapMailbox, Place, RawMail
from stanch.model.errors import ChannelError, StoreError
from stanch.model.signals import Refused, Signal
from stanch.policy.signals import MAIL, SignalMailbox
from stanch.service.clock import Clock
from stanch.service.signals.http import Count
from stanch.service.signals.intake import Busy, Intake
from stanch.store.signal_queries import SignalRows
from stanch.watch.signals.mail import parse

ASIDE_S = 2.0
"""How often is looked whether the policy names a mailbox by now."""
AGAIN_S = (5.0, 15.0, 60.0)
"""Waits before connecting again. Never more than one login a minute once it keeps failing."""

log = structlog.get_logger("mailbox")


async def read_mailbox(
    wanted: Callable[[], SignalMailbox | None],
    rows: SignalRows,
    intake: Intake,
    *,
    clock: Clock,
    count: Count,
) -> None:
    """Follow the mailbox that the policy names, for ever."""
    failures = 0
    while True:
        mailbox = wanted()
        if mailbox is None:
            await asyncio.sleep(ASIDE_S)
            continue
        following = _Following(mailbox, rows, intake, clock=clock, count=count)
        try:
            await following.follow(lambda now_is=mailbox: wanted() == now_is)
            failures = 0
        except (ChannelError, StoreError, Busy) as error:
            failures = 1 if following.read_any else failures + 1
            count(MAIL, "unreachable", 1)
            log.error("the mailbox cannot be read", error=str(error))
            await asyncio.sleep(AGAIN_S[min(failures, len(AGAIN_S)) - 1])


class _Following:
    """One connection's life."""

    def __init__(
        self,
        mailbox: SignalMailbox,
        rows: SignalRows,
        intake: Intake,
        *,
        clock: Clock,
        count: Count,
    ) -> None:
        self._mailbox = mailbox
        self._rows = rows
        self._intake = intake
        self._clock = clock
        self._count = count
        self._name = f"mailbox {mailbox.username}@{mailbox.host}/{mailbox.folder}"
        self.read_any = False

    async def follow(self, still_wanted: Callable[[], bool]) -> None:
        """Read, wait, read. Raises ChannelError, StoreError, Busy."""
        box = ImapMailbox(self._mailbox)
        try:
            await box.open()
            place = Place.of(await self._rows.note(self._name))
            while still_wanted():
                mails, reached = await box.read(place, now=self._clock.now())
                self.read_any = True
                if mails or reached != place:
                    await self._take(mails, reached)
                    place = reached
                if not mails:
                    await box.wait()
        finally:
            box.interrupt()

    async def _take(self, mails: list[RawMail], reached: Place) -> None:
        signals = list[Signal]()
        for mail in mails:
            found = parse(
                mail.header,
                mail.text,
                senders=self._mailbox.senders,
                source=MAIL,
                received_at=self._clock.now(),
            )
            if isinstance(found, Refused):
                self._count(MAIL, found.because, 1)
                log.info("a mail is no report", uid=mail.uid, reason=found.reason)
            else:
                signals.append(found)
        await self._intake.put(self._intake.route(signals), notes={self._name: reached.text()})
        if signals:
            self._count(MAIL, "stored", len(signals))
