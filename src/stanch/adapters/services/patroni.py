"""Asks Patroni over its REST API; reads only."""

from __future__ import annotations

from stanch.adapters.services.asking import Asker, Question
from stanch.facts.patroni import parse_patroni
from stanch.model.diagnosis import Missing
from stanch.model.patroni import PatroniSeen
from stanch.policy.signs import HttpSource

SPEAKS = frozenset({200, 503})
"""With 503 it says that the server does not run, and how it is."""


async def ask_patroni(source: HttpSource, *, deadline_s: float) -> PatroniSeen | Missing:
    """What it says of its server and the cluster; both requests within the deadline."""
    base = source.url.rstrip("/")
    status, cluster = await Asker(source, deadline_s=deadline_s).ask(
        (
            Question(url=f"{base}/patroni", answered_by=SPEAKS),
            Question(url=f"{base}/cluster", answered_by=SPEAKS),
        )
    )
    if isinstance(status, Missing):
        return Missing(what="patroni", reason=status.reason)
    return parse_patroni(status, cluster)
