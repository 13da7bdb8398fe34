"""Which targets stand or fall together: as the policy says, else as they were seen to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from stanch.incident.topology import in_touch, together
from stanch.model import events as e
from stanch.model.ids import RESPONDER, TargetName
from stanch.model.samples import Sample
from stanch.model.seats import Seat
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.service.doing.neighbours import Neighbours
from stanch.service.record.book import Book
from stanch.service.record.policies import Policies
from stanch.service.record.standing import Standing

APART_S = 600.0
"""So long both servers answer and are seen to have nothing to do with each other: then it is so."""

FRESH_S = 10.0

OF_POOLS = frozenset(
    {
        SymptomKind.POOL_EXHAUSTED,
        SymptomKind.POOL_HIGH,
        SymptomKind.POOL_WAITING,
        SymptomKind.POOL_WAIT_LONG,
    }
)

log = structlog.get_logger("watching")


class Topology:
    """Learns from samples; what was learned is an event, so it survives a restart."""

    def __init__(self, *, book: Book, policies: Policies, standing: Standing) -> None:
        self._book = book
        self._policies = policies
        self._standing = standing
        self.standbys: set[TargetName] = set(standing.follows)
        """As each server last said of itself; also while it is silent."""
        self.neighbours = Neighbours(policies=policies, standing=standing)
        self._seats: dict[TargetName, Seat] = {}
        self._heard: dict[TargetName, datetime] = {}
        self._apart: dict[TargetName, datetime] = {}
        """Standbys that were learned, and since when they are not seen to be such."""

    async def learn(self, sample: Sample) -> None:
        """Who replays another's WAL is a standby until it says otherwise. Raises StoreError."""
        target, seat = sample.target, sample.seat
        self.neighbours.note(sample)
        if sample.vitals is not None:
            self._heard[target] = sample.at
            if sample.vitals.in_recovery:
                self.standbys.add(target)
            else:
                self.standbys.discard(target)
        if seat is not None and seat is not self._seats.get(target):
            self._seats[target] = seat
            await self._compare(target, seat, sample.at)
        elif target in self._apart:
            await self._forget_if_long(target, sample.at)

    async def _compare(self, target: TargetName, seat: Seat, at: datetime) -> None:
        """One seat is another one now: who hears whom among all that share its identifier?"""
        learned = self._standing.follows.get(target)
        if learned is not None and seat.primary:
            await self._forget(target, "it is a primary now")
        elif learned is not None and seat.cluster not in ("", learned.cluster):
            await self._forget(target, "another database cluster answers there")
        if not seat.cluster:
            return
        alike = {
            name: its
            for name, its in self._seats.items()
            if its.cluster == seat.cluster and self._policies.target(name) is not None
        }
        touch = in_touch(alike)
        for name in alike:
            upstream, known = touch.get(name), self._standing.follows.get(name)
            if upstream is not None:
                self._apart.pop(name, None)
                if known is None or known.upstream != upstream:
                    await self._record(
                        e.TopologyLearned(target=name, upstream=upstream, cluster=seat.cluster)
                    )
            elif known is not None:
                self._apart.setdefault(name, at)

    async def _forget_if_long(self, target: TargetName, at: datetime) -> None:
        known = self._standing.follows.get(target)
        if known is None:
            self._apart.pop(target, None)
            return
        both = min((self._heard.get(t) for t in (target, known.upstream)), key=_moment)
        if both is None or at - both > timedelta(seconds=FRESH_S):
            # One of them is silent: that is no news about who follows whom.
            self._apart[target] = at
        elif at - self._apart[target] >= timedelta(seconds=APART_S):
            await self._forget(target, "both answer, and it does not stream from there any more")

    async def _forget(self, target: TargetName, reason: str) -> None:
        known = self._standing.follows[target]
        await self._record(
            e.TopologyForgotten(target=target, upstream=known.upstream, reason=reason)
        )
        self._apart.pop(target, None)

    async def _record(self, event: e.TopologyLearned | e.TopologyForgotten) -> None:
        await self._book.record(RESPONDER, event)
        self._standing.apply(event)
        log.info(event.kind, target=event.target, upstream=event.upstream)

    # --- asked ---

    def cluster_of(self, target: TargetName) -> tuple[TargetName, ...]:
        """Its whole cluster: what the policy declares, else what was learned, else itself alone."""
        return cluster_of(target, self._policies, self._standing)

    def others(self, target: TargetName) -> tuple[TargetName, ...]:
        return tuple(t for t in self.cluster_of(target) if t != target)

    def is_standby(self, target: TargetName) -> bool:
        """Of a cluster with a server that is none; without one nobody can do its work."""
        if target not in self.standbys:
            return False
        return any(other not in self.standbys for other in self.others(target))

    def behind(self, symptom: Symptom) -> tuple[TargetName, ...]:
        """Other targets to which the pool leads that a symptom is about."""
        seat = self._seats.get(symptom.target)
        if symptom.kind not in OF_POOLS or seat is None:
            return ()
        pooler, _, pool = symptom.subject.partition("/")
        database = pool.rpartition("/")[0]
        places = [ps for name, db, ps in seat.poolers if name == pooler and db == database]
        return tuple(
            name
            for name, its in self._seats.items()
            if name != symptom.target and any(its.places & found for found in places)
        )

    def poolers_seen(self) -> list[dict[str, Any]]:
        """Every database of a watched pooler for people to see, and the targets behind it."""
        found: list[dict[str, Any]] = []
        for asked_for, seat in sorted(self._seats.items()):
            if self._policies.target(asked_for) is None:
                continue
            for pooler, database, places in sorted(seat.poolers, key=lambda lead: lead[:2]):
                leads = [n for n, its in self._seats.items() if its.places & places]
                found.append(
                    {
                        "pooler": pooler,
                        "asked_for": asked_for,
                        "database": database,
                        "targets": sorted(leads),
                        "places": sorted(f"{host or 'localhost'}:{port}" for host, port in places),
                    }
                )
        return found

    def through_pools(self, target: TargetName) -> tuple[TargetName, ...]:
        """Other targets with a pooler that leads to this one."""
        its = self._seats.get(target)
        return tuple(
            name
            for name, seat in self._seats.items()
            if its is not None
            and name != target
            and any(its.places & places for _, _, places in seat.poolers)
        )


