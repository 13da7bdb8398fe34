"""The slow lane over stand-in sessions: when it asks, what it tells, and how it gives way."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import stanch
from samplings import seen, vitals
from stanch.facts.sql import load
from stanch.model.errors import ProbeFailed
from stanch.model.reach import Reach, ReachState
from stanch.model.samples import Sample
from stanch.testing.virtual_time import run_virtually
from stanch.watch.newcomers.run import LOGIN_EVERY_S
from stanch.watch.slow.run import AGAIN_S, CLOSED_LOOKS, LOOK_S_MAX, SlowLane
from stanch.watch.slow.wellness import in_the_way

T0 = datetime(2026, 3, 1, tzinfo=UTC)


class World:
    """A server that answers each question by the first words of its description."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"Which databases": {"databases": ["app", "shop"]}}
        self.refused: dict[str, str] = {}
        self.opened: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.waiting = 0
        self.open_now = 0
        self.open_at_once = 0
        self.trouble = ""
        self.takes_s = 0.0
        self.loses = ""
        """What the question that ends its session begins with."""
        self.hang = asyncio.Event()
        self.hang.set()
        self.lane = SlowLane(
            self,
            version_num=lambda: 150000,
            in_the_way=lambda: self.trouble,
            now=lambda: T0,
            pause_s=0.0,
            jitter=lambda: 0.5,
        )

    async def open(self, database: str) -> Visit:
        if database in self.refused:
            raise ProbeFailed(self.refused[database])
        await asyncio.sleep(0)
        self.opened.append(database)
        self.open_now += 1
        self.open_at_once = max(self.open_at_once, self.open_now)
        return Visit(self, database)

    def readings(self) -> dict[tuple[str, str], float | None]:
        return {(r.name, r.subject): r.value for r in self.lane.take()}


ABOUT = {
    load(path.stem).partition("{")[0].partition("%")[0]: path.read_text("utf-8").removeprefix("-- ")
    for path in (Path(stanch.__file__).parent / "facts/sql").glob("*.sql")
}
"""What each statement says of itself to its readers; it is sent without that."""


class Visit:
    def __init__(self, world: World, database: str) -> None:
        self._world, self._database = world, database
        self.is_open = True

    async def ask(self, sql: str, *, timeout_s: float) -> str:
        self._world.waiting += 1
        await self._world.hang.wait()
        if self._world.takes_s:
            await asyncio.sleep(self._world.takes_s)
        if not self.is_open:
            raise ProbeFailed("the session was lost")
        about = next((said for text, said in ABOUT.items() if sql.startswith(text)), "")
        if self._world.loses and about.startswith(self._world.loses):
            self.close()
            raise ProbeFailed("the session was lost")
        self._world.asked.append((self._database, about[:15]))
        for words, answer in self._world.answers.items():
            if about.startswith(words):
                if isinstance(answer, Exception):
                    raise answer
                return json.dumps(answer.get(self._database, answer))
        return "{}"

    def close(self) -> None:
        if self.is_open:
            self.is_open = False
            self._world.open_now -= 1
            self._world.hang.set()


def keys(pct: float, subject: str) -> dict[str, Any]:
    return {"readings": [{"name": "sequence_used_pct", "subject": subject, "value": pct}]}


async def test_each_database_is_visited_one_after_the_other() -> None:
    world = World()
    await world.lane.look()
    assert world.opened == ["", "app", "shop"]
    assert (world.open_at_once, world.open_now) == (1, 0)
    assert (world.lane.skipped, world.lane.looked_at) == ("", T0)


async def test_a_question_without_a_subject_says_that_it_looked_and_none_is_told_twice() -> None:
    world = World()
    world.answers["How much of each sequence"] = {"app": keys(90, "app.s")}
    await world.lane.look()
    told = world.readings()
    assert told["sequence_used_pct", "app.s"] == 90
    assert told["int4_key_used_pct", ""] == 0
    assert world.lane.take() == ()


@pytest.mark.parametrize("trouble", ["sessions wait for locks", "no session is open"])
async def test_while_anything_is_wrong_nobody_logs_in_and_the_reason_is_said(trouble: str) -> None:
    world = World()
    world.trouble = trouble
    await world.lane.look()
    assert (world.opened, world.lane.take()) == ([], ())
    assert trouble in world.lane.skipped


async def test_trouble_that_begins_meanwhile_ends_the_look_and_half_a_look_tells_nothing() -> None:
    world = World()
    world.hang.clear()
    looking = asyncio.create_task(world.lane.look())
    while not world.waiting:
        await asyncio.sleep(0)
    world.trouble = "the server is not well"
    world.hang.set()
    await looking
    assert len(world.asked) == 1
    assert world.lane.take() == ()
    assert "not well" in world.lane.skipped


