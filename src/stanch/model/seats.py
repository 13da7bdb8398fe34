"""Where a server sits in its cluster, as it says itself: whom it hears from, and who hears it."""

from __future__ import annotations

from dataclasses import dataclass

Place = tuple[str, int]
"""A name or address with its port. An empty name is the machine that Stanch runs on."""

LOCAL = frozenset({"", "localhost", "localhost.localdomain", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One server; what nobody has read is empty or None."""

    cluster: str = ""
    """Its system identifier. Copies of one backup share it, whether or not they are one cluster."""
    primary: bool | None = None
    timeline: int | None = None
    places: frozenset[Place] = frozenset()
    """Where it is found, by the policy's connection string."""
    streams: bool = False
    """It receives WAL from another server just now."""
    upstream: frozenset[Place] = frozenset()
    """From where; empty also where its role may not see that."""
    receivers: frozenset[str] = frozenset()
    """Names and addresses to which it streams just now."""
    poolers: tuple[tuple[str, str, frozenset[Place]], ...] = ()
    """Pools asked beside it: pooler, database there, and the server where that leads."""

    @property
    def hosts(self) -> frozenset[str]:
        return frozenset(host for host, _ in self.places)


def seen_from(hosts: frozenset[str], said: str) -> frozenset[str]:
    """A host as others call it, when somebody on these hosts calls it so."""
    name = said.strip().casefold()
    return hosts if name in LOCAL or name.startswith(("/", "@")) else frozenset({name})
