"""Whether an act ended as it must: noticed, rightly diagnosed, rescued, paged. Pure.

Two witnesses are heard: the responder's own account, and what was seen from outside without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stanch.drill.told import StepTold, Told

SHORT_CHARS_MAX = 160
"""What a page's own line may take: it has to fit one text message."""


class Status(StrEnum):
    """How an act ended."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What must follow when a server was broken in one way."""

    cause: str
    actions: tuple[str, ...]
    """Each must have been done and verified on the target."""
    may: tuple[str, ...] = ()
    """Further actions that may have been called for, depending on how far it had come."""
    names: tuple[str, ...] = ()
    """Words the account of the cause must contain: who leaks, what retains."""
    noticed_within_s: float
    rescued_within_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSeen:
    """A page as it arrived at the mail server."""

    to: str
    subject: str
    short: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What anybody could see of the server without asking Stanch."""

    login_and_write_ok: bool
    detail: str
    rows_lost: int = 0
    """Rows whose commit was confirmed to the application and which are not there."""
    outage_s: float | None = None
    """First failed write to the good one after the last failed; None where no write failed."""
    still_out: bool = False
    """A write failed and none has gone through since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything an act is judged by."""

    broke_at: datetime
    told: Told | None
    """None: no incident was opened."""
    others: tuple[str, ...] = ()
    """Further incidents of the same target that were opened meanwhile."""
    pages: tuple[PageSeen, ...] = ()
    outside: Outside


def judge(expected: Expectation, seen: Seen) -> tuple[str, ...]:
    """Everything that is not as it must be; empty when all is."""
    return (*_judged(expected, seen), *_outside(seen.outside))


def _judged(expected: Expectation, seen: Seen) -> Iterator[str]:
    told = seen.told
    if told is None:
        yield "not noticed: no incident was opened"
        return
    noticed_s = (told.opened_at - seen.broke_at).total_seconds()
    if noticed_s > expected.noticed_within_s:
        yield f"noticed only after {noticed_s:.1f} s (limit {expected.noticed_within_s:g} s)"
    if seen.others:
        yield f"one failure, but {1 + len(seen.others)} incidents: also {', '.join(seen.others)}"
    yield from _cause(expected, told)
    yield from _actions(expected, told)
    yield from _rescue(expected, told, seen.broke_at)
    yield from _pages(told, seen.pages)


def _cause(expected: Expectation, told: Told) -> Iterator[str]:
    if told.cause != expected.cause:
        yield f"wrongly diagnosed: {told.cause or 'no cause'} instead of {expected.cause}"
        return
    account = "\n".join((told.summary, *told.evidence_for))
    for name in expected.names:
        if name not in account:
            yield f"the diagnosis does not name {name}"


def _actions(expected: Expectation, told: Told) -> Iterator[str]:
    for action in expected.actions:
        tries = [step for step in told.steps if step.action == action]
        if not any(_verified(step) for step in tries):
            yield f"{action} was not done and verified{_why_not(tries, told)}"
    for step in told.steps:
        if step.outcome == "done" and step.action not in (*expected.actions, *expected.may):
            yield f"{step.action} was done, which this does not call for"


def _verified(step: StepTold) -> bool:
    return step.outcome == "done" and step.verified is True


def _why_not(tries: Sequence[StepTold], told: Told) -> str:
    if tries:
        return f": {tries[-1].outcome} ({tries[-1].verified_by or tries[-1].detail})"
    return f": {told.withheld[-1]}" if told.withheld else ": it was never begun"


def _rescue(expected: Expectation, told: Told, broke_at: datetime) -> Iterator[str]:
    if told.rescued_at is None:
        yield "not rescued"
        return
    took_s = (told.rescued_at - broke_at).total_seconds()
    if took_s > expected.rescued_within_s:
        yield f"rescued only after {took_s:.1f} s (limit {expected.rescued_within_s:g} s)"
    if told.resolved_at is None:
        yield "not resolved"
    elif not told.resolved_verified:
        yield "called resolved without proof"


def _pages(told: Told, pages: Sequence[PageSeen]) -> Iterator[str]:
    if not pages:
        yield "nobody was paged"
        return
    if len(pages) > 1:
        yield f"{len(pages)} pages for one incident"
    for page in pages:
        if len(page.short) > SHORT_CHARS_MAX:
            yield f"the page's line has {len(page.short)} characters (limit {SHORT_CHARS_MAX})"
        if told.target not in page.subject:
            yield f"the page's subject does not name {told.target}"


def _outside(outside: Outside) -> Iterator[str]:
    if not outside.login_and_write_ok:
        yield f"seen from outside it does not serve: {outside.detail}"
    if outside.still_out:
        yield "the application's writes still fail"
    if outside.rows_lost:
        yield f"{outside.rows_lost} confirmed rows are lost"
