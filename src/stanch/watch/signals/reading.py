"""Which module reads what a source sends."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from stanch.model.signals import Parsed, Refused
from stanch.policy.signals import SignalFormat, SignalSource
from stanch.watch.signals import alertmanager, betterstack, mapped, own, pagerduty, posthog
from stanch.watch.signals.payload import digest_of, read_object


class _Parse(Protocol):
    def __call__(
        self, plain: Mapping[str, Any], /, *, source: str, received_at: datetime, digest: str
    ) -> Parsed: ...


_PARSERS: Mapping[SignalFormat, _Parse] = {
    "alertmanager": alertmanager.parse,
    "grafana": alertmanager.parse,
    "betterstack": betterstack.parse,
    "pagerduty": pagerduty.parse,
    "posthog": posthog.parse,
    "stanch": own.parse,
}


def read(source: SignalSource, body: bytes, received_at: datetime) -> Parsed:
    """The signals in a payload. Never raises on any bytes."""
    plain = read_object(body)
    if isinstance(plain, Refused):
        return Parsed(refused=(plain,))
    digest = digest_of(body)
    if source.format == "json":
        return mapped.parse(
            plain,
            fields=source.fields,
            resolved=source.resolved,
            source=source.name,
            received_at=received_at,
            digest=digest,
        )
    parse = _PARSERS[source.format]
    return parse(plain, source=source.name, received_at=received_at, digest=digest)
