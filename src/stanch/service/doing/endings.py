"""Ends that no sample will ever bring: of what left the policy, and of rules switched off."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from stanch.detect.tracker import Condition, Track, Tracks
from stanch.incident.state import Incident, Status
from stanch.model import events as e
from stanch.model.ids import ITSELF, TargetName
from stanch.model.symptoms import SymptomKind
from stanch.policy.backups import Backups
from stanch.policy.policy import Limits, Policy, TargetPolicy
from stanch.policy.rules import declared_rules
from stanch.policy.rules.moments import tells_of_a_moment
from stanch.service.record.book import Book
from stanch.watch.backups.archive import HOLES
from stanch.watch.backups.gap import GAP
from stanch.watch.backups.readings import NAMES as OF_A_PLACE

REMOVED = "the target is no longer in the policy: nobody watches it"

NOT_ASKED = "it is no longer in the policy: nobody asks it"

OF_BACKUPS = frozenset({*OF_A_PLACE, GAP, HOLES, "backup_unseen_s"})
OF_POOLS = frozenset({"pool_usage_pct", "pool_waiting", "pool_max_wait_s"})
OF_SERVICES = frozenset({"health_check_ok", "health_check_ms"})
OF_SIGNS = frozenset({"request_rate", "error_rate_pct", "latency_s"})
OF_LOGS = frozenset({"log_errors_total"})

log = structlog.get_logger("watching")


def closed(tracks: Tracks, incidents: Sequence[Incident], limits: Limits, at: datetime) -> set[str]:
    """What need not be told again although it stands: a person closed it, knowing better, or it
    happened before the end of an incident in which it was told."""
    window = timedelta(seconds=limits.flap_window_s)
    resolved = [i for i in incidents if i.status is Status.RESOLVED]
    found = {
        key
        for i in resolved
        if not i.ended_verified and i.ended_at is not None and at - i.ended_at <= window
        for key in i.seen
        if not tells_of_a_moment(key)
    }
    for key, track in tracks.items():
        ends = [i.ended_at for i in resolved if key in i.seen] if tells_of_a_moment(key) else []
        if any(end is not None and (track.bad_since or end) <= end for end in ends):
            found.add(key)
    return found


def known_better(tracks: Tracks, incidents: Sequence[Incident]) -> set[str]:
    """What was closed without proof while it stood, and did not happen anew since."""
    unproven = [i for i in incidents if i.status is Status.RESOLVED and not i.ended_verified]
    return {
        key
        for key, track in tracks.items()
        for i in unproven
        if track.standing and key in i.seen and _before(track.bad_since, i.ended_at)
    }


def _before(moment: datetime | None, end: datetime | None) -> bool:
    return end is not None and (moment is None or moment <= end)


def without_untold(tracks: Tracks, told: Collection[str]) -> Tracks:
    """The tracks without what stands and is told nowhere, so that it is told again.

    What tells of a moment was told when it came to stand: only what happened anew is news.
    """
    kept = dict[str, Track]()
    for key, track in tracks.items():
        if key in told:
            kept[key] = replace(track, anew=False) if track.anew else track
        elif not track.standing or (tells_of_a_moment(key) and not track.anew):
            kept[key] = track
    return kept


def no_longer_asked(target: TargetPolicy, tracks: Tracks) -> Iterator[Condition]:
    """What still stands of pools, services, signs, logs and backups that are no longer named."""
    for key, track in tracks.items():
        kind, _, subject = key.partition(":")
        rule = declared_rules().get(SymptomKind(kind)) if track.standing else None
        if rule is not None and not _asks(target, rule.reading, subject):
            yield _over(rule.kind, subject, NOT_ASKED)


def _asks(target: TargetPolicy, reading: str, subject: str) -> bool:
    """Whether the policy still names whoever tells this; what is found and not named always is."""
    if reading in OF_SERVICES:
        sources = (f"pool source {pools.name}" for pools in target.pools)
        return subject in (*(check.name for check in target.services), *sources)
    if reading in OF_POOLS:
        return any(subject.partition("/")[0] == pools.name for pools in target.pools)
    if reading in OF_SIGNS:
        return any(subject == signs.name for signs in target.signs)
    if reading in OF_LOGS:
        return any(subject == logs.name for logs in target.log_errors)
    return reading not in OF_BACKUPS or target.backups != Backups()


def switched_off(target: TargetPolicy, tracks: Tracks) -> Iterator[Condition]:
    """What still stands of rules that the policy has switched off since: it is over."""
    for key, track in tracks.items():
        kind, _, subject = key.partition(":")
        known = track.standing and SymptomKind(kind) in declared_rules()
        if known and target.settings(SymptomKind(kind)).off:
            yield _over(SymptomKind(kind), subject, "its rule was switched off")


def _over(kind: SymptomKind, subject: str, detail: str) -> Condition:
    return Condition(kind=kind, bad=False, subject=subject, detail=detail, clear_hold_s=0.0)


async def close_removed(
    book: Book, policy: Policy, incidents: Iterable[Incident]
) -> tuple[TargetName, ...]:
    """End what is open on targets that are no longer watched; returns those targets.

    Never: what a person declared, which only a person calls over. Raises StoreError.
    """
    gone: dict[TargetName, None] = {}
    for incident in incidents:
        if incident.status.ended:
            continue
        await _clear_attached(book, policy, incident)
        if _watched(policy, incident.target):
            continue
        gone[incident.target] = None
        if incident.declared_by is None:
            log.warning("incident closed", incident=incident.id, why=REMOVED)
            await book.decide(incident.id, _closed)
    return tuple(gone)


def _watched(policy: Policy, target: TargetName) -> bool:
    return target == ITSELF or policy.target(target) is not None


async def _clear_attached(book: Book, policy: Policy, incident: Incident) -> None:
    gone = [
        e.SymptomCleared(key=key, detail=REMOVED)
        for key, symptom in incident.attached.items()
        if not _watched(policy, symptom.target)
    ]
    if gone:
        await book.record(incident.id, *gone)


def _closed(incident: Incident, at: datetime) -> Sequence[e.Event]:
    if incident.status.ended:
        return ()
    return (e.IncidentResolved(verified=False, reason=REMOVED),)


def over(incident: Incident, reason: str) -> Sequence[e.Event]:
    """The end of what Stanch itself has seen to be over."""
    if incident.status.ended:
        return ()
    return (e.IncidentResolved(verified=True, reason=reason),)
