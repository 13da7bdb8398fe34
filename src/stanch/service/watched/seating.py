"""Where one target sits in its cluster: its own words, in names and addresses others can match."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stanch.adapters.postgres.addresses import LookupFailed, look_up
from stanch.adapters.postgres.conninfo import resolve
from stanch.model.errors import SetupError
from stanch.model.seats import LOCAL, Place, Seat, seen_from
from stanch.model.vitals import Vitals
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.moment import Moment

LOOKUP_EVERY_S = 300.0
HOST_CHARS_MAX = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """One database of a pooler, and the server behind it as the pooler calls it."""

    pooler: str
    dsn: str
    """Of the pooler's console."""
    database: str
    host: str
    port: int


Leads = Callable[[], tuple[Lead, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the server said last, in its own words."""

    cluster: str = ""
    primary: bool | None = None
    timeline: int | None = None
    streams: bool = False
    upstream: Place | None = None
    receivers: frozenset[str] = frozenset()


def _told(vitals: Vitals, cluster: str) -> Told:
    standby = vitals.standby
    streams = standby is not None and standby.receiver_status == "streaming"
    upstream = None
    if standby is not None and streams and standby.sender_host is not None:
        upstream = (standby.sender_host, standby.sender_port or 0)
    return Told(
        cluster=cluster,
        primary=not vitals.in_recovery,
        timeline=vitals.timeline,
        streams=streams,
        upstream=upstream,
        receivers=frozenset(s.client_addr or "" for s in vitals.senders if s.state == "streaming"),
    )


class Seating:
    """Makes the seat of one target; the same object for as long as nothing changes."""

    def __init__(self, target: TargetPolicy, *, leads: Leads) -> None:
        self._leads = leads
        self._host, self._port = _found_at(target.dsn)
        self._addresses: dict[str, frozenset[str]] = {}
        self._wanted = Moment()
        self._told = Told()
        self._made_of: object = None
        self.seat = Seat(places=self._places())

    def of(self, vitals: Vitals | None, cluster: str) -> Seat:
        """The seat after one more sample; without vitals all that the server said last stands."""
        if vitals is not None:
            self._told = _told(vitals, cluster)
        told, leads = self._told, self._leads()
        if (told, self._addresses, leads) != self._made_of:
            self._made_of = (told, self._addresses, leads)
            places = self._places()
            hosts = frozenset(host for host, _ in places)
            self.seat = Seat(
                cluster=told.cluster,
                primary=told.primary,
                timeline=told.timeline,
                places=places,
                streams=told.streams,
                upstream=self._upstream(hosts, told.upstream),
                receivers=frozenset(h for r in told.receivers for h in seen_from(hosts, r)),
                poolers=self._poolers(leads),
            )
        return self.seat

    async def run(self) -> None:
        """Look names up now and then, so that a name and its address are one place."""
        while True:
            self._wanted = Moment()
            found = {name: await _addresses_of(name) for name in self._names()}
            if found != self._addresses:
                self._addresses = found
            try:
                async with asyncio.timeout(LOOKUP_EVERY_S):
                    await self._wanted.wait()
            except TimeoutError:
                pass

    def _names(self) -> Iterable[str]:
        """Only of servers that have somebody in their cluster: the others need no lookups."""
        if self.seat.primary is not False and not self.seat.receivers and not self.seat.poolers:
            return ()
        others = {host for host, _ in self.seat.upstream}
        led = {host for _, _, places in self.seat.poolers for host, _ in places}
        return sorted({self._host, *others, *led} - LOCAL)

    def _places(self) -> frozenset[Place]:
        return self._at("" if self._host in LOCAL else self._host, self._port)

    def _at(self, host: str, port: int) -> frozenset[Place]:
        if host not in LOCAL and host not in self._addresses:
            self._wanted.come()
        return frozenset({(host, port), *((a, port) for a in self._addresses.get(host, ()))})

    def _upstream(self, hosts: frozenset[str], said: Place | None) -> frozenset[Place]:
        if said is None:
            return frozenset()
        host, port = said
        return frozenset(p for seen in seen_from(hosts, host) for p in self._at(seen, port))

    def _poolers(self, leads: tuple[Lead, ...]) -> tuple[tuple[str, str, frozenset[Place]], ...]:
        found: list[tuple[str, str, frozenset[Place]]] = []
        for lead in leads:
            at, _ = _found_at(lead.dsn)
            hosts = seen_from(frozenset({"" if at in LOCAL else at}), lead.host)
            places = frozenset(p for host in hosts for p in self._at(host, lead.port))
            found.append((lead.pooler, lead.database, places))
        return tuple(found)


def _found_at(dsn: str) -> Place:
    try:
        known = resolve(dsn)
    except SetupError:
        return "", 0
    host = "" if known.is_socket else (known.hostaddr or known.host)
    return host.casefold(), known.port


async def _addresses_of(name: str) -> frozenset[str]:
    if len(name) > HOST_CHARS_MAX:
        return frozenset()
    try:
        return frozenset(found.ip for found in await look_up(name, 0))
    except LookupFailed:
        return frozenset()
