"""What went well, what went wrong, and what to do about it: only what the timeline shows. Pure.

Each function gives plain sentences with the figures filled in; the post-mortem escapes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from stanch.model import events as e
from stanch.model.diagnosis import Verdict
from stanch.model.messages import Handover
from stanch.model.plans import Mode, StepOutcome
from stanch.model.reach import ReachState
from stanch.model.shown import moment, span
from stanch.review.names import shown
from stanch.review.reading import Reading

DETECTED_WELL_S_MAX = 5.0
"""The slowest kind of break, a server that hangs, is to be noticed within this."""
DETECTED_LATE_S_MIN = 30.0
DIAGNOSED_WELL_S_MAX = 3.0


def went_well(r: Reading, *, ack_within_s: float | None) -> list[str]:
    return [*_noticed_well(r), *_told_well(r, ack_within_s), *_cured_well(r)]


def went_wrong(r: Reading, *, ack_within_s: float | None) -> list[str]:
    return [
        *_noticed_late(r),
        *_told_late(r, ack_within_s),
        *_failed_deliveries(r),
        *_misdiagnosed(r),
        *_not_cured(r),
        *_not_watching(r),
    ]


# --- noticing and naming ------------------------------------------------------------------------


def _noticed_well(r: Reading) -> Iterator[str]:
    detected = r.durations.detect.seconds
    declared = r.opened is not None and r.opened.declared_by is not None
    if detected is not None and detected <= DETECTED_WELL_S_MAX and not declared:
        yield f"Detected {span(detected)} after onset."
    named = r.durations.diagnose.seconds
    if named is not None and named <= DIAGNOSED_WELL_S_MAX:
        yield f"A cause was named {span(named)} after the incident opened."


def _noticed_late(r: Reading) -> Iterator[str]:
    opened, detected = r.opened, r.durations.detect.seconds
    if opened is not None and opened.declared_by is not None:
        yield f"{r.names.person(opened.declared_by)} noticed it before Stanch did."
    elif detected is not None and detected >= DETECTED_LATE_S_MIN:
        yield f"Detected only {span(detected)} after onset."
    named = r.durations.diagnose.seconds
    if named is not None and named > DIAGNOSED_WELL_S_MAX:
        yield f"A cause was named only {span(named)} after the incident opened."


def _misdiagnosed(r: Reading) -> Iterator[str]:
    named = r.causes_named
    if not named:
        looks = len(r.events(e.DiagnosisRecorded))
        if any(d.diagnosis.verdict is Verdict.UNKNOWN for d in r.events(e.DiagnosisRecorded)):
            yield f"No cause was named, in {looks} diagnoses."
        elif not looks:
            yield "No diagnosis was recorded."
    elif named[0].id != named[-1].id:
        yield f"The first diagnosis named {named[0].id}, the last one {named[-1].id}."
    for what, why in _unread(r):
        yield f"Could not be read: {what}: {why}"


# --- telling ------------------------------------------------------------------------------------


def _told_well(r: Reading, ack_within_s: float | None) -> Iterator[str]:
    taken = r.durations.acknowledge.seconds
    if taken is not None and r.pages and (ack_within_s is None or taken <= ack_within_s):
        yield f"Acknowledged after {span(taken)}{_limit(ack_within_s)}."
    outcomes = r.events(e.DeliveryEnded)
    taken_all = all(o.outcome is Handover.ACCEPTED for o in outcomes)
    if outcomes and taken_all and not r.unsettled_sendings:
        yield f"Every hand-over worked at the first attempt ({len(outcomes)} in all)."


def _left_unacknowledged(r: Reading, ack_within_s: float | None) -> bool:
    """Nobody took it although there was time: what is over before the limit asks nobody to."""
    if not r.pages or r.durations.acknowledge.end is not None:
        return False
    over = r.all(e.IncidentResolved)
    if ack_within_s is None or not over or len(r.pages) > 1:
        return True
    return (over[-1][0] - r.pages[0][0]).total_seconds() > ack_within_s


def _told_late(r: Reading, ack_within_s: float | None) -> Iterator[str]:
    taken = r.durations.acknowledge
    if taken.seconds is not None and ack_within_s is not None and taken.seconds > ack_within_s:
        yield f"Acknowledged only after {span(taken.seconds)}{_limit(ack_within_s)}."
    if _left_unacknowledged(r, ack_within_s):
        times = "once" if len(r.pages) == 1 else f"{len(r.pages)} times"
        yield f"Nobody acknowledged it; pages went out {times}."
    levels = max((page.level for _, page in r.pages), default=0)
    if levels > 1 and taken.end is not None:
        yield f"It took {levels} levels of escalation until somebody acknowledged."
    told = r.events(e.MessageRaised) or r.events(e.PagedUnrecorded)
    if r.opened is not None and not told and not _self_healed(r):
        yield "Nobody was told."


def _failed_deliveries(r: Reading) -> Iterator[str]:
    for outcome in r.events(e.DeliveryEnded):
        if outcome.outcome is Handover.ACCEPTED:
            continue
        what = f"Attempt {outcome.attempt} of {r.names.sending(outcome.id)}"
        doubt = outcome.outcome is Handover.IN_DOUBT
        said = "may not have arrived" if doubt else "failed"
        last = "" if outcome.retryable else " (given up)"
        yield f"{what} {said}: {shown(outcome.detail)}{last}"
    for delivery in r.unsettled_sendings:
        yield f"What came of the last attempt of {r.names.sending(delivery)} was not recorded."


def _limit(ack_within_s: float | None) -> str:
    return f", limit {span(ack_within_s)}" if ack_within_s is not None else ""


# --- curing -------------------------------------------------------------------------------------


def _cured_well(r: Reading) -> Iterator[str]:
    if _self_healed(r):
        yield "It healed by itself before anybody had to be paged."
    mitigated = r.durations.mitigate.seconds
    approved = r.events(e.PlanApproved)
    if any(p.completed for p in r.events(e.PlanEnded)) and mitigated is not None:
        how = f"after {r.names.person(approved[-1].by)} approved" if approved else "by itself"
        yield f"Stanch brought it back {how}; it served again {span(mitigated)} after onset."
    for at, refused in r.all(e.StepEnded):
        if refused.outcome is StepOutcome.REFUSED and refused.refusal is not None:
            guard = shown(refused.refusal.guard, 60)
            yield f"Guard {guard} kept Stanch from acting at {moment(at)}; nothing was touched."


def _not_cured(r: Reading) -> Iterator[str]:
    for withheld in r.events(e.PlanWithheld):
        yield f"Stanch could not act against {withheld.cause}: {shown(withheld.refusal.reason)}"
    for ended in r.events(e.StepEnded):
        step = r.names.step(ended.plan_id, ended.step_id)
        if ended.outcome is StepOutcome.REFUSED:
            reason = ended.refusal.reason if ended.refusal else ended.detail
            yield f"Step {step} was refused: {shown(reason)}"
        elif ended.outcome is not StepOutcome.DONE:
            yield f"Step {step} ended as {_WORDS[ended.outcome]}: {shown(ended.detail)}"
    for verified in r.events(e.StepVerified):
        if not verified.ok:
            step = r.names.step(verified.plan_id, verified.step_id)
            yield f"Step {step} did not have its effect: {shown(verified.detail)}"
    for plan, step_id in r.unsettled_steps:
        yield f"What came of step {r.names.step(plan, step_id)} was not recorded."
    for ended in _unapproved(r):
        yield f"A plan waited for approval and ran out: {shown(ended.reason)}"
    yield from _came_back(r)


_WORDS = {
    StepOutcome.FAILED: "failed",
    StepOutcome.IN_DOUBT: "in doubt",
    StepOutcome.EXPIRED: "too late",
}


def _came_back(r: Reading) -> Iterator[str]:
    if len(r.durations.outages) > 1:
        yield f"It failed {len(r.durations.outages)} times before it held."
    for reopened in r.events(e.IncidentReopened):
        yield f"It had to be reopened: {shown(reopened.reason)}"
    resolved = r.last(e.IncidentResolved)
    if resolved is not None and not resolved.verified:
        yield "It was closed without proof that the database serves."


def _not_watching(r: Reading) -> Iterator[str]:
    for at, resumed in r.all(e.ResponderResumed):
        if resumed.away_since is None:
            yield f"Stanch was away until {moment(at)}; since when is not known."
        else:
            gone = span(max(0.0, (at - resumed.away_since).total_seconds()))
            yield f"Stanch was not watching for up to {gone}, until {moment(at)}."
    for unrecorded in r.events(e.PagedUnrecorded):
        sent = moment(unrecorded.sent_at)
        yield f"The journal could not be written at {sent}; people were paged from memory."
    unknown = len(r.events(e.UnknownEvent))
    if unknown:
        yield f"{unknown} entries were written by a newer release and are not understood here."


def _self_healed(r: Reading) -> bool:
    resolved = r.last(e.IncidentResolved)
    return resolved is not None and resolved.self_healed


def _unapproved(r: Reading) -> list[e.PlanEnded]:
    """Plans that needed a person, got none, and ended without a step having been tried."""
    waiting = {p.plan.id for p in r.events(e.PlanProposed) if p.plan.mode is not Mode.ACT}
    waiting -= {p.plan_id for p in r.events(e.PlanApproved)}
    waiting -= {p.plan_id for p in r.events(e.StepIntended)}
    ended = [p for p in r.all(e.PlanEnded) if p[1].plan_id in waiting and not p[1].completed]
    expiry = {p.plan.id: p.plan.expires_at for p in r.events(e.PlanProposed)}
    return [event for at, event in ended if _passed(at, expiry.get(event.plan_id))]


def _passed(at: datetime, expires_at: datetime | None) -> bool:
    return expires_at is not None and at >= expires_at


_NOBODY_GETS_IN = tuple(
    f"no session: {state.value}"
    for state in (
        ReachState.REFUSED,
        ReachState.TIMEOUT,
        ReachState.UNREACHABLE,
        ReachState.DNS_FAILURE,
        ReachState.TOO_MANY_CLIENTS,
        ReachState.STARTING_UP,
        ReachState.SHUTTING_DOWN,
        ReachState.HUNG,
    )
)
"""Reasons that are the outage itself: nothing about the reading has to be mended."""


def _unread(r: Reading) -> list[tuple[str, str]]:
    """What the diagnosis could not read and why, each once; not what nobody could have read."""
    diagnosis = r.diagnosis
    if diagnosis is None:
        return []
    first = diagnosis.first
    missing = (*diagnosis.absent, *(first.missing if first else ()))
    mendable = [f for f in missing if not f.text.endswith(_NOBODY_GETS_IN)]
    return list({shown(f.evidence, 80): shown(f.text) for f in mendable}.items())


# --- what to do about it ------------------------------------------------------------------------


def action_items(r: Reading, *, ack_within_s: float | None) -> list[str]:
    """Each follows from something in this timeline; nothing is advised that it does not show."""
    items = [*_about_cause(r), *_about_acting(r), *_about_telling(r, ack_within_s)]
    items += [f"Make {what} readable: {why}" for what, why in _unread(r)]
    return list(dict.fromkeys(items))


def _about_cause(r: Reading) -> Iterator[str]:
    cause = r.cause
    if cause is None:
        if r.opened is not None:
            yield "Find the cause: no diagnosis named one."
        return
    yield f"Keep it from happening again: {shown(cause.summary)}"
    facts = {name: value for name, value in cause.facts if value not in (None, "", "none")}
    if cause.id.startswith("disk_full"):
        volume = shown(str(facts.get("volume", "the volume")), 80)
        if cause.fact("safe_bytes") == 0:
            yield f"Keep a ballast file on {volume}: nothing there was safe to free."
        if facts.get("retainer", "unknown") != "unknown":
            yield f"See why {shown(str(facts['retainer']), 80)} keeps WAL on {volume}."
    if cause.id == "connections_leaked" and "application_name" in facts:
        yield f"Mend {shown(str(facts['application_name']), 80)}: it leaves idle sessions behind."
    if cause.id == "idle_in_transaction" and "root_usename" in facts:
        who = shown(str(facts["root_usename"]), 80)
        yield f"Consider idle_in_transaction_session_timeout for the role {who}."


def _about_acting(r: Reading) -> Iterator[str]:
    refusals = [w.refusal for w in r.events(e.PlanWithheld)]
    refusals += [s.refusal for s in r.events(e.StepEnded) if s.refusal is not None]
    for refusal in refusals:
        if refusal.lifts:
            yield f"So that Stanch may act next time: {shown(refusal.lifts)}"
    if _unapproved(r):
        yield "Decide who approves plans at such an hour, or let policy act by itself."
    resolved = r.last(e.IncidentResolved)
    if resolved is not None and not resolved.verified:
        yield "Check on the database that it serves: nobody has."


def _about_telling(r: Reading, ack_within_s: float | None) -> Iterator[str]:
    for outcome in r.events(e.DeliveryEnded):
        if outcome.outcome is not Handover.ACCEPTED:
            sending = r.names.sendings.get(outcome.id)
            channel = shown(sending.channel, 40) if sending else "a channel"
            yield f"Repair the way to people over {channel}: not every hand-over worked."
    taken = r.durations.acknowledge.seconds
    late = taken is not None and ack_within_s is not None and taken > ack_within_s
    if r.pages and (late or _left_unacknowledged(r, ack_within_s)):
        first = r.pages[0][1]
        whom = r.names.persons(first.persons) or "anybody"
        yield f"Find out why the first page, to {whom}, was not acknowledged in time."
