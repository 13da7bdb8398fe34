"""`links` of a target: web addresses that are filled in for an incident's target and time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from stanch.model.links import Link
from stanch.policy.kinds import NAME, Text
from stanch.policy.shapes import Key, Named, Section

BEFORE = timedelta(minutes=15)
"""So much earlier than an incident its links begin: what led to it is what people look for."""

PLACEHOLDERS = ("target", "since", "until", "since_ms", "until_ms")
_PLACEHOLDER = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")

LINK_URL = Text(
    word="web address whose only braces are placeholders",
    pattern=r"https?://[^\s/@?#{}<>\"\\^`|\x00-\x1f\x7f]+"
    r"(?:[/?#](?:[^\s{}<>\"\\^`|\x00-\x1f\x7f]|\{(?:" + "|".join(PLACEHOLDERS) + r")\})*)?",
    like="https://grafana.example.com/d/orders?from={since_ms}&to={until_ms} "
    "(others are written %7B and %7D)",
    may_be_repeated=False,
)

LINK = Section(
    title="link",
    make=Link,
    keys=(
        Key(
            name="url",
            field="url",
            holds=LINK_URL,
            doc="The address. Filled in are `{target}`, `{since}` and `{until}` (UTC, as "
            "2026-03-14T03:00:00Z), `{since_ms}` and `{until_ms}` (milliseconds since 1970). Since "
            "is 15 min before an incident began, until is its end, or now.",
            example='"https://grafana.example.com/d/orders?from={since_ms}&to={until_ms}"',
        ),
    ),
)
LINKS = Named(entry=LINK, name=NAME, field="name", noun="link")


def filled(
    links: Sequence[Link], *, target: str, began: datetime | None, until: datetime
) -> tuple[Link, ...]:
    """The links for one incident: plain ASCII, and nothing in a value changes an address."""
    since = (began or until) - BEFORE
    values = {
        "target": target,
        "since": _moment(since),
        "until": _moment(until),
        "since_ms": str(int(since.timestamp() * 1000)),
        "until_ms": str(int(until.timestamp() * 1000)),
    }
    return tuple(Link(name=link.name, url=_filled(link.url, values)) for link in links)


def _filled(url: str, values: dict[str, str]) -> str:
    # What is not ASCII is written as browsers send it, so that no address looks like another.
    plain = quote(url, safe="!#$%&'()*+,-./:;=?@[]_~{}")
    return _PLACEHOLDER.sub(lambda found: quote(values[found[1]], safe=""), plain)


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