async def test_it_gives_way_at_once_to_whoever_has_to_log_in() -> None:
    world = World()
    world.hang.clear()
    looking = asyncio.create_task(world.lane.look())
    while not world.opened:
        await asyncio.sleep(0)
    world.lane.give_way()
    assert world.open_now == 0
    await looking
    assert world.lane.skipped
    await world.lane.look()
    assert world.lane.skipped == "", "the next look is a whole one"


async def logging_in(world: World) -> None:
    """Our own logins, as they come all day; each ends the visit under way."""
    while True:
        await asyncio.sleep(LOGIN_EVERY_S)
        world.trouble = "somebody is logging in"
        world.lane.give_way()
        await asyncio.sleep(0.1)
        world.trouble = ""


async def seconds_until_done(world: World, looking: asyncio.Task[None]) -> float:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while world.lane.looked_at is None and loop.time() - began_s < 3600:
        await asyncio.sleep(1)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    return loop.time() - began_s


@pytest.mark.parametrize(("databases", "takes_s"), [(3, 1.9), (20, 0.1)])
def test_a_look_that_takes_longer_than_logins_are_apart_goes_on_until_it_is_done(
    databases: int, takes_s: float
) -> None:
    async def main() -> None:
        world = World()
        world.takes_s = takes_s
        names = [f"db{n}" for n in range(databases)]
        world.answers["Which databases"] = {"databases": names}
        world.answers["How much of each sequence"] = {names[-1]: keys(90, "last.s")}
        others = asyncio.create_task(logging_in(world))
        took_s = await seconds_until_done(world, asyncio.create_task(world.lane.run()))
        others.cancel()
        # Up to a minute of questions, in stretches of at most ten seconds with rests between them.
        assert took_s < 600
        assert world.readings()["sequence_used_pct", "last.s"] == 90
        assert world.open_at_once == 1
        undisturbed = World()
        undisturbed.answers |= world.answers
        await undisturbed.lane.look()
        again = len(world.asked) - len(undisturbed.asked)
        assert again in {0, 1}, "what was answered is not asked again, at most whether one may ask"

    run_virtually(main())


async def test_a_look_goes_on_where_it_was_broken_off_unless_that_is_too_long_ago() -> None:
    world = World()
    world.hang.clear()
    looking = asyncio.create_task(world.lane.look())
    while not world.waiting:
        await asyncio.sleep(0)
    world.trouble = "sessions wait for locks"
    world.hang.set()
    assert await looking, "it will go on soon"
    [first] = world.asked
    world.trouble = ""
    await world.lane.look()
    assert world.asked.count(first) == 1
    assert world.lane.skipped == ""


def test_a_look_whose_first_answers_are_old_begins_anew() -> None:
    async def main() -> None:
        world = World()
        world.takes_s = 2.0
        looking = asyncio.create_task(world.lane.look())
        await asyncio.sleep(3)
        world.trouble = "the server is not well"
        await looking
        [first] = world.asked[:1]
        await asyncio.sleep(LOOK_S_MAX)
        world.trouble, world.takes_s = "", 0.0
        await world.lane.look()
        assert world.asked.count(first) == 2
        assert world.lane.skipped == ""

    run_virtually(main())


async def test_a_question_that_costs_the_session_is_unknown_and_the_others_are_asked() -> None:
    world = World()
    world.loses = "Invalid indexes"
    for _ in range(3):
        assert not await world.lane.look()
        if not world.lane.skipped:
            break
        assert "lost" in world.lane.skipped
    assert world.lane.skipped == ""
    told = {(r.name, r.subject): r for r in world.lane.take()}
    assert told["invalid_indexes", "app"].value is None
    assert told["collation_mismatches", ""].value == 0
    assert world.open_now == 0


async def test_it_gives_way_also_while_it_logs_in_itself() -> None:
    world = World()
    looking = asyncio.create_task(world.lane.look())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    world.lane.give_way()
    await looking
    assert "gave way" in world.lane.skipped
    assert world.open_now == 0


async def test_a_cancelled_look_leaves_no_session_behind() -> None:
    world = World()
    world.hang.clear()
    looking = asyncio.create_task(world.lane.look())
    while not world.opened:
        await asyncio.sleep(0)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    assert world.open_now == 0


async def test_a_refused_question_is_unknown_and_the_others_are_asked() -> None:
    world = World()
    world.answers["Lines of pg_hba"] = ProbeFailed("permission denied (42501)")
    await world.lane.look()
    told = world.readings()
    assert told["hba_errors", ""] is None
    assert world.lane.skipped == ""


