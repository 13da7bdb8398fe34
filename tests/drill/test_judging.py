"""Every way in which an act can end badly fails it; an act that ended well is not failed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stanch.drill.judging import Expectation, Outside, PageSeen, Seen, judge
from stanch.drill.told import StepTold, Told

BROKE = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
SERVES = Outside(login_and_write_ok=True, detail="a fresh login of app writes", outage_s=0.4)
EXPECTED = Expectation(
    cause="connections_leaked",
    actions=("end_idle_sessions",),
    may=("start_server",),
    names=("report-export",),
    noticed_within_s=5,
    rescued_within_s=30,
)


def after(seconds: float) -> datetime:
    return BROKE + timedelta(seconds=seconds)


def step(action: str, *, outcome: str = "done", verified: bool | None = True) -> StepTold:
    return StepTold(
        action=action,
        outcome=outcome,
        detail="ended 9 of 9",
        ended_at=after(1),
        verified=verified,
        verified_by="headroom again",
    )


GOOD = Told(
    incident_id="20260301-001",
    target="orders",
    opened_at=after(0.5),
    observed="27 of 27 connections in use",
    cause="connections_leaked",
    summary='24 of 27 connections are idle sessions of "report-export".',
    steps=(step("end_idle_sessions"),),
    rescued_at=after(4),
    resolved_at=after(6),
    resolved_verified=True,
)
PAGE = PageSeen(to="ann@example.com", subject="[P0] orders: full", short="x" * 160, at=after(0.7))
SEEN = Seen(broke_at=BROKE, told=GOOD, pages=(PAGE,), outside=SERVES)


def told(**changes: object) -> Seen:
    return replace(SEEN, told=replace(GOOD, **changes))  # type: ignore[arg-type]


def test_an_act_that_ended_as_it_must_has_nothing_against_it() -> None:
    assert judge(EXPECTED, SEEN) == ()


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(told(opened_at=after(4.9)), id="noticed just in time"),
        pytest.param(told(opened_at=after(-1)), id="noticed before it broke altogether"),
        pytest.param(told(rescued_at=after(29.9)), id="rescued just in time"),
        pytest.param(
            told(steps=(step("end_idle_sessions"), step("start_server"))), id="an allowed action"
        ),
        pytest.param(
            told(
                steps=(
                    step("end_idle_sessions", outcome="refused", verified=None),
                    step("end_idle_sessions"),
                )
            ),
            id="refused first, done later",
        ),
        pytest.param(
            told(
                steps=(
                    step("end_idle_sessions"),
                    step("end_blocking_session", outcome="refused", verified=None),
                )
            ),
            id="another action that was refused",
        ),
        pytest.param(replace(SEEN, outside=replace(SERVES, outage_s=None)), id="no outage at all"),
        pytest.param(
            told(summary="Idle sessions.", evidence_for=("most are of report-export",)),
            id="named in the evidence only",
        ),
    ],
)
def test_what_is_only_nearly_wrong_is_let_pass(seen: Seen) -> None:
    assert judge(EXPECTED, seen) == ()


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (replace(SEEN, told=None), "not noticed: no incident was opened"),
        (told(opened_at=after(5.2)), "noticed only after 5.2 s (limit 5 s)"),
        (
            told(cause="connections_load"),
            "wrongly diagnosed: connections_load instead of connections_leaked",
        ),
        (told(cause=""), "wrongly diagnosed: no cause instead of connections_leaked"),
        (told(summary="Idle sessions."), "the diagnosis does not name report-export"),
        (told(steps=()), "end_idle_sessions was not done and verified: it was never begun"),
        (
            told(steps=(), withheld=("policy only observes",)),
            "end_idle_sessions was not done and verified: policy only observes",
        ),
        (
            told(steps=(step("end_idle_sessions", verified=False),)),
            "end_idle_sessions was not done and verified: done (headroom again)",
        ),
        (
            told(steps=(step("end_idle_sessions", verified=None),)),
            "end_idle_sessions was not done and verified: done (headroom again)",
        ),
        (
            told(steps=(step("end_idle_sessions"), step("set_aside_lock_file"))),
            "set_aside_lock_file was done, which this does not call for",
        ),
        (told(rescued_at=None), "not rescued"),
        (told(rescued_at=after(31)), "rescued only after 31.0 s (limit 30 s)"),
        (told(resolved_at=None), "not resolved"),
        (told(resolved_verified=False), "called resolved without proof"),
        (replace(SEEN, pages=()), "nobody was paged"),
        (replace(SEEN, pages=(PAGE, PAGE)), "2 pages for one incident"),
        (
            replace(SEEN, pages=(replace(PAGE, short="x" * 161),)),
            "the page's line has 161 characters (limit 160)",
        ),
        (
            replace(SEEN, pages=(replace(PAGE, subject="[P0] down"),)),
            "the page's subject does not name orders",
        ),
        (
            replace(SEEN, others=("20260301-002",)),
            "one failure, but 2 incidents: also 20260301-002",
        ),
        (
            replace(SEEN, outside=replace(SERVES, login_and_write_ok=False, detail="refused")),
            "seen from outside it does not serve: refused",
        ),
        (
            replace(SEEN, outside=replace(SERVES, still_out=True)),
            "the application's writes still fail",
        ),
        (replace(SEEN, outside=replace(SERVES, rows_lost=2)), "2 confirmed rows are lost"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_whatever_is_wrong_fails_the_act_with_its_reason(seen: Seen, reason: str) -> None:
    assert judge(EXPECTED, seen) == (reason,)


def test_an_unnoticed_failure_is_seen_from_outside_all_the_same() -> None:
    dead = Outside(login_and_write_ok=False, detail="refused", still_out=True)
    reasons = judge(EXPECTED, replace(SEEN, told=None, outside=dead))
    assert len(reasons) == 3
