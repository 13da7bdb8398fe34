"""What a failure of one server does to the rest of its cluster: told with it, not beside it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from stanch.incident.state import Incident
from stanch.model.ids import TargetName
from stanch.model.symptoms import Symptom, SymptomKind

BEFORE_S = 60.0
"""So much earlier than its cause an effect may be seen: a health check fails before the sentinel
is sure."""

AFTER_S = 120.0
"""So long after its cause is over an effect may still stand; then it is a matter of its own."""

DOWN_TOO_S = 30.0
"""So long after its primary is back a standby may still be down with it; then it is told alone, and
can be started."""

ATTACHED_MAX = 20
"""So many effects stand in an incident one by one; the rest are counted."""

STANDING_MAX = 30
"""So many symptoms of its own target stand in an incident one by one."""

OUTSIDE = frozenset({SymptomKind.OUTSIDE_ALERT, SymptomKind.REPORTED})

BREAKS_THE_REST = frozenset(
    {
        SymptomKind.SERVER_DOWN,
        SymptomKind.DISK_FULL,
        SymptomKind.CONNECTIONS_EXHAUSTED,
    }
)
"""On a primary these stop the standbys' stream or everybody who comes through it."""

DOWN = frozenset({SymptomKind.SERVER_DOWN, SymptomKind.SERVICE_STOPPED})
"""Seen from outside, and on its machine: one and the same."""

REPLICATION = frozenset(
    {
        SymptomKind.REPLICATION_LAG,
        SymptomKind.REPLICATION_DELAY,
        SymptomKind.STANDBY_GONE,
        SymptomKind.SLOT_INACTIVE,
    }
)
"""All that a server that lost its standby shows of it. WAL that a slot retains is not among them:
it fills a volume, whatever the reason."""

THROUGH_IT = frozenset(
    {
        SymptomKind.POOL_EXHAUSTED,
        SymptomKind.POOL_HIGH,
        SymptomKind.POOL_WAITING,
        SymptomKind.POOL_WAIT_LONG,
        SymptomKind.HEALTH_CHECK_FAILING,
        SymptomKind.HEALTH_CHECK_SLOW,
        SymptomKind.ERROR_RATE_HIGH,
        SymptomKind.ERROR_RATE_RAISED,
        SymptomKind.ERROR_BUDGET_BURN,
        SymptomKind.LATENCY_UNUSUAL,
        SymptomKind.REQUESTS_SILENT,
        SymptomKind.LOG_ERRORS,
    }
)
"""What everybody who comes through a server suffers while it is down."""

WITHOUT_A_PRIMARY = REPLICATION | THROUGH_IT | {SymptomKind.OUTSIDE_ALERT}

HEAL_WITH_IT = DOWN | REPLICATION | THROUGH_IT
"""On the server that is down itself: over once it is started again. Of what another monitor or a
person says that is not known."""


def breaks(incident: Incident, standbys: Collection[TargetName], at: datetime) -> bool:
    """Whether the rest of the cluster may suffer from it, now or for a while yet."""
    if incident.status.ended or incident.drill:
        return False
    kinds = {SymptomKind(key.partition(":")[0]) for key in incident.seen}
    grave = {SymptomKind.SERVER_DOWN} if incident.target in standbys else BREAKS_THE_REST
    if not kinds & grave:
        return False
    return incident.cleared_at is None or at - incident.cleared_at <= timedelta(seconds=AFTER_S)


def suffers(kind: SymptomKind, *, of: Incident, standbys: Collection[TargetName]) -> bool:
    """Whether that failure brings about such a symptom elsewhere in the cluster."""
    return kind in (REPLICATION if of.target in standbys else WITHOUT_A_PRIMARY)


