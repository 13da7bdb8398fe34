"""What the tests of signals share: a policy that takes some, payloads, and a house around them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from stanch.incident.state import Incident
from stanch.model.ids import TargetName, WriterId
from stanch.model.signals import Signal, SignalStatus
from stanch.model.symptoms import Symptom
from stanch.policy.policy import Policy, TargetPolicy
from stanch.policy.signals import SignalRoute, Signals, SignalSource
from stanch.service.core import explains
from stanch.service.doing.underway import UnderWay
from stanch.service.doing.watching import Watching
from stanch.service.house import House, open_house, projection_of
from stanch.service.record.policies import Policies
from stanch.service.signals.attaching import Attaching
from stanch.service.signals.intake import Intake
from stanch.store.signal_queries import SignalRows
from stanch.store.sql import SqlStore
from stanch.store.timelines import InlineStore
from timelines import POLICY, T0

FIXTURES = Path(__file__).parent / "fixtures" / "signals"


def fixture(name: str) -> dict[str, Any]:
    return json.loads((FIXTURES / f"{name}.json").read_text("utf-8"))


def signal(key: str = "k", *, resolved: bool = False, **more: Any) -> Signal:
    status = SignalStatus.RESOLVED if resolved else SignalStatus.FIRING
    return Signal(**{"source": "prom", "key": key, "status": status, "title": key, **more})


def policy_with(signals: Signals, *, targets: Sequence[str] = ("orders",)) -> Policy:
    made = tuple(
        TargetPolicy(name=TargetName(n), dsn=f"host={n}.example.com dbname=postgres")
        for n in targets
    )
    return replace(POLICY, targets=made, signals=signals)


PROM = SignalSource(name="prom", format="alertmanager", token_file="/nowhere")
SIGNALS = Signals(
    sources=(PROM,), routes=(SignalRoute(target="orders", labels=("cluster=orders",)),)
)


class SignalHouse:
    """Intake, rows and attaching over a store in memory, and a clock that is moved by hand."""

    def __init__(self, policy: Policy) -> None:
        self.policies = Policies("h1", policy, "{}", lambda text: policy)
        self.at = T0
        self.paged: list[Symptom] = []
        self.under_way = UnderWay()
        self.store = SqlStore.in_memory(
            projection_of(self.policies), writer_id=WriterId("w"), lease_clock_us=lambda: 0
        )

    def now(self) -> datetime:
        return self.at

    def later(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    async def open(self, *, rows_max: int = 1000) -> SignalHouse:
        inline = self.inline()
        self.house: House = await open_house(self.policies, inline, clock=self)
        self.rows = SignalRows(inline, rows_max=rows_max)
        self.watch()
        self.intake = Intake(
            self.rows,
            policies=self.policies,
            clock=self,
            emergency=self.emergency,
            on_stored=lambda taken: None,
        )
        return self

    def inline(self) -> InlineStore:
        return InlineStore(self.store)

    def watch(self) -> None:
        """What one process remembers of what it saw."""
        self.watching = Watching(
            book=self.house.book,
            policies=self.policies,
            standing=self.house.standing,
            clock=self,
            explains=explains(),
            emergency=self.emergency,
            busy=self.under_way.on,
        )
        self.attaching = Attaching(
            self.rows,
            book=self.house.book,
            watching=self.watching,
            policies=self.policies,
            standing=self.house.standing,
            clock=self,
        )

    async def emergency(self, symptom: Symptom) -> None:
        self.paged.append(symptom)

    async def hear(self, *signals: Signal, after: float = 1.0) -> None:
        """Signals arrive, are stored, and told."""
        self.later(after)
        await self.rows.take(self.intake.route(signals), at=self.at)
        await self.tell()

    async def tell(self) -> None:
        while await self.attaching.tell_owed():
            pass

    async def incidents(self) -> list[Incident]:
        """Oldest first."""
        return list(reversed(await self.house.operations.incidents(open_only=False, limit=99)))

    async def events(self, incident: Incident) -> list[str]:
        _, timeline = await self.house.operations.timeline(incident.id)
        return [r.event.kind.rpartition(".v")[0] for r in timeline]


async def house_with(
    signals: Signals = SIGNALS, *, targets: Sequence[str] = ("orders",), rows_max: int = 1000
) -> SignalHouse:
    return await SignalHouse(policy_with(signals, targets=targets)).open(rows_max=rows_max)


Eventually = Callable[[], bool]