async def test_what_was_known_of_a_database_stays_while_it_cannot_be_read() -> None:
    world = World()
    world.answers["How much of each sequence"] = {"app": keys(90, "app.s"), "shop": {}}
    await world.lane.look()
    world.readings()
    world.answers["How much of each sequence"] = ProbeFailed("lock timeout (55P03)")
    await world.lane.look()
    assert world.readings()["sequence_used_pct", "app.s"] == 90


async def test_what_cannot_be_read_for_long_is_unknown_with_the_reason() -> None:
    world = World()
    told_before = {"app": keys(79, "app.s"), "shop": keys(40, "shop.s")}
    world.answers["How much of each sequence"] = told_before
    await world.lane.look()
    world.readings()
    world.answers["How much of each sequence"] = ProbeFailed("statement timeout (57014)")
    for value in (79, None, None):
        await world.lane.look()
        told = {(r.name, r.subject): r for r in world.lane.take()}
        assert told["sequence_used_pct", "app.s"].value == value
    assert told["sequence_used_pct", "shop.s"].detail == "statement timeout (57014)"
    assert told["int4_key_used_pct", "app"].value is None, "nobody knows that there are none"
    assert ("int4_key_used_pct", "") not in told
    world.answers["How much of each sequence"] = told_before
    await world.lane.look()
    assert world.readings()["sequence_used_pct", "app.s"] == 79


async def test_every_database_has_its_turn_and_how_many_wait_is_said() -> None:
    world = World()
    names = [f"db{n}" for n in range(45)]
    world.answers["Which databases"] = {"databases": names}
    world.answers["How much of each sequence"] = {n: keys(90, f"{n}.s") for n in names}
    world.answers["Tables, views"] = {n: {"items": [table("t", n)]} for n in names}
    visited: list[str] = []
    for look in (1, 2, 3):
        world.opened.clear()
        await world.lane.look()
        visited += world.opened[1:]
        assert len(world.opened[1:]) == 20
        assert world.lane.left_out.startswith("25 of 45 databases")
        told = world.readings()
        found = {s for (n, s), v in told.items() if n == "sequence_used_pct" and v == 90}
        assert found == {f"{n}.s" for n in visited}, "what was seen before is not gone"
        assert told.get(("sequence_used_pct", "db44"), 0) is (None if look < 3 else 0)
        listing = world.lane.take_inventories()
        assert listing is not None
        assert "slow/inventory/db44" in listing.places, "not visited is not gone"
    assert set(visited) == set(names)


async def test_where_there_are_few_databases_none_waits() -> None:
    world = World()
    world.answers["Which databases"] = {"databases": [f"db{n}" for n in range(20)]}
    await world.lane.look()
    assert len(world.opened) == 21
    assert world.lane.left_out == ""


async def test_a_closed_database_is_unknown_left_alone_and_tried_again_much_later() -> None:
    world = World()
    world.refused["app"] = "no pg_hba.conf entry"
    await world.lane.look()
    told = {(r.name, r.subject): r for r in world.lane.take()}
    assert told["invalid_indexes", "app"].value is None
    assert told["invalid_indexes", "app"].detail == "no pg_hba.conf entry"
    assert world.opened == ["", "shop"], "the others are seen"
    del world.refused["app"]
    for _ in range(CLOSED_LOOKS):
        assert "app" not in world.opened
        await world.lane.look()
    await world.lane.look()
    assert world.opened[-2] == "app"


async def test_a_refused_login_ends_the_look_with_its_reason() -> None:
    world = World()
    world.refused[""] = "password authentication failed"
    await world.lane.look()
    assert "password authentication failed" in world.lane.skipped
    assert AGAIN_S > 60, "our own retries must not look like an attack"


def table(name: str, columns: str) -> dict[str, str]:
    return {"kind": "relation", "name": name, "value": columns}


async def test_a_whole_look_hands_over_what_it_listed_once_and_keeps_no_copy() -> None:
    world = World()
    world.answers["Tables, views"] = {"app": {"items": [table("a", "1")]}, "shop": {}}
    await world.lane.look()
    look = world.lane.take_inventories()
    assert look is not None
    listed = {one.place: [item.name for item in one.items] for one in look.inventories}
    assert (listed["slow/inventory/app"], listed["slow/inventory/shop"]) == (["a"], [])
    assert "slow/bloat/app" in look.places
    assert world.lane.take_inventories() is None


