"""What `signals` says that contradicts the rest of the file, or itself."""

from __future__ import annotations

from collections.abc import Iterator

from stanch.policy.places import PathTo, Places
from stanch.policy.policy import Policy
from stanch.policy.quoting import quoted
from stanch.policy.reading import nearest
from stanch.policy.signals import (
    NEVER_RESOLVES,
    RESERVED_NAMES,
    SignalMailbox,
    SignalSource,
)

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", ""})

Contradiction = tuple[PathTo, str, str, bool]
"""Where, what, hint, and whether it is an error (else a warning)."""


def signal_contradictions(draft: Policy, places: Places) -> Iterator[Contradiction]:
    """Everything about `signals` that cannot work, or that is risky."""
    signals = draft.signals
    yield from _listen(draft)
    for source in signals.sources:
        yield from _source(source)
        if source.format == "deploy":
            yield from _of_alerts(source, places)
    for path, name in _targets_named(draft):
        names = tuple(t.name for t in draft.targets)
        if name and name not in names and not places.given(("targets", name)):
            hint = nearest(name, names) or "Define it under `targets`."
            yield path, f"unknown target {quoted(name)}", hint, True
    for number, route in enumerate(signals.routes, 1):
        path = ("signals", "routes", str(number))
        known = (*(s.name for s in signals.sources), *RESERVED_NAMES)
        if route.source and route.source not in known:
            hint = nearest(route.source, known) or "Define it under `signals.sources`."
            yield (*path, "source"), f"unknown source {quoted(route.source)}", hint, True
        if not route.labels:
            hint = "Name the labels that tell these alerts from others."
            yield (*path, "labels"), "is empty, so every alert would fit", hint, True
    if signals.mailbox is not None:
        yield from _mailbox(signals.mailbox)


def _listen(draft: Policy) -> Iterator[Contradiction]:
    listen = draft.signals.listen
    if not listen:
        return
    host, _, port = listen.rpartition(":")
    path = ("signals", "listen")
    if port.isdigit() and int(port) > 65535:
        yield path, f"port {port} is out of range", "At most 65535.", True
    if listen == draft.listen:
        hint = "Leave `signals.listen` out: `/signals` is served on `listen` then."
        yield path, "is the address of health and metrics", hint, True
    if host not in LOOPBACK:
        hint = "Put a proxy with TLS in front, and listen on 127.0.0.1."
        yield path, "tokens and alerts travel in the clear", hint, False


def _source(source: SignalSource) -> Iterator[Contradiction]:
    path = ("signals", "sources", source.name)
    if source.name in RESERVED_NAMES:
        yield path, f"{quoted(source.name)} has a meaning of its own", "Choose another name.", True
    if not source.authenticated:
        hint = "Add `token_file`, `username` with `password_file`, or `secret_file`."
        yield path, "anybody could post alerts", hint, True
    if bool(source.username) != bool(source.password_file):
        hint = "Basic authentication needs `username` and `password_file`."
        yield path, "half a login", hint, True
    if source.signature_header and not source.secret_file:
        hint = "Add `secret_file`."
        yield (*path, "signature_header"), "a signature without a secret", hint, True
    if source.secret_file and not source.signature_header and source.format in _UNSIGNED:
        hint = "Add `signature_header`, or use `token_file`."
        yield (*path, "secret_file"), f"{source.format} signs with no known header", hint, True
    wants = source.format == "json"
    if wants and not ("key" in source.fields or "title" in source.fields):
        hint = "Add `fields` with at least `key` and `title`."
        yield path, "format json needs to know where things are", hint, True
    if source.fields and not wants:
        hint = "Remove it, or set `format: json`."
        yield (*path, "fields"), f"format {source.format} has fields of its own", hint, True
    if source.format in NEVER_RESOLVES and not source.resolve_after_s:
        hint = "Set `resolve_after`, such as 2h."
        yield path, f"{source.format} never says that an alert is over", hint, False


def _of_alerts(source: SignalSource, places: Places) -> Iterator[Contradiction]:
    path = ("signals", "sources", source.name)
    for key in ("severity", "unmatched", "resolve_after", "resolved"):
        if places.given((*path, key)):
            yield (*path, key), "a deploy is no alert", "Remove it.", True


_UNSIGNED = ("alertmanager", "betterstack", "posthog", "json")


def _mailbox(mailbox: SignalMailbox) -> Iterator[Contradiction]:
    path = ("signals", "mailbox")
    if not mailbox.senders:
        hint = "Name who may report: addresses, or @example.com."
        yield (*path, "senders"), "is empty, so nobody may report", hint, True
    if mailbox.tls == "none" and mailbox.host not in LOOPBACK:
        hint = "Set `tls: tls` or `tls: starttls`."
        yield (*path, "tls"), "the login travels in the clear", hint, False


def _targets_named(draft: Policy) -> Iterator[tuple[PathTo, str]]:
    signals = draft.signals
    for source in signals.sources:
        yield ("signals", "sources", source.name, "target"), source.target
    for beat in signals.heartbeats:
        yield ("signals", "heartbeats", beat.name, "target"), beat.target
    for number, route in enumerate(signals.routes, 1):
        yield ("signals", "routes", str(number), "target"), route.target
    if signals.mailbox is not None:
        yield ("signals", "mailbox", "target"), signals.mailbox.target
