"""What was seen to change at one target, gathered from its watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from stanch.facts.log_records import LogRecord
from stanch.model.changes import ChangesSeen, Inventory, Item, ItemKind, Look
from stanch.model.machine import HostFacts, ServiceState
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.machines import history_of
from stanch.service.watched.slow_lane import SlowWatch
from stanch.store.changes import News
from stanch.watch.changes.run import HistoryWatch
from stanch.watch.changes.statements import Statements
from stanch.watch.hosts.run import HostWatch

IMAGE_LANE = "image"
IMAGE_EVERY = timedelta(seconds=300)
"""The same image is said to be there this often, so that a change is told to be after that."""


class Changing:
    """Asked once a second; where nothing changed, which is nearly always, that costs nothing."""

    def __init__(
        self,
        target: TargetPolicy,
        *,
        now: Callable[[], datetime],
        slow: SlowWatch,
        host: Callable[[], HostWatch | None],
    ) -> None:
        self._target = target.name
        self._slow = slow
        self._host = host
        self._statements = Statements(now)
        history = history_of(target, now=now)
        self._history = None if history is None else HistoryWatch(history)
        self._image = ""
        self._image_at: datetime | None = None

    async def run(self) -> None:
        """Ask whoever rolls out, until cancelled; returns where nobody does."""
        if self._history is not None:
            await self._history.run()

    def hear(self, record: LogRecord) -> None:
        """One record of the server's log, in its order."""
        self._statements.hear(record)

    def drain(self) -> News | None:
        """What became known since it was asked last."""
        looks = tuple(filter(None, (self._slow.lane.take_inventories(), self._look_at_image())))
        changes = self._statements.take()
        if self._history is not None:
            changes = (*changes, *self._history.take())
        if not looks and not changes:
            return None
        return News(target=self._target, changes=changes, looks=looks)

    def seen(self) -> ChangesSeen:
        """How far it was looked at."""
        seen = self._slow.seen()
        missing = "" if self._history is None else self._history.missing
        return replace(seen, skipped="; ".join(filter(None, (seen.skipped, missing))))

    def _look_at_image(self) -> Look | None:
        """What the container is made from, where that is another or was not said for a while.

        A container that is down, or that nobody sees, says nothing about its image.
        """
        host = self._host()
        if host is None or not isinstance(facts := host.last, HostFacts):
            return None
        service = facts.service
        if not isinstance(service, ServiceState) or not (service.running and service.image_id):
            return None
        image = f"{service.image} ({service.image_id.rpartition('sha256:')[2][:12]})"
        due = self._image_at is None or facts.at - self._image_at >= IMAGE_EVERY
        if image == self._image and not due:
            return None
        self._image, self._image_at = image, facts.at
        # Not under the container's own name: a pod that takes over has another one.
        item = Item(kind=ItemKind.IMAGE, name="container", value=image)
        place = f"{IMAGE_LANE}/container"
        listed = Inventory(place=place, source=facts.source, items=(item,))
        return Look(at=facts.at, lane=IMAGE_LANE, inventories=(listed,), places=frozenset((place,)))