async def test_thousands_of_relations_leave_little_behind_once_they_were_handed_over() -> None:
    world = World()
    columns = "table of the_owner_of_it, columns 0123456789abcdef0123456789abcdef"
    relations = [table(f"app.public.customer_order_{n}", columns) for n in range(5000)]
    told = [keys(n, f"app.public.customer_order_{n}_id_seq")["readings"][0] for n in range(20)]
    world.answers["Tables, views"] = {"app": {"items": relations}, "shop": {}}
    world.answers["How much of each sequence"] = {"app": {"readings": told}, "shop": {}}
    await world.lane.look()
    look = world.lane.take_inventories()
    assert look is not None
    assert sum(len(one.items) for one in look.inventories) == 5000
    world.lane.take()
    del look
    held_bytes = 0
    tracemalloc.start()
    try:
        await world.lane.look()
        world.lane.take()
        world.lane.take_inventories()
        # The thread that read the long answer lets go of it in its own time.
        for _ in range(200):
            gc.collect()
            held_bytes, _ = tracemalloc.get_traced_memory()
            if held_bytes < 50_000:
                break
            await asyncio.sleep(0.01)
    finally:
        tracemalloc.stop()
    assert held_bytes < 50_000


HOME = {"schema": "public", "version": "1.10", "loaded": True, "allowed": True}
STATEMENT = {
    "queryid": "42",
    "userid": 10,
    "dbid": 5,
    "calls": 1000,
    "total_ms": 1000.0,
    "rows": 0,
    "top_level": True,
}


def statements(calls: int, mean_ms: float) -> dict[str, Any]:
    one = STATEMENT | {"calls": 1000 + calls, "total_ms": 1000.0 + calls * mean_ms}
    info = {"dealloc": 0, "reset_at": 1.0}
    return {"statements": 1, "total_ms": 1.0, "sees_all": True, "info": info, "largest": [one]}


async def test_statements_are_asked_once_a_look_and_compared_with_the_look_before() -> None:
    world = World()
    world.answers["Whether pg_stat"] = {"home": HOME}
    world.answers["What statements"] = statements(0, 0.0)
    await world.lane.look()
    first = {r.name: r for r in world.lane.take() if r.name.startswith("statement_")}
    assert {r.value for r in first.values()} == {None}
    assert [place for place, about in world.asked if about.startswith("What state")] == ["app"]
    world.answers["What statements"] = statements(100, 9.0)
    await world.lane.look()
    told = world.readings()
    assert told["statement_slowdown_times", "42"] == pytest.approx(9)
    world.answers["What statements"] = ProbeFailed("no memory (53200)")
    await world.lane.look()
    refused = {r.name: r for r in world.lane.take()}
    assert refused["statement_mean_ms"].value is None
    assert refused["statement_mean_ms"].detail == "no memory (53200)"
    assert world.lane.skipped == ""


@pytest.mark.parametrize(
    ("home", "why"),
    [
        (None, "in no database"),
        (HOME | {"loaded": False}, "shared_preload_libraries"),
        (HOME | {"version": "1.7"}, "ALTER EXTENSION"),
        (HOME | {"allowed": False}, "GRANT USAGE"),
    ],
)
async def test_an_extension_that_cannot_be_asked_is_not_and_statements_are_unknown(
    home: dict[str, object] | None, why: str
) -> None:
    world = World()
    world.answers["Whether pg_stat"] = {"home": home}
    await world.lane.look()
    told = {r.name: r for r in world.lane.take()}
    assert told["statement_slowdown_times"].value is None
    assert why in told["statement_slowdown_times"].detail
    assert not [about for _, about in world.asked if about.startswith("What state")]


async def test_a_look_that_is_broken_off_lists_nothing() -> None:
    world = World()
    world.trouble = "sessions wait for locks"
    await world.lane.look()
    assert world.lane.take_inventories() is None


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        (None, "nobody has looked"),
        (seen(vitals=vitals(waiting=1)), "wait for locks"),
        (seen(vitals=vitals(waiting=1, oldest_wait_s=1.0)), "wait for locks"),
        (seen(vitals=vitals(used=85)), "connections are short"),
        (seen(vitals=None), "no vitals"),
        (seen(vitals=vitals(), unread="57014"), "not well"),
        (seen(vitals=vitals(), lets_in=False), "not well"),
        (seen(reach=Reach(state=ReachState.REFUSED, layers=(), elapsed_ms=1.0)), "not well"),
    ],
)
def test_only_a_server_that_is_well_is_asked(sample: Sample | None, why: str) -> None:
    assert why in in_the_way(sample)
    assert in_the_way(seen(vitals=vitals(used=79))) == ""
    assert in_the_way(seen(vitals=vitals(waiting=9, oldest_wait_s=0.9))) == "", "a busy server"
