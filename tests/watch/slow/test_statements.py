"""Statements that become slower: told on real servers, and quiet on whatever only looks like it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest

from fix_servers import MakeServer
from samplings import Watched, seen, target
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.slow_visit import SlowSessions
from stanch.facts.slow.questions import OF_A_DATABASE, read_slow
from stanch.facts.statements import (
    HOME_SQL,
    StatementRead,
    StatementsHome,
    StatementsRead,
    parse_home,
    parse_statements,
    quoted_name,
    statement_texts_sql,
    statements_sql,
    with_texts,
)
from stanch.model.readings import Reading
from stanch.watch.slow.statements import (
    CALLS,
    MEAN,
    NEVER_BEFORE,
    NOT_ALL,
    OVER_S,
    SLOW_IS_USUAL_S,
    SLOWDOWN,
    StatementMemory,
)

LOOK_S = 300.0
ODD = 'odd "schema" %(x)s\n;'
QUOTED = quoted_name(ODD)
[HOME] = [question for question in OF_A_DATABASE if question.name == "statements_home"]
ANY_TIME = target(statement_slower={"also": 0.1})
"""The rule, for a table that is small enough for a test."""


# --- on real servers ----------------------------------------------------------------------------


class Shop:
    """A server with statistics, one statement of an application, and the looks of the lane."""

    def __init__(self, server: ScratchServer) -> None:
        self.server = server
        self.memory = StatementMemory()
        self.watched = Watched(ANY_TIME)
        self.looks = 0
        self.readings: tuple[Reading, ...] = ()
        for statement in (
            f"CREATE SCHEMA {QUOTED}",
            f"GRANT USAGE ON SCHEMA {QUOTED} TO stanch_watch, app",
            f"CREATE EXTENSION pg_stat_statements SCHEMA {QUOTED}",
            "CREATE TABLE orders AS SELECT g AS id, 'x' AS what FROM generate_series(1, 60000) g",
            "CREATE INDEX by_id ON orders (id)",
            "ANALYZE orders",
            "GRANT SELECT ON orders TO app",
        ):
            server.query(statement, dbname="app")
        self.app = psycopg.connect(server.dsn("app", "app"), autocommit=True)

    def sells(self, times: int) -> None:
        for n in range(times):
            self.app.execute("SELECT what FROM orders WHERE id = %s", (n,)).fetchall()

    async def look(self, user: str = "stanch_watch") -> tuple[Reading, ...]:
        visit = await SlowSessions(self.server.dsn(user, "postgres")).open("app")
        home = read_slow(HOME, await visit.ask(HOME.sql, timeout_s=5)).home
        assert home is not None
        assert home.unusable == ""
        read = parse_statements(await visit.ask(statements_sql(home), timeout_s=5))
        visit.close()
        at_s = LOOK_S * self.looks
        readings = self.memory.readings(read, at_s=at_s)
        self.watched.look(at_s, seen(readings=readings))
        self.looks += 1
        self.readings = readings
        return readings

    async def looks_until(self, true: Callable[[], bool], what: str) -> None:
        """On a machine at work one call in a hundred takes as long as all others together."""
        for _ in range(10):
            self.sells(15)
            await self.look()
            if true():
                return
        raise AssertionError(what)

    def slowdown(self, queryid: str) -> float | None:
        return one(self.readings, SLOWDOWN, queryid).value


def one(readings: tuple[Reading, ...], name: str, queryid: str) -> Reading:
    [found] = [r for r in readings if (r.name, r.subject) == (name, queryid)]
    return found


async def told(shop: Shop) -> tuple[str, str]:
    """The id of the application's statement, and its text as a check-up shows it."""
    visit = await SlowSessions(shop.server.dsn(dbname="app")).open("app")
    home = StatementsHome(schema=ODD, version="1.8", loaded=True, allowed=True)
    read = parse_statements(await visit.ask(statements_sql(home), timeout_s=5))
    assert all(statement.query is None for statement in read.largest)
    read = with_texts(read, await visit.ask(statement_texts_sql(home, read.largest), timeout_s=5))
    visit.close()
    [found] = [s for s in read.largest if s.role == "app" and "FROM orders" in (s.query or "")]
    assert found.database == "app"
    return found.queryid, found.query or ""


