"""What a service says of itself, through the Prometheus that scrapes it."""

from __future__ import annotations

from urllib.parse import urlencode

from stanch.adapters.services.asking import Asker, Question
from stanch.facts.machines.json_values import read_json
from stanch.facts.prometheus_numbers import parse_number
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading
from stanch.policy.quoting import printable
from stanch.policy.signs import PrometheusSigns

DEADLINE_S = 5.0
REASON_CHARS_MAX = 200
SAYS_WHY = frozenset({200, 400, 422, 503})
"""With these it says in JSON what came of a query."""


class PrometheusNumbers:
    """A `SignSource`: one instant query for each number that is wanted, one after the other.

    A number that cannot be had is a reading without a value, with the reason: never zero.
    """

    def __init__(self, signs: PrometheusSigns, *, deadline_s: float = DEADLINE_S) -> None:
        self._signs = signs
        self._deadline_s = deadline_s
        self._asker = Asker(signs, deadline_s=deadline_s)

    async def look(self) -> tuple[Reading, ...]:
        queries = self._signs.queries
        answers = await self._asker.ask([self._question(query) for query in queries.values()])
        return tuple(
            self._reading(name, answer if isinstance(answer, Missing) else _number(answer))
            for name, answer in zip(queries, answers, strict=True)
        )

    async def close(self) -> None:
        """Nothing is kept open."""

    def _question(self, query: str) -> Question:
        asked = {"query": query, "timeout": f"{max(1, int(self._deadline_s))}s"}
        return Question(
            url=f"{self._signs.url.rstrip('/')}/api/v1/query",
            method="POST",
            body=urlencode(asked).encode("ascii"),
            content_type="application/x-www-form-urlencoded",
            answered_by=SAYS_WHY,
        )

    def _reading(self, name: str, told: float | Missing) -> Reading:
        missing = isinstance(told, Missing)
        return Reading(
            name=name,
            value=None if missing else told,
            subject=self._signs.name,
            detail=printable(told.reason)[:REASON_CHARS_MAX] if missing else "",
        )


def _number(answer: bytes) -> float | Missing:
    return parse_number(read_json(answer))
