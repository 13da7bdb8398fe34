"""The full story as plain text of at most 78 columns, for a mail or a webhook's reader."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime

from stanch.model.changes import NotedChange
from stanch.model.diagnosis import CauseFinding, Diagnosis, Finding, Verdict
from stanch.model.plans import Lift, Plan
from stanch.model.shown import moment, never, percent, span
from stanch.notify.fitting import one_line
from stanch.notify.story import Story, ack_command, approve_command, postmortem_command
from stanch.policy.quoting import printable

FIELD_CHARS_MAX = 600
ITEMS_MAX = 12
COLUMNS = 78


def body(story: Story, *, at: datetime, opening: Sequence[str] = ()) -> str:
    """Everything known at `at`, most urgent first. `opening` says what is new in an update."""
    lines = [*opening, *([""] if opening else [])]
    for section in (
        _head,
        _level,
        _observed,
        _waiting,
        _withheld,
        _causes,
        _changed,
        _past,
        _did,
        _links,
        _record,
    ):
        part = list(section(story, at))
        lines += [*part, ""] if part else []
    return "\n".join(lines).rstrip("\n")


def paragraph(text: str, *, indent: str = "", bullet: str = "") -> list[str]:
    """One text from anywhere, escaped and wrapped."""
    return textwrap.wrap(
        one_line(text, FIELD_CHARS_MAX),
        COLUMNS,
        initial_indent=indent + bullet,
        subsequent_indent=indent + " " * len(bullet),
        break_long_words=False,
        break_on_hyphens=False,
    )


def bullets(texts: Sequence[str], *, indent: str = "") -> list[str]:
    """A list; what is beyond the first dozen is counted, not shown."""
    lines = [ln for text in texts[:ITEMS_MAX] for ln in paragraph(text, indent=indent, bullet="- ")]
    if len(texts) > ITEMS_MAX:
        lines.append(f"{indent}- and {len(texts) - ITEMS_MAX} more")
    return lines


def _head(story: Story, at: datetime) -> Iterator[str]:
    if story.drill:
        yield "THIS IS A DRILL."
    yield from paragraph(f"{story.severity_label} on {story.target}: {story.title}")
    gone = span(max(0.0, (at - story.since).total_seconds()))
    yield f"Since {moment(story.since)} ({gone}). Data at risk: {story.data_at_risk}."
    if story.over:
        yield from paragraph(f"Incident {story.incident_id} is closed. To write it up:")
        yield f"    {postmortem_command(story)}"
    elif story.taken_by is not None:
        yield from paragraph(
            f"Incident {story.incident_id}, taken by {story.name(story.taken_by)}."
        )
    else:
        yield from paragraph(f"Incident {story.incident_id}. To take it:")
        yield f"    {ack_command(story)}"


def _level(story: Story, at: datetime) -> Iterator[str]:
    if story.level and not story.over:
        yield from paragraph(story.level)


def _observed(story: Story, at: datetime) -> Iterator[str]:
    if story.symptoms:
        yield "OBSERVED"
        yield from bullets(
            [
                f"{s.detail or s.kind.value.replace('_', ' ')} (since {moment(s.since)})"
                for s in story.symptoms
            ]
        )


def _waiting(story: Story, at: datetime) -> Iterator[str]:
    if story.plan is not None:
        yield "WAITING FOR YOUR APPROVAL"
        yield from plan_lines(story, story.plan, at)


def plan_lines(story: Story, plan: Plan, at: datetime) -> Iterator[str]:
    """A plan as a person has to read it before approving it: touches what, can it be undone."""
    yield from paragraph(f"Runbook {plan.runbook} against {plan.cause}:")
    if plan.asks_because:
        yield from paragraph(f"You are asked because {plan.asks_because}.")
    if plan.lifted:
        yield from paragraph("BREAK-GLASS: whoever approves this overrides what a guard forbids.")
        yield from bullets([overriding(lift, story) for lift in plan.lifted])
    for number, step in enumerate(plan.effects, start=1):
        yield from paragraph(f"{step.preview or step.action}", bullet=f"{number}. ")
        undo = f"Undone by: {step.undo}" if step.undo else f"Cannot be undone: {step.no_undo}"
        yield from paragraph(undo, indent="   ")
    left = span(max(0.0, (plan.expires_at - at).total_seconds()))
    yield f"Approve within {left} (until {moment(plan.expires_at)}):"
    yield f"    {approve_command(story, plan)}"


def overriding(lift: Lift, story: Story) -> str:
    """One no that a plan overrides, with who wants that and why."""
    no = f"{lift.guard} says no to {lift.action}: {lift.reason.rstrip('.')}"
    return f"{no}. Overridden by {story.name(lift.by)}: {lift.why}"


def _withheld(story: Story, at: datetime) -> Iterator[str]:
    withheld = story.withheld
    if withheld is None:
        return
    yield "STANCH DOES NOT ACT"
    yield from paragraph(f"{withheld.refusal.reason} (guard: {withheld.refusal.guard})")
    if withheld.refusal.lifts:
        yield from paragraph(f"What would change that: {withheld.refusal.lifts}")
    if withheld.options:
        yield "What you can do, safest first:"
        yield from bullets(withheld.options)


def _causes(story: Story, at: datetime) -> Iterator[str]:
    diagnosis = story.diagnosis
    if diagnosis is None:
        yield "CAUSE"
        yield "Not known yet; the diagnosis is under way."
        return
    named = diagnosis.verdict is Verdict.CAUSE and bool(diagnosis.causes)
    if not named:
        yield "CAUSE"
        yield _VERDICTS[diagnosis.verdict]
    for place, cause in enumerate(diagnosis.causes):
        if place == 0:
            yield from _cause(cause, "MOST LIKELY CAUSE" if named else "NEAREST CANDIDATE")
            yield from _separator(diagnosis)
        elif place < 4:
            yield ""
            yield from _cause(cause, f"OTHER CAUSE {place}")
    if diagnosis.absent:
        yield ""
        yield "COULD NOT BE READ"
        yield from bullets(_texts(diagnosis.absent))


_VERDICTS = {
    Verdict.CAUSE: "No cause is named.",
    Verdict.HEALTHY: "The target looked healthy when it was examined.",
    Verdict.RECOVERED: "Something was wrong, and was over when it was examined.",
    Verdict.UNKNOWN: "Unknown: no cause has enough evidence.",
}


def _cause(cause: CauseFinding, title: str) -> Iterator[str]:
    yield title
    yield from paragraph(f"{cause.summary} ({percent(cause.probability)}, {cause.id})")
    for label, findings in (
        ("For it:", cause.evidence_for),
        ("Against it:", cause.evidence_against),
        ("Missing:", cause.missing),
    ):
        if findings:
            yield label
            yield from bullets(_texts(findings))
    if cause.safe_first:
        yield "Safe first move:"
        yield from paragraph(cause.safe_first, indent="  ")
    yield from bullets([never(warning) for warning in cause.never])


def _separator(diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.separator:
        yield from paragraph(f"To tell the first two apart: {diagnosis.separator}")


def _texts(findings: Sequence[Finding]) -> list[str]:
    return [f"{finding.text} ({finding.evidence})" for finding in findings]


def _changed(story: Story, at: datetime) -> Iterator[str]:
    if story.changes:
        yield "WHAT CHANGED BEFORE"
        yield from bullets([_change(change) for change in story.changes])


def _change(change: NotedChange) -> str:
    link = f" {change.link}" if change.link else ""
    return f"{moment(change.at)}: {change.kind} {change.what}: {change.told}{link}"


def _past(story: Story, at: datetime) -> Iterator[str]:
    if story.past:
        yield "SEEN BEFORE"
        yield from bullets([one.told for one in story.past])


def _did(story: Story, at: datetime) -> Iterator[str]:
    yield "WHAT STANCH DID"
    yield from bullets(story.did) if story.did else ["Nothing so far."]


def _links(story: Story, at: datetime) -> Iterator[str]:
    if story.links:
        yield "LINKS"
    for link in story.links:
        # Not wrapped and not cut: half an address leads nowhere.
        yield printable(f"{link.name}: {link.url}")


def _record(story: Story, at: datetime) -> Iterator[str]:
    if story.anchors:
        yield "RECORD (to check later: stanch timeline verify --anchor ...)"
        # Not wrapped: half an anchor is none.
        yield from (one_line(anchor, FIELD_CHARS_MAX) for anchor in story.anchors)
