"""What the policy says about alerts and reports from outside, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

SignalFormat = Literal[
    "alertmanager", "grafana", "betterstack", "pagerduty", "posthog", "json", "stanch", "deploy"
]
FORMATS: tuple[SignalFormat, ...] = (
    "alertmanager",
    "grafana",
    "betterstack",
    "pagerduty",
    "posthog",
    "json",
    "stanch",
    "deploy",
)
"""`deploy` is no alert: what it tells is kept as a change."""

FIELDS = (
    "key",
    "title",
    "status",
    "severity",
    "detail",
    "starts_at",
    "link",
    "target",
    "labels",
    "each",
)
"""What a path may be given for, with `format: json`."""

MAIL = "mail"
HEARTBEAT = "heartbeat"
RESERVED_NAMES = (MAIL, HEARTBEAT)
"""Under these names mails and silences stand among the signals."""

NEVER_RESOLVES = ("posthog",)

Unmatched = Literal["page", "list"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalSource:
    """One monitor that may post alerts, and how it proves who it is."""

    name: str
    format: SignalFormat
    token_file: str = ""
    username: str = ""
    password_file: str = ""
    secret_file: str = ""
    signature_header: str = ""
    """Empty: the header that belongs to the format."""
    target: str = ""
    """What its alerts are about where no route says otherwise."""
    severity: int = 2
    """Rank of alerts whose own word is unknown."""
    unmatched: Unmatched = "page"
    resolve_after_s: float = 0.0
    """Over when not heard for so long; 0: only the source says when."""
    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    resolved: tuple[str, ...] = ("resolved", "closed", "ok", "up")
    """Values of `status` that mean that it is over."""

    @property
    def authenticated(self) -> bool:
        return bool(self.token_file or self.password_file or self.secret_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRoute:
    """Alerts with all of these labels are about this target."""

    target: str
    labels: tuple[str, ...]
    """`name=value` each; `*` in a value stands for any text."""
    source: str = ""
    """Only alerts of this source; empty: of any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedHeartbeat:
    """A job that has to be heard of every so often."""

    name: str
    every_s: float
    token_file: str
    target: str = ""
    severity: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalMailbox:
    """A mailbox that people and programs report to."""

    host: str
    username: str
    password_file: str
    senders: tuple[str, ...]
    """Addresses, or `@example.com` for everybody there; mails of others are left alone."""
    port: int = 993
    tls: Literal["tls", "starttls", "none"] = "tls"
    folder: str = "INBOX"
    target: str = ""
    unmatched: Unmatched = "page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """Everything that may come in from outside; without sources nothing is listened for."""

    listen: str = ""
    """Empty: taken on the listener of health and metrics."""
    sources: tuple[SignalSource, ...] = ()
    routes: tuple[SignalRoute, ...] = ()
    heartbeats: tuple[ExpectedHeartbeat, ...] = ()
    mailbox: SignalMailbox | None = None

    @property
    def any(self) -> bool:
        return bool(self.sources or self.heartbeats or self.mailbox)

    def source(self, name: str) -> SignalSource | None:
        return next((s for s in self.sources if s.name == name), None)

    def heartbeat(self, name: str) -> ExpectedHeartbeat | None:
        return next((h for h in self.heartbeats if h.name == name), None)
