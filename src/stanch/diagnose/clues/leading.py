"""What Patroni says: who leads, whether it may, and how its own server is."""

from __future__ import annotations

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.evidence import Evidence
from stanch.model.patroni import PatroniSeen
from stanch.model.shown import shortened, span

DCS_LATE_S = 30.0
"""Patroni asks it every ten seconds, and gives up its lead after twenty to thirty."""
DOWN = frozenset({"stopped", "crashed", "start failed", "restart failed", "stop failed"})
REPLICAS = frozenset({"replica", "sync_standby", "standby_leader", "uninitialized"})


def _members(seen: PatroniSeen) -> str:
    told = (f"{m.name} {m.role} {m.state}" for m in seen.members)
    return shortened(", ".join(told), 160) or "no members"


def _leaderless(seen: PatroniSeen, _evidence: Evidence) -> YES_NO:
    if not seen.members and not seen.unlocked:
        return "Patroni could not say who leads"
    if seen.leader and not seen.unlocked:
        return False, f'"{seen.leader}" leads cluster "{seen.name}"'
    return True, f'nobody leads cluster "{seen.name}": {_members(seen)}'


def _dcs_lost(seen: PatroniSeen, evidence: Evidence) -> YES_NO:
    if seen.dcs_seen_at is None:
        return "this Patroni does not say when it last reached its store"
    age_s = (evidence.at - seen.dcs_seen_at).total_seconds()
    said = f"it reached the store with the leader's key {span(max(0.0, age_s))} ago"
    return age_s >= DCS_LATE_S, said, seen.dcs_seen_at


def _replica(seen: PatroniSeen, _evidence: Evidence) -> YES_NO:
    if not seen.role:
        return "Patroni does not say its role"
    return seen.role in REPLICAS, f"its role is {seen.role}, its state {seen.state}"


def _paused(seen: PatroniSeen, _evidence: Evidence) -> YES_NO:
    words = "Patroni is paused: it starts and promotes nobody"
    return (True, words) if seen.paused else (False, "Patroni is in charge")


leaderless = clue_on(
    "patroni_leaderless",
    "Does Patroni know of no leader?",
    lambda e: e.patroni,
    _leaderless,
)
dcs_lost = clue_on(
    "patroni_dcs_lost",
    "Has Patroni lost the store (DCS) in which the leader's key lies?",
    lambda e: e.patroni,
    _dcs_lost,
)
is_replica = clue_on(
    "patroni_replica",
    "Does Patroni run this server as a replica?",
    lambda e: e.patroni,
    _replica,
)
paused = clue_on(
    "patroni_paused",
    "Is Patroni paused?",
    lambda e: e.patroni,
    _paused,
)