async def test_a_statement_that_lost_its_index_is_told_and_a_reset_is_not(
    make_server: MakeServer, pg_major: int
) -> None:
    server = make_server(conf={"shared_preload_libraries": "pg_stat_statements"})
    shop = Shop(server)
    with closing(shop.app):
        shop.sells(200)
        assert {(r.name, r.value, r.detail) for r in await shop.look()} == {
            (name, None, NEVER_BEFORE) for name in (MEAN, CALLS, SLOWDOWN)
        }
        queryid, text = await told(shop)
        assert text == "SELECT what FROM orders WHERE id = $1"
        await shop.looks_until(lambda: (shop.slowdown(queryid) or 9) < 2, "it is as usual")
        assert one(shop.readings, CALLS, queryid).value == 200 + 15 * (shop.looks - 1)
        assert shop.watched.raised == []
        server.query("DROP INDEX by_id", dbname="app")
        shop.sells(15)
        slow = one(await shop.look(), SLOWDOWN, queryid)
        assert slow.value is not None
        assert slow.value > 5
        assert "15 calls" in slow.detail
        assert "role app in database app" in slow.detail
        assert shop.watched.raised == [], "once may be chance"
        shop.sells(15)
        await shop.look()
        assert shop.watched.raised == [f"statement_slower:{queryid}"]
        assert "FROM orders" not in shop.watched.symptoms[0].detail
        # The look after a reset says nothing, neither good nor bad.
        server.query(f"SELECT {QUOTED}.pg_stat_statements_reset()", dbname="app")
        server.query("CREATE INDEX by_id ON orders (id)", dbname="app")
        shop.sells(160)
        assert one(await shop.look(), SLOWDOWN, queryid).value is None
        assert shop.watched.cleared == []
        await shop.looks_until(lambda: bool(shop.watched.cleared), "it is over")
        assert shop.watched.cleared == [f"statement_slower:{queryid}"]
    assert {r.detail for r in await shop.look("app")} == {NOT_ALL}


async def test_an_extension_that_counts_nothing_says_what_to_do(server: ScratchServer) -> None:
    assert parse_home(server.query(HOME_SQL, dbname="app")[0][0]) is None
    server.query("CREATE EXTENSION pg_stat_statements VERSION '1.7'", dbname="app")
    home = parse_home(server.query(HOME_SQL, dbname="app")[0][0])
    assert home is not None
    assert "shared_preload_libraries" in home.unusable
    assert "ALTER EXTENSION" in replace(home, loaded=True).unusable


# --- without a server ---------------------------------------------------------------------------

ENTRY = StatementRead(
    queryid="-42",
    database="app",
    role="app",
    calls=1000,
    total_ms=1000.0,
    mean_ms=1.0,
    max_ms=2.0,
    rows=1,
)


def answer(
    *entries: StatementRead, dropped: int | None = 0, reset_at_s: float = 1.0
) -> StatementsRead:
    return StatementsRead(
        statements=len(entries),
        total_ms=1.0,
        largest=entries,
        dropped=dropped,
        reset_at_s=reset_at_s,
    )


def later(calls: int, mean_ms: float, before: StatementRead = ENTRY) -> StatementRead:
    """The same entry after so many more calls."""
    return replace(before, calls=before.calls + calls, total_ms=before.total_ms + calls * mean_ms)


def slowdown(memory: StatementMemory, read: StatementsRead, at_s: float = LOOK_S) -> float | None:
    return one(memory.readings(read, at_s=at_s), SLOWDOWN, "-42").value


@pytest.fixture
def memory() -> StatementMemory:
    """One that has looked once."""
    memory = StatementMemory()
    memory.readings(answer(ENTRY), at_s=0)
    return memory


def test_it_is_compared_with_its_own_calls_before(memory: StatementMemory) -> None:
    assert slowdown(memory, answer(later(10, 8.0))) == pytest.approx(8)


