"""Roots of waiting sessions, in tables."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.facts.blocking import blocking_roots
from stanch.facts.sessions import WaitingSession


def _row(
    pid: int, blocked_by: tuple[int, ...] | None = (), *, waits: bool | None = None
) -> WaitingSession:
    return WaitingSession(
        pid=pid,
        backend_start=None,
        backend_type="client backend",
        usename="app",
        datname="app",
        application_name="web",
        client_addr=None,
        state="active",
        wait_event_type=None,
        wait_event=None,
        xact_start=None,
        query_start=None,
        state_change=None,
        state_age_s=None,
        xact_age_s=None,
        waits=bool(blocked_by) if waits is None else waits,
        wait_age_s=float(pid),
        blocked_by=blocked_by,
        holds_advisory_lock=False,
        query="",
    )


@pytest.mark.parametrize(
    ("rows", "roots"),
    [
        ([], {}),
        ([_row(1)], {}),
        ([_row(1), _row(2, (1,))], {1: {2}}),
        ([_row(1), _row(2, (1,)), _row(3, (2, 1))], {1: {2, 3}}),
        ([_row(1), _row(2), _row(3, (1, 2))], {1: {3}, 2: {3}}),
        ([_row(2, (0,))], {0: {2}}),
        ([_row(2, (9,))], {9: {2}}),
        ([_row(2, (2,))], {}),
        ([_row(2, (2, 2, 1)), _row(1)], {1: {2}}),
        ([_row(2, None, waits=True), _row(3, (2,))], {}),
    ],
)
def test_roots_block_somebody_and_wait_for_nobody(
    rows: list[WaitingSession], roots: dict[int, set[int]]
) -> None:
    assert {c.root_pid: set(c.waiters) for c in blocking_roots(rows)} == roots


def test_a_circle_is_reported_once_with_those_behind_it() -> None:
    [chain] = blocking_roots([_row(1, (2,)), _row(2, (1,)), _row(3, (2,))])
    assert chain.cycle == (1, 2)
    assert 3 in chain.waiters


def test_a_queue_behind_a_root_is_no_circle() -> None:
    rows = [_row(1), *(_row(n, tuple(range(1, n))) for n in range(2, 30))]
    [chain] = blocking_roots(rows)
    assert (chain.root_pid, chain.cycle, len(chain.waiters)) == (1, (), 28)


def test_two_hundred_waiters_in_a_queue_do_not_hold_the_loop() -> None:
    rows = [_row(1), *(_row(n, tuple(range(1, n))) for n in range(2, 202))]
    began = time.process_time()
    blocking_roots(rows)
    assert time.process_time() - began < 0.1


@given(
    st.dictionaries(
        st.integers(1, 12), st.lists(st.integers(0, 14), max_size=4).map(tuple), max_size=12
    )
)
def test_any_graph_is_answered_and_no_root_waits(edges: dict[int, tuple[int, ...]]) -> None:
    rows = [_row(pid, blocked_by) for pid, blocked_by in edges.items()]
    waiting = {row.pid for row in rows if row.waits}
    for chain in blocking_roots(rows):
        assert chain.cycle or chain.root_pid not in waiting
        assert chain.waiters
