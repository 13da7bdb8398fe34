"""PostHog's webhook destination on alerts.

Source: posthog.com, "Alerts", and its webhook template, whose usual body is the event and the
person. PostHog says that an alert fires, and nothing when it stops: the policy's `resolve_after`
ends it. A destination on any other event is read with `format: json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from stanch.model.signals import Parsed, Refused, Signal, SignalStatus
from stanch.watch.signals.payload import (
    DETAIL_CHARS_MAX,
    TITLE_CHARS_MAX,
    Fitting,
    mapping_at,
    shown,
    text_at,
)

_OVER = frozenset({"not firing", "resolved"})


def parse(plain: Mapping[str, Any], *, source: str, received_at: datetime, digest: str) -> Parsed:
    """The alert behind one event."""
    # A body written by hand may hold the event's fields at the top.
    event = mapping_at(plain, "event") or plain
    name, told = text_at(event, "event"), mapping_at(event, "properties")
    if not (name.startswith("$") and "_alert_" in name):
        reason = (
            f"{shown(name or 'no event', 60)} is no alert of PostHog; use `format: json` for it"
        )
        return Parsed(refused=(Refused(because="unknown_shape", reason=reason),))
    number = text_at(told, "alert_id", "alert_name")
    if not number:
        reason = "an alert without alert_id"
        return Parsed(refused=(Refused(because="malformed", reason=reason),))
    over = text_at(told, "state").casefold() in _OVER or name.endswith("_resolved")
    fit = Fitting(received_at)
    title = text_at(told, "alert_name", "insight_name") or "alert"
    labels = {"alert": told.get("alert_name"), "insight": told.get("insight_name")}
    return Parsed(
        signals=(
            Signal(
                source=source,
                key=fit.key(number),
                status=SignalStatus.RESOLVED if over else SignalStatus.FIRING,
                title=fit.text(title, TITLE_CHARS_MAX),
                detail=fit.text(text_at(told, "breaches"), DETAIL_CHARS_MAX),
                starts_at=fit.start(event.get("timestamp")),
                labels=fit.labels(labels),
                links=fit.links([text_at(event, "url")]),
                digest=digest,
                bounded=fit.bounded,
            ),
        )
    )
