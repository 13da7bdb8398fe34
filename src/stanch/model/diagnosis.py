"""What was read, what it speaks for, and what is concluded from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from stanch.model.changes import NotedChange
from stanch.model.ids import CauseId

Scalar = str | int | float | bool | None


class Verdict(StrEnum):
    """What a diagnosis concludes; all four are answers."""

    CAUSE = "cause"
    HEALTHY = "healthy"
    RECOVERED = "recovered"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One piece of evidence as it bears on one cause.

    `weight` is in log-odds (natural logarithm): positive speaks for, negative against. A missing
    reading has weight 0 and counts as neither.
    """

    evidence: str
    text: str
    weight: float = 0.0
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseFinding:
    """One cause with everything that speaks for it, against it, or could not be read."""

    id: CauseId
    summary: str
    probability: float
    evidence_for: tuple[Finding, ...] = ()
    evidence_against: tuple[Finding, ...] = ()
    missing: tuple[Finding, ...] = ()
    safe_first: str = ""
    never: tuple[str, ...] = ()
    """Sentences for people."""
    forbids: tuple[str, ...] = ()
    """Names of actions the responder refuses while this cause stands."""
    subject: str = ""
    """What it is about where a target has several, such as a session or a volume."""
    facts: tuple[tuple[str, Scalar], ...] = ()
    """Readings a runbook needs (such as the blocker's pid), by name."""
    follows: CauseId | None = None
    """The cause further up the same story that brings this one about."""
    runbook: str = ""
    hurts_later: bool = False
    """Nobody suffers from it yet."""
    since: datetime | None = None
    """When it began, where the evidence tells it."""
    after_change: NotedChange | None = None
    """What changed shortly before it began, and can have brought it about."""
    impact_in_s: float | None = None
    """How long there is until it hurts; None: it does already, or nobody can say."""

    def fact(self, name: str) -> Scalar:
        """A reading by name, or None where there is none."""
        return dict(self.facts).get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Ranked causes of what is wrong with one target at one moment."""

    verdict: Verdict
    causes: tuple[CauseFinding, ...]
    at: datetime
    elapsed_ms: float
    summary: str = ""
    """The whole answer in one sentence."""
    separator: str = ""
    """The one question that would tell the first cause from the second."""
    absent: tuple[Finding, ...] = ()
    """Evidence that could not be gathered, with the reason."""
    by_nature: tuple[Finding, ...] = ()
    """Classes of evidence that nobody can gather of this server, and where each is told instead."""

    @property
    def first(self) -> CauseFinding | None:
        return self.causes[0] if self.causes else None


def known_by(before: Diagnosis | None, found: Diagnosis) -> Diagnosis | None:
    """The diagnosis that people know an incident by, once one more was made.

    The newest that names a cause. What will hurt some day does not take the name of what hurt,
    and a cause seen only once it was over is told where nothing else was named.
    """
    told, first = before.first if before else None, found.first
    if found.verdict is Verdict.CAUSE:
        only_left = first is not None and first.hurts_later and told and not told.hurts_later
        return before if only_left else found
    over = found.verdict is Verdict.RECOVERED and first is not None and before is None
    return found if over else before


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A reading that could not be had, and why. An answer, not an error."""

    what: str
    reason: str
    """Empty: there is nobody to be asked, and nothing is missed."""


def not_there(what: str) -> Missing:
    """A witness that this server does not have, as far as anybody said."""
    return Missing(what=what, reason="")


DataAtRisk = Literal["none seen", "possible", "yes"]
