"""What `pools`, `services`, `signs`, `log_errors` of a target say that cannot be, or is risky."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from stanch.policy.log_stores import BetterStackErrors
from stanch.policy.places import PathTo
from stanch.policy.policy import TargetPolicy
from stanch.policy.signs import HttpSource, JsonPools, JsonSigns, SignsOfService, TokenSource

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

Contradiction = tuple[PathTo, str, str, bool]
"""Where below the target, what, hint, and whether it is an error (else a warning)."""


def sign_contradictions(target: TargetPolicy) -> Iterator[Contradiction]:
    """Everything about what is asked beside the server that cannot work, or that is risky."""
    for check in target.services:
        if bool(check.json) != bool(check.equals):
            hint = "Say where a value is and what it must be, or neither."
            yield ("services", check.name), "has only one of `json` and `equals`", hint, True
    for signs in target.signs:
        path = ("signs", signs.name)
        yield from _asked(signs, path)
        yield from _login(signs, path)
    for logs in target.log_errors:
        yield from _login(logs, ("log_errors", logs.name))
        if isinstance(logs, BetterStackErrors) and not logs.username:
            hint = "Add `username` and `password_file`, as its connection page shows them."
            yield ("log_errors", logs.name), "has no login", hint, True
    for pools in target.pools:
        if isinstance(pools, JsonPools):
            yield from _login(pools, ("pools", pools.name))


def _asked(signs: SignsOfService, path: PathTo) -> Iterator[Contradiction]:
    if not isinstance(signs, JsonSigns):
        if not signs.queries:
            hint = "Give `request_rate`, `error_rate` or `latency`."
            yield path, "asks nothing", hint, True
        return
    if not signs.gauges and not signs.counters:
        hint = "Give the path of a rate or of a counter."
        yield path, "asks nothing", hint, True
    for gauge, counter, given in (
        ("request_rate", "requests_total", (signs.request_rate, signs.requests_total)),
        ("error_rate", "errors_total", (signs.error_rate, signs.errors_total)),
        ("latency", "latency_total", (signs.latency, signs.latency_total)),
    ):
        if all(given):
            what = f"has both `{gauge}` and `{counter}`"
            yield (*path, counter), what, "Keep one of them.", True
    for name in ("errors", "latency"):
        if name in signs.counters and not signs.requests_total:
            what = "says nothing without a counter of requests"
            yield (*path, f"{name}_total"), what, "Add `requests_total`.", True


def _login(source: HttpSource, path: PathTo) -> Iterator[Contradiction]:
    if source.username and not source.password_file:
        hint = "Put the password into a file and name it in `password_file`."
        yield (*path, "username"), "a login without a password", hint, True
    if source.password_file and not source.username:
        hint = "Add `username`, or remove this line."
        yield (*path, "password_file"), "a password without a login", hint, True
    token_file = source.token_file if isinstance(source, TokenSource) else ""
    if token_file and source.username:
        hint = "Keep the token or the password."
        yield (*path, "username"), "logs in in two ways", hint, True
    in_clear = source.url.startswith("http:") and _host(source.url) not in LOOPBACK
    if in_clear and (token_file or source.username):
        hint = "Use https."
        yield (*path, "url"), "the login travels in the clear", hint, False


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
