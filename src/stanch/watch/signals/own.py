"""Stanch's own form, for scripts and for whatever has no format of its own: `POST /signals`.

One object, or `{"signals": [...]}`. Only `title` is required; without a `key` the title is one.

    title       one line                        key         what tells this alert from others
    status      firing (usual) or resolved      severity    a label or rank of the policy, or a word
    target      a target's name                 detail      a sentence or two
    labels      names and texts                 links       web addresses
    starts_at, ends_at                          ISO 8601 with zone, or Unix seconds
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from stanch.model.signals import Parsed, Refused, Signal, SignalStatus
from stanch.watch.signals.payload import (
    DETAIL_CHARS_MAX,
    SIGNALS_MAX,
    TITLE_CHARS_MAX,
    Fitting,
    mapping_at,
    scalar,
    shown,
    text_at,
)

FIELDS = frozenset(
    {
        "title",
        "key",
        "status",
        "severity",
        "target",
        "detail",
        "labels",
        "links",
        "starts_at",
        "ends_at",
    }
)


def parse(plain: Mapping[str, Any], *, source: str, received_at: datetime, digest: str) -> Parsed:
    """Every signal of the payload; an unknown field refuses the one it is in."""
    listed = plain.get("signals", [plain])
    if not isinstance(listed, list):
        return Parsed(refused=(Refused(because="malformed", reason="`signals` is no list"),))
    signals, refused = list[Signal](), list[Refused]()
    items = cast("list[Any]", listed)
    if len(items) > SIGNALS_MAX:
        reason = f"{len(items)} signals are more than the {SIGNALS_MAX} that are read at once"
        return Parsed(refused=(Refused(because="too_large", reason=reason),))
    for number, item in enumerate(items, 1):
        found = _signal(item, source=source, received_at=received_at, digest=digest)
        if isinstance(found, Signal):
            signals.append(found)
        else:
            where = f"signal {number}: " if "signals" in plain else ""
            refused.append(Refused(because="malformed", reason=where + found))
    return Parsed(signals=tuple(signals), refused=tuple(refused))


def _signal(item: Any, *, source: str, received_at: datetime, digest: str) -> Signal | str:
    if not isinstance(item, dict):
        return "not an object"
    one = cast("dict[str, Any]", item)
    surplus = sorted(one.keys() - FIELDS)
    if surplus:
        return f"unknown field {shown(surplus[0], 40)!r}; known: {', '.join(sorted(FIELDS))}"
    title, status = text_at(one, "title"), text_at(one, "status") or SignalStatus.FIRING
    if not title.strip():
        return "`title` is missing"
    if status not in (SignalStatus.FIRING, SignalStatus.RESOLVED):
        return f"status {shown(status, 40)!r} is neither firing nor resolved"
    fit = Fitting(received_at)
    labels = dict(mapping_at(one, "labels"))
    if target := text_at(one, "target"):
        labels = {"target": target, **labels}
    resolved = status == SignalStatus.RESOLVED
    return Signal(
        source=source,
        key=fit.key(text_at(one, "key") or title),
        status=SignalStatus(status),
        title=fit.text(title, TITLE_CHARS_MAX),
        severity=shown(text_at(one, "severity"), 40),
        detail=fit.text(text_at(one, "detail"), DETAIL_CHARS_MAX),
        starts_at=fit.start(one.get("starts_at")),
        ends_at=fit.end(one.get("ends_at")) if resolved else None,
        labels=fit.labels(labels),
        links=fit.links(_links(one.get("links"))),
        digest=digest,
        bounded=fit.bounded,
    )


def _links(given: Any) -> list[str]:
    if not isinstance(given, list):
        return [scalar(given)]
    return [scalar(link) for link in cast("list[Any]", given)]
