"""Who is asked beside the server of a target, and what a login tells beside getting in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta

from stanch.adapters.certificates import CertificateWatch, ServerCertificate, ServiceCertificate
from stanch.adapters.pools.console import PoolerConsole
from stanch.adapters.pools.tables import PoolTables
from stanch.adapters.pools.told import ToldPools
from stanch.adapters.services.health import HttpHealth
from stanch.adapters.services.log_stores import LogStore
from stanch.adapters.services.own_numbers import OwnNumbers
from stanch.adapters.services.prometheus import PrometheusNumbers
from stanch.model.diagnosis import Missing, not_there
from stanch.model.ports.signs import SignSource
from stanch.model.reach import Reach
from stanch.model.readings import Reading
from stanch.model.samples import Sample
from stanch.model.seats import Seat
from stanch.policy.policy import TargetPolicy
from stanch.policy.signs import (
    ConsolePools,
    JsonPools,
    PoolSource,
    PrometheusSigns,
    QueryPools,
    SignsOfService,
)
from stanch.service.watched.seating import Lead, Seating
from stanch.watch.reachability.readings import reach_readings
from stanch.watch.signs.run import SignWatch

EVERY_S = 5.0
METRICS_EVERY_S = 15.0
"""As often as Prometheus itself mostly looks; their readings are of other names."""

LOGS_EVERY_S = 30.0

CERTIFICATES_EVERY_S = 300.0
CERTIFICATES_FIRST_S = 20.0

LOGINS_APART = timedelta(minutes=1)
"""Logins are made every few seconds; what is usual is learned from one a minute."""

Probe = Callable[[float], Awaitable[Reach]]


class Signs:
    """All of it for one target; `run` ends at once where nobody may be asked."""

    def __init__(
        self,
        target: TargetPolicy,
        *,
        now: Callable[[], datetime],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._now = now
        self._reached: tuple[Reading, ...] = ()
        self._jitter = jitter
        self._shown = tuple(_certificates(target, now))
        self._certificates = SignWatch(self._shown, every_s=CERTIFICATES_EVERY_S)
        self._noted_at: datetime | None = None
        first = 0.5 + jitter() / 2
        sources = tuple(_sources(target))
        self._consoles = [s for s in sources if isinstance(s, PoolerConsole)]
        self._awake = target.wake != "never"
        self._seating = Seating(target, leads=self._leads)
        self._watch = SignWatch(sources, every_s=EVERY_S, first_wait=first)
        metrics = tuple(numbers_of(signs) for signs in target.signs)
        self._metrics = SignWatch(metrics, every_s=METRICS_EVERY_S, first_wait=first)
        logs = tuple(LogStore(logs, now=now) for logs in target.log_errors)
        self._logs = SignWatch(logs, every_s=LOGS_EVERY_S, first_wait=first)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as all_of_them:
            for watch in (self._watch, self._metrics, self._logs):
                all_of_them.create_task(watch.run())
            if self._awake:
                all_of_them.create_task(self._seating.run())
            if self._shown:
                all_of_them.create_task(self._look_at_certificates())

    def _leads(self) -> tuple[Lead, ...]:
        """Where the poolers lead, as far as their consoles have said."""
        return tuple(
            Lead(pooler=c.name, dsn=c.dsn, database=database, host=host, port=port)
            for c in self._consoles
            for database, host, port in c.leads
        )

    def seat(self, sample: Sample, cluster: str) -> Seat:
        """Where the server of a sample sits; `cluster` is the system identifier that it has."""
        return self._seating.of(sample.vitals, cluster)

    async def _look_at_certificates(self) -> None:
        # Not all targets at once, and not while everything is being opened.
        await asyncio.sleep(CERTIFICATES_FIRST_S * (1 + self._jitter()))
        await self._certificates.run()

    def noting(self, probe: Probe) -> Probe:
        """The same probe, from which this learns: nobody logs in for these readings alone."""

        async def noted(deadline_s: float) -> Reach:
            reach = await probe(deadline_s)
            self._note(reach)
            return reach

        return noted

    def _note(self, reach: Reach) -> None:
        at = self._now()
        if self._noted_at is not None and abs(at - self._noted_at) < LOGINS_APART:
            return
        if told := reach_readings(reach):
            self._reached, self._noted_at = told, at

    async def asked(self, deadline_s: float) -> tuple[Reading, ...] | Missing:
        """What poolers and services say just now, for a diagnosis."""
        if not self._watch.asks_anybody:
            return not_there("beside")
        try:
            async with asyncio.timeout(deadline_s):
                return await self._watch.look()
        except TimeoutError:
            reason = f"poolers and services did not answer within {deadline_s:.1f} s"
            return Missing(what="beside", reason=reason)

    def take(self) -> tuple[Reading, ...]:
        """What is new since it was asked last."""
        told = (*self._reached, *self._watch.take(), *self._metrics.take(), *self._logs.take())
        self._reached = ()
        return (*told, *self._certificates.take())


def pool_source(pools: PoolSource) -> SignSource:
    """Whoever asks for these pools; it keeps its session, where it has one, until it is closed."""
    match pools:
        case ConsolePools():
            return PoolerConsole(pools)
        case QueryPools():
            return PoolTables(pools)
        case JsonPools():
            return ToldPools(pools)


def numbers_of(signs: SignsOfService) -> SignSource:
    """Whoever asks for the numbers of a service."""
    return PrometheusNumbers(signs) if isinstance(signs, PrometheusSigns) else OwnNumbers(signs)


def _certificates(target: TargetPolicy, now: Callable[[], datetime]) -> Iterator[SignSource]:
    """In one round, because they tell readings of one name."""
    if target.wake != "never":
        yield CertificateWatch(ServerCertificate(target.dsn), subject="", now=now)
    for check in target.services:
        if check.url.startswith("https:"):
            yield CertificateWatch(ServiceCertificate(check), subject=check.name, now=now)


def _sources(target: TargetPolicy) -> Iterator[SignSource]:
    yield from (pool_source(pools) for pools in target.pools)
    yield from (HttpHealth(check) for check in target.services)
