"""A machine as its node_exporter tells a Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import httpx

from stanch.facts.machines.json_values import as_object, read_json
from stanch.facts.machines.node_exporter import parse_answer, query
from stanch.model.diagnosis import Missing
from stanch.model.machine import HostFacts
from stanch.policy.hosts import PrometheusHost

ANSWER_BYTES_MAX = 4 * 1024 * 1024


class PrometheusMachine:
    """A `MachineReader` through Prometheus: as fresh as its last scrape, and never fresher.

    Cost: one instant query a look.
    """

    def __init__(self, host: PrometheusHost, *, now: Callable[[], datetime]) -> None:
        self._host = host
        self._now = now
        self._client: httpx.AsyncClient | None = None

    @property
    def source(self) -> str:
        return f"prometheus {self._host.instance}"

    async def facts(self, *, deadline_s: float) -> HostFacts | Missing:
        asked = query(instance=self._host.instance, service=self._host.service)
        answer = bytearray()
        try:
            head = await asyncio.to_thread(self._head)
            async with (
                asyncio.timeout(deadline_s),
                self._connected().stream(
                    "POST",
                    f"{self._host.url.rstrip('/')}/api/v1/query",
                    data={"query": asked, "timeout": f"{max(1, int(deadline_s))}s"},
                    headers=head,
                ) as said,
            ):
                async for piece in said.aiter_bytes():
                    answer += piece
                    if len(answer) > ANSWER_BYTES_MAX:
                        return self._missing("the answer does not end")
        except TimeoutError:
            return self._missing(f"no answer within {deadline_s:g} s")
        except (httpx.HTTPError, OSError) as error:
            return self._missing(str(error)[:200] or type(error).__name__)
        if said.status_code in (401, 403):
            return self._missing("Prometheus wants another login; see `token_file`")
        return parse_answer(
            as_object(read_json(bytes(answer))),
            source=self.source,
            at=self._now(),
            service=self._host.service,
        )

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            # Certificates are read only where one will be checked: that takes a tenth of a second.
            self._client = httpx.AsyncClient(
                verify=self._host.url.startswith("https:"),
                timeout=None,  # noqa: S113 -- each look has a deadline
            )
        return self._client

    def _head(self) -> dict[str, str]:
        """Read each time: tokens are renewed in their file. Raises OSError."""
        if not self._host.token_file:
            return {}
        token = Path(self._host.token_file).read_text("utf-8", errors="replace").strip()
        return {"Authorization": f"Bearer {token}"}

    def _missing(self, reason: str) -> Missing:
        return Missing(what="host", reason=f"{self.source}: {reason}")
