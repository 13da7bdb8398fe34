"""What a service says of itself in JSON over HTTP."""

from __future__ import annotations

import asyncio

from stanch.adapters.services.asking import Asker, Question
from stanch.facts.machines.json_values import read_json
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading
from stanch.policy.signs import JsonSigns
from stanch.watch.signs.service_numbers import ServiceNumbers

DEADLINE_S = 5.0


class OwnNumbers:
    """A `SignSource`: one GET a look."""

    def __init__(self, signs: JsonSigns, *, deadline_s: float = DEADLINE_S) -> None:
        self._url = signs.url
        self._asker = Asker(signs, deadline_s=deadline_s)
        self._made = ServiceNumbers(signs)

    async def look(self) -> tuple[Reading, ...]:
        answer = await self._asker.ask_one(Question(url=self._url))
        if isinstance(answer, Missing):
            return self._made.none(answer)
        said = read_json(answer)
        if said is None:
            return self._made.none(Missing(what="answer", reason="the answer is no JSON"))
        return self._made.of(said, at_s=asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Nothing is kept open."""
