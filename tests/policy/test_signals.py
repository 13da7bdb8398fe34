"""What the policy says about alerts from outside: read strictly, refused where it cannot work."""

from __future__ import annotations

import pytest

from stanch.policy.canonical import canonical_text
from stanch.policy.parse import parse_policy, read_policy
from stanch.policy.signals import SignalRoute

HEAD = """
state_directory: /var/lib/stanch
people: {asha: {name: Asha Example}}
ladder: [asha]
channels: {screen: {type: terminal}}
targets: {orders: {dsn: service=orders}}
signals:
"""
WHOLE = """
  listen: 127.0.0.1:8433
  sources:
    prom: {format: alertmanager, username: am, password_file: /p, target: orders, severity: 3}
    sentry:
      format: json
      secret_file: /s
      signature_header: Sentry-Hook-Signature
      fields: {key: data.issue.id, title: data.issue.title}
      resolved: [resolved, ignored]
      unmatched: list
      resolve_after: 2h
  routes:
    - {target: orders, labels: ["instance=db1:*", "job=pg"], source: prom}
  heartbeats:
    dump: {every: 25h, token_file: /t, target: orders, severity: 1}
  mailbox: {host: imap.example.com, username: alarm, password_file: /p, senders: ["@example.com"]}
"""


def found(signals: str) -> list[tuple[str, str]]:
    findings = read_policy(HEAD + signals, file="p").findings
    return [(f.path.removeprefix("signals."), f.level) for f in findings]


def test_everything_is_read_and_survives_being_stored() -> None:
    policy = parse_policy(HEAD + WHOLE, file="p")
    signals = policy.signals
    assert signals.routes == (
        SignalRoute(target="orders", labels=("instance=db1:*", "job=pg"), source="prom"),
    )
    sentry = signals.source("sentry")
    assert sentry is not None
    assert (sentry.resolve_after_s, sentry.unmatched) == (7200.0, "list")
    assert sentry.fields == {"key": "data.issue.id", "title": "data.issue.title"}
    beat = signals.heartbeat("dump")
    assert beat is not None
    assert (beat.every_s, beat.severity) == (90_000.0, 1)
    assert signals.mailbox is not None
    assert (signals.mailbox.port, signals.mailbox.tls) == (993, "tls")
    assert parse_policy(canonical_text(policy), file="p") == policy


def test_without_signals_nothing_is_taken() -> None:
    policy = parse_policy(HEAD.replace("signals:\n", ""), file="p")
    assert not policy.signals.any
    assert parse_policy(canonical_text(policy), file="p") == policy


SOURCE = "  sources: {{s: {{{}}}}}\n"
TOKEN = "format: stanch, token_file: /t"
BOX = "host: h, username: u, password_file: /p"


@pytest.mark.parametrize(
    ("signals", "path"),
    [
        (SOURCE.format("format: stanch"), "sources.s"),
        (SOURCE.format("format: nagios, token_file: /t"), "sources.s.format"),
        (SOURCE.format("format: grafana, username: u"), "sources.s"),
        (SOURCE.format("format: grafana, password_file: /p"), "sources.s"),
        (SOURCE.format(f"{TOKEN}, signature_header: X-S"), "sources.s.signature_header"),
        (SOURCE.format("format: alertmanager, secret_file: /s"), "sources.s.secret_file"),
        (SOURCE.format("format: json, token_file: /t"), "sources.s"),
        (SOURCE.format(f"{TOKEN}, fields: {{key: a}}"), "sources.s.fields"),
        (SOURCE.format(f"{TOKEN}, target: billing"), "sources.s.target"),
        (SOURCE.format(f"{TOKEN}, token: abc"), "sources.s.token"),
        (SOURCE.format("format: deploy, token_file: /t, severity: 1"), "sources.s.severity"),
        (SOURCE.format(TOKEN).replace("{s:", "{mail:"), "sources.mail"),
        ("  listen: 127.0.0.1:8432\n", "listen"),
        ("  listen: 127.0.0.1:99999\n", "listen"),
        ("  routes: [{target: nobody, labels: [a=b]}]\n", "routes.1.target"),
        ("  routes: [{target: orders, labels: []}]\n", "routes.1.labels"),
        ("  routes: [{target: orders, labels: [ab]}]\n", "routes.1.labels.1"),
        ("  routes: [{target: orders, labels: [a=b], source: x}]\n", "routes.1.source"),
        ("  heartbeats: {d: {every: 1h}}\n", "heartbeats.d"),
        ("  heartbeats: {d: {every: 25, token_file: /t}}\n", "heartbeats.d.every"),
        (f"  mailbox: {{{BOX}, senders: []}}\n", "mailbox.senders"),
        (f"  mailbox: {{{BOX}, senders: [anybody]}}\n", "mailbox.senders.1"),
    ],
)
def test_what_cannot_work_is_an_error_at_its_place(signals: str, path: str) -> None:
    assert (path, "error") in found(signals)


@pytest.mark.parametrize(
    ("signals", "path"),
    [
        ("  listen: 0.0.0.0:8433\n", "listen"),
        (SOURCE.format("format: posthog, token_file: /t"), "sources.s"),
        (f'  mailbox: {{{BOX}, tls: none, senders: ["@example.com"]}}\n', "mailbox.tls"),
    ],
)
def test_what_is_risky_is_a_warning(signals: str, path: str) -> None:
    assert found(signals) == [(path, "warning")]


@pytest.mark.parametrize(
    "signals",
    [
        SOURCE.format(TOKEN),
        SOURCE.format("format: grafana, secret_file: /s"),
        SOURCE.format("format: alertmanager, secret_file: /s, signature_header: X-S"),
        SOURCE.format("format: posthog, token_file: /t, resolve_after: 1h"),
        SOURCE.format("format: deploy, secret_file: /s"),
        "  routes: [{target: orders, labels: [about=Acme], source: mail}]\n",
    ],
)
def test_what_works_has_no_findings(signals: str) -> None:
    assert found(signals) == []
