"""Bringing a command to whoever can do it: running responder, store, or inbox, in this order."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from stanch.model.errors import PolicyInvalid, StoreLocked, StoreUnsuitable
from stanch.service.house import (
    Store,
    open_house,
    open_store,
    open_store_reading,
    read_policy_file,
    state_path,
    state_path_of_invalid,
)
from stanch.service.people.api import VERIFY_PATH, commands_app, verification
from stanch.service.people.client import NotAnswering, Reply, Socket, Via
from stanch.service.record.policies import Policies
from stanch.service.requests import BadRequest
from stanch.store.inbox import drop
from stanch.store.statedir import StateDir, holder, no_store


async def execute(config: Path, request: Mapping[str, Any]) -> Reply:
    """Do one command. The id lets a running responder do it once, however often it arrives.

    Raises: PolicyInvalid where only the policy could say what to do, StoreError.
    Never: makes a store. A command answered by an empty one would have told nobody.
    """
    policies, state = _found(config)
    request = {"id": secrets.token_hex(8), **request}
    try:
        return await Socket(state.socket).execute(request)
    except NotAnswering:
        pass
    if holder(state) is not None:
        return _left(state, request)
    if isinstance(policies, PolicyInvalid):
        raise policies
    if not state.db.exists():
        raise no_store(state)
    try:
        store = open_store(policies, threaded=False)
    except StoreLocked:
        return _left(state, request)
    return await _in_store(policies, store, "POST", "/commands", json=dict(request))


async def ask(config: Path, path: str, params: Mapping[str, str]) -> Reply:
    """Answer one question, without ever needing the right to write."""
    policies, state = _found(config)
    try:
        return await Socket(state.socket).get(path, **params)
    except NotAnswering:
        if isinstance(policies, PolicyInvalid):
            raise policies from None
        via: Via = "store" if holder(state) is None else "held_store"
        store = open_store_reading(policies)
        if path == VERIFY_PATH:
            return replace(await _verified(store, params), via=via)
        reply = await _in_store(policies, store, "GET", path, writable=False, params=params)
        return replace(reply, via=via)


async def ask_running(config: Path, path: str, params: Mapping[str, str]) -> Reply:
    """Ask what only a running responder can answer, for it has to look at a target.

    Raises: NotAnswering, PolicyInvalid.
    """
    _policies, state = _found(config)
    return await Socket(state.socket).look(path, **params)


def _found(config: Path) -> tuple[Policies | PolicyInvalid, StateDir]:
    """The policy and the state directory; of a file with errors at least the directory."""
    try:
        policies = read_policy_file(config)
    except PolicyInvalid as error:
        path = state_path_of_invalid(config)
        if path is None:
            raise
        return error, _ours(StateDir(path=path))
    return policies, _ours(StateDir(path=state_path(policies)))


def _ours(state: StateDir) -> StateDir:
    """Raises StoreUnsuitable where the directory is another OS user's, who alone may look."""
    try:
        os.stat(state.socket)
    except PermissionError as error:
        raise StoreUnsuitable(
            "may not be entered by this OS user",
            on=str(state.path),
            hint=f"Commands work for the OS user of `stanch run`{_owner(state.path)} and root.",
        ) from error
    except OSError:
        pass
    return state


def _owner(path: Path) -> str:
    try:
        return f" ({path.owner()})"
    except (OSError, KeyError):
        return ""


def _left(state: StateDir, request: Mapping[str, Any]) -> Reply:
    name = drop(state.inbox, json.dumps(dict(request)))
    return Reply(via="inbox", ok=True, body={"ok": True, "text": f"left as {name}"})


async def _verified(store: Store, params: Mapping[str, str]) -> Reply:
    """Without furnishing a house: a store that does not verify cannot be lived in."""
    try:
        return Reply(via="store", ok=True, body=await verification(store, params))
    except BadRequest as error:
        return Reply(via="store", ok=False, body={"text": str(error), "hint": error.hint})
    finally:
        await store.close()


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
        house = await open_house(policies, store, writable=writable, attended=False)
        transport = httpx.ASGITransport(app=commands_app(house))
        async with httpx.AsyncClient(transport=transport, base_url="http://stanch") as client:
            response = await client.request(method, path, **more)
    finally:
        await store.close()
    return Reply(via="store", ok=response.is_success, body=response.json())
