"""Timeline to incident: one small function per event kind, applied in order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from stanch.incident import fold_acts, fold_people
from stanch.incident.fold_people import Rule, owe, page_anew, relapsed
from stanch.incident.state import Incident, LevelState, MessageState, RescueState, Status, frozen
from stanch.model import events as e
from stanch.model.diagnosis import Verdict, known_by
from stanch.model.ids import IncidentId
from stanch.model.messages import MessageKind
from stanch.model.symptoms import SymptomKind
from stanch.model.timeline import Recorded


def fold(incident_id: IncidentId, timeline: Iterable[Recorded]) -> Incident:
    """The incident a whole timeline adds up to."""
    incident = Incident(id=incident_id)
    for recorded in timeline:
        incident = apply(incident, recorded)
    return incident


def apply(incident: Incident, recorded: Recorded) -> Incident:
    """The incident after one more event. Any prefix of a timeline folds."""
    assert recorded.seq == incident.seq + 1, f"{recorded.seq} after {incident.seq}"
    event = recorded.event
    if isinstance(event, e.UnknownEvent):
        kinds = incident.unknown_kinds | {event.stored_kind}
        return replace(incident, seq=recorded.seq, unknown_kinds=kinds)
    rule = _RULES.get(type(event))
    after = rule(incident, event, recorded) if rule else incident
    return replace(after, seq=recorded.seq)


def _opened(i: Incident, event: e.IncidentOpened, r: Recorded) -> Incident:
    return replace(
        i,
        status=Status.OPEN,
        target=event.target,
        title=event.title,
        opened_at=r.at,
        since=event.symptom.since,
        page_after_s=event.page_after_s,
        down_at=r.at if event.symptom.kind is SymptomKind.SERVER_DOWN else None,
        policy_hash=event.policy_hash,
        severity_rank=event.severity_rank,
        severity_label=event.severity_label,
        data_at_risk=event.data_at_risk,
        declared_by=event.declared_by,
        drill=event.drill,
        symptoms=frozen({event.symptom.key: event.symptom}),
        seen=frozenset({event.symptom.key}),
        met=frozenset({event.symptom.key}),
        unpaged=frozenset({event.symptom.key}),
        symptoms_seq=r.seq,
        symptoms_at=r.at,
        paging_seq=r.seq,
        paging_from=r.at,
        levels=LevelState(clock_from=r.at, clock_seq=r.seq),
    )


def _observed(i: Incident, event: e.SymptomObserved, r: Recorded) -> Incident:
    key = event.symptom.key
    if i.target and event.symptom.target != i.target:
        # It says something about another server: nothing that is proven of this one is touched.
        told = replace(i, attached=frozen({**i.attached, key: event.symptom}))
        down_too = event.symptom.kind is SymptomKind.SERVER_DOWN and key not in i.attached
        return owe(told, "down_too", r) if down_too else told
    joined = replace(
        _went_down(i, event, r),
        symptoms=frozen({**i.symptoms, key: event.symptom}),
        seen=i.seen | {key},
        met=i.met | {key},
        unpaged=i.unpaged | {key},
        lapsed=i.lapsed - {key},
        rescue=RescueState(),
    )
    joined = _as_it_stands(joined, r)
    if key not in i.symptoms:
        joined = replace(joined, symptoms_seq=r.seq, symptoms_at=r.at)
    return relapsed(joined, r) if i.status is Status.RESCUED else joined


def _went_down(i: Incident, event: e.SymptomObserved, r: Recorded) -> Incident:
    """A server that goes down again and again in one incident is not left to itself each time."""
    if event.symptom.kind is not SymptomKind.SERVER_DOWN:
        return i
    if event.symptom.key in i.met and i.status is not Status.RESCUED:
        return i
    said_s = i.page_after_s if event.page_after_s is None else event.page_after_s
    return replace(i, page_after_s=said_s, down_at=r.at)


def _cleared(i: Incident, event: e.SymptomCleared, r: Recorded) -> Incident:
    if event.key in i.attached:
        return replace(i, attached=frozen({k: s for k, s in i.attached.items() if k != event.key}))
    left = frozen({k: s for k, s in i.symptoms.items() if k != event.key})
    unpaged = i.unpaged - {event.key}
    lapsed = i.lapsed | {event.key} if event.lapsed and event.key in i.symptoms else i.lapsed
    return _as_it_stands(replace(i, symptoms=left, unpaged=unpaged, lapsed=lapsed), r)


def _as_it_stands(i: Incident, r: Recorded) -> Incident:
    return replace(i, cleared_at=None if i.standing else (i.cleared_at or r.at))


def _severity(i: Incident, event: e.SeveritySet, r: Recorded) -> Incident:
    changed = replace(i, severity_rank=event.rank, severity_label=event.label)
    if event.rank >= i.severity_rank:
        return changed
    if event.by is not None and event.by == i.acknowledged_by:
        # Who has taken it found it to be worse: they know, and they are at it.
        return owe(changed, "severity", r)
    return page_anew(owe(changed, "severity", r), r)


def _acknowledged(i: Incident, event: e.IncidentAcknowledged, r: Recorded) -> Incident:
    kept = {k: m for k, m in i.messages.items() if _still_wanted(m)}
    taken = replace(i, acknowledged_by=event.by, acknowledged_at=r.at, messages=frozen(kept))
    return owe(taken, "acknowledged", r)


def _still_wanted(message: MessageState) -> bool:
    """Whom a level pages is to know of it, whoever takes the incident."""
    raised = message.raised
    return raised.message_kind is MessageKind.UPDATE or raised.obligation.startswith("level/")


def _rescued(i: Incident, event: e.IncidentRescued, r: Recorded) -> Incident:
    return owe(replace(i, status=Status.RESCUED, rescued_at=r.at), "rescued", r)


def _resolved(i: Incident, event: e.IncidentResolved, r: Recorded) -> Incident:
    kept = {k: m for k, m in i.messages.items() if m.raised.message_kind is MessageKind.UPDATE}
    ended = replace(
        i,
        status=Status.RESOLVED,
        ended_at=r.at,
        ended_verified=event.verified,
        messages=frozen(kept),
    )
    return owe(replace(ended, symptoms=frozen({}), attached=frozen({})), "resolved", r)


def _reopened(i: Incident, event: e.IncidentReopened, r: Recorded) -> Incident:
    return replace(
        page_anew(i, r),
        status=Status.OPEN,
        ended_at=None,
        ended_verified=False,
        rescued_at=None,
        # Whatever it was held for is over by now, or said anew with the reopening.
        page_held_until=None,
        silenced=frozen({}),
        down_at=None,
        met=frozenset(),
        unpaged=frozenset(),
        lapsed=frozenset(),
        reopens=i.reopens + (event.by is None),
        diagnosis=None,
        named=None,
        diagnosis_seq=0,
        symptoms_seq=r.seq,
        symptoms_at=r.at,
        plan=None,
        withheld=None,
        levels=LevelState(clock_from=r.at, clock_seq=r.seq),
        rescue=RescueState(),
        updates_owed=(),
    )


def _merged(i: Incident, event: e.IncidentMerged, r: Recorded) -> Incident:
    return replace(
        i,
        status=Status.MERGED,
        ended_at=r.at,
        merged_into=event.into,
        # They stand there now, and end there.
        symptoms=frozen({}),
        attached=frozen({}),
        messages=frozen({}),
        updates_owed=(),
    )


def _taken_in(i: Incident, event: e.IncidentTakenIn, r: Recorded) -> Incident:
    if i.status.ended or not event.page_level:
        return i
    known = replace(i, paged=i.paged | frozenset(event.paged))
    if i.page_level == 0:
        known = replace(known, page_level=event.page_level, paged_at=event.paged_at or r.at)
    if event.acknowledged_by is not None and i.acknowledged_by is None:
        known = replace(known, acknowledged_by=event.acknowledged_by, acknowledged_at=r.at)
    return owe(known, "taken_in", r)


def _changes(i: Incident, event: e.ChangesNoted, r: Recorded) -> Incident:
    return replace(i, changes=event)


def _past(i: Incident, event: e.PastNoted, r: Recorded) -> Incident:
    return replace(i, past=event)


def _page_held(i: Incident, event: e.PageHeld, r: Recorded) -> Incident:
    return replace(i, page_held_until=event.until)


def _silenced(i: Incident, event: e.RuleSilenced, r: Recorded) -> Incident:
    return replace(i, silenced=frozen({**i.silenced, event.key: event.until}))


def _policy(i: Incident, event: e.PolicyApplied, r: Recorded) -> Incident:
    # What was withheld may be allowed now, so it is asked for again.
    return replace(i, policy_hash=event.policy_hash, withheld_seq=0)


def _resumed(i: Incident, event: e.ResponderResumed, r: Recorded) -> Incident:
    """Nobody watched for a while: a stability window with a gap in it starts again."""
    return replace(fold_acts.abandon_steps(i, r.writer_id), rescue=RescueState())


def _diagnosed(i: Incident, event: e.DiagnosisRecorded, r: Recorded) -> Incident:
    named = known_by(i.named, event.diagnosis)
    before = i.named.first if i.named else None
    now = event.diagnosis.first if named is event.diagnosis else None
    is_cause = event.diagnosis.verdict is Verdict.CAUSE
    news = is_cause and now is not None and (before is None or before.id != now.id)
    recorded = replace(
        i,
        diagnosis=event.diagnosis,
        named=named,
        diagnosis_seq=r.seq,
        diagnosed_at=r.at,
        diagnoses=i.diagnoses + 1,
    )
    return owe(recorded, "cause", r) if news else recorded


_RULES: dict[type[e.Event], Rule] = {
    e.IncidentOpened: _opened,
    e.SymptomObserved: _observed,
    e.SymptomCleared: _cleared,
    e.SeveritySet: _severity,
    e.IncidentAcknowledged: _acknowledged,
    e.IncidentRescued: _rescued,
    e.IncidentResolved: _resolved,
    e.IncidentReopened: _reopened,
    e.IncidentMerged: _merged,
    e.IncidentTakenIn: _taken_in,
    e.ChangesNoted: _changes,
    e.PastNoted: _past,
    e.PageHeld: _page_held,
    e.RuleSilenced: _silenced,
    e.PolicyApplied: _policy,
    e.ResponderResumed: _resumed,
    e.DiagnosisRecorded: _diagnosed,
    **fold_people.RULES,
    **fold_acts.RULES,
}
