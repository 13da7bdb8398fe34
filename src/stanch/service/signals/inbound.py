"""Everything that takes signals, put together: what it serves, and the tasks that keep it going."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.routing import Route

from stanch.service.core import Core
from stanch.service.house import House
from stanch.service.signals.attaching import Attaching
from stanch.service.signals.deploying import TakeNews
from stanch.service.signals.heartbeats import Heartbeats
from stanch.service.signals.http import Count, Door
from stanch.service.signals.intake import Intake
from stanch.service.signals.mailbox import read_mailbox
from stanch.store.signal_queries import SignalRows, Standing
from stanch.store.signals import Taken

Task = tuple[str, Callable[[], Awaitable[None]]]


class Inbound:
    """One per responder. `tasks` are to be kept running, `routes` to be served."""

    def __init__(self, house: House, core: Core, *, changed: TakeNews, count: Count) -> None:
        """`changed` keeps what was deployed. `count` hears of the source, what became of what it
        sent, and how many it were."""
        self._house = house
        self._count = count
        self._rows = SignalRows(house.store)
        self.attaching = Attaching(
            self._rows,
            book=house.book,
            watching=core.watching,
            policies=house.policies,
            standing=house.standing,
            clock=house.clock,
        )
        self.intake = Intake(
            self._rows,
            policies=house.policies,
            clock=house.clock,
            emergency=core.emergency.symptom,
            on_stored=self._stored,
        )
        self.heartbeats = Heartbeats(
            self._rows, self.intake, policies=house.policies, clock=house.clock
        )
        self._door = Door(
            self.intake,
            policies=house.policies,
            clock=house.clock,
            hear=self.heartbeats.hear,
            changed=changed,
            count=count,
        )

    @property
    def routes(self) -> Sequence[Route]:
        return self._door.routes()

    @property
    def tasks(self) -> Sequence[Task]:
        return (
            ("signals stored", self.intake.run),
            ("signals told", self.attaching.run),
            ("heartbeats awaited", self.heartbeats.run),
            ("mailbox", self._mailbox),
        )

    async def standing(self) -> Standing:
        """How many alerts fire, match no target, and wait to be told."""
        return await self._rows.standing()

    def _stored(self, taken: Taken) -> None:
        if taken.owed:
            self.attaching.poke()

    async def _mailbox(self) -> None:
        await read_mailbox(
            lambda: self._house.policy.signals.mailbox,
            self._rows,
            self.intake,
            clock=self._house.clock,
            count=self._count,
        )
