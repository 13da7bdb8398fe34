"""Small loops beside the main job: heartbeat, inbox, spool, metrics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

import httpx
import structlog

from stanch.model.errors import StanchError, StoreError
from stanch.policy.policy import Heartbeat
from stanch.service.doing.emergency import Emergency
from stanch.service.operations import Operations
from stanch.store.inbox import collect, finish
from stanch.store.spool import Spool

INBOX_EVERY_S = 0.4
SPOOL_EVERY_S = 1.0
HEARTBEAT_DEADLINE_S = 10.0

log = structlog.get_logger("errands")


async def send_heartbeats(
    policy: Callable[[], Heartbeat | None],
    healthy: Callable[[], dict[str, Any]],
    heads: Callable[[], Mapping[str, str]],
    count: Callable[[str], None],
) -> None:
    """Tell an outside service that the core works; silence makes that one call for help.

    The body carries the journal's newest hash, so that it is anchored where nobody here can
    change it.
    """
    client: httpx.AsyncClient | None = None
    try:
        while True:
            heartbeat = policy()
            if heartbeat is None:
                await asyncio.sleep(SPOOL_EVERY_S)
                continue
            if healthy()["ok"]:
                client = client or await _client()
                await _beat(client, heartbeat, heads(), count)
            await asyncio.sleep(heartbeat.every_s)
    finally:
        if client is not None:
            await client.aclose()


async def _client() -> httpx.AsyncClient:
    # Reading certificates takes a tenth of a second, in which the loop would watch nothing.
    trust = await asyncio.to_thread(httpx.create_ssl_context)
    return httpx.AsyncClient(verify=trust, timeout=HEARTBEAT_DEADLINE_S)


async def _beat(
    client: httpx.AsyncClient,
    heartbeat: Heartbeat,
    heads: Mapping[str, str],
    count: Callable[[str], None],
) -> None:
    try:
        response = await client.post(heartbeat.url, json={"heads": dict(heads)})
        outcome = "sent" if response.is_success else "refused"
    except httpx.HTTPError as error:
        log.warning("heartbeat not sent", error=str(error))
        outcome = "failed"
    count(outcome)


async def read_inbox(inbox: Path, operations: Operations) -> None:
    """Do commands that were left while nobody answered; each once, however often it arrived."""
    while True:
        for command in await asyncio.to_thread(collect, inbox):
            # One sent over the socket as well has an id of its own, which is the same there.
            request = {"id": command.id, **cast("dict[str, Any]", json.loads(command.text))}
            try:
                answer = (await operations.execute(request)).plain()
            except StoreError as error:
                log.error("a command waits for the store", id=command.id, error=str(error))
                break
            except StanchError as error:
                answer = {"ok": False, "text": str(error)}
            log.info("command from the inbox", id=command.id, answer=answer["text"])
            await asyncio.to_thread(finish, inbox, command.id, json.dumps(answer))
        await asyncio.sleep(INBOX_EVERY_S)


async def tell_spool(spool: Spool, emergency: Emergency) -> None:
    """Once the journal takes events again, tell it what was done meanwhile."""
    while True:
        contents = await asyncio.to_thread(spool.pending)
        if contents.entries or contents.lost:
            try:
                told = await emergency.tell(contents.entries, lost=contents.lost)
            except StoreError:
                log.error("the spool waits for the store", entries=len(contents.entries))
            else:
                if told:
                    await asyncio.to_thread(spool.clear, contents.through)
        await asyncio.sleep(SPOOL_EVERY_S)


async def every(seconds: float, do: Callable[[], Awaitable[None]]) -> None:
    """Do it again and again."""
    while True:
        await do()
        await asyncio.sleep(seconds)
