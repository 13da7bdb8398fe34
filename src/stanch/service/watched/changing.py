"""What was seen to change at one target, gathered from its watches."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from stanch.facts.log_records import LogRecord
from stanch.policy.policy import TargetPolicy
from stanch.store.changes import News
from stanch.watch.changes.statements import Statements
from stanch.watch.slow.run import SlowLane


class Changing:
    """Asked once a second; where nothing changed, which is nearly always, that costs nothing."""

    def __init__(
        self, target: TargetPolicy, *, now: Callable[[], datetime], slow: SlowLane
    ) -> None:
        self._target = target.name
        self._slow = slow
        self._statements = Statements(now)

    def hear(self, record: LogRecord) -> None:
        """One record of the server's log, in its order."""
        self._statements.hear(record)

    def drain(self) -> News | None:
        """What became known since it was asked last."""
        look = self._slow.take_inventories()
        changes = self._statements.take()
        if look is None and not changes:
            return None
        return News(target=self._target, changes=changes, looks=() if look is None else (look,))
