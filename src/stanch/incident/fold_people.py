"""What events say about people: who was paged, what they are owed, which hand-overs went well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from stanch.incident.state import (
    DeliveryState,
    Incident,
    LevelState,
    MessageState,
    Status,
    UpdateOwed,
    frozen,
)
from stanch.model import events as e
from stanch.model.messages import UPDATE_ATTEMPTS_MAX, Handover, MessageKind
from stanch.model.timeline import Recorded


def obligation(rule: str, ordinal: int, seq: int) -> str:
    """The id of one obligation: rule, how often it fired, and the event that caused it."""
    return f"{rule}/{ordinal}@{seq}"


def owe(i: Incident, rule: str, r: Recorded) -> Incident:
    """Updates are owed only to people who know of it: a page itself tells what came before."""
    if not i.told:
        return i
    owed = UpdateOwed(rule=rule, seq=r.seq, at=r.at)
    # One update a rule: the newest replaces one nobody has sent yet.
    others = tuple(u for u in i.updates_owed if u.rule != rule)
    return replace(i, updates_owed=(*others, owed))


GLASS, OVERRIDDEN = "break_glass", "overridden"
"""Owed to the owners whoever knows of the incident: that a guard is to be, and was, overridden."""


def owe_always(i: Incident, rule: str, r: Recorded) -> Incident:
    others = tuple(u for u in i.updates_owed if u.rule != rule)
    return replace(i, updates_owed=(*others, UpdateOwed(rule=rule, seq=r.seq, at=r.at)))


def relapsed(i: Incident, r: Recorded) -> Incident:
    """Whatever was proven before no longer holds, nor does anybody's having taken it."""
    levels = LevelState(clock_from=r.at, clock_seq=r.seq)
    return page_anew(replace(i, status=Status.OPEN, rescued_at=None, levels=levels), r)


def page_anew(i: Incident, r: Recorded) -> Incident:
    """Paging starts at the first level: what people acknowledged was something else."""
    return replace(
        i,
        acknowledged_by=None,
        acknowledged_at=None,
        paging_seq=r.seq,
        paging_from=r.at,
        page_level=0,
        paged_at=None,
        page_lost=False,
    )


def _level_reached(i: Incident, event: e.LevelReached, r: Recorded) -> Incident:
    levels = replace(
        i.levels,
        reached_s=event.after_s,
        seq=r.seq,
        reached_at=r.at,
        name=event.name,
        says=event.says,
        page=event.page,
        propose=event.propose,
    )
    return owe(replace(i, levels=levels), "level", r)


def _message(i: Incident, event: e.MessageRaised, r: Recorded) -> Incident:
    if event.obligation == obligation("level", 1, i.levels.seq):
        i = replace(i, levels=replace(i.levels, page=()))
    state = MessageState(
        raised=event,
        raised_at=r.at,
        deliveries=frozen({d.id: DeliveryState() for d in event.deliveries}),
    )
    raised = replace(
        i,
        messages=frozen({**i.messages, event.id: state}),
        messages_raised=i.messages_raised + 1,
    )
    if event.level == 0:
        owed = tuple(u for u in i.updates_owed if obligation(u.rule, 1, u.seq) != event.obligation)
        glass = event.persons if event.message_kind is MessageKind.PAGE else ()
        return replace(raised, updates_owed=owed, paged=i.paged | frozenset(glass))
    # A page or notice tells the whole story up to now: nothing older is owed to anyone any more.
    owed = tuple(u for u in i.updates_owed if u.rule in (GLASS, OVERRIDDEN))
    told = replace(raised, paged=i.paged | frozenset(event.persons), updates_owed=owed)
    if event.message_kind is MessageKind.UPDATE:
        return replace(told, noticed_seq=i.paging_seq)
    return replace(
        told, page_level=event.level, paged_at=r.at, page_lost=False, unpaged=frozenset()
    )


def _attempted(i: Incident, event: e.DeliveryAttempted, r: Recorded) -> Incident:
    return _with_delivery(
        i,
        event,
        lambda d: replace(
            d,
            attempts=event.attempt,
            in_flight=True,
            possible_repeat=event.possible_repeat,
            last_at=r.at,
        ),
    )


def _delivered(i: Incident, event: e.DeliveryEnded, r: Recorded) -> Incident:
    message = i.messages.get(event.message_id)
    update = message is not None and message.raised.message_kind is MessageKind.UPDATE
    hopeless = not event.retryable or (update and event.attempt >= UPDATE_ATTEMPTS_MAX)
    return _with_delivery(
        i,
        event,
        lambda d: replace(
            d,
            in_flight=False,
            last_at=r.at,
            accepted=d.accepted or event.outcome is Handover.ACCEPTED,
            given_up=hopeless and event.outcome is not Handover.ACCEPTED,
            possible_repeat=d.possible_repeat or event.outcome is Handover.IN_DOUBT,
        ),
    )


def _with_delivery(
    i: Incident,
    event: e.DeliveryAttempted | e.DeliveryEnded,
    change: Callable[[DeliveryState], DeliveryState],
) -> Incident:
    message = i.messages.get(event.message_id)
    if message is None or event.id not in message.deliveries:
        return i
    deliveries = {**message.deliveries, event.id: change(message.deliveries[event.id])}
    changed = replace(message, deliveries=frozen(deliveries))
    messages = {**i.messages, event.message_id: changed}
    if not changed.settled:
        return replace(i, messages=frozen(messages))
    del messages[event.message_id]
    lost = i.page_lost or (changed.lost and message.raised.level == i.page_level)
    return replace(i, messages=frozen(messages), page_lost=lost)


Rule = Callable[[Incident, Any, Recorded], Incident]

RULES: dict[type[e.Event], Rule] = {
    e.LevelReached: _level_reached,
    e.MessageRaised: _message,
    e.DeliveryAttempted: _attempted,
    e.DeliveryEnded: _delivered,
}
