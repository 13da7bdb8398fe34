"""What an action is: a name, the facts it needs, its guards, and three things it can be asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.policy.policy import TargetPolicy
from stanch.steps.world import World

Kind = Literal["text", "count", "seconds", "bytes", "moment", "flag"]
"""`moment` is an ISO 8601 time with an offset, exactly as the server gave it."""

_TYPES: Mapping[Kind, tuple[type, ...]] = {
    "text": (str,),
    "count": (int,),
    "seconds": (int, float),
    "bytes": (int,),
    "moment": (str,),
    "flag": (bool,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """One fact an action works with.

    `identity` facts must still be exactly the same when a plan is approved or run; the others are
    quantities or settings.
    """

    name: str
    kind: Kind
    doc: str
    identity: bool = False
    required: bool = True

    def wrong(self, value: Scalar) -> str:
        """Why this value cannot be used; empty when it can."""
        if value is None or value == "":
            return f"{self.name} is missing" if self.required else ""
        allowed = _TYPES[self.kind]
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            return f"{self.name} is not a {self.kind}: {value!r}"
        if self.kind in ("count", "bytes", "seconds") and float(value) < 0:
            return f"{self.name} is negative: {value!r}"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """One question that must be answered with yes right before acting. Unknown means no."""

    name: str
    asks: str
    yields: bool = False
    """A person may override its no by breaking the glass; see `Refusal.firm`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActReport:
    """What was done, in words and in evidence."""

    detail: str
    outcome: Literal[StepOutcome.DONE, StepOutcome.FAILED, StepOutcome.IN_DOUBT] = StepOutcome.DONE
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a look at the target says about the effect of a step."""

    ok: bool
    detail: str
    pending: bool = False
    """Not yet, but under way: crash recovery, say. Neither a success nor a failure."""


Permit: TypeAlias = Callable[[], Refusal | None]
"""Asked before each single effect: still before `act_before`, same boot, lease held, no halt?"""

Check: TypeAlias = Callable[[PlannedStep, World], Awaitable[Refusal | None]]
Act: TypeAlias = Callable[[PlannedStep, World, Permit], Awaitable[ActReport | Refusal]]
Verify: TypeAlias = Callable[[PlannedStep, World], Awaitable[Verification]]


def _nothing(_step: PlannedStep, _cause: CauseFinding, _target: TargetPolicy) -> Refusal | None:
    return None


def _never(_cause: CauseFinding) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """What an action says before anybody is asked to approve it. Pure."""

    preview: Callable[[Mapping[str, Scalar], CauseFinding], str]
    """What it will touch, in one sentence with numbers. From its facts and the cause."""
    ranges: tuple[tuple[str, float | None, float | None], ...] = ()
    """Quantities a plan depends on: fact, lowest and highest value at which it fits."""
    withheld: Callable[[PlannedStep, CauseFinding, TargetPolicy], Refusal | None] = _nothing
    """What is known by now to make a guard say no: nobody is to be asked for an approval of it."""
    loses_work: Callable[[CauseFinding], bool] = _never
    """Whether a person has to decide whatever policy allows."""
    unasked: tuple[tuple[str, Scalar], ...] = ()
    """Facts that are added where nobody is asked, and narrow what it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """Something that is refused with a reason unless these guards say yes."""

    what: str
    guards: tuple[str, ...]
    """Of the action itself; `diagnosis` asks whether a standing cause forbids it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One thing Stanch can do to a target."""

    name: str
    sentence: str
    """What it does, for a person who is asked to approve it."""
    params: tuple[Param, ...]
    guards: tuple[Guard, ...]
    risks: tuple[Risk, ...]
    stands_on: str
    """The row of the capability table (`stanch check`) that says whether it can be done."""
    planning: Planning
    check: Check
    """Reads the facts again and answers the guards. Touches nothing."""
    act: Act
    """Does it. Asks the permit before each effect; a refusal means nothing more was touched."""
    verify: Verify
    """Looks whether the effect is there. Touches nothing."""
    reads_only: bool = False
    """It has no effect: nobody is asked for it, and no policy keeps it from being read."""

    def param(self, name: str) -> Param | None:
        return next((p for p in self.params if p.name == name), None)

    def guard(self, name: str) -> Guard | None:
        return next((g for g in self.guards if g.name == name), None)


def check_params(action: Action, step: PlannedStep) -> Refusal | None:
    """Refuses a step whose facts are missing, mistyped or unknown to the action."""
    given = dict(step.params)
    unknown = sorted(given.keys() - {p.name for p in action.params})
    wrong = [text for p in action.params if (text := p.wrong(given.get(p.name)))]
    wrong += [f"{name} is not a parameter of {action.name}" for name in unknown]
    if not wrong:
        return None
    return Refusal(
        guard="params", reason="; ".join(wrong), lifts="A diagnosis that carries these facts."
    )
