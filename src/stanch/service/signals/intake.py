"""From the listeners into the store: bounded, one commit for many, durable before it is answered.

Everything that waits is written at once, so a burst costs few commits, and repeats of one alert
cost one row. What does not fit into the queue is refused in a way that makes its sender try again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from stanch.model.errors import StoreError, StoreUnavailable
from stanch.model.ids import ITSELF, TargetName
from stanch.model.signals import Routed, Signal, SignalStatus
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.policy.policy import Policy
from stanch.service.clock import Clock
from stanch.service.record.policies import Policies
from stanch.store.signal_queries import SignalRows
from stanch.store.signals import Taken
from stanch.watch.signals.routing import Router

WAITING_MAX = 20_000
"""Arrivals that wait for the store."""
TOGETHER_MAX = 500
"""Arrivals in one commit: more would make the journal wait behind them."""

PAGES_AT_ONCE_MAX = 4

log = structlog.get_logger("signals")

Emergency = Callable[[Symptom], Coroutine[Any, Any, None]]


class Busy(Exception):
    """Too much waits for the store already."""


@dataclass(slots=True)
class _Lot:
    """What came in one request."""

    arrivals: Sequence[Routed]
    notes: Mapping[str, str]
    done: asyncio.Future[None]


class Intake:
    """Takes signals; `run` writes them. `on_stored` hears of every commit."""

    def __init__(
        self,
        rows: SignalRows,
        *,
        policies: Policies,
        clock: Clock,
        emergency: Emergency,
        on_stored: Callable[[Taken], None],
    ) -> None:
        self._rows = rows
        self._policies = policies
        self._clock = clock
        self._emergency = emergency
        self._on_stored = on_stored
        self._lots: deque[_Lot] = deque()
        self._waiting = 0
        self._more = asyncio.Event()
        self._pages: set[asyncio.Future[None]] = set()
        self._router: tuple[str, Router] | None = None

    @property
    def waiting(self) -> int:
        """Arrivals that wait for the store."""
        return self._waiting

    def route(self, signals: Sequence[Signal]) -> list[Routed]:
        """Targets and ranks under the policy of this moment."""
        router = self.router()
        return [router.route(signal) for signal in signals]

    def router(self) -> Router:
        current = self._policies.current_hash
        if self._router is None or self._router[0] != current:
            self._router = (current, Router(self._policies.current))
        return self._router[1]

    async def put(
        self, arrivals: Sequence[Routed], *, notes: Mapping[str, str] | None = None
    ) -> None:
        """Returns once they are durable. Raises Busy, StoreError: then none of them is."""
        if self._waiting + len(arrivals) > WAITING_MAX and self._lots:
            raise Busy
        lot = _Lot(arrivals, notes or {}, asyncio.get_running_loop().create_future())
        self._lots.append(lot)
        self._waiting += len(arrivals)
        self._more.set()
        await lot.done

    async def run(self) -> None:
        """Write what waits, for ever."""
        try:
            while True:
                await self._more.wait()
                await self._write(self._together())
        finally:
            self._give_up()

    def _together(self) -> list[_Lot]:
        lots = [self._lots.popleft()]
        count = len(lots[0].arrivals)
        while self._lots and count + len(self._lots[0].arrivals) <= TOGETHER_MAX:
            lots.append(self._lots.popleft())
            count += len(lots[-1].arrivals)
        if not self._lots:
            self._more.clear()
        return lots

    async def _write(self, lots: Sequence[_Lot]) -> None:
        arrivals = [arrived for lot in lots for arrived in lot.arrivals]
        notes = {name: value for lot in lots for name, value in lot.notes.items()}
        try:
            taken = await self._rows.take(arrivals, at=self._clock.now(), notes=notes)
        except StoreError as error:
            log.error("signals cannot be stored", signals=len(arrivals), error=str(error))
            _fail(lots, error)
            self._page(arrivals)
        else:
            self._on_stored(taken)
            for lot in lots:
                if not lot.done.done():
                    lot.done.set_result(None)
        finally:
            self._waiting -= len(arrivals)
            # Reached with some left only when it is ended: nobody may wait for ever because of it.
            _fail(lots, StoreUnavailable("the responder is ending"))

    def _page(self, arrivals: Sequence[Routed]) -> None:
        """An alert that cannot be stored still wakes somebody: once a source and target."""
        worst: dict[tuple[str, str], Routed] = {}
        policy = self._policies.current
        for arrived in arrivals:
            if arrived.signal.status is SignalStatus.FIRING and pages(policy, arrived):
                key = (arrived.signal.source, arrived.target or ITSELF)
                worst.setdefault(key, arrived)
        for (source, target), arrived in worst.items():
            # Not under its own key: a thousand alerts without a store must not be a thousand pages.
            symptom = Symptom(
                kind=SymptomKind.OUTSIDE_ALERT,
                target=TargetName(target),
                since=arrived.signal.starts_at or self._clock.now(),
                subject=source,
                detail=arrived.signal.title,
            )
            if len(self._pages) < PAGES_AT_ONCE_MAX:
                # Beside the taking: what waits is answered at once, so that it is sent again.
                page = asyncio.ensure_future(self._emergency(symptom))
                self._pages.add(page)
                page.add_done_callback(self._pages.discard)

    def _give_up(self) -> None:
        _fail(self._lots, StoreUnavailable("the responder is ending"))
        self._waiting -= sum(len(lot.arrivals) for lot in self._lots)
        self._lots.clear()
        self._more.clear()


def _fail(lots: Iterable[_Lot], error: StoreError) -> None:
    for lot in lots:
        if not lot.done.done():
            lot.done.set_exception(error)


def pages(policy: Policy, arrived: Routed) -> bool:
    """Whether anybody is woken for it."""
    return policy.severity(arrived.rank).pages
