"""The pure half of the executor: windows, moments to settle, and what is written down."""

from __future__ import annotations

from datetime import timedelta

import pytest

from acting_worlds import AT, BOOT_ID, plan, step
from stanch.model.events import StepIntended
from stanch.model.plans import Refusal, StepOutcome
from stanch.steps.action import ActReport
from stanch.steps.executor import (
    ACT_WINDOW_S,
    CLOCK_SKEW_S,
    LEASE_MARGIN_S,
    SHORT_CHARS,
    Window,
    ended,
    intent,
    open_window,
    refused,
    settle_at,
)

NOW_NS = 50_000_000_000
STEP = step("start_server", deadline_s=10.0, data_directory="/data")
PLAN = plan(STEP)


def window(lease_s: float) -> Window | Refusal:
    until = NOW_NS + int(lease_s * 1e9)
    return open_window(at=AT, boot_ns=NOW_NS, boot_id=BOOT_ID, lease_until_boot_ns=until)


@pytest.mark.parametrize("lease_s", [2.0, 3.5, 10.0, 60.0])
def test_act_before_lies_before_the_end_of_the_lease(lease_s: float) -> None:
    found = window(lease_s)
    assert isinstance(found, Window)
    assert found.act_before_boot_ns <= NOW_NS + (lease_s - LEASE_MARGIN_S) * 1e9
    assert found.act_before_boot_ns <= NOW_NS + ACT_WINDOW_S * 1e9
    assert found.act_before - AT == timedelta(
        seconds=(found.act_before_boot_ns - NOW_NS) / 1_000_000_000
    )


@pytest.mark.parametrize("lease_s", [-5.0, 0.0, 1.0, 1.4])
def test_with_too_little_of_the_lease_left_a_step_is_not_begun(lease_s: float) -> None:
    found = window(lease_s)
    assert isinstance(found, Refusal)
    assert found.guard == "lease"


def test_the_window_is_closed_at_its_very_end_and_open_right_before() -> None:
    found = window(60.0)
    assert isinstance(found, Window)
    end = found.act_before_boot_ns
    assert found.closed(boot_ns=end - 1, boot_id=BOOT_ID) is None
    assert found.closed(boot_ns=end, boot_id=BOOT_ID) is not None


def test_another_boot_closes_the_window_whatever_its_clock_says() -> None:
    found = window(60.0)
    assert isinstance(found, Window)
    assert found.closed(boot_ns=0, boot_id="boot-b") is not None


def test_too_late_is_expired_and_every_other_no_is_refused() -> None:
    late = refused(PLAN, STEP, attempt=1, refusal=Refusal(guard="act_before", reason="late"))
    other = refused(PLAN, STEP, attempt=1, refusal=Refusal(guard="no_jobs", reason="busy"))
    assert late.outcome is StepOutcome.EXPIRED
    assert other.outcome is StepOutcome.REFUSED


def test_evidence_in_events_is_bounded() -> None:
    report = ActReport(detail="x" * 10_000, before="b" * 10_000, after="a" * 10_000)
    event = ended(PLAN, STEP, attempt=1, report=report)
    assert max(map(len, (event.detail, event.before, event.after))) == SHORT_CHARS


def begun() -> StepIntended:
    found = window(60.0)
    assert isinstance(found, Window)
    return intent(PLAN, STEP, attempt=1, epoch=7, window=found)


def test_a_step_is_not_settled_while_its_intender_may_still_act() -> None:
    before = begun().act_before_boot_ns - 1
    at = settle_at(begun(), deadline_s=10.0, at=AT, boot_ns=before, boot_id=BOOT_ID)
    assert at is not None
    assert at - AT >= timedelta(seconds=10)


def test_a_step_is_not_settled_while_the_act_itself_may_be_under_way() -> None:
    during = begun().act_before_boot_ns + int(9.9e9)
    assert settle_at(begun(), deadline_s=10.0, at=AT, boot_ns=during, boot_id=BOOT_ID) is not None


def test_a_step_is_settled_once_its_deadline_has_passed() -> None:
    after = begun().act_before_boot_ns + int(10e9)
    assert settle_at(begun(), deadline_s=10.0, at=AT, boot_ns=after, boot_id=BOOT_ID) is None


def test_a_wall_clock_set_ahead_does_not_settle_early_on_the_same_boot() -> None:
    later = AT + timedelta(days=1)
    at = settle_at(begun(), deadline_s=10.0, at=later, boot_ns=NOW_NS, boot_id=BOOT_ID)
    assert at is not None


def test_on_another_boot_the_wall_clock_decides_with_a_margin() -> None:
    over = begun().act_before + timedelta(seconds=10.0 + CLOCK_SKEW_S)
    early = over - timedelta(seconds=1)
    assert settle_at(begun(), deadline_s=10.0, at=early, boot_ns=0, boot_id="boot-b") == over
    assert settle_at(begun(), deadline_s=10.0, at=over, boot_ns=0, boot_id="boot-b") is None


@pytest.mark.parametrize("left_ns", [1, 400, 999, 1_000, 1_001])
def test_a_step_is_never_to_be_looked_at_again_at_this_very_moment(left_ns: int) -> None:
    before = begun().act_before_boot_ns + 10_000_000_000 - left_ns
    asked = settle_at(begun(), deadline_s=10.0, at=AT, boot_ns=before, boot_id=BOOT_ID)
    assert asked is not None
    assert asked > AT
