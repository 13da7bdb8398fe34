"""Which servers are one cluster, by what each of them says of itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from stanch.model.ids import TargetName
from stanch.model.seats import Seat

Follows = Mapping[TargetName, TargetName]
"""Each standby with the server whose WAL it receives."""


def in_touch(seats: Mapping[TargetName, Seat]) -> Follows:
    """Who streams from whom just now.

    One system identifier proves little, because copies of one backup share it: it takes a stream,
    on one timeline, from the very place where the other one is found.
    """
    standbys = [name for name, seat in seats.items() if _receives(seat)]
    found: dict[TargetName, TargetName] = {}
    for name in standbys:
        at_place = [o for o in _fitting(name, seats) if seats[name].upstream & seats[o].places]
        if len(at_place) == 1:
            found[name] = at_place[0]
    return {**found, **_by_receivers(seats, standbys, found)}


def _receives(seat: Seat) -> bool:
    return seat.streams and seat.primary is False and bool(seat.cluster)


def _fitting(name: TargetName, seats: Mapping[TargetName, Seat]) -> Sequence[TargetName]:
    """Those from which a standby may stream by all but their place."""
    seat = seats[name]
    return [
        other
        for other, its in seats.items()
        if other != name
        and its.cluster == seat.cluster
        and (None in (its.timeline, seat.timeline) or its.timeline == seat.timeline)
    ]


def _by_receivers(
    seats: Mapping[TargetName, Seat], standbys: Iterable[TargetName], found: Follows
) -> Follows:
    """For a standby that does not say from where: the one server that says it streams there.

    Only where nobody else could be meant.
    """
    claims: dict[TargetName, list[TargetName]] = {}
    for name in standbys:
        if name in found or seats[name].upstream:
            continue
        for other in _fitting(name, seats):
            if seats[other].receivers & seats[name].hosts:
                claims.setdefault(name, []).append(other)
    taken = {seats[name].hosts for name in found}
    return {
        name: others[0]
        for name, others in claims.items()
        if len(others) == 1
        and seats[name].hosts not in taken
        and not any(n != name and seats[n].hosts & seats[name].hosts for n in claims)
    }


def together(
    target: TargetName, follows: Iterable[tuple[TargetName, TargetName]]
) -> list[TargetName]:
    """All that stand or fall with a target, itself included, in the order of their names."""
    pairs, found, left = list(follows), {target}, [target]
    while left:
        here = left.pop()
        for pair in pairs:
            if here in pair:
                left += [other for other in pair if other not in found]
                found.update(pair)
    return sorted(found)
