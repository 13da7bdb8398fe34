"""How a command reaches the responder: the socket, the store itself, or the inbox.

The order is fixed. A running responder owns its store, so it is asked first; where nobody runs the
store is opened directly; where something holds the store but does not answer, the command is left
in the fsynced inbox and done as soon as it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from stanch.model.errors import StanchError

CONNECT_S = 1.0
ANSWER_S = 3.0
LOOK_S = 30.0
"""For questions whose answer has first to be read from a target."""

Via = Literal["running", "store", "held_store", "inbox"]
"""`held_store`: read beside a responder that holds the store and does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back, and from where."""

    via: Via
    ok: bool
    body: dict[str, Any]


class NotAnswering(StanchError):
    """Nobody answers on the socket; nothing is known to have been done."""


class Socket:
    """The local socket of a running responder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def execute(self, request: Mapping[str, Any]) -> Reply:
        """Raises NotAnswering."""
        return await self._ask("POST", "/commands", json=dict(request))

    async def get(self, path: str, **params: str) -> Reply:
        """Raises NotAnswering."""
        return await self._ask("GET", path, params=params)

    async def look(self, path: str, **params: str) -> Reply:
        """As `get`, with the patience that a look at a target takes. Raises NotAnswering."""
        return await self._ask("GET", path, answer_s=LOOK_S, params=params)

    async def _ask(
        self, method: str, path: str, *, answer_s: float = ANSWER_S, **more: Any
    ) -> Reply:
        if not self._path.exists():
            raise NotAnswering("no socket", on=str(self._path))
        # Here and not above: every command of the command line would wait for it.
        import httpx

        # A local socket speaks no TLS: reading certificates would take longer than the answer.
        transport = httpx.AsyncHTTPTransport(uds=str(self._path), verify=False)
        timeout = httpx.Timeout(answer_s, connect=CONNECT_S)
        try:
            async with httpx.AsyncClient(
                transport=transport, base_url="http://stanch", timeout=timeout
            ) as client:
                response = await client.request(method, path, **more)
                body = cast("dict[str, Any]", response.json())
        except (httpx.HTTPError, ValueError) as error:
            raise NotAnswering(f"no answer ({type(error).__name__})", on=str(self._path)) from error
        return Reply(via="running", ok=response.is_success, body=body)
