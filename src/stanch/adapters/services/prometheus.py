"""What a service says of itself, through the Prometheus that scrapes it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from stanch.facts.machines.json_values import read_json
from stanch.facts.prometheus_numbers import parse_number
from stanch.model.diagnosis import Missing
from stanch.model.readings import Reading
from stanch.policy.quoting import printable
from stanch.policy.signs import PrometheusSigns

DEADLINE_S = 5.0
ANSWER_BYTES_MAX = 256 * 1024
REASON_CHARS_MAX = 200


class PrometheusNumbers:
    """A `SignSource`: one instant query for each number that is wanted, one after the other.

    A number that cannot be had is a reading without a value, with the reason: never zero.
    """

    def __init__(self, signs: PrometheusSigns, *, deadline_s: float = DEADLINE_S) -> None:
        self._signs = signs
        self._deadline_s = deadline_s

    async def look(self) -> tuple[Reading, ...]:
        told: dict[str, float | Missing] = {}
        late = Missing(what="metric", reason=f"no answer within {self._deadline_s:g} s")
        try:
            head = await asyncio.to_thread(self._head)
            async with (
                asyncio.timeout(self._deadline_s),
                httpx.AsyncClient(headers=head, trust_env=False, timeout=None) as client,  # noqa: S113 -- the whole look has a deadline
            ):
                for name, query in self._signs.queries.items():
                    told[name] = await self._number(client, query)
        except TimeoutError:
            pass
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            late = Missing(what="metric", reason=str(error) or type(error).__name__)
        return tuple(self._reading(name, told.get(name, late)) for name in self._signs.queries)

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _number(self, client: httpx.AsyncClient, query: str) -> float | Missing:
        url = f"{self._signs.url.rstrip('/')}/api/v1/query"
        asked = {"query": query, "timeout": f"{max(1, int(self._deadline_s))}s"}
        answer = bytearray()
        async with client.stream("POST", url, data=asked) as said:
            async for piece in said.aiter_raw():
                answer += piece
                if len(answer) > ANSWER_BYTES_MAX:
                    return Missing(what="metric", reason="the answer does not end")
        if said.status_code in (401, 403):
            return Missing(what="metric", reason="Prometheus wants another login")
        return parse_number(read_json(bytes(answer)))

    def _head(self) -> dict[str, str]:
        """Read each time: tokens are renewed in their file. Raises OSError."""
        head = {"Accept-Encoding": "identity"}
        if not self._signs.token_file:
            return head
        token = Path(self._signs.token_file).read_text("utf-8", errors="replace").strip()
        return {**head, "Authorization": f"Bearer {token}"}

    def _reading(self, name: str, told: float | Missing) -> Reading:
        missing = isinstance(told, Missing)
        return Reading(
            name=name,
            value=None if missing else told,
            subject=self._signs.name,
            detail=printable(told.reason)[:REASON_CHARS_MAX] if missing else "",
        )
