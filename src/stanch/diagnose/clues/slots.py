"""Replication slots that keep WAL: whose, how much, and whether they move."""

from __future__ import annotations

from dataclasses import dataclass

from stanch.diagnose.ask import YES_NO, clue_on, clue_on_symptom
from stanch.diagnose.clues.lag import SILENT_S, Lag, is_suspended, lags
from stanch.diagnose.clues.left_wal import left_slot
from stanch.diagnose.clues.space import volume
from stanch.diagnose.clues.wal import is_short, setting_bytes
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import History
from stanch.diagnose.inside import Activity
from stanch.facts.workings import Doing
from stanch.model.shown import human_bytes, span
from stanch.model.symptoms import SymptomKind

RETAINED_SHARE_MIN = 0.25
"""On a volume that is short, whoever keeps this share of what is used is worth naming."""
MAX_WAL_BYTES = 1024**3
"""PostgreSQL's own max_wal_size, for where the setting was not read."""
BEYOND = frozenset({"extended", "unreserved"})
"""The server's own words for more than max_wal_size."""
MANY_TIMES = 2.0
"""Of max_wal_size: beyond it goes a server for a while under load, so far it does not by itself."""
UNCONFIRMED_SHARE_MIN = 0.5
KEPT_SHARE_STUCK = 0.9
KEPT_SHARE_MOVING = 0.5
WATCHED_S_MIN = 120.0
GROWN_BYTES_MIN = 16 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotSeen:
    """One replication slot as the server tells it now."""

    name: str
    kind: str
    """`physical` or `logical`."""
    active: bool | None
    status: str
    """wal_status; empty where the slot reserves nothing."""
    retained_bytes: float
    unconfirmed_bytes: float | None = None
    """Of a logical slot: written since what its consumer has confirmed."""


def slots(evidence: Evidence) -> tuple[SlotSeen, ...]:
    """All slots that the server tells of, the one that keeps most first."""
    figures = value_of(evidence.figures)
    if figures is None:
        return ()
    active = {f.subject: f for f in figures.named("slot_active")}
    unconfirmed = {f.subject: f.value for f in figures.named("slot_unconfirmed_bytes")}
    found = [
        SlotSeen(
            name=kept.subject,
            kind=active[kept.subject].detail if kept.subject in active else "",
            active=_flag(active[kept.subject].value) if kept.subject in active else None,
            status=kept.detail,
            retained_bytes=kept.value or 0.0,
            unconfirmed_bytes=unconfirmed.get(kept.subject),
        )
        for kept in figures.named("slot_retained_bytes")
    ]
    return tuple(sorted(found, key=lambda s: (-s.retained_bytes, s.name)))


def _flag(value: float | None) -> bool | None:
    return None if value is None else value > 0


def keeps_much(slot: SlotSeen, evidence: Evidence) -> bool:
    """More than the server would keep without it, or much of a volume that is short."""
    allowed = setting_bytes(evidence, "max_wal_size") or MAX_WAL_BYTES
    if slot.status in BEYOND or slot.retained_bytes >= allowed:
        return True
    wal = volume(evidence, "wal")
    if wal is None or not is_short(evidence):
        return False
    return slot.retained_bytes >= RETAINED_SHARE_MIN * (wal.total_bytes - wal.free_bytes)


def keeps_many_times(slot: SlotSeen, evidence: Evidence) -> bool:
    """So much that it needs no watching to see that the slot stays behind."""
    allowed = setting_bytes(evidence, "max_wal_size") or MAX_WAL_BYTES
    short = bool(is_short(evidence)) and keeps_much(slot, evidence)
    return short or slot.retained_bytes >= MANY_TIMES * allowed


def consumer_of(slot: SlotSeen, evidence: Evidence) -> Lag | None:
    """Who uses it just now, and how far that one is."""
    figures = value_of(evidence.figures)
    found = lags(figures) if figures is not None else ()
    return next((lag for lag in found if lag.slot == slot.name), None)


def unused_slot(evidence: Evidence) -> SlotSeen | None:
    """The one without a consumer that keeps most; of a server that is down, what its files tell."""
    found = (s for s in slots(evidence) if s.active is False and keeps_much(s, evidence))
    left = left_slot(evidence)
    if left is None:
        return next(found, None)
    return SlotSeen(
        name=left.name,
        kind="",
        active=left.active,
        status="",
        retained_bytes=left.retained_bytes,
    )


def used_slot(evidence: Evidence) -> SlotSeen | None:
    """The one with a consumer that keeps most; one that is told to be stuck goes first."""
    told = {s.subject for s in evidence.symptoms if s.kind is SymptomKind.SLOT_STUCK}
    found = [s for s in slots(evidence) if s.active and keeps_much(s, evidence)]
    return next((s for s in found if s.name in told), found[0] if found else None)


def _said(slot: SlotSeen) -> str:
    status = f", {slot.status}" if slot.status else ""
    kind = f"{slot.kind} slot" if slot.kind else "slot"
    return f'{kind} "{slot.name}" retains {human_bytes(slot.retained_bytes)} of WAL{status}'


def _unused(_figures: Figures, evidence: Evidence) -> YES_NO:
    slot = unused_slot(evidence)
    if slot is None:
        return False, "no slot without a consumer retains more WAL than the server keeps anyway"
    return True, f"{_said(slot)}, and has no consumer"


def _used(_figures: Figures, evidence: Evidence) -> YES_NO:
    slot = used_slot(evidence)
    if slot is None:
        return False, "no slot in use retains more WAL than the server keeps anyway"
    return True, f"{_said(slot)}, and has a consumer"