def test_few_calls_say_nothing_until_there_are_enough(memory: StatementMemory) -> None:
    assert slowdown(memory, answer(later(6, 8.0))) is None
    assert slowdown(memory, answer(later(12, 8.0))) == pytest.approx(8)


def test_a_statement_seen_for_the_first_time_is_no_slower_than_ever(
    memory: StatementMemory,
) -> None:
    young = replace(ENTRY, calls=20, total_ms=9000.0, queryid="7")
    memory.readings(answer(ENTRY, young), at_s=LOOK_S)
    readings = memory.readings(answer(ENTRY, later(20, 9000.0, young)), at_s=2 * LOOK_S)
    assert one(readings, SLOWDOWN, "7").value is None
    assert one(readings, MEAN, "7").value == pytest.approx(9000)


def test_a_slow_statement_that_nobody_calls_any_more_is_over_after_an_hour(
    memory: StatementMemory,
) -> None:
    entry = later(20, 8.0)
    assert slowdown(memory, answer(entry)) == pytest.approx(8)
    assert slowdown(memory, answer(entry), LOOK_S + OVER_S - 1) is None
    rare = later(2, 8.0, entry)
    assert slowdown(memory, answer(rare), LOOK_S + OVER_S) is None, "it is called still"
    assert slowdown(memory, answer(rare), LOOK_S + 2 * OVER_S) == 0


def test_no_statement_at_all_is_none_that_is_slow(memory: StatementMemory) -> None:
    [nothing] = memory.readings(answer(), at_s=LOOK_S)
    assert (nothing.name, nothing.subject, nothing.value) == (SLOWDOWN, "", 0)


@pytest.mark.parametrize(
    "read",
    [
        answer(replace(ENTRY, calls=900, total_ms=9000.0)),
        answer(later(500, 80.0), reset_at_s=2.0),
        answer(later(500, 80.0), dropped=1),
        answer(later(500, 80.0), dropped=None),
        answer(replace(later(500, 80.0), since_s=5.0)),
    ],
    ids=["fewer calls", "reset", "entries dropped", "nobody says", "another entry"],
)
def test_an_entry_that_may_be_another_is_only_looked_at_anew(
    memory: StatementMemory, read: StatementsRead
) -> None:
    assert slowdown(memory, read) is None
    again = replace(read, largest=(later(20, 1.0, read.largest[0]),))
    assert slowdown(memory, again, 2 * LOOK_S) == pytest.approx(1)


def test_an_old_entry_is_known_again_though_others_were_dropped(memory: StatementMemory) -> None:
    assert slowdown(memory, answer(later(100, 8.0), dropped=1)) == pytest.approx(8)


def test_what_is_slow_for_a_day_is_usual_and_not_before(memory: StatementMemory) -> None:
    entry, at_s, told = ENTRY, 0.0, list[float | None]()
    while at_s < SLOW_IS_USUAL_S + 4 * LOOK_S:
        at_s, entry = at_s + LOOK_S, later(20, 8.0, entry)
        told.append(slowdown(memory, answer(entry), at_s))
    slow_looks = int(SLOW_IS_USUAL_S / LOOK_S)
    assert told[:slow_looks] == [pytest.approx(8)] * slow_looks
    assert told[-1] is None or told[-1] == pytest.approx(1)


def test_what_is_usual_follows_slowly_and_a_jump_back_is_told(memory: StatementMemory) -> None:
    entry = ENTRY
    for n in range(1, 600):
        entry = later(100, 0.1, entry)
        memory.readings(answer(entry), at_s=n * LOOK_S)
    slow = slowdown(memory, answer(later(100, 1.0, entry)), 600 * LOOK_S)
    assert slow is not None
    assert slow > 5


def test_the_same_statement_of_two_roles_is_one_subject(memory: StatementMemory) -> None:
    other = replace(ENTRY, userid=7)
    memory.readings(answer(ENTRY, other), at_s=LOOK_S)
    readings = memory.readings(answer(later(10, 8.0), later(10, 2.0, other)), at_s=2 * LOOK_S)
    assert one(readings, SLOWDOWN, "-42").value == pytest.approx(5)
    assert one(readings, CALLS, "-42").value == 2020
