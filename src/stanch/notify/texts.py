"""What pages and updates say. Pure: the story and the moment go in, texts come out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from stanch.model.diagnosis import Verdict
from stanch.model.events import (
    DiagnosisRecorded,
    IncidentAcknowledged,
    IncidentRescued,
    IncidentResolved,
    IncidentTakenIn,
    LevelReached,
    PlanApproved,
    PlanEnded,
    PlanProposed,
    PlanWithheld,
    SeveritySet,
    SymptomObserved,
)
from stanch.model.ids import PersonId
from stanch.model.plans import Plan
from stanch.model.shown import moment, percent, shortened, span
from stanch.notify.body import body, bullets, overriding, paragraph
from stanch.notify.fitting import SHORT_CHARS_MAX, Piece, fitted, one_line
from stanch.notify.story import Story, ack_command, approve_command

LABEL_CHARS_MAX = 12
TARGET_CHARS_MAX = 50
ACK_CHARS_MAX = 30
SUBJECT_CHARS_MAX = 120

News = (
    DiagnosisRecorded
    | PlanProposed
    | PlanApproved
    | PlanWithheld
    | PlanEnded
    | IncidentAcknowledged
    | IncidentRescued
    | IncidentResolved
    | SeveritySet
    | IncidentTakenIn
    | SymptomObserved
    | LevelReached
)
"""Events people who know of an incident are told about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageText:
    """One message in three lengths."""

    subject: str
    short: str
    """At most 160 characters on one printable line."""
    body: str


def page_text(story: Story, *, at: datetime) -> PageText:
    """A page: target, what and how to acknowledge are always there; the rest where it fits."""
    ack = one_line(ack_command(story), ACK_CHARS_MAX)
    head = _head(story, room=SHORT_CHARS_MAX - len(ack) - 1)
    pieces = (
        _since(story, at, priority=1),
        _risk(story, priority=2),
        _cause(story, priority=4),
        # Before the cause's wording: its name alone tells more than "acted" does.
        _did(story, priority=3),
    )
    return PageText(
        subject=_subject(story, one_line(story.title, SUBJECT_CHARS_MAX)),
        short=fitted(head, pieces, ack),
        body=body(story, at=at),
    )


def update_text(event: News, story: Story, *, at: datetime) -> PageText:
    """An update: what is new, as the event itself says it, and below it the whole story."""
    headline, opening = _news(event, story, at)
    where = f"({one_line(story.short_id, ACK_CHARS_MAX)})"
    command = approve_command(story, event.plan) if isinstance(event, PlanProposed) else ""
    tail = f"{command} {where}".strip()
    lead = f"{_label(story)} {one_line(story.target, TARGET_CHARS_MAX)}:"
    room = SHORT_CHARS_MAX - len(lead) - len(tail) - 2
    return PageText(
        subject=_subject(story, one_line(headline, SUBJECT_CHARS_MAX)),
        short=shortened(f"{lead} {one_line(headline, room)} {tail}", SHORT_CHARS_MAX),
        body=body(story, at=at, opening=opening),
    )


# --- the short text -----------------------------------------------------------------------------


def _label(story: Story) -> str:
    label = one_line(story.severity_label, LABEL_CHARS_MAX)
    return f"DRILL {label}" if story.drill else label


def _subject(story: Story, what: str) -> str:
    target = one_line(story.target, TARGET_CHARS_MAX)
    return f"[{_label(story)}] {target}: {what} ({one_line(story.short_id, ACK_CHARS_MAX)})"


def _head(story: Story, *, room: int) -> str:
    target = one_line(story.target, TARGET_CHARS_MAX)
    what = one_line(story.title, room).rstrip(".")
    if what.casefold().startswith(f"{target.casefold()}:"):
        what = what[len(target) + 1 :].lstrip()
    return shortened(f"{_label(story)} {target}: {what}", room - 1) + "."


def _since(story: Story, at: datetime, *, priority: int) -> Piece:
    clock = f"{story.since.astimezone(UTC):%H:%M} UTC"
    gone = span(max(0.0, (at - story.since).total_seconds()))
    return Piece(
        priority=priority, variants=(f"Since {clock} ({gone}).", f"{clock} ({gone}).", clock)
    )


def _risk(story: Story, *, priority: int) -> Piece:
    risk = one_line(story.data_at_risk, 12)
    return Piece(priority=priority, variants=(f"Data at risk: {risk}.", f"Data risk: {risk}."))


def _cause(story: Story, *, priority: int) -> Piece:
    cause = story.cause
    if cause is None:
        known = _NAMELESS[story.diagnosis.verdict] if story.diagnosis else "not looked at yet"
        return Piece(priority=priority, variants=(f"Cause: {known}.",))
    chance = percent(cause.probability)
    summary = one_line(cause.summary, SHORT_CHARS_MAX).rstrip(".")
    name = one_line(cause.id.replace("_", " "), 40)
    cuts = tuple(f"Cause: {shortened(summary, room)} {chance}." for room in (70, 55))
    whole = (f"Cause: {summary} {chance}.",)
    return Piece(priority=priority, variants=(*whole, *cuts, f"Cause: {name} {chance}."))


_NAMELESS = {
    Verdict.CAUSE: "unknown",
    Verdict.HEALTHY: "none seen, it looked healthy",
    Verdict.RECOVERED: "not known, it was over",
    Verdict.UNKNOWN: "unknown",
}


