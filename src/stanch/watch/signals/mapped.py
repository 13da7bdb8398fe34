"""JSON of any shape, read by the paths that the policy gives for it.

A path is names and list positions with dots between them: `data.issue.id`, `tags.0.value`. Several
with ` | ` between them are tried in turn; the first that leads to a value counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from stanch.model.signals import Parsed, Refused, Signal, SignalStatus
from stanch.watch.signals.payload import (
    DETAIL_CHARS_MAX,
    SIGNALS_MAX,
    TITLE_CHARS_MAX,
    Fitting,
    scalar,
    shown,
)

STEPS_MAX = 20


def parse(
    plain: Mapping[str, Any],
    *,
    fields: Mapping[str, str],
    resolved: Sequence[str],
    source: str,
    received_at: datetime,
    digest: str,
) -> Parsed:
    """One signal, or where `each` leads to a list, one for each of its items."""
    items = _items(plain, fields.get("each", ""))
    if isinstance(items, Refused):
        return Parsed(refused=(items,))
    over = frozenset(word.casefold() for word in resolved)
    signals, refused = list[Signal](), list[Refused]()
    for item in items:
        found = _signal(item, fields, over, received_at=received_at)
        if isinstance(found, Refused):
            refused.append(found)
        else:
            signals.append(replace(found, source=source, digest=digest))
    return Parsed(signals=tuple(signals), refused=tuple(refused))


def _items(plain: Mapping[str, Any], each: str) -> Sequence[Any] | Refused:
    if not each:
        return [plain]
    found = at_path(plain, each)
    if not isinstance(found, list):
        reason = f"`each: {shown(each, 80)}` leads to no list"
        return Refused(because="unknown_shape", reason=reason)
    return cast("list[Any]", found)[:SIGNALS_MAX]


def _signal(
    item: Any, fields: Mapping[str, str], over: frozenset[str], *, received_at: datetime
) -> Signal | Refused:
    said = {name: scalar(at_path(item, path)) for name, path in fields.items() if path}
    key, title = said.get("key", ""), said.get("title", "")
    if not key and not title:
        reason = "neither `key` nor `title` leads to a value"
        return Refused(because="unknown_shape", reason=reason)
    is_over = said.get("status", "").casefold() in over
    fit = Fitting(received_at)
    return Signal(
        source="",
        key=fit.key(key or title),
        status=SignalStatus.RESOLVED if is_over else SignalStatus.FIRING,
        title=fit.text(title or key, TITLE_CHARS_MAX),
        severity=shown(said.get("severity", ""), 40),
        detail=fit.text(said.get("detail", ""), DETAIL_CHARS_MAX),
        starts_at=fit.start(at_path(item, fields.get("starts_at", ""))),
        labels=fit.labels(_labels(item, fields, said)),
        links=fit.links([said.get("link", "")]),
        bounded=fit.bounded,
    )


def _labels(item: Any, fields: Mapping[str, str], said: Mapping[str, str]) -> dict[str, Any]:
    found = at_path(item, fields.get("labels", ""))
    labels = dict(cast("dict[str, Any]", found)) if isinstance(found, dict) else {}
    return {"target": said["target"], **labels} if said.get("target") else labels


def at_path(value: Any, paths: str) -> Any:
    """What the first path leads to that leads to anything; None where none does."""
    for path in paths.split("|"):
        found = _walk(value, path.strip())
        if found is not None:
            return found
    return None


def _walk(value: Any, path: str) -> Any:
    if not path:
        return None
    for step in path.split(".")[:STEPS_MAX]:
        if isinstance(value, dict):
            value = cast("dict[str, Any]", value).get(step)
        elif isinstance(value, list) and step.isascii() and step.isdigit():
            items = cast("list[Any]", value)
            value = items[int(step)] if len(step) < 7 and int(step) < len(items) else None
        else:
            return None
    return value
