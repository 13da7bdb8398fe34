"""New versions of services, as whoever deploys tells them: `POST /signals/NAME`, format `deploy`.

One object, or `{"deploys": [...]}`. Required are `service` and `version`.

    service     what was deployed          version     which version of it is out now
    previous    which one was before       by          who did it
    link        a web address about it     target      a target's name
    at          ISO 8601 with zone, or Unix seconds; without it now
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from stanch.model.changes import Change, ItemKind
from stanch.model.signals import Refused
from stanch.watch.signals.payload import Fitting, read_object, shown, text_at

FIELDS = frozenset({"service", "version", "previous", "by", "link", "target", "at"})
DEPLOYS_MAX = 100
WORD_CHARS_MAX = 120
AGAIN_S = 300.0
"""Told twice within this without a time of its own, it is one deploy: its sender tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """One new version."""

    change: Change
    labels: Mapping[str, str]
    """What tells which target it is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploys:
    """What one payload holds."""

    deploys: tuple[Deploy, ...] = ()
    refused: tuple[Refused, ...] = ()


def read_deploys(source: str, body: bytes, received_at: datetime) -> Deploys:
    """The deploys in a payload. Never raises on any bytes."""
    plain = read_object(body)
    if isinstance(plain, Refused):
        return Deploys(refused=(plain,))
    listed = plain.get("deploys", [plain])
    if not isinstance(listed, list):
        return Deploys(refused=(_malformed("`deploys` is no list"),))
    items = cast("list[Any]", listed)
    if len(items) > DEPLOYS_MAX:
        reason = f"{len(items)} deploys are more than the {DEPLOYS_MAX} that are read at once"
        return Deploys(refused=(Refused(because="too_large", reason=reason),))
    found = [_deploy(source, item, received_at) for item in items]
    return Deploys(
        deploys=tuple(one for one in found if isinstance(one, Deploy)),
        refused=tuple(one for one in found if isinstance(one, Refused)),
    )


def _deploy(source: str, item: Any, received_at: datetime) -> Deploy | Refused:
    if not isinstance(item, dict):
        return _malformed("not an object")
    one = cast("dict[str, Any]", item)
    surplus = sorted(one.keys() - FIELDS)
    if surplus:
        known = ", ".join(sorted(FIELDS))
        return _malformed(f"unknown field {shown(surplus[0], 40)!r}; known: {known}")
    words = {name: shown(text_at(one, name).strip(), WORD_CHARS_MAX) for name in FIELDS}
    for name in ("service", "version"):
        if not words[name]:
            return _malformed(f"`{name}` is missing")
    fit = Fitting(received_at)
    said_at = fit.start(one.get("at")) if "at" in one else None
    if "at" in one and said_at is None:
        return _malformed("`at` is no time that can be believed")
    moment = said_at.timestamp() if said_at else received_at.timestamp() // AGAIN_S
    change = Change(
        at=said_at or received_at,
        kind=ItemKind.DEPLOY,
        what=words["service"],
        before=words["previous"] or None,
        after=words["version"],
        source=source,
        by=words["by"],
        link=next(iter(fit.links([text_at(one, "link")])), ""),
        key=f"{words['service']}/{words['version']}/{moment}",
    )
    labels = {name: words[name] for name in ("target", "service") if words[name]}
    return Deploy(change=change, labels=labels)


def _malformed(reason: str) -> Refused:
    return Refused(because="malformed", reason=reason)
