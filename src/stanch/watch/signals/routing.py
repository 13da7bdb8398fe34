"""Which target a signal is about, and how bad it is by the policy's own scale."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stanch.model.ids import TargetName
from stanch.model.signals import Routed, Signal
from stanch.policy.dsn import read_conninfo
from stanch.policy.policy import Policy, Severity
from stanch.policy.signals import HEARTBEAT, MAIL, Signals

UNKNOWN_RANK = 2
"""A word nobody knows may mean anything: it pages, and does not cry wolf."""

WORDS = {
    1: ("critical", "crit", "page", "emergency", "fatal", "disaster", "p0", "s0", "sev0", "sev-0"),
    2: ("high", "error", "major", "urgent", "p1", "s1", "sev1", "sev-1"),
    3: ("medium", "warning", "warn", "moderate", "p2", "s2", "sev2", "sev-2"),
    4: ("low", "info", "information", "minor", "notice", "none", "test", "p3", "p4", "s3", "sev3"),
}
"""What others call their ranks, where the policy has no such label."""

HOST_LABELS = ("instance", "host", "hostname", "server", "node", "address")
CLUSTER_LABELS = ("cluster", "service", "job", "pooler", "app", "application", "about")
"""Where others write what of a cluster they mean."""
_LOCAL = frozenset({"", "localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class _Route:
    target: TargetName
    source: str
    labels: tuple[tuple[str, re.Pattern[str]], ...]

    def fits(self, signal: Signal) -> bool:
        if self.source not in ("", signal.source):
            return False
        return all(p.fullmatch(signal.labels.get(name, "")) for name, p in self.labels)


class Router:
    """The routes and words of one policy, ready to be asked many times."""

    def __init__(self, policy: Policy) -> None:
        self._names = {t.name for t in policy.targets}
        self._folded = _unique((t.name.casefold(), t.name) for t in policy.targets)
        self._hosts = _unique(
            (host, t.name) for t in policy.targets for host in _hosts(t.dsn) if host not in _LOCAL
        )
        self._clustered = _unique(
            (name.casefold(), c.targets[0])
            for c in policy.clusters
            if c.targets
            for name in c.names
        )
        self._routes = [
            _Route(TargetName(r.target), r.source, tuple(map(_matcher, r.labels)))
            for r in policy.signals.routes
        ]
        self._ranks = _ranks(policy.severities)
        self._usual = _usual(policy.signals)

    def route(self, signal: Signal) -> Routed:
        """The signal with its target and rank."""
        target, rank = self._usual.get(signal.source, ("", UNKNOWN_RANK))
        found = self._target(signal) or (TargetName(target) if target in self._names else None)
        known = self._ranks.get(signal.severity.casefold())
        return Routed(signal=signal, target=found, rank=known or rank)

    def _target(self, signal: Signal) -> TargetName | None:
        said = signal.labels.get("target", "")
        if said in self._names:
            return TargetName(said)
        for route in self._routes:
            if route.fits(signal):
                return route.target
        about = self._folded.get(signal.labels.get("about", "").casefold())
        if about is not None:
            return about
        hosts = (_host(signal.labels.get(name, "")) for name in HOST_LABELS)
        named = next((self._hosts[host] for host in hosts if host in self._hosts), None)
        return named or self._of_cluster(signal)

    def _of_cluster(self, signal: Signal) -> TargetName | None:
        """About a pooler or a service: its cluster's first target stands for all of it."""
        if not self._clustered:
            return None
        said = [signal.labels.get(name, "").casefold() for name in CLUSTER_LABELS]
        said += [_host(signal.labels.get(name, "")) for name in HOST_LABELS]
        return next((self._clustered[name] for name in said if name in self._clustered), None)


def _matcher(text: str) -> tuple[str, re.Pattern[str]]:
    name, _, value = text.partition("=")
    pattern = ".*".join(re.escape(part) for part in value.split("*"))
    return name, re.compile(pattern, re.DOTALL)


def _unique(pairs: Iterable[tuple[str, TargetName]]) -> dict[str, TargetName]:
    """Only what means one target; what two share means none."""
    found: dict[str, set[TargetName]] = {}
    for name, target in pairs:
        found.setdefault(name, set()).add(target)
    return {name: next(iter(targets)) for name, targets in found.items() if len(targets) == 1}


def _hosts(dsn: str) -> tuple[str, ...]:
    known = read_conninfo(dsn)
    return tuple(host.casefold() for host in known.hosts) if known else ()


def _host(label: str) -> str:
    """The host of `host`, `host:port` or `[address]:port`."""
    if label.startswith("["):
        return label[1:].partition("]")[0].casefold()
    host, _, port = label.rpartition(":")
    return (host if host and port.isdigit() and ":" not in host else label).casefold()


def _ranks(scale: Sequence[Severity]) -> dict[str, int]:
    """Words to ranks; the policy's own label and name count before what others usually mean."""
    known = {word: rank for rank, words in WORDS.items() for word in words}
    known |= {s.name.casefold(): s.rank for s in scale}
    return known | {s.label.casefold(): s.rank for s in scale}


def _usual(signals: Signals) -> dict[str, tuple[str, int]]:
    """Per source the target and rank of alerts that do not say."""
    usual = {s.name: (s.target, s.severity) for s in signals.sources}
    usual[HEARTBEAT] = ("", UNKNOWN_RANK)
    if signals.mailbox is not None:
        usual[MAIL] = (signals.mailbox.target, UNKNOWN_RANK)
    return usual
