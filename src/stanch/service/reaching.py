"""Bringing a command to whoever can do it: running responder, store, or inbox, in this order."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from stanch.model.errors import StoreLocked
from stanch.service.api import commands_app
from stanch.service.client import NotAnswering, Reply, Socket
from stanch.service.house import (
    Store,
    open_house,
    open_store,
    open_store_reading,
    read_policy_file,
    state_path,
)
from stanch.service.policies import Policies
from stanch.store.inbox import drop
from stanch.store.statedir import StateDir


async def execute(config: Path, request: Mapping[str, Any]) -> Reply:
    """Do one command. The id lets a running responder do it once, however often it arrives."""
    policies = read_policy_file(config)
    state = StateDir(path=state_path(policies))
    request = {"id": secrets.token_hex(8), **request}
    try:
        return await Socket(state.socket).execute(request)
    except NotAnswering:
        pass
    try:
        store = open_store(policies, threaded=False)
    except StoreLocked:
        name = drop(state.inbox, json.dumps(request))
        return Reply(via="inbox", ok=True, body={"ok": True, "text": f"left as {name}"})
    return await _in_store(policies, store, "POST", "/commands", json=dict(request))


async def ask(config: Path, path: str, params: Mapping[str, str]) -> Reply:
    """Answer one question, without ever needing the right to write."""
    policies = read_policy_file(config)
    state = StateDir(path=state_path(policies))
    try:
        return await Socket(state.socket).get(path, **params)
    except NotAnswering:
        store = open_store_reading(policies)
        return await _in_store(policies, store, "GET", path, writable=False, params=params)


async def _in_store(
    policies: Policies,
    store: Store,
    method: str,
    path: str,
    *,
    writable: bool = True,
    **more: Any,
) -> Reply:
    """The same interface a running responder serves, called in this process."""
    try:
        house = await open_house(policies, store, writable=writable)
        transport = httpx.ASGITransport(app=commands_app(house))
        async with httpx.AsyncClient(transport=transport, base_url="http://stanch") as client:
            response = await client.request(method, path, **more)
    finally:
        await store.close()
    return Reply(via="store", ok=response.is_success, body=response.json())
