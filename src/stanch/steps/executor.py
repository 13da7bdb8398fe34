"""The pure half of the executor: when a step may begin, until when, and what is written down.

The order itself is in `run.py`. A step has three moments: the intent, `act_before` (after which
it cannot have begun) and `act_before` plus its deadline (after which it is no longer under way).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from stanch.model.events import StepEnded, StepIntended, StepVerified
from stanch.model.plans import Plan, PlannedStep, Refusal, StepOutcome
from stanch.steps.action import ActReport, Verification

ACT_WINDOW_S = 3.0
"""From intent to act: enough for every guard to read its facts again, and no more."""

LEASE_MARGIN_S = 1.0
"""`act_before` is at least this long before the lease ends."""

WINDOW_S_MIN = 0.5
"""With less time than this left on the lease a step is not begun."""

CLOCK_SKEW_S = 5.0
"""Added where moments of another machine or another boot are compared by wall clock."""

SHORT_CHARS = 2000
"""Evidence kept in an event is cut to this length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The time in which a step may begin."""

    act_before: datetime
    act_before_boot_ns: int
    boot_id: str

    def closed(self, *, boot_ns: int, boot_id: str) -> Refusal | None:
        """Refuses once the time is over, or on another boot, where it cannot be told."""
        if boot_id != self.boot_id:
            return Refusal(
                guard="act_before",
                reason="the machine has rebooted since the step was intended",
                lifts="A new attempt under a new lease.",
            )
        if boot_ns >= self.act_before_boot_ns:
            late_ms = (boot_ns - self.act_before_boot_ns) / 1e6
            return Refusal(
                guard="act_before",
                reason=f"the time to begin passed {late_ms:.0f} ms ago, so nothing was touched",
                lifts="A new attempt under a new lease.",
            )
        return None


def open_window(
    *, at: datetime, boot_ns: int, boot_id: str, lease_until_boot_ns: int
) -> Window | Refusal:
    """How long a step may wait for its guards; a refusal where the lease leaves too little."""
    left_s = (lease_until_boot_ns - boot_ns) / 1e9 - LEASE_MARGIN_S
    if left_s < WINDOW_S_MIN:
        return Refusal(
            guard="lease",
            reason=f"only {max(left_s, 0.0):.1f} s of the lease are left",
            lifts="A new lease.",
        )
    window_s = min(ACT_WINDOW_S, left_s)
    return Window(
        act_before=at + timedelta(seconds=window_s),
        act_before_boot_ns=boot_ns + int(window_s * 1e9),
        boot_id=boot_id,
    )


def intent(
    plan: Plan, step: PlannedStep, *, attempt: int, epoch: int, window: Window
) -> StepIntended:
    """What is made durable before anything is touched."""
    return StepIntended(
        plan_id=plan.id,
        step_id=step.id,
        action=step.action,
        attempt=attempt,
        epoch=epoch,
        act_before=window.act_before,
        act_before_boot_ns=window.act_before_boot_ns,
        boot_id=window.boot_id,
    )


def refused(plan: Plan, step: PlannedStep, *, attempt: int, refusal: Refusal) -> StepEnded:
    """A guard said no. Too late to begin is its own outcome: nothing is wrong with the target."""
    late = refusal.guard == "act_before"
    return StepEnded(
        plan_id=plan.id,
        step_id=step.id,
        attempt=attempt,
        outcome=StepOutcome.EXPIRED if late else StepOutcome.REFUSED,
        detail=shorten(refusal.reason),
        refusal=refusal,
    )


def ended(plan: Plan, step: PlannedStep, *, attempt: int, report: ActReport) -> StepEnded:
    return StepEnded(
        plan_id=plan.id,
        step_id=step.id,
        attempt=attempt,
        outcome=report.outcome,
        detail=shorten(report.detail),
        before=shorten(report.before),
        after=shorten(report.after),
    )


def verified(plan: Plan, step: PlannedStep, seen: Verification) -> StepVerified:
    return StepVerified(plan_id=plan.id, step_id=step.id, ok=seen.ok, detail=shorten(seen.detail))


def settle_at(
    intended: StepIntended, *, deadline_s: float, at: datetime, boot_ns: int, boot_id: str
) -> datetime | None:
    """When a step found without outcome may be looked at; None: now.

    Until then whoever intended it may still begin it, or be in the middle of it. On the same boot
    CLOCK_BOOTTIME decides, because a wall clock may have jumped; otherwise the wall clock with a
    margin for its error.
    """
    if boot_id == intended.boot_id:
        left_ns = intended.act_before_boot_ns - boot_ns + math.ceil(deadline_s * 1e9)
        # Rounded up: a moment that is not later than now would be asked for again and again.
        return at + timedelta(microseconds=math.ceil(left_ns / 1000)) if left_ns > 0 else None
    over = intended.act_before + timedelta(seconds=deadline_s + CLOCK_SKEW_S)
    return over if at < over else None


def shorten(text: str) -> str:
    if len(text) <= SHORT_CHARS:
        return text
    return text[: SHORT_CHARS - 1] + "…"