def down_too(
    target: TargetName, cause: Incident, *, standbys: Collection[TargetName], at: datetime
) -> bool:
    """Whether a standby that is down is told with its primary, which is down as well."""
    if target not in standbys or cause.target in standbys or cause.status.ended or cause.drill:
        return False
    if SymptomKind.SERVER_DOWN.value not in cause.seen:
        return False
    down = SymptomKind.SERVER_DOWN.value in cause.symptoms
    back_at = None if down else cause.cleared_at
    return down or (back_at is not None and at - back_at <= timedelta(seconds=DOWN_TOO_S))


def cause_of(
    symptom: Symptom,
    elsewhere: Sequence[Incident],
    *,
    standbys: Collection[TargetName],
    at: datetime,
) -> Incident | None:
    """The open incident on another server of the cluster that a symptom is an effect of.

    What stood well before the failure is none.
    """
    for incident in elsewhere:
        if incident.target == symptom.target or not breaks(incident, standbys, at):
            continue
        onset = min(filter(None, (incident.since, incident.opened_at)), default=at)
        late_enough = symptom.since >= onset - timedelta(seconds=BEFORE_S)
        if late_enough and _belongs(
            symptom.kind, symptom.target, incident, standbys=standbys, at=at
        ):
            return incident
    return None


def is_effect(
    incident: Incident, cause: Incident, *, standbys: Collection[TargetName], at: datetime
) -> bool:
    """Whether a whole incident turns out to be nothing but an effect of another one.

    Never: one that a person declared, or in which something was done to its server.
    """
    if incident.id == cause.id or incident.target == cause.target or incident.status.ended:
        return False
    if incident.declared_by is not None or incident.drill or incident.plans_tried:
        return False
    plan = incident.plan
    if incident.opened_at is None or (plan is not None and not plan.ended):
        return False
    if at - incident.opened_at > timedelta(seconds=BEFORE_S):
        return False
    return breaks(cause, standbys, at) and all(
        _belongs(
            SymptomKind(key.partition(":")[0]), incident.target, cause, standbys=standbys, at=at
        )
        for key in incident.seen
    )


def still_told(
    symptom: Symptom, cause: Incident, *, standbys: Collection[TargetName], at: datetime
) -> bool:
    """Whether what stands elsewhere is still told with a failure, or by itself from now on."""
    if symptom.kind in DOWN:
        return down_too(symptom.target, cause, standbys=standbys, at=at)
    return breaks(cause, standbys, at)


def _belongs(
    kind: SymptomKind,
    target: TargetName,
    cause: Incident,
    *,
    standbys: Collection[TargetName],
    at: datetime,
) -> bool:
    if kind in DOWN:
        return down_too(target, cause, standbys=standbys, at=at)
    return suffers(kind, of=cause, standbys=standbys)


def attached(symptom: Symptom) -> Symptom:
    """As it stands in the incident of another server: its key says whose it is."""
    if symptom.kind in OUTSIDE:
        return symptom
    subject = f"@{symptom.target}/{symptom.subject}" if symptom.subject else f"@{symptom.target}"
    return replace(symptom, subject=subject)


def own(stands: Symptom) -> Symptom:
    """An attached symptom as it is on its own server."""
    if stands.kind in OUTSIDE:
        return stands
    subject = stands.subject.removeprefix(f"@{stands.target}").removeprefix("/")
    return replace(stands, subject=subject)


def own_key(stands: Symptom) -> str:
    """The key that an attached symptom has on its own server."""
    return own(stands).key


def the_rest(symptom: Symptom, count: int) -> Symptom:
    """What stands for those of one kind on one server that do not stand one by one."""
    kind = symptom.kind.value.replace("_", " ")
    return Symptom(
        kind=symptom.kind,
        target=symptom.target,
        since=symptom.since,
        subject="more",
        detail=f"{kind}: {count} more on {symptom.target}",
    )


def worth_telling(count: int) -> bool:
    """A count in a timeline is told whenever it has doubled, so that a flood stays a few lines."""
    return count > 0 and count & (count - 1) == 0
