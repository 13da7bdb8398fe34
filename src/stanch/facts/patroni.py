"""Patroni's answers, as it gives them since version 2.1."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from stanch.model.diagnosis import Missing
from stanch.model.patroni import PatroniMember, PatroniSeen, PatroniServer

TEXT_CHARS_MAX = 80
MEMBERS_MAX = 50


def parse_patroni(status: bytes, cluster: bytes | Missing) -> PatroniSeen | Missing:
    """`GET /patroni` and `GET /cluster` as they were answered."""
    told = _object(status)
    if not isinstance(told.get("state"), str):
        return Missing(what="patroni", reason="that is not Patroni's answer")
    known: Mapping[str, Any] = {} if isinstance(cluster, Missing) else _object(cluster)
    about = told.get("patroni")
    scope = cast("Mapping[str, Any]", about).get("scope") if isinstance(about, dict) else ""
    return PatroniSeen(
        name=_text(scope),
        state=_text(told["state"]),
        role=_text(told.get("role")),
        unlocked=told.get("cluster_unlocked") is True,
        paused=told.get("pause") is True or known.get("pause") is True,
        dcs_seen_at=_moment(told.get("dcs_last_seen")),
        members=tuple(_members(known.get("members"))),
    )


def parse_server(status: bytes) -> PatroniServer | Missing:
    """`GET /patroni` as it is needed to act on that server."""
    told = _object(status)
    if not isinstance(told.get("state"), str):
        return Missing(what="patroni", reason="that is not Patroni's answer")
    said = told.get("patroni")
    about: Mapping[str, Any] = cast("Mapping[str, Any]", said) if isinstance(said, dict) else {}
    return PatroniServer(
        scope=_text(about.get("scope")),
        name=_text(about.get("name")),
        state=_text(told["state"]),
        role=_text(told.get("role")),
        system_identifier=_text(told.get("database_system_identifier")),
        started_at=_written(told.get("postmaster_start_time")),
        unlocked=told.get("cluster_unlocked") is True,
        paused=told.get("pause") is True,
        restart_scheduled=bool(told.get("scheduled_restart")),
    )


def _written(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def _members(value: object) -> list[PatroniMember]:
    every = cast("list[object]", value)[:MEMBERS_MAX] if isinstance(value, list) else []
    lines = [cast("Mapping[str, Any]", one) for one in every if isinstance(one, dict)]
    return [
        PatroniMember(
            name=_text(line.get("name")),
            role=_text(line.get("role")),
            state=_text(line.get("state")),
            timeline=_whole(line.get("timeline")),
            lag_bytes=_whole(line.get("lag")),
        )
        for line in lines
    ]


def _object(answer: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(answer)
    except ValueError:
        return {}
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value[:TEXT_CHARS_MAX] if isinstance(value, str) else ""


def _whole(value: object) -> int | None:
    # `lag` is "unknown" where nobody knows it.
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _moment(value: object) -> datetime | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError):
        return None
