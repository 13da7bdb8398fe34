"""One process of the responder, which may be killed at any boundary of what it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from stanch.model.errors import StoreUnavailable
from stanch.model.events import Event, StepIntended
from stanch.model.timeline import Append, Recorded
from stanch.store.sql import SqlStore
from stanch.store.timelines import InlineStore
from stanch.store.transaction import Op

T = TypeVar("T")


class ProcessDied(BaseException):
    """This process was killed: nothing that it would still do may happen."""


class Life:
    """From a start of the responder to its end."""

    def __init__(self, *, dies_at: int | None = None) -> None:
        """`dies_at`: the number of the boundary, counted from 0, at which it is killed."""
        self.alive = True
        self.died = asyncio.Event()
        self.passed: list[str] = []
        self._dies_at = dies_at

    def check(self) -> None:
        """Raises ProcessDied in whatever the dead process would do next."""
        if not self.alive:
            raise ProcessDied

    def boundary(self, what: str) -> None:
        """A point at which being killed makes a difference."""
        self.check()
        self.passed.append(what)
        if self._dies_at == len(self.passed) - 1:
            self.kill()
            raise ProcessDied

    def kill(self) -> None:
        """SIGKILL, wherever it is."""
        self.alive = False
        self.died.set()


class SimStore(InlineStore):
    """One life's access to the store. The store itself outlives it."""

    def __init__(self, store: SqlStore, life: Life) -> None:
        super().__init__(store)
        self._life = life
        self.broken = False
        """No write and no read works, as with a disk that is gone."""
        self.on_intent: Callable[[StepIntended], None] = lambda intent: None
        """Called between an intent that is durable and what follows from it."""

    async def append(self, entry: Append) -> tuple[Recorded, ...]:
        self._life.boundary(f"before {_kinds(entry.events)}")
        recorded = await super().append(entry)
        self._life.boundary(f"after {_kinds(entry.events)}")
        for event in entry.events:
            if isinstance(event, StepIntended):
                self.on_intent(event)
        return recorded

    async def open_incident(self, at: datetime, first: Append) -> tuple[Recorded, ...]:
        self._life.boundary(f"before {_kinds(first.events)}")
        recorded = await super().open_incident(at, first)
        self._life.boundary(f"after {_kinds(first.events)}")
        return recorded

    async def _write(self, op: Op[T]) -> T:
        self._usable()
        return await super()._write(op)

    async def _read(self, question: Callable[[], T]) -> T:
        self._usable()
        return await super()._read(question)

    def _usable(self) -> None:
        self._life.check()
        if self.broken:
            raise StoreUnavailable("the disk is gone", on="memory", hint="It comes back.")


def _kinds(events: Sequence[Event]) -> str:
    return "+".join(event.kind for event in events)
