"""When a replication slot may be dropped. Pure: from a reading taken right before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from stanch.facts.slots import ReplicationSlot
from stanch.model.diagnosis import Missing, Scalar
from stanch.model.plans import PlannedStep, Refusal
from stanch.model.shown import span
from stanch.policy.policy import TargetPolicy
from stanch.respond.guarding import first_no, no, unknown
from stanch.respond.telling import named
from stanch.steps.action import Guard

UNUSED_S_MIN: Final = 3600.0
"""A consumer that was there within the last hour may come back by itself."""

GUARDS = (
    Guard(name="acting_session", asks="Is there a session to look with and one to act with?"),
    Guard(name="still_there", asks="Is there still a slot of that name that keeps WAL?"),
    Guard(name="same_slot", asks="Is it the very slot that was diagnosed, and has it not moved?"),
    Guard(name="not_used", asks="Is nobody connected to it?"),
    Guard(name="long_unused", asks="Has nobody been seen at it for an hour?"),
    Guard(name="on_primary", asks="Is this the primary, and the slot no copy of another's?"),
    Guard(name="not_managed", asks="Is it no slot of Patroni's or of a server of the cluster?"),
)


def may_drop(
    step: PlannedStep,
    seen: ReplicationSlot | Missing | None,
    *,
    target: TargetPolicy,
    peers: Sequence[str],
) -> Refusal | ReplicationSlot:
    """The slot that may be dropped, or the first reason to leave it alone."""
    if isinstance(seen, Missing):
        return unknown("still_there", seen)
    name = named(step.param("slot"), "?")
    if seen is None:
        return no("still_there", f"there is no slot {name} any more", lifts="Nothing is needed.")
    if not seen.restart_lsn:
        return no("still_there", f"slot {name} keeps no WAL any more", lifts="Nothing is needed.")
    answers = (
        _on_primary(seen),
        managed(seen.name, target, peers=peers, patroni=seen.patroni),
        _same(step, seen),
        _unused(step, seen),
    )
    return first_no(answers) or seen


def managed(
    slot: str, target: TargetPolicy, *, peers: Sequence[str] = (), patroni: bool = False
) -> Refusal | None:
    """Why somebody else decides about it; None where nobody is known to."""
    if target.patroni is not None or patroni:
        lifts = "A person who removes the member, or its entry under `slots`, in Patroni."
        return no("not_managed", "Patroni makes and drops the slots of this server", lifts=lifts)
    if slot in {_as_slot(peer) for peer in peers}:
        lifts = "A person who knows that this server does not come back, and drops it by hand."
        return no("not_managed", f"{slot} is the name of a server of its cluster", lifts=lifts)
    return None


def _as_slot(name: str) -> str:
    """A server's name as it is written as a slot's: small letters, digits and underscores."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name.lower())


def _on_primary(seen: ReplicationSlot) -> Refusal | None:
    if seen.in_recovery:
        lifts = "Its primary, where the slot is the trouble there."
        return no("on_primary", "this server is a standby", lifts=lifts)
    if seen.synced:
        return no("on_primary", "it is the copy of a slot of another server")
    return None


def _same(step: PlannedStep, seen: ReplicationSlot) -> Refusal | None:
    told = (
        ("type", step.param("slot_type"), seen.slot_type),
        ("plugin", step.param("plugin"), seen.plugin),
        ("database", step.param("database"), seen.database),
    )
    for what, then, now in told:
        if (then or "") != now:
            said = f"its {what} was {named(then, 'none')} and is {named(now, 'none')}"
            return no("same_slot", f"it is another slot of that name: {said}", lifts="A new plan.")
    moved = (
        (step.param("restart_lsn"), seen.restart_lsn),
        (step.param("confirmed_flush_lsn"), seen.confirmed_flush_lsn),
    )
    for then, now in moved:
        if (then or "") != now:
            said = f"it stood at {named(then, 'nothing')} and is at {named(now, 'nothing')}"
            return no("same_slot", f"somebody used it: {said}", lifts="Nothing is needed.")
    return None


def _unused(step: PlannedStep, seen: ReplicationSlot) -> Refusal | None:
    if seen.active or seen.temporary:
        why = "a consumer is connected to it" if seen.active else "it belongs to a session"
        return no("not_used", why, lifts="Nothing is needed: a consumer that works lets go of WAL.")
    since = seen.inactive_since or _moment(step.param("unused_since"))
    if since is None:
        return no("long_unused", "since when nobody uses it is not known, and unknown means no")
    unused_s = (seen.at - since).total_seconds()
    if unused_s < UNUSED_S_MIN:
        said = f"it was used {span(max(0.0, unused_s))} ago"
        lifts = f"{span(UNUSED_S_MIN)} without a consumer."
        return no("long_unused", said, lifts=lifts)
    return None


def _moment(told: Scalar) -> datetime | None:
    if not isinstance(told, str):
        return None
    try:
        at = datetime.fromisoformat(told)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
