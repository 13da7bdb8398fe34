"""Whether data is at risk: one judgement for pages, the status and the post-mortem."""

from __future__ import annotations

from stanch.model.diagnosis import DataAtRisk, Diagnosis

SURE = 0.8
KEEPS_WHAT_IS_COMMITTED = frozenset(
    {
        "stopped_cleanly",
        "killed",
        "oom_killed",
        "stale_lock_file",
        "live_lock_file",
        "network_unreachable",
        "postmaster_stopped",
        "standby_without_sessions",
        "dns_failure",
        "credentials_refused",
    }
)
"""Causes after which crash recovery gives back everything that was committed."""


def risk_known(opening: DataAtRisk, named: Diagnosis | None) -> DataAtRisk:
    """As far as is known now: a sure cause that loses nothing ends what was possible at first.

    `named` is the newest diagnosis that named a cause.
    """
    first = named.first if named else None
    if opening == "possible" and first is not None:
        harmless = first.probability >= SURE and first.id in KEEPS_WHAT_IS_COMMITTED
        return "none seen" if harmless else opening
    return opening
