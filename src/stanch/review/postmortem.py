"""The post-mortem as Markdown, from the timeline alone. Pure: same timeline, same bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from stanch.model import events as e
from stanch.model.diagnosis import CauseFinding, Finding
from stanch.model.ids import PersonId
from stanch.model.links import Link
from stanch.model.plans import StepOutcome
from stanch.model.shown import moment, percent, span
from stanch.model.timeline import Recorded
from stanch.policy.rules import declared_rules
from stanch.review.lessons import action_items, went_well, went_wrong
from stanch.review.markdown import bullet, escaped, table
from stanch.review.names import shown
from stanch.review.reading import Reading, read
from stanch.review.sentences import sentence


def postmortem(
    timeline: Sequence[Recorded],
    *,
    people: Mapping[PersonId, str],
    ack_within_s: float | None = None,
    until: datetime | None = None,
    links: Sequence[Link] = (),
) -> str:
    """What happened, why, what was done, and what to change.

    `people` gives names to ids. `ack_within_s` is the limit of the policy that was in force;
    without it no judgement on acknowledging is made. `until` is the moment of the review, for an
    incident that is not over. `links` are those of the target, filled in. Any prefix of a timeline
    can be reviewed.
    """
    r = read(timeline, people=people, until=until)
    title = r.opened.title if r.opened else "an incident"
    lines = [f"# Post-mortem: {escaped(shown(title, 120))}", "", *_header(r)]
    sections = (
        ("Summary", _summary(r)),
        ("Impact", _impact(r)),
        ("Timeline", _timeline(r)),
        ("What changed before", _changed(r)),
        ("Seen before", _past(r)),
        ("Root cause", _root_cause(r)),
        ("Resolution", _resolution(r)),
        ("What went well", _listed(went_well(r, ack_within_s=ack_within_s))),
        ("What went wrong", _listed(went_wrong(r, ack_within_s=ack_within_s))),
        ("Action items", _action_items(r, ack_within_s)),
        ("Durations", _durations(r)),
        *([("Links", _links(links))] if links else []),
    )
    for heading, section in sections:
        lines += ["", f"## {heading}", "", *section]
    return "\n".join(lines) + "\n"


# --- header and summary -------------------------------------------------------------------------


def _header(r: Reading) -> list[str]:
    opened = r.opened
    head = r.timeline[-1] if r.timeline else None
    rows = [
        ("Incident", head.incident_id if head else "none"),
        ("Target", opened.target if opened else "not known"),
        ("Severity", _severity(r)),
        ("Status", _status(r)),
        ("Began", moment(opened.symptom.since) if opened else "not known"),
    ]
    if opened is not None and opened.drill:
        rows.append(("Drill", "yes: this was an exercise"))
    responders = [event.by for event in r.events(e.IncidentAcknowledged)]
    if responders:
        rows.append(("Taken by", r.names.persons(list(dict.fromkeys(responders)))))
    if head is None:
        rows.append(("Record", "empty"))
    else:
        anchor = f"{head.writer_id}:{head.n}:{head.hash.hex()}"
        rows.append(("Record", f"{head.seq} entries, anchor {anchor}"))
    return table(("What", "Value"), rows)


def _severity(r: Reading) -> str:
    labels = [event.label for event in r.events(e.SeveritySet)]
    if r.opened is not None:
        labels.insert(0, r.opened.severity_label)
    return ", then ".join(shown(label, 20) for label in dict.fromkeys(labels)) or "not known"


def _status(r: Reading) -> str:
    match r.ending:
        case e.IncidentResolved(verified=False, by=None):
            return "closed without proof on the database"
        case e.IncidentResolved(verified=False):
            return "closed by a person, without proof on the database"
        case e.IncidentResolved(self_healed=True):
            return "resolved by itself, checked on the database"
        case e.IncidentResolved():
            return "resolved, checked on the database"
        case e.IncidentRescued():
            return "serves again, not yet resolved"
        case e.IncidentMerged(into=into):
            return f"continued in incident {into}"
        case _:
            return "open"


def _summary(r: Reading) -> Iterator[str]:
    opened = r.opened
    if opened is None:
        yield "The timeline does not say how the incident began."
        return
    yield escaped(
        f"{shown(opened.target, 80)}, {moment(opened.symptom.since)}: "
        f"{shown(opened.title).rstrip('.')}."
    )
    if r.cause is not None:
        yield escaped(f"Most likely cause: {_named(r.cause)}.")
    else:
        yield "No cause was named."
    yield escaped(f"{_ended_sentence(r)} Status: {_status(r)}.")


def _named(cause: CauseFinding) -> str:
    return f"{shown(cause.summary).rstrip('.')} ({percent(cause.probability)})"


def _ended_sentence(r: Reading) -> str:
    mitigated = r.durations.mitigate
    if mitigated.seconds is not None:
        return f"It served again {span(mitigated.seconds)} after it began."
    return "When it served again is not known."


# --- impact -------------------------------------------------------------------------------------


def _impact(r: Reading) -> Iterator[str]:
    if not r.timeline:
        yield "Not known: the record is empty."
        return
    kinds = [event.symptom.kind for event in r.events(e.IncidentOpened)]
    kinds += [event.symptom.kind for event in r.events(e.SymptomObserved)]
    yield from (bullet(declared_rules()[kind].impact) for kind in dict.fromkeys(kinds))
    for outage in r.durations.outages:
        begun = moment(outage.start)
        if outage.end is not None:
            lasted = span(max(0.0, (outage.end - outage.start).total_seconds()))
            yield bullet(f"From {begun} to {moment(outage.end)} ({lasted}).")
        elif r.until is not None and isinstance(r.ending, e.IncidentOpened | e.IncidentReopened):
            so_far = span(max(0.0, (r.until - outage.start).total_seconds()))
            yield bullet(f"From {begun}, not over at {moment(r.until)} ({so_far} so far).")
        else:
            yield bullet(f"From {begun}; no end is known.")
    yield from map(bullet, _data(r))


def _data(r: Reading) -> Iterator[str]:
    """What is known about data loss, and what is not: no more than that."""
    if r.opened is not None:
        first = r.opened.data_at_risk
        before = "" if r.risk == first else f" Until the cause was known: {first}."
        yield f"Data at risk: {r.risk}.{before}"
    writes = [check.write_ok for check in r.events(e.RescueChecked)]
    if True in writes:
        yield f"Known: test writes worked in {writes.count(True)} of {len(writes)} checks."
    elif writes:
        yield "Known: no test write has worked, or none was tried."
    every = r.events(e.EvidenceKept)
    recorded = [kept for kept in every if kept.name.startswith("flight recorder")]
    kept = [one for one in every if one not in recorded]
    if recorded:
        yield (
            f"Kept: the flight recorder's last minutes, {len(recorded)} times"
            f" (`stanch recorder show {r.timeline[0].incident_id}`)."
        )
    if kept:
        yield f"Known: {len(kept)} pieces of evidence were set aside before anything was changed."
    yield (
        "Not known: whether any row was lost. This record holds no comparison of the data "
        "before and after."
    )


# --- timeline -----------------------------------------------------------------------------------


def _timeline(r: Reading) -> Iterator[str]:
    days = {recorded.at.date() for recorded in r.timeline}
    form = "%Y-%m-%d %H:%M:%S" if len(days) > 1 else "%H:%M:%S"
    on = f" on {min(days):%Y-%m-%d}" if len(days) == 1 else ""
    yield f"All times are UTC{on}."
    yield ""
    for recorded in r.timeline:
        late = " (written down late)" if recorded.late else ""
        said = escaped(sentence(recorded.event, r.names))
        yield f"- {recorded.at:{form}} {said}{late}"


def _changed(r: Reading) -> Iterator[str]:
    event = next(iter(r.events(e.ChangesNoted)), None)
    if event is None:
        yield "Nothing was seen to change in the two hours before it opened."
        return
    yield f"Seen since {moment(event.since)}, newest first; what changed is not always the cause."
    yield ""
    for change in event.changes:
        link = f" {change.link}" if change.link else ""
        what = f"{shown(change.kind, 20)} {shown(change.what, 300)}: {shown(change.told)}"
        yield bullet(f"{moment(change.at)} {what}{link}")
    if event.more:
        yield bullet(f"and {event.more} others")


def _past(r: Reading) -> Iterator[str]:
    event = next(reversed([*r.events(e.PastNoted)]), None)
    if event is None or not event.incidents:
        yield "No earlier incident looked like it."
        return
    for one in event.incidents:
        yield bullet(shown(one.told, 400))


# --- cause and resolution -----------------------------------------------------------------------


def _root_cause(r: Reading) -> Iterator[str]:
    diagnosis = r.diagnosis
    if diagnosis is None:
        yield "Not known: no diagnosis was recorded."
        return
    cause = r.cause
    if cause is None:
        yield f"Not known: the diagnosis says {diagnosis.verdict.value}."
        yield from _evidence("Could not be read", diagnosis.absent)
        return
    named = _named(cause)
    yield escaped(f"{named[:1].upper()}{named[1:]}.")
    yield from _evidence("Evidence for it", cause.evidence_for)
    yield from _evidence("Evidence against it", cause.evidence_against)
    yield from _evidence("Missing", cause.missing + diagnosis.absent)
    others = [c for c in diagnosis.causes if c.id != cause.id]
    if others:
        yield from ("", "Also considered:", "")
        yield from (bullet(_named(other)) for other in others)


def _evidence(label: str, findings: Sequence[Finding]) -> Iterator[str]:
    if findings:
        yield from ("", f"{label}:", "")
        yield from (bullet(f"{shown(f.text)} ({shown(f.evidence, 80)})") for f in findings)


def _resolution(r: Reading) -> Iterator[str]:
    kinds = (
        e.PlanRequested,
        e.PlanProposed,
        e.PlanApproved,
        e.PlanWithheld,
        e.LevelReached,
        e.StepEnded,
        e.StepVerified,
        e.PlanEnded,
        e.IncidentRescued,
        e.IncidentResolved,
        e.IncidentReopened,
        e.IncidentMerged,
    )
    told = [recorded for recorded in r.timeline if isinstance(recorded.event, kinds)]
    steps = r.events(e.StepEnded)
    touched = [s for s in steps if s.outcome not in (StepOutcome.REFUSED, StepOutcome.EXPIRED)]
    if not touched and not r.unsettled_steps:
        yield bullet("Stanch changed nothing on the target.")
    yield from (bullet(sentence(recorded.event, r.names)) for recorded in told)
    for plan, step in r.unsettled_steps:
        yield bullet(f"What came of step {r.names.step(plan, step)} was not recorded.")
    if r.durations.resolve.end is None:
        yield bullet("Not resolved, as far as this record goes.")


# --- the rest -----------------------------------------------------------------------------------


def _listed(sentences: Sequence[str]) -> list[str]:
    return [bullet(text) for text in sentences] or ["Nothing the record shows."]


def _action_items(r: Reading, ack_within_s: float | None) -> list[str]:
    items = action_items(r, ack_within_s=ack_within_s)
    if not items:
        return ["Nothing the record shows."]
    listed = [f"- [ ] {escaped(item)} (owner: ?, due: ?)" for item in items]
    return ["Owners and dates are for the review to fill in.", "", *listed]


def _links(links: Sequence[Link]) -> Iterator[str]:
    for link in links:
        live = _PLAIN_ADDRESS.fullmatch(link.url) is not None
        yield f"- {escaped(link.name)}: " + (f"<{link.url}>" if live else escaped(link.url))


_PLAIN_ADDRESS = re.compile(r"https?://[!-;=?-~]+")
"""What stands between `<` and `>` as it is: printable ASCII without these two."""


def _durations(r: Reading) -> list[str]:
    rows = [(d.name, d.counted, d.shown) for d in r.durations.all]
    return table(("What", "From, to", "Took"), rows)
