"""The executor from every interrupted prefix: intent first, nothing twice, unknown means no."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from acting_worlds import (
    BOOT_ID,
    CLAIM,
    Crash,
    HandClock,
    Log,
    authority,
    bare_world,
    cause,
    diagnosis,
    plan,
    step,
)
from stanch.model.errors import ActionFailed, ProbeFailed, StoreUnavailable
from stanch.model.events import Event, StepIntended
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.steps.action import (
    Action,
    ActReport,
    Guard,
    Param,
    Permit,
    Planning,
    Risk,
    Verification,
)
from stanch.steps.run import Authority, Clocks, Executed, execute, settle
from stanch.steps.world import World

STEP = step("press", deadline_s=0.2, button="red")
PLAN = plan(STEP)


async def nothing() -> None:
    return None


@dataclass
class Button:
    """A world with one button: pressing it twice is the accident all this is about."""

    pressed: int = 0
    looks: int = 0
    refusal: Refusal | None = None
    before_check: Callable[[], Awaitable[None]] = nothing
    before_press: Callable[[], Awaitable[None]] = nothing
    after_press: Callable[[], Awaitable[None]] = nothing
    seen: Verification | None = None
    order: list[str] = field(default_factory=list[str])

    async def check(self, _step: PlannedStep, _world: World) -> Refusal | None:
        self.order.append("check")
        await self.before_check()
        return self.refusal

    async def act(self, _step: PlannedStep, _world: World, permit: Permit) -> ActReport | Refusal:
        self.order.append("act")
        await self.before_press()
        no = permit()
        if no is not None:
            return no
        self.pressed += 1
        await self.after_press()
        return ActReport(detail="pressed")

    async def verify(self, _step: PlannedStep, _world: World) -> Verification:
        self.looks += 1
        self.order.append("verify")
        return self.seen or Verification(ok=self.pressed > 0, detail=f"pressed {self.pressed}")

    def action(self) -> Action:
        return Action(
            name="press",
            sentence="Press it.",
            params=(Param(name="button", kind="text", doc="Which.", identity=True),),
            guards=(Guard(name="free", asks="Is it free?"),),
            risks=(Risk(what="pressing", guards=("free",)),),
            stands_on="press buttons",
            planning=Planning(preview=lambda _params, _cause: "Press it."),
            check=self.check,
            act=self.act,
            verify=self.verify,
        )


@dataclass
class Bench:
    """Everything around one button, with clocks that move by hand."""

    button: Button = field(default_factory=Button)
    clock: HandClock = field(default_factory=HandClock)
    log: Log = field(default_factory=Log)
    world: World = field(default_factory=bare_world)
    halted: bool = False
    lease_s: float = 30.0

    async def execute(self, *, attempt: int = 1, one: PlannedStep = STEP) -> Executed:
        until = self.clock.boot_ns + int(self.lease_s * 1e9)
        return await execute(
            one,
            PLAN,
            action=self.button.action(),
            attempt=attempt,
            authority=Authority(
                claim=CLAIM, lease_until_boot_ns=lambda: until, halted=lambda: self.halted
            ),
            world=self.world,
            record=self.log,
            clocks=Clocks(boot=self.clock, at=self.clock.at),
        )

    async def settle(self, *, abandoned: bool = False) -> Executed:
        """As a resumed process does: the intent without outcome, if there is one."""
        open_intent = None
        for event in self.log.events:
            if isinstance(event, StepIntended):
                open_intent = event
            elif open_intent is not None and type(event).__name__ == "StepEnded":
                open_intent = open_intent if "IN_DOUBT" in repr(event) else None
        self.log.crash_before = self.log.crash_after = None
        return await settle(
            STEP,
            PLAN,
            action=self.button.action(),
            intended=open_intent,
            abandoned=abandoned,
            world=self.world,
            record=self.log,
            clocks=Clocks(boot=self.clock, at=self.clock.at),
        )


# --- the order ----------------------------------------------------------------------------------


async def test_intent_then_guards_then_act_then_outcome_then_look() -> None:
    bench = Bench()
    bench.log.on_record = lambda event: bench.button.order.append(type(event).__name__)
    done = await bench.execute()
    assert done.outcome is StepOutcome.DONE
    assert bench.button.order == [
        "StepIntended",
        "check",
        "act",
        "StepEnded",
        "verify",
        "StepVerified",
    ]


async def test_only_the_intent_needs_the_lease_because_facts_are_never_refused() -> None:
    bench = Bench()
    await bench.execute()
    assert bench.log.leases == [CLAIM, None, None]


async def test_the_intent_says_under_which_epoch_and_boot_and_until_when() -> None:
    bench = Bench()
    await bench.execute(attempt=3)
    begun = bench.log.intended()
    assert (begun.attempt, begun.epoch, begun.boot_id) == (3, CLAIM.epoch, BOOT_ID)
    assert begun.act_before_boot_ns < bench.clock.boot_ns + int(bench.lease_s * 1e9)


async def test_an_intent_that_cannot_be_made_durable_means_nothing_is_touched() -> None:
    bench = Bench()

    async def refuse(event: Event, lease: object) -> None:
        raise StoreUnavailable("disk full", on="store")

    with pytest.raises(StoreUnavailable):
        await execute(
            STEP,
            PLAN,
            action=bench.button.action(),
            attempt=1,
            authority=authority(bench.clock),
            world=bench.world,
            record=refuse,
            clocks=Clocks(boot=bench.clock, at=bench.clock.at),
        )
    assert bench.button.order == []


# --- reasons not to act ---------------------------------------------------------------------------


async def test_a_halt_before_the_intent_leaves_no_trace_in_the_timeline() -> None:
    bench = Bench(halted=True)
    done = await bench.execute()
    assert done.outcome is None
    assert done.refusal is not None
    assert done.refusal.guard == "halt"
    assert bench.log.events == []


async def test_a_halt_while_the_guards_are_read_is_honoured() -> None:
    bench = Bench()

    async def halt() -> None:
        bench.halted = True

    bench.button.before_check = halt
    done = await bench.execute()
    assert done.outcome is StepOutcome.REFUSED
    assert bench.log.ended().refusal is not None
    assert bench.button.pressed == 0


async def test_a_process_stopped_past_act_before_touches_nothing() -> None:
    """SIGSTOP between guards and act: the clock went on, the process did not."""
    bench = Bench()

    async def stopped() -> None:
        bench.clock.go_on(3.1)

    bench.button.before_check = stopped
    done = await bench.execute()
    assert done.outcome is StepOutcome.EXPIRED
    assert bench.button.pressed == 0
    assert "act" not in bench.button.order


async def test_a_process_stopped_inside_the_act_is_held_by_the_permit() -> None:
    bench = Bench()

    async def stopped() -> None:
        bench.clock.go_on(3.1)

    bench.button.before_press = stopped
    done = await bench.execute()
    assert done.outcome is StepOutcome.EXPIRED
    assert bench.button.pressed == 0


async def test_a_short_stop_inside_the_window_does_no_harm() -> None:
    bench = Bench()

    async def stopped() -> None:
        bench.clock.go_on(1.0)

    bench.button.before_check = stopped
    done = await bench.execute()
    assert done.outcome is StepOutcome.DONE
    assert bench.button.pressed == 1


async def test_a_reboot_between_intent_and_act_touches_nothing() -> None:
    bench = Bench()

    async def rebooted() -> None:
        bench.clock.boot = "boot-b"

    bench.button.before_check = rebooted
    done = await bench.execute()
    assert done.outcome is StepOutcome.EXPIRED
    assert bench.button.pressed == 0


async def test_a_lease_without_margin_means_no_intent() -> None:
    bench = Bench(lease_s=1.2)
    done = await bench.execute()
    assert done.outcome is None
    assert done.refusal is not None
    assert done.refusal.guard == "lease"
    assert bench.log.events == []


async def test_a_guard_that_says_no_is_an_outcome_with_its_reason() -> None:
    bench = Bench()
    bench.button.refusal = Refusal(guard="free", reason="somebody sits on it")
    done = await bench.execute()
    assert done.outcome is StepOutcome.REFUSED
    assert bench.log.ended().refusal == bench.button.refusal
    assert bench.button.pressed == 0
    assert bench.button.looks == 0


async def test_a_guard_without_an_answer_is_a_no() -> None:
    bench = Bench()

    async def lost() -> None:
        raise ProbeFailed("no answer", on="orders")

    bench.button.before_check = lost
    done = await bench.execute()
    assert done.refusal is not None
    assert done.refusal.guard == "unknown"
    assert bench.button.pressed == 0


async def test_what_the_standing_diagnosis_forbids_is_refused_without_reading_guards() -> None:
    forbids = replace(cause("live_lock_file", probability=0.3), forbids=("press",))
    bench = Bench(world=replace(bare_world(), diagnosis=diagnosis(forbids)))
    done = await bench.execute()
    assert done.refusal is not None
    assert done.refusal.guard == "diagnosis"
    assert bench.button.order == []


async def test_a_step_without_its_facts_is_refused() -> None:
    bench = Bench()
    done = await bench.execute(one=replace(STEP, params=()))
    assert done.refusal is not None
    assert done.refusal.guard == "params"
    assert bench.button.order == []


# --- how acts end -------------------------------------------------------------------------------


async def test_a_time_out_is_in_doubt_and_never_failed() -> None:
    bench = Bench()

    async def hang() -> None:
        await asyncio.Event().wait()

    bench.button.after_press = hang
    done = await bench.execute()
    assert done.outcome is StepOutcome.IN_DOUBT
    assert bench.log.kinds() == ["StepIntended", "StepEnded"]


async def test_an_answer_that_got_lost_is_in_doubt() -> None:
    bench = Bench()

    async def lost() -> None:
        raise ProbeFailed("the session ended", on="orders")

    bench.button.after_press = lost
    done = await bench.execute()
    assert done.outcome is StepOutcome.IN_DOUBT


async def test_a_reported_failure_is_failed_and_not_verified() -> None:
    bench = Bench()

    async def broken() -> None:
        raise ActionFailed("it is stuck", on="button", hint="Oil it.")

    bench.button.after_press = broken
    done = await bench.execute()
    assert done.outcome is StepOutcome.FAILED
    assert "Oil it." in bench.log.ended().detail
    assert bench.button.looks == 0


async def test_a_bug_in_an_action_leaves_the_step_in_doubt_instead_of_failed() -> None:
    bench = Bench()

    async def bug() -> None:
        raise AssertionError("broken invariant")

    bench.button.after_press = bug
    with pytest.raises(AssertionError):
        await bench.execute()
    assert bench.log.kinds() == ["StepIntended"]


async def test_an_effect_that_does_not_show_is_written_down_as_such() -> None:
    bench = Bench()
    bench.button.seen = Verification(ok=False, detail="still dark")

    async def time_passes() -> None:
        bench.clock.go_on(0.3)

    bench.button.after_press = time_passes
    bench.log.on_record = lambda _event: bench.clock.go_on(0.0)
    task = asyncio.create_task(bench.execute())
    while bench.button.looks < 2:
        await asyncio.sleep(0)
    bench.clock.go_on(1.0)
    done = await task
    assert done.outcome is StepOutcome.DONE
    assert not bench.log.verified().ok


async def test_an_effect_under_way_is_neither_verified_nor_failed() -> None:
    bench = Bench()
    bench.button.seen = Verification(ok=False, pending=True, detail="recovering")
    task = asyncio.create_task(bench.execute())
    while bench.button.looks < 1:
        await asyncio.sleep(0)
    bench.clock.go_on(1.0)
    done = await task
    assert done.retry_at is not None
    assert "StepVerified" not in bench.log.kinds()


# --- every interrupted prefix ---------------------------------------------------------------------


def crashing_benches() -> list[tuple[str, Bench]]:
    async def crash() -> None:
        raise Crash

    benches = [(f"before record {n + 1}", Bench(log=Log(crash_before=n))) for n in range(3)]
    benches += [(f"after record {n}", Bench(log=Log(crash_after=n))) for n in (1, 2, 3)]
    benches += [
        ("before the guards", Bench(button=Button(before_check=crash))),
        ("right before the effect", Bench(button=Button(before_press=crash))),
        ("right after the effect", Bench(button=Button(after_press=crash))),
    ]
    return benches


@pytest.mark.parametrize(
    ("_where", "bench"), crashing_benches(), ids=[name for name, _ in crashing_benches()]
)
async def test_resumed_after_a_crash_the_button_is_pressed_exactly_once(
    _where: str, bench: Bench
) -> None:
    with pytest.raises(Crash):
        await bench.execute()
    bench.button.before_check = bench.button.before_press = bench.button.after_press = nothing
    bench.log.crash_before = bench.log.crash_after = None

    for attempt in range(2, 6):
        if not bench.log.events:
            await bench.execute(attempt=attempt)  # Nothing was intended: the step is simply due.
        elif "StepVerified" in bench.log.kinds():
            if bench.log.verified().ok:
                break
            bench.log.events.clear()  # It was seen to have had no effect: a new attempt.
        else:
            waiting = await bench.settle()
            if waiting.retry_at is not None:
                assert bench.button.looks == 0, "looked while it could still be under way"
                bench.clock.go_on((waiting.retry_at - bench.clock.wall).total_seconds())

    assert bench.button.pressed == 1
    assert bench.log.verified().ok


async def test_a_step_in_doubt_is_looked_at_and_not_repeated() -> None:
    bench = Bench(log=Log(crash_after=1))
    with pytest.raises(Crash):
        await bench.execute()
    bench.clock.go_on(3.0 + STEP.deadline_s)
    done = await bench.settle()
    assert done.outcome is None
    assert not bench.log.verified().ok
    assert bench.button.pressed == 0


async def test_a_look_that_saw_nothing_allows_no_new_attempt() -> None:
    """Not having seen is not the same as having seen nothing."""
    bench = Bench(log=Log(crash_after=1))
    with pytest.raises(Crash):
        await bench.execute()
    bench.clock.go_on(3.0 + STEP.deadline_s)

    async def blind(_step: PlannedStep, _world: World) -> Verification:
        raise ProbeFailed("no answer", on="orders")

    action = replace(bench.button.action(), verify=blind)
    bench.log.crash_after = None
    done = await settle(
        STEP,
        PLAN,
        action=action,
        intended=bench.log.intended(),
        world=bench.world,
        record=bench.log,
        clocks=Clocks(boot=bench.clock, at=bench.clock.at),
    )
    assert done.retry_at is not None
    assert "StepVerified" not in bench.log.kinds()


async def test_nobody_settles_a_step_that_may_still_be_under_way() -> None:
    bench = Bench(log=Log(crash_after=1))
    with pytest.raises(Crash):
        await bench.execute()
    bench.clock.go_on(3.0)
    done = await bench.settle()
    assert done.retry_at is not None
    assert done.retry_at > bench.clock.wall
    assert bench.button.looks == 0


async def test_what_a_dead_process_intended_is_looked_at_once_it_can_no_longer_begin() -> None:
    bench = Bench(log=Log(crash_after=1))
    with pytest.raises(Crash):
        await bench.execute()
    bench.clock.go_on(2.9)
    early = await bench.settle(abandoned=True)
    assert early.retry_at is not None
    assert bench.button.looks == 0
    bench.clock.go_on(0.1)
    await bench.settle(abandoned=True)
    assert bench.button.looks == 1
    assert not bench.log.verified().ok
    assert bench.button.pressed == 0