def _did(story: Story, *, priority: int) -> Piece:
    if not story.did:
        return Piece(priority=priority, variants=("Did nothing yet.",))
    last = one_line(story.did[-1], SHORT_CHARS_MAX).rstrip(".")
    cuts = (shortened(last, room) for room in (SHORT_CHARS_MAX, 60, 40, 25))
    told = tuple(f"Did: {cut}" if cut.endswith("…") else f"Did: {cut}." for cut in cuts)
    return Piece(priority=priority, variants=(*told, "Acted."))


# --- what is new --------------------------------------------------------------------------------


def _news(event: News, story: Story, at: datetime) -> tuple[str, list[str]]:
    """Headline and opening lines of an update."""
    match event:
        case DiagnosisRecorded():
            return _found(event, at)
        case PlanProposed() | PlanApproved() | PlanWithheld() | PlanEnded():
            return _of_plan(event, story)
        case IncidentAcknowledged():
            headline = f"{one_line(story.name(event.by), 40)} has taken it"
            return headline, paragraph(f"{headline} (by {event.via}). Nobody else is paged.")
        case LevelReached():
            return _level(event, story)
        case IncidentRescued():
            return _rescued(event)
        case IncidentResolved():
            return _resolved(event, story)
        case IncidentTakenIn():
            what = f"{one_line(event.title, 40)} on {one_line(event.target, 40)}"
            headline = f"{one_line(story.title, 40)}; that is why: {what}"
            return headline, paragraph(
                f"Incident {event.of} ({what}) is an effect of this one and goes on here."
            )
        case SymptomObserved(symptom=symptom):
            headline = f"{one_line(symptom.target, 40)} is down, too"
            return headline, paragraph(f"{headline}: nobody can take over from {story.target}.")
        case SeveritySet():
            who = f" by {story.name(event.by)}" if event.by else ""
            headline = f"severity is now {one_line(event.label, 20)}{who}: {event.reason}"
            return headline, paragraph(headline)


def _of_plan(
    event: PlanProposed | PlanApproved | PlanWithheld | PlanEnded, story: Story
) -> tuple[str, list[str]]:
    match event:
        case PlanProposed():
            what = "; ".join(step.preview or step.action for step in event.plan.effects)
            headline = f"waits for approval: {what}"
            if event.plan.lifted:
                return _glass(event.plan, story, what)
            return headline, paragraph(f"A plan {headline}.")
        case PlanApproved():
            who = one_line(story.name(event.by), 40)
            headline = f"{who} overrode {' and '.join(event.overrides)} and approved it"
            told = f"{headline}. Every other guard is read again right before each step."
            return headline, paragraph(told)
        case PlanWithheld():
            headline = f"Stanch does not act: {event.refusal.reason}"
            return headline, paragraph(headline) + bullets(event.options)
        case PlanEnded():
            return _acted(event, story)


def _glass(plan: Plan, story: Story, what: str) -> tuple[str, list[str]]:
    asks = one_line(story.name(PersonId(plan.asked_by)), 40)
    headline = f"BREAK-GLASS: {asks} wants to override {' and '.join(plan.overrides)}: {what}"
    return headline, [
        *paragraph(f"{headline}. Nothing is done before it is approved."),
        *bullets([overriding(lift, story) for lift in plan.lifted]),
    ]


def _found(event: DiagnosisRecorded, at: datetime) -> tuple[str, list[str]]:
    first = event.diagnosis.first
    if first is None:
        headline = f"looked again: {event.diagnosis.verdict.value}"
    else:
        chance = percent(first.probability)
        headline = f"cause: {one_line(first.summary, 80).rstrip('.')} {chance}"
    return headline, paragraph(f"Found at {moment(event.diagnosis.at)}: {headline}.")


def _acted(event: PlanEnded, story: Story) -> tuple[str, list[str]]:
    last = one_line(story.did[-1], 90).rstrip(".") if story.did else event.reason
    if event.completed:
        headline = f"Stanch acted, the effect is verified: {last}"
        return headline, paragraph("Every step was done, and its effect was seen on the target.")
    return f"the plan ended: {event.reason}", paragraph(f"Not every step was done: {event.reason}.")


def _level(event: LevelReached, story: Story) -> tuple[str, list[str]]:
    headline = f"{span(event.after_s)} without rescue: level {one_line(event.name, 40)} begins"
    paged = " and ".join(one_line(story.name(person), 40) for person in event.page)
    told = [
        "What ran by itself before waits for a person from here on." if event.asks else "",
        f"Paged for it: {paged}." if paged else "",
        f"A plan of {event.propose} is prepared." if event.propose else "",
        event.says,
    ]
    return headline, [*paragraph(f"{headline}."), *bullets([text for text in told if text])]


def _rescued(event: IncidentRescued) -> tuple[str, list[str]]:
    headline = f"serves again, checked for {span(event.window_s)} ({event.checks} times)"
    still = "Not resolved yet: it is watched until it has stayed stable."
    return headline, [*paragraph(f"It {headline}: {event.detail}"), still]


def _resolved(event: IncidentResolved, story: Story) -> tuple[str, list[str]]:
    who = one_line(story.name(event.by), 40) if event.by else ""
    if event.verified:
        headline = "resolved by itself" if event.self_healed else "resolved"
        headline = f"{headline}: {event.reason}"
        return headline, paragraph(f"The incident is {headline}. Checked on the database.")
    headline = f"closed{f' by {who}' if who else ''} without proof: {event.reason}"
    return headline, paragraph(f"The incident was {headline}. Nobody checked the database.")
