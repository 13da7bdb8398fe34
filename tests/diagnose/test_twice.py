"""Two looks from one session: when the second is taken, and what becomes of it where it cannot."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from paces import VITALS
from stanch.diagnose.evidence import Evidence, from_bytes, to_bytes, value_of
from stanch.diagnose.run import gather
from stanch.diagnose.twice.run import APART_S_MIN, TwoLooks
from stanch.diagnose.witnesses import Witnesses
from stanch.facts.pace import PACE_SQL, Pace
from stanch.facts.statements import HOME_SQL
from stanch.facts.vitals import VITALS_SQL
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.ports.server import Row, ServerReader, SqlParams
from stanch.model.reach import Reach, ReachState

NO_HOST = Missing(what="host", reason="the server is on another machine")
HOME = {"home": {"schema": "tools", "version": "1.10", "loaded": True, "allowed": True}}
NO_HOME = {"home": None}


class Counting:
    """A server that commits ten times between two questions, by a clock of its own."""

    def __init__(self, home: object = NO_HOME, *, fails: str = "", late_s: float = 0.0) -> None:
        self.asked: list[str] = []
        self._home = json.dumps(home)
        self._fails = fails
        self._late_s = late_s
        self._began_s = time.monotonic()
        self._commits = 100

    async def fetch_json(
        self, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> str:
        self.asked.append(sql)
        await asyncio.sleep(self._late_s)
        if self._fails and self._fails in sql:
            raise ProbeFailed("server closed the connection")
        if sql == HOME_SQL:
            return self._home
        if sql == VITALS_SQL:
            return json.dumps(VITALS)
        if "pg_stat_statements" in sql:
            return json.dumps({"statements": [{"queryid": "7", "calls": 60, "total_ms": 6.0}]})
        if sql != PACE_SQL:
            raise ProbeFailed("it does not know that statement")
        self._commits += 10
        at_s = time.monotonic() - self._began_s
        return json.dumps(
            {"at": at_s, "counted_s": 50.0, "commits": self._commits, "rollbacks": 0, "tables": []}
        )

    async def fetch_rows(
        self, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> tuple[Row, ...]:
        raise AssertionError("not asked by a diagnosis")


def seconds_from_now(seconds: float) -> Callable[[], float]:
    until = time.monotonic() + seconds
    return lambda: until - time.monotonic()


async def both(reader: Counting, *, left_s: float) -> Pace | Missing:
    looks = TwoLooks(reader, seconds_from_now(left_s))
    await looks.first()
    return await looks.second()


async def test_the_second_look_is_taken_a_second_after_the_first() -> None:
    pace = await both(Counting(), left_s=30.0)
    assert isinstance(pace, Pace)
    assert pace.commits.by == 10
    assert 0.95 <= pace.seconds <= 3.0


async def test_where_less_is_left_the_looks_are_nearer() -> None:
    began = time.monotonic()
    pace = await both(Counting(), left_s=1.0)
    assert isinstance(pace, Pace)
    assert APART_S_MIN <= pace.seconds < 0.95
    assert time.monotonic() - began < 1.0


async def test_two_looks_that_would_be_too_near_are_not_taken() -> None:
    reader = Counting()
    pace = await both(reader, left_s=0.5)
    assert isinstance(pace, Missing)
    assert pace.reason == "no time was left for a second look"
    assert reader.asked.count(PACE_SQL) == 1


async def test_a_first_look_that_fails_waits_for_no_second() -> None:
    began = time.monotonic()
    pace = await both(Counting(fails=PACE_SQL), left_s=30.0)
    assert isinstance(pace, Missing)
    assert pace.reason == "server closed the connection"
    assert time.monotonic() - began < 0.5


async def test_statements_are_asked_for_in_both_looks_where_they_are_counted() -> None:
    reader = Counting(HOME)
    pace = await both(reader, left_s=30.0)
    assert isinstance(pace, Pace)
    assert [one.query_id for one in pace.statements] == ["7"]
    assert sum('"tools".pg_stat_statements(false)' in sql for sql in reader.asked) == 2


@pytest.mark.parametrize("fails", [HOME_SQL, "pg_stat_statements(false)"])
async def test_statements_that_cannot_be_had_take_nothing_from_the_rest(fails: str) -> None:
    pace = await both(Counting(HOME, fails=fails), left_s=30.0)
    assert isinstance(pace, Pace)
    assert pace.statements == ()


async def test_an_extension_that_would_answer_with_an_error_is_not_asked() -> None:
    old = {"home": {"schema": "public", "version": "1.6", "loaded": True, "allowed": True}}
    reader = Counting(old)
    await both(reader, left_s=0.3)
    assert reader.asked == [PACE_SQL, HOME_SQL]


# --- within a diagnosis -------------------------------------------------------------------------


async def up(_deadline_s: float) -> Reach:
    return Reach(state=ReachState.UP, layers=(), elapsed_ms=1.0, at=datetime.now(UTC))


async def look(reader: Counting, home: Counting | None = None, deadline_s: float = 2.0) -> Evidence:
    """A diagnosis by somebody who holds no session; `home` answers in the application's own."""
    opened: list[str] = []

    @asynccontextmanager
    async def session(which: Counting) -> AsyncGenerator[ServerReader]:
        assert not opened, "two sessions at once"
        opened.append("one")
        try:
            yield which
        finally:
            opened.clear()

    witnesses = Witnesses(
        probe=up,
        open_reader=lambda: session(reader),
        open_home=None if home is None else lambda: session(home),
        host=NO_HOST,
        traces=NO_HOST,
        place=NO_HOST,
        lock_witness=NO_HOST,
    )
    return await gather("orders", witnesses, deadline_s=deadline_s)


async def test_a_stranger_knows_how_fast_the_server_works_within_the_deadline() -> None:
    began = time.monotonic()
    evidence = await look(Counting())
    assert time.monotonic() - began < 2.0
    pace = value_of(evidence.pace)
    assert pace is not None
    assert pace.commits.by == 10
    assert from_bytes(to_bytes(evidence)) == evidence


async def test_it_is_the_session_in_the_applications_database_that_looks_twice() -> None:
    here, there = Counting(), Counting()
    evidence = await look(here, there)
    assert value_of(evidence.pace) is not None
    assert PACE_SQL not in here.asked
    assert there.asked.count(PACE_SQL) == 2


async def test_what_was_told_first_is_kept_where_the_second_look_is_late() -> None:
    evidence = await look(Counting(), Counting(late_s=30.0), deadline_s=0.6)
    assert not isinstance(evidence.sessions, Missing)
    assert isinstance(evidence.pace, Missing)
