"""Plans of action: what is proposed, bound to which facts, and what came of each step."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stanch.model.diagnosis import Scalar
from stanch.model.ids import CauseId, PersonId, PlanId, StepId


class Mode(StrEnum):
    """What policy lets Stanch do by itself with one action on one target."""

    OBSERVE = "observe"
    """Not even proposed: the runbook is named for people."""
    ADVISE = "advise"
    """Proposed; runs after `stanch approve`."""
    ACT = "act"
    """Runs by itself when every guard says yes."""


class StepOutcome(StrEnum):
    """What became of one step."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    EXPIRED = "expired"
    """`act_before` had passed when the acting process looked: nothing was touched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingFact:
    """One fact a plan depends on; approval is void once it no longer holds.

    Identities (pid and start, inode, system identifier) are exact: `low == high == None`.
    Quantities carry the range in which the plan stays valid.
    """

    name: str
    value: Scalar
    low: float | None = None
    high: float | None = None

    def holds(self, now: Scalar) -> bool:
        if self.low is None and self.high is None:
            return now == self.value
        if isinstance(now, bool) or not isinstance(now, int | float):
            return False
        return (self.low is None or now >= self.low) and (self.high is None or now <= self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One typed action with everything needed to judge, run, verify and undo it."""

    id: StepId
    action: str
    params: tuple[tuple[str, Scalar], ...] = ()
    binding: tuple[BindingFact, ...] = ()
    preview: str = ""
    """What it will touch, in one sentence, with numbers."""
    verify: str = ""
    deadline_s: float = 10.0
    undo: str = ""
    no_undo: str = ""
    """Why it cannot be undone; exactly one of `undo` and `no_undo` is set."""
    on_failure: str = "stop"
    """`stop` ends the plan; `continue` goes on with the next step."""
    reads_only: bool = False
    """It has no effect; nobody has to be asked for it."""

    def param(self, name: str) -> Scalar:
        return dict(self.params).get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift:
    """One no of one guard that a person overrides in one plan, and in no other."""

    guard: str
    action: str
    about: str = ""
    """What it was said about; the same guard's no about anything else still holds."""
    reason: str
    """The no in its own words, as it was when the person asked."""
    by: PersonId
    why: str

    def covers(self, refusal: Refusal) -> bool:
        """Whether it is this very no that was overridden."""
        same = (self.guard, self.about) == (refusal.guard, refusal.about)
        return same and not refusal.firm


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Steps that answer one cause, from one runbook, bound to the facts they were made from."""

    id: PlanId
    runbook: str
    cause: CauseId
    steps: tuple[PlannedStep, ...]
    mode: Mode
    made_at: datetime
    expires_at: datetime
    digest: str
    """SHA-256 over runbook, cause, steps and binding facts: what an approval approves."""
    asked_by: str = ""
    """The person who wanted this runbook; empty: it was chosen for the first cause."""
    asks_because: str = ""
    """Why a person is asked although policy lets Stanch act; empty where that is not so."""
    lifted: tuple[Lift, ...] = ()
    """What a person overrides with it; part of the digest, and approved by name."""

    @property
    def overrides(self) -> tuple[str, ...]:
        """The guards that a person overrides with it."""
        return tuple(dict.fromkeys(lift.guard for lift in self.lifted))

    def lifted_for(self, action: str) -> tuple[Lift, ...]:
        return tuple(lift for lift in self.lifted if lift.action == action)

    @property
    def effects(self) -> tuple[PlannedStep, ...]:
        """The steps that change something: what a person is asked about."""
        return tuple(step for step in self.steps if not step.reads_only)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A guard said no. An answer, with what would lift it."""

    guard: str
    reason: str
    lifts: str = ""
    about: str = ""
    """What the no is about, where it can be said of several things: a cause, a line of a log."""
    firm: bool = False
    """No person can override it: an answer was not had, or it is about which server this is."""