def _keeps_everything(history: History, evidence: Evidence) -> YES_NO:
    """Of a slot that moves, a part of what is written is let go."""
    kept, written = history.of("slot_retained_bytes_max"), history.of("wal_bytes_total")
    seconds = (history.ends_at - history.onset).total_seconds()
    if kept is None or written is None or kept.now is None or kept.trough is None:
        return "how much slots retain was not recorded since it began"
    if seconds < WATCHED_S_MIN:
        return f"it began {span(seconds)} ago, which is too short to see whether slots move"
    expected, grown = (written.now or 0.0) * seconds, kept.now - kept.trough
    if expected < GROWN_BYTES_MIN:
        return "too little WAL was written since to see whether slots move"
    said = f"{human_bytes(grown)} more are retained, {human_bytes(expected)} of WAL were written"
    if grown >= KEPT_SHARE_STUCK * expected:
        return True, said
    return (False, said) if grown < KEPT_SHARE_MOVING * expected else f"{said}, which says neither"


def _waiting_senders(activity: Activity | None) -> list[Doing]:
    doings = activity.doings if activity is not None else ()
    return [
        doing
        for doing in doings
        if doing.backend_type == "walsender" and doing.wait_event == "WalSenderWriteData"
    ]


def _keeps_waiting(consumer: Lag, evidence: Evidence) -> bool:
    names = {doing.application_name for doing in _waiting_senders(value_of(evidence.activity))}
    return consumer.name in names


def _sender_waits(activity: Activity, _evidence: Evidence) -> YES_NO:
    for doing in _waiting_senders(activity):
        who = doing.application_name or f"process {doing.oldest_pid}"
        return True, f'the consumer "{who}" does not take what is sent to it'
    return False, "no consumer keeps its sender waiting"


def _stands_still(_figures: Figures, evidence: Evidence) -> YES_NO:
    """A consumer that works says every few seconds how far it is, and its slot follows."""
    slot = used_slot(evidence)
    if slot is None or not keeps_many_times(slot, evidence):
        return ""
    consumer = consumer_of(slot, evidence)
    if consumer is None:
        return f'who uses slot "{slot.name}" was not told'
    who = f'the consumer "{consumer.name}"'
    if is_suspended(consumer, evidence):
        return False, f"{who} is sent nothing: its walsender is suspended"
    if consumer.silent_s is not None and consumer.silent_s >= SILENT_S:
        return True, f"{who} has said nothing for {span(consumer.silent_s)}"
    unconfirmed, unsent = slot.unconfirmed_bytes or 0.0, consumer.sending_bytes
    said = f"{human_bytes(unsent)} are not sent to it, {human_bytes(unconfirmed)} not confirmed"
    # A long transaction keeps restart_lsn back, and confirmed_flush_lsn goes on; what is on its
    # way nobody can confirm.
    if unconfirmed >= UNCONFIRMED_SHARE_MIN * slot.retained_bytes and unsent < unconfirmed / 2:
        return True, f"{who} has what was written and does not confirm it: {said}"
    if consumer.silent_s is None and _keeps_waiting(consumer, evidence):
        return True, f"{who} does not take what is sent, and never said how far it is: {said}"
    if consumer.silent_s is None:
        return f"when {who} last said how far it is was not told"
    return False, f"{who} spoke {span(consumer.silent_s)} ago: {said}"


def _many_times(_figures: Figures, evidence: Evidence) -> YES_NO:
    slot = unused_slot(evidence)
    if slot is None:
        return ""
    allowed = setting_bytes(evidence, "max_wal_size") or MAX_WAL_BYTES
    said = f"{human_bytes(slot.retained_bytes)} are kept, max_wal_size is {human_bytes(allowed)}"
    return keeps_many_times(slot, evidence), said


slot_unused = clue_on(
    "slot_unused",
    "Does a slot without a consumer retain more WAL than the server keeps anyway?",
    lambda e: e.figures,
    _unused,
    reads=("slot_active", "slot_retained_bytes"),
)
slot_used = clue_on(
    "slot_used",
    "Does a slot with a consumer retain more WAL than the server keeps anyway?",
    lambda e: e.figures,
    _used,
    reads=("slot_active", "slot_retained_bytes"),
)
slot_keeps_everything = clue_on(
    "slot_keeps_everything",
    "Is all that was written since it began retained?",
    lambda e: e.history,
    _keeps_everything,
    reads=("slot_retained_bytes_max", "wal_bytes_total"),
)
slot_told_unused = clue_on_symptom(
    "slot_told_unused",
    "Has the slot been without a consumer for longer than is allowed?",
    SymptomKind.SLOT_INACTIVE,
)
slot_told_stuck = clue_on_symptom(
    "slot_told_stuck",
    "Has the slot in use not moved while WAL was written?",
    SymptomKind.SLOT_STUCK,
)
sender_waits = clue_on(
    "sender_waits",
    "Does a consumer not take what is sent to it?",
    lambda e: e.activity,
    _sender_waits,
)
consumer_stands_still = clue_on(
    "consumer_stands_still",
    "Does the consumer of a slot say nothing, or not confirm what it was sent?",
    lambda e: e.figures,
    _stands_still,
    reads=("sender", "sender_silent_s", "sent_lag_bytes", "slot_unconfirmed_bytes"),
)
slot_keeps_many_times = clue_on(
    "slot_keeps_many_times",
    "Does a slot without a consumer keep at least twice what WAL is meant to take?",
    lambda e: e.figures,
    _many_times,
    reads=("slot_active", "slot_retained_bytes"),
)