def cluster_of(
    target: TargetName, policies: Policies, standing: Standing
) -> tuple[TargetName, ...]:
    """The policy has the last word: a target that it puts into a cluster is in no learned one."""
    policy = policies.current
    declared = policy.cluster_of(target)
    if declared is not None:
        return declared.targets
    free = {t.name for t in policy.targets if policy.cluster_of(t.name) is None}
    pairs = ((f.target, f.upstream) for f in standing.follows.values())
    return tuple(together(target, [(a, b) for a, b in pairs if a in free and b in free]))


def clusters_known(policies: Policies, standing: Standing) -> list[dict[str, Any]]:
    """Every cluster for people to see: declared ones, then those that were learned.

    What was learned and does not count, because the policy says otherwise, says so.
    """
    policy, names = policies.current, {t.name for t in policies.current.targets}
    follows = [f for f in standing.follows.values() if f.target in names and f.upstream in names]
    found: dict[tuple[TargetName, ...], dict[str, Any]] = {
        c.targets: _shown(c.name, "policy", c.targets, follows) for c in policy.clusters
    }
    for one in follows:
        members = cluster_of(one.target, policies, standing)
        if one.upstream not in members:
            found[one.target, one.upstream] = {
                **_shown("", "seen", (one.target, one.upstream), [one]),
                "overruled": True,
            }
        elif members not in found:
            found[members] = _shown("", "seen", members, follows)
    return list(found.values())


def _shown(
    name: str, source: str, members: Sequence[TargetName], follows: Iterable[e.TopologyLearned]
) -> dict[str, Any]:
    inside = [f for f in follows if f.target in members and f.upstream in members]
    return {
        "name": name,
        "source": source,
        "targets": list(members),
        "follows": {f.target: f.upstream for f in inside},
        "overruled": False,
    }


def _moment(at: datetime | None) -> float:
    return at.timestamp() if at is not None else float("-inf")
