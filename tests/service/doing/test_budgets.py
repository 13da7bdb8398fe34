"""How many sessions may be touched within a minute."""

from __future__ import annotations

from dataclasses import replace

from acting_worlds import TARGET, HandClock
from stanch.model.ids import TargetName
from stanch.policy.policy import BlastRadius
from stanch.service.doing.budgets import SessionBudgets

FEW = replace(TARGET, blast_radius=BlastRadius(sessions_per_minute=2))


def test_after_so_many_sessions_it_pauses_until_a_minute_has_passed() -> None:
    clock = HandClock()
    budgets = SessionBudgets(clock.now_ns)
    spend = budgets.of(FEW, "end_idle_sessions")
    assert spend() is None
    clock.go_on(30)
    assert spend() is None
    refusal = spend()
    assert refusal is not None
    assert (refusal.guard, "2 sessions" in refusal.reason) == ("blast_radius", True)
    clock.go_on(30)
    assert spend() is None, "the first is a minute ago"
    assert spend() is not None


def test_all_actions_on_sessions_of_a_target_share_it_and_targets_do_not() -> None:
    budgets = SessionBudgets(HandClock().now_ns)
    assert budgets.of(FEW, "end_idle_sessions")() is None
    assert budgets.of(FEW, "cancel_statement")() is None
    assert budgets.of(FEW, "end_blocking_session")() is not None
    other = replace(FEW, name=TargetName("other"))
    assert budgets.of(other, "end_blocking_session")() is None


def test_what_touches_no_session_is_not_counted() -> None:
    budgets = SessionBudgets(HandClock().now_ns)
    assert all(budgets.of(FEW, "start_server")() is None for _ in range(5))
    assert all(budgets.of(FEW, "analyze_table")() is None for _ in range(5))
    assert all(budgets.of(FEW, "set_parameter")() is None for _ in range(5))
