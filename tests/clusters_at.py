"""What the tests of clusters share: orders-1 and its standby orders-2, and stock beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

from signals_at import PROM, SignalHouse, policy_with
from stanch.incident.due import due
from stanch.incident.state import Incident
from stanch.incident.work import Due, Job
from stanch.model import events as e
from stanch.model.errors import StoreUnavailable
from stanch.model.ids import PersonId, TargetName
from stanch.model.messages import Handover
from stanch.model.reach import Reach, ReachState
from stanch.model.readings import Reading
from stanch.model.samples import Sample
from stanch.model.vitals import Vitals
from stanch.policy.clusters import ClusterPolicy
from stanch.policy.policy import Policy
from stanch.policy.signals import Signals
from stanch.policy.signs import ConsolePools, HealthCheck, PrometheusSigns
from stanch.service.house import open_house
from stanch.store.timelines import InlineStore
from stanch.store.transaction import Op
from timelines import page

PRIMARY, STANDBY, STOCK = (TargetName(n) for n in ("orders-1", "orders-2", "stock"))

ORDERS = ClusterPolicy(
    name="orders",
    targets=(PRIMARY, STANDBY),
    poolers=("orders-bouncer",),
    services=("checkout",),
)


T = TypeVar("T")

FAILING = {"health_check_ok": 0.0, "error_rate_pct": 50.0, "pool_waiting": 50.0}
WELL = {"health_check_ok": 1.0, "error_rate_pct": 0.0, "pool_waiting": 0.0}
"""Services whose names begin with `api-` tell all of it."""


SERVICES = ("checkout", "till", *(f"{kind}-{n}" for kind in ("api", "svc") for n in range(20)))
"""What the policy has every target asked about."""

CHECKS = tuple(HealthCheck(name=s, url="http://shop.example.com/health") for s in SERVICES)
BOARDS = tuple(PrometheusSigns(name=s, url="http://prometheus.example.com") for s in SERVICES)
POOLS = tuple(ConsolePools(name=s, dsn="service=bouncer") for s in SERVICES)


class SwitchedStore(InlineStore):
    """A store whose disk can go away."""

    broken = False

    async def _write(self, op: Op[T]) -> T:
        self._usable()
        return await super()._write(op)

    async def _read(self, question: Callable[[], T]) -> T:
        self._usable()
        return await super()._read(question)

    def _usable(self) -> None:
        if self.broken:
            raise StoreUnavailable("the disk is gone", on="memory", hint="It comes back.")


class ClusterHouse(SignalHouse):
    """Looks at servers, by hand and in order."""

    switch: SwitchedStore

    def inline(self) -> InlineStore:
        self.switch = SwitchedStore(self.store)
        return self.switch

    async def see(
        self,
        target: TargetName,
        *,
        down: bool = False,
        failing: Sequence[str] = (),
        well: Sequence[str] = (),
        after: float = 1.0,
    ) -> None:
        """One look; `failing` and `well` are services whose health check says so."""
        self.later(after)
        checks = tuple(
            Reading(name=name, subject=s, value=value)
            for names, values in ((failing, FAILING), (well, WELL))
            for s in names
            for name, value in values.items()
            if name == "health_check_ok" or s.startswith("api-")
        )
        state = ReachState.REFUSED if down else ReachState.UP
        await self.watching.take(
            Sample(
                target=target,
                at=self.at,
                reach=Reach(state=state, layers=(), elapsed_ms=1.0),
                confirmed=True,
                lost_at=self.at if down else None,
                readings=checks,
            )
        )

    async def tells(self, target: TargetName, *readings: Reading, after: float = 1.0) -> None:
        """One look in which sources beside the server say this."""
        self.later(after)
        await self.watching.take(Sample(target=target, at=self.at, readings=readings))

    async def fails(self, target: TargetName, *services: str) -> None:
        """Their health checks fail for as long as the rule wants to be sure."""
        for _ in range(12):
            await self.see(target, failing=services)

    async def recovers(self, target: TargetName, *services: str) -> None:
        for _ in range(6):
            await self.see(target, well=services)

    async def restart(self) -> None:
        """A new process over the same store."""
        store = self.house.store
        self.house = await open_house(self.policies, store, clock=self)
        self.watch()
        await self.watching.resume(await self.incidents())

    def adopt(self, policy: Policy) -> None:
        """Another policy comes into force."""
        self.policies.apply(f"h{len(self.policies.current_hash)}", policy, "{}")

    async def sweep(self) -> None:
        await self.attaching.sweep()
        await self.tell()

    @contextmanager
    def no_store(self) -> Iterator[None]:
        """Nothing can be read or written meanwhile."""
        self.switch.broken = True
        yield
        self.switch.broken = False

    async def says(self, target: TargetName, vitals: Vitals) -> None:
        """The server tells of itself."""
        self.later(1)
        await self.watching.take(Sample(target=target, at=self.at, vitals=vitals))

    async def open_ones(self) -> list[Incident]:
        return [i for i in await self.incidents() if not i.status.ended]

    async def page(self, incident: Incident, *, arrives: bool = True) -> None:
        """The first on the ladder is paged."""
        raised = page(caused_by=incident.paging_seq)
        await self.house.book.decide(incident.id, lambda i, at: (raised,))
        if not arrives:
            return
        [delivery] = raised.deliveries
        ended = e.DeliveryEnded(
            id=delivery.id, message_id=raised.id, attempt=1, outcome=Handover.ACCEPTED
        )
        await self.house.book.record(incident.id, ended)

    def pages_due(self, incident: Incident) -> list[Due]:
        now = self.at + timedelta(seconds=1)
        asked = due(self.policies.current, incident, now)
        return [d for d in asked if d.job is Job.PAGE and d.at <= now]

    async def resolve(self, incident: Incident) -> None:
        over = e.IncidentResolved(verified=True, reason="over")
        await self.house.book.decide(incident.id, lambda i, at: (over,))

    async def acknowledge(self, incident: Incident, by: str) -> None:
        taken = e.IncidentAcknowledged(by=PersonId(by), via="")
        await self.house.book.decide(incident.id, lambda i, at: (taken,))


async def cluster_house(*clusters: ClusterPolicy) -> ClusterHouse:
    """Without any given: with the cluster of orders."""
    named = (t for cluster in clusters for t in cluster.targets)
    targets = tuple(dict.fromkeys((PRIMARY, STANDBY, STOCK, *named)))
    policy = policy_with(Signals(sources=(PROM,)), targets=targets)
    asking = tuple(replace(t, services=CHECKS, signs=BOARDS, pools=POOLS) for t in policy.targets)
    house = ClusterHouse(replace(policy, targets=asking, clusters=clusters or (ORDERS,)))
    await house.open()
    return house
