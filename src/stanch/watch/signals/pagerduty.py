"""PagerDuty's webhooks, version 3: one event about one incident a payload.

Source: support.pagerduty.com, "Webhooks"; `event.data` is the incident as it is after the event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from stanch.model.signals import Parsed, Refused, Signal, SignalStatus
from stanch.watch.signals.payload import (
    TITLE_CHARS_MAX,
    Fitting,
    mapping_at,
    moment,
    shown,
    text_at,
)

_STATUS = {
    "triggered": SignalStatus.FIRING,
    "acknowledged": SignalStatus.FIRING,
    "resolved": SignalStatus.RESOLVED,
}


def parse(plain: Mapping[str, Any], *, source: str, received_at: datetime, digest: str) -> Parsed:
    """The incident an event is about; nothing for a ping, and for events about something else."""
    event = mapping_at(plain, "event")
    kind = text_at(event, "event_type")
    if not kind:
        old = (
            " (version 2 sends `messages`: subscribe with version 3)" if "messages" in plain else ""
        )
        reason = f"no PagerDuty webhook of version 3{old}"
        return Parsed(refused=(Refused(because="unknown_shape", reason=reason),))
    data = mapping_at(event, "data")
    if text_at(data, "type") != "incident":
        what = f"{shown(kind, 60)} is not about an incident"
        return Parsed(refused=(Refused(because="ignored", reason=what),))
    status, number = _STATUS.get(text_at(data, "status")), text_at(data, "id")
    if status is None or not number:
        reason = f"{shown(kind, 60)}: an incident without a known status, or without an id"
        return Parsed(refused=(Refused(because="malformed", reason=reason),))
    signal = _signal(data, number, status, source=source, received_at=received_at)
    occurred_at = moment(event.get("occurred_at"))
    over = occurred_at if status is SignalStatus.RESOLVED else None
    return Parsed(
        signals=(
            replace(
                signal,
                occurred_at=occurred_at,
                ends_at=min(over, received_at) if over else None,
                digest=digest,
            ),
        )
    )


def _signal(
    data: Mapping[str, Any],
    number: str,
    status: SignalStatus,
    *,
    source: str,
    received_at: datetime,
) -> Signal:
    fit = Fitting(received_at)
    service, priority = mapping_at(data, "service"), mapping_at(data, "priority")
    labels = {
        "service": service.get("summary"),
        "service_id": service.get("id"),
        "urgency": data.get("urgency"),
        "priority": priority.get("summary"),
        "number": data.get("number"),
        "incident_key": data.get("incident_key"),
    }
    return Signal(
        source=source,
        key=fit.key(number),
        status=status,
        title=fit.text(text_at(data, "title", "summary") or f"incident {number}", TITLE_CHARS_MAX),
        severity=shown(text_at(priority, "summary") or text_at(data, "urgency"), 40),
        starts_at=fit.start(data.get("created_at")),
        labels=fit.labels(labels),
        links=fit.links([text_at(data, "html_url")]),
        bounded=fit.bounded,
    )
