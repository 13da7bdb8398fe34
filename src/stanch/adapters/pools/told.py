"""Pools that an application tells over HTTP."""

from __future__ import annotations

from stanch.adapters.services.asking import Asker, Question
from stanch.facts.json_pools import parse_json_pools
from stanch.facts.machines.json_values import read_json
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading
from stanch.policy.signs import JsonPools
from stanch.watch.pools.readings import PoolReadings

DEADLINE_S = 3.0


class ToldPools:
    """A `SignSource` for the pools of one JSON answer. Cost: one GET a look."""

    def __init__(self, pools: JsonPools, *, deadline_s: float = DEADLINE_S) -> None:
        self._pools = pools
        self._asker = Asker(pools, deadline_s=deadline_s)
        self._made = PoolReadings(pools.name)

    async def look(self) -> tuple[Reading, ...]:
        answer = await self._asker.ask_one(Question(url=self._pools.url))
        if isinstance(answer, Missing):
            return self._made.none(answer)
        try:
            return self._made.of(parse_json_pools(read_json(answer), self._pools))
        except ValueError as wrong:
            return self._made.none(Missing(what="pools", reason=str(wrong)))

    async def close(self) -> None:
        """Nothing is kept open."""
