"""Alertmanager's webhook, version 4, and Grafana's, which has the same shape and more links.

Source: prometheus.io, `webhook_config`; grafana.com, webhook notifier. Each alert of a group is a
signal of its own. Where the group was too large for `max_alerts`, one more signal says how many
were left out; it is over once the whole group fits again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, cast

from stanch.model.signals import Parsed, Refused, Signal, SignalStatus
from stanch.watch.signals.payload import (
    DETAIL_CHARS_MAX,
    SIGNALS_MAX,
    TITLE_CHARS_MAX,
    Fitting,
    mapping_at,
    shown,
    text_at,
)

VERSIONS = ("4", "1", "")
"""Alertmanager says 4; Grafana says 1; both send the same fields."""


def parse(plain: Mapping[str, Any], *, source: str, received_at: datetime, digest: str) -> Parsed:
    """The alerts of one group."""
    alerts, version = plain.get("alerts"), text_at(plain, "version")
    if not isinstance(alerts, list) or version not in VERSIONS:
        what = f"version {version!r}" if isinstance(alerts, list) else "no list of alerts"
        reason = f"no webhook of Alertmanager version 4 or of Grafana: {shown(what, 80)}"
        return Parsed(refused=(Refused(because="unknown_shape", reason=reason),))
    listed = cast("list[Any]", alerts)
    signals, refused = list[Signal](), list[Refused]()
    for number, alert in enumerate(listed[:SIGNALS_MAX], 1):
        found = _alert(plain, alert, source=source, received_at=received_at, digest=digest)
        if isinstance(found, Signal):
            signals.append(found)
        else:
            refused.append(Refused(because="malformed", reason=f"alert {number}: {found}"))
    left_out = max(0, len(listed) - SIGNALS_MAX) + _truncated(plain)
    if left_out or "truncatedAlerts" in plain:
        signals.append(_rest(plain, left_out, source=source, at=received_at, digest=digest))
    return Parsed(signals=tuple(signals), refused=tuple(refused))


def _alert(
    group: Mapping[str, Any], alert: Any, *, source: str, received_at: datetime, digest: str
) -> Signal | str:
    """One alert, or why it is none."""
    if not isinstance(alert, dict):
        return "not an object"
    one = cast("dict[str, Any]", alert)
    status = text_at(one, "status") or text_at(group, "status")
    if status not in (SignalStatus.FIRING, SignalStatus.RESOLVED):
        return f"status {shown(status, 40)!r} is neither firing nor resolved"
    labels, notes = mapping_at(one, "labels"), mapping_at(one, "annotations")
    if not labels and not text_at(one, "fingerprint"):
        return "neither labels nor a fingerprint"
    fit = Fitting(received_at)
    return Signal(
        source=source,
        key=fit.key(text_at(one, "fingerprint") or _fingerprint(labels)),
        status=SignalStatus(status),
        title=fit.text(_title(labels, notes), TITLE_CHARS_MAX),
        severity=_severity(labels),
        detail=fit.text(text_at(notes, "description", "message", "summary"), DETAIL_CHARS_MAX),
        starts_at=fit.start(one.get("startsAt")),
        ends_at=fit.end(one.get("endsAt")) if status == SignalStatus.RESOLVED else None,
        labels=fit.labels(labels),
        links=fit.links(_links(group, one, notes)),
        digest=digest,
        bounded=fit.bounded,
    )


def _title(labels: Mapping[str, Any], notes: Mapping[str, Any]) -> str:
    name = text_at(labels, "alertname") or "alert without a name"
    summary = text_at(notes, "summary")
    if summary:
        return f"{name}: {summary}"
    where = text_at(labels, "instance", "service", "job")
    return f"{name} on {where}" if where else name


def _severity(labels: Mapping[str, Any]) -> str:
    if (text_at(labels, "alertname"), text_at(labels, "instance")) == ("TestAlert", "Grafana"):
        return "test"
    return shown(text_at(labels, "severity", "priority", "level"), 40)


def _links(
    group: Mapping[str, Any], alert: Mapping[str, Any], notes: Mapping[str, Any]
) -> Iterator[str]:
    yield text_at(notes, "runbook_url", "runbook")
    for name in ("dashboardURL", "panelURL", "generatorURL", "silenceURL"):
        yield text_at(alert, name)
    yield text_at(group, "externalURL")


def _fingerprint(labels: Mapping[str, Any]) -> str:
    """Old releases send none: what tells alerts apart is their labels."""
    text = json.dumps(dict(labels), sort_keys=True, ensure_ascii=True)
    return "labels-" + hashlib.sha256(text.encode()).hexdigest()[:32]


def _truncated(group: Mapping[str, Any]) -> int:
    said = group.get("truncatedAlerts")
    return min(said, 10**9) if isinstance(said, int) and said > 0 else 0


def _rest(
    group: Mapping[str, Any], left_out: int, *, source: str, at: datetime, digest: str
) -> Signal:
    """What stands for the alerts that were not sent."""
    name = text_at(group, "groupKey") or text_at(group, "receiver")
    fit = Fitting(at)
    return Signal(
        source=source,
        key=f"left-out-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}",
        status=SignalStatus.FIRING if left_out else SignalStatus.RESOLVED,
        title=fit.text(f"{left_out} more alerts of one group were not sent", TITLE_CHARS_MAX),
        severity=_severity(mapping_at(group, "commonLabels")),
        detail=fit.text(f"group {name}", DETAIL_CHARS_MAX),
        labels=fit.labels(mapping_at(group, "commonLabels")),
        links=fit.links([text_at(group, "externalURL")]),
        digest=digest,
    )
