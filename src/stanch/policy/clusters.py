"""Which servers, poolers and services stand or fall together, as the policy says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stanch.model.ids import TargetName
from stanch.policy.places import PathTo, Places
from stanch.policy.quoting import quoted
from stanch.policy.reading import nearest

Contradiction = tuple[PathTo, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPolicy:
    """A primary, its standbys, and what reaches them."""

    name: str
    targets: tuple[TargetName, ...]
    """All servers of it, whichever of them is the primary at the moment."""
    poolers: tuple[str, ...] = ()
    services: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """By what alerts from outside may call it."""
        return (self.name, *self.poolers, *self.services)


def cluster_contradictions(
    clusters: Sequence[ClusterPolicy], targets: Sequence[TargetName], places: Places
) -> Iterator[Contradiction]:
    """Targets that do not exist, and what is said to be in two clusters."""
    owner: dict[str, str] = {}
    for cluster in clusters:
        path = ("clusters", cluster.name)
        if not cluster.targets and not places.failed((*path, "targets")):
            yield (*path, "targets"), "is empty", "Name the servers of this cluster."
        for index, target in enumerate(cluster.targets, 1):
            at = (*path, "targets", str(index))
            if target not in targets and not places.given(("targets", target)):
                hint = nearest(target, tuple(targets)) or "Define it under `targets`."
                yield at, f"unknown target {quoted(target)}", hint
        members = (
            *((("targets", str(n)), f"target {t}") for n, t in enumerate(cluster.targets, 1)),
            *((("poolers", str(n)), f"name {p}") for n, p in enumerate(cluster.poolers, 1)),
            *((("services", str(n)), f"name {s}") for n, s in enumerate(cluster.services, 1)),
        )
        for where, member in members:
            known = owner.setdefault(member.casefold(), cluster.name)
            if known != cluster.name:
                what = f"is in cluster {quoted(known)}, too"
                yield (*path, *where), what, "Each belongs to one cluster at most."
