"""Who is to be told, and when: pages up the ladder, updates, attempts to hand them over."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from stanch.incident.fold_people import GLASS, obligation
from stanch.incident.healing import heals_until
from stanch.incident.state import DeliveryState, Incident
from stanch.incident.work import Due, Job
from stanch.model.ids import ObligationId, PersonId
from stanch.model.timeline import Lane
from stanch.policy.policy import Policy, Severity

PAGE_GRACE_S = 0.25
"""A page waits this long for the first diagnosis, so that it can name the cause."""

LOST_PAGE_S = 10.0
"""After a page that reached nobody the next person's turn comes this soon."""

REOPENS_HEALING_MAX = 2
"""Coming back this often, within the flap window each time, is no healing: page at once."""

RETRY_S = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)
"""Waits between attempts to hand a message over; the last one repeats."""


def pages(policy: Policy, i: Incident, now: datetime) -> Iterator[Due]:
    if i.acknowledged_by is not None or i.paging_from is None:
        return
    failing = i.rescue.last_at is not None and not i.rescue.last_ok
    severity = policy.severity(i.severity_rank)
    if (i.standing or failing) and severity.pages:
        if i.page_level == 0:
            yield _first(policy, i, severity, at=_first_page_at(policy, i))
        else:
            yield _next_page(policy, i, severity, now)
    if not i.told and (i.standing or failing or i.plans_tried) and i.page_level == 0:
        # Too small a matter to wake anybody for, or acted on before anybody was due to be woken.
        if not severity.pages:
            yield _first(policy, i, severity, at=_first_page_at(policy, i), notice=True)
        elif i.plans_tried and not i.standing:
            at = i.cleared_at or i.paging_from
            yield _first(policy, i, severity, at=at, notice=True)


def _first_page_at(policy: Policy, i: Incident) -> datetime:
    assert i.paging_from is not None
    grace = i.paging_from + timedelta(seconds=PAGE_GRACE_S)
    # What keeps coming back does not heal by itself, however short each time.
    left_until = heals_until(policy, i) if i.reopens < REOPENS_HEALING_MAX else None
    return max(
        left_until or i.paging_from,
        min(max(i.diagnosed_at, i.paging_from) if i.diagnosed_at else grace, grace),
        i.held_until() or i.paging_from,
    )


def _first(
    policy: Policy, i: Incident, severity: Severity, *, at: datetime, notice: bool = False
) -> Due:
    rule = "notice" if notice else "page"
    return Due(
        lane=Lane.CLOCK,
        job=Job.PAGE,
        at=at,
        level=1,
        notice=notice,
        persons=_on_ladder(policy, 1, 1),
        obligation=ObligationId(obligation(rule, 1, i.paging_seq)),
        reason=f"{severity.label}, first on the ladder",
    )


def _next_page(policy: Policy, i: Incident, severity: Severity, now: datetime) -> Due:
    assert i.paged_at is not None
    wait_s = min(LOST_PAGE_S, severity.ack_within_s) if i.page_lost else severity.ack_within_s
    overdue = (now - i.paged_at).total_seconds() / wait_s
    skipped = max(1, int(overdue)) if not i.page_lost else 1
    level = i.page_level + skipped
    why = "the last page reached nobody" if i.page_lost else "no acknowledgement"
    return Due(
        lane=Lane.CLOCK,
        job=Job.PAGE,
        at=i.paged_at + timedelta(seconds=wait_s),
        level=level,
        persons=_on_ladder(policy, i.page_level + 1, level),
        obligation=ObligationId(obligation("page", level, i.paging_seq)),
        reason=f"{why} within {wait_s:g} s",
    )


def _on_ladder(policy: Policy, first: int, last: int) -> tuple[PersonId, ...]:
    """Persons of levels `first` to `last`; the ladder goes round and round, nobody twice."""
    rungs = len(policy.ladder)
    levels = range(first, min(last, first + rungs - 1) + 1)
    return tuple(dict.fromkeys(policy.ladder[(level - 1) % rungs] for level in levels))


def updates(policy: Policy, i: Incident) -> Iterator[Due]:
    for owed in i.updates_owed:
        glass = owed.rule == GLASS
        yield Due(
            lane=Lane.CLOCK,
            job=Job.PAGE if glass else Job.UPDATE,
            persons=policy.owners if glass else (),
            at=owed.at,
            reason=owed.rule,
            obligation=ObligationId(obligation(owed.rule, 1, owed.seq)),
        )


def deliveries(i: Incident) -> Iterator[Due]:
    for message in i.messages.values():
        for delivery_id, delivery in message.deliveries.items():
            if delivery.accepted or delivery.given_up:
                continue
            yield Due(
                lane=Lane.DELIVER,
                job=Job.DELIVER,
                at=_next_attempt(delivery, message.raised_at),
                message_id=message.raised.id,
                delivery_id=delivery_id,
            )


def _next_attempt(delivery: DeliveryState, raised_at: datetime) -> datetime:
    if delivery.last_at is None or delivery.in_flight:
        # In flight here means: whoever attempted it is gone. A page in doubt is sent again.
        return delivery.last_at or raised_at
    wait = RETRY_S[min(delivery.attempts, len(RETRY_S)) - 1]
    return delivery.last_at + timedelta(seconds=wait)
