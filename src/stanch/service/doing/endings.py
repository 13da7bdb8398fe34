"""Ends that no sample will ever bring: of targets that left the policy, of rules switched off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import structlog

from stanch.detect.tracker import Condition, Tracks
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.ids import ITSELF, TargetName
from stanch.model.symptoms import SymptomKind
from stanch.policy.policy import Policy, TargetPolicy
from stanch.policy.rules import declared_rules
from stanch.service.record.book import Book

REMOVED = "the target is no longer in the policy: nobody watches it"

log = structlog.get_logger("watching")


def switched_off(target: TargetPolicy, tracks: Tracks) -> Iterator[Condition]:
    """What still stands of rules that the policy has switched off since: it is over."""
    for key, track in tracks.items():
        kind, _, subject = key.partition(":")
        known = track.standing and SymptomKind(kind) in declared_rules()
        if known and target.settings(SymptomKind(kind)).off:
            yield Condition(
                kind=SymptomKind(kind),
                bad=False,
                subject=subject,
                detail="its rule was switched off",
                clear_hold_s=0.0,
            )


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
    over = [
        e.SymptomCleared(key=key, detail=REMOVED)
        for key, symptom in incident.attached.items()
        if not _watched(policy, symptom.target)
    ]
    if over:
        await book.record(incident.id, *over)


def _closed(incident: Incident, at: datetime) -> Sequence[e.Event]:
    if incident.status.ended:
        return ()
    return (e.IncidentResolved(verified=False, reason=REMOVED),)
