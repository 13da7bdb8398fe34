"""Better Stack's outgoing webhook about incidents.

Source: docs.betteruptime.com, "Webhooks"; betterstack.com, "Incidents API response attributes".
The body is the incident as its API gives it, with or without the `event` beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from stanch.model.signals import Parsed, Refused, Signal, SignalStatus
from stanch.watch.signals.payload import (
    DETAIL_CHARS_MAX,
    TITLE_CHARS_MAX,
    Fitting,
    mapping_at,
    shown,
    text_at,
)


def parse(plain: Mapping[str, Any], *, source: str, received_at: datetime, digest: str) -> Parsed:
    """The incident; nothing for webhooks about monitors and on-call changes."""
    data = mapping_at(plain, "data")
    kind, number = text_at(data, "type"), text_at(data, "id")
    if not kind:
        reason = "no webhook of Better Stack: no `data` with a `type`"
        return Parsed(refused=(Refused(because="unknown_shape", reason=reason),))
    if kind != "incident":
        what = f"about a {shown(kind, 40)}, not about an incident"
        return Parsed(refused=(Refused(because="ignored", reason=what),))
    if not number:
        reason = "an incident without an id"
        return Parsed(refused=(Refused(because="malformed", reason=reason),))
    said = mapping_at(data, "attributes")
    fit = Fitting(received_at)
    resolved = _is_resolved(text_at(plain, "event"), said)
    name, cause = text_at(said, "name"), text_at(said, "cause")
    title = ": ".join(filter(None, (name, cause))) or f"incident {number}"
    return Parsed(
        signals=(
            Signal(
                source=source,
                key=fit.key(number),
                status=SignalStatus.RESOLVED if resolved else SignalStatus.FIRING,
                title=fit.text(title, TITLE_CHARS_MAX),
                detail=fit.text(text_at(said, "response_content"), DETAIL_CHARS_MAX),
                starts_at=fit.start(said.get("started_at")),
                ends_at=fit.end(said.get("resolved_at")) if resolved else None,
                labels=fit.labels(_labels(data, said)),
                links=fit.links([text_at(said, "url"), text_at(said, "screenshot_url")]),
                digest=digest,
                bounded=fit.bounded,
            ),
        )
    )


def _is_resolved(event: str, said: Mapping[str, Any]) -> bool:
    status = text_at(said, "status").casefold()
    return bool(text_at(said, "resolved_at")) or event == "resolved" or status == "resolved"


def _labels(data: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    related = {
        f"{kind}_id": mapping_at(mapping_at(mapping_at(data, "relationships"), kind), "data").get(
            "id"
        )
        for kind in ("monitor", "heartbeat")
    }
    return {
        "name": said.get("name"),
        "host": _host(text_at(said, "url")),
        "team": said.get("team_name"),
        **related,
    }


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
