"""Ending sessions that were picked: exactly those, and only while they are as they were."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from acting_worlds import AT, TARGET, RecordingActor, always, bare_world, cause, run, step, world_of
from stanch.adapters.postgres.acting import ActingSession
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.sentinel import Sentinel
from stanch.facts.selected import BoundSession, SelectedSession, bound_text, parse_bound
from stanch.facts.sessions import IdleSession, Tells
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.server import Acted
from stanch.respond.actions.end_sessions.guards import ENDED_MAX, GUARDS, Choice, choose
from stanch.respond.actions.end_sessions.planning import PLANNING
from stanch.respond.actions.end_sessions.run import END_SESSIONS

Connection = psycopg.Connection[tuple[Any, ...]]
BOUND = bound_text(BoundSession(pid=pid, backend_start=AT) for pid in (7, 8))
PICKED: dict[str, Any] = {
    "sessions": BOUND,
    "at_most": 5,
    "state": "idle in transaction",
    "older_than_s": 300.0,
    "usename": "app",
    "application_name": "shop",
}


def picked(**changes: Any) -> PlannedStep:
    params = {k: v for k, v in (PICKED | changes).items() if v is not None}
    return step("end_sessions", **params)


def session(pid: int = 7, **changes: Any) -> SelectedSession:
    one = SelectedSession(
        pid=pid,
        backend_start=AT,
        backend_type="client backend",
        usename="app",
        datname="shop",
        application_name="shop",
        client_addr="192.0.2.1",
        state="idle in transaction",
        state_change=AT + timedelta(seconds=pid),
        state_age_s=600.0,
        has_written=True,
        superuser=False,
        replicates=False,
        query="SELECT 1",
    )
    return replace(one, **changes)


def idle(pid: int, **changes: Any) -> IdleSession:
    one = IdleSession(
        pid=pid,
        backend_start=AT,
        backend_number=pid,
        usename="app",
        datname="shop",
        database_oid=5,
        application_name="shop",
        client_addr="192.0.2.1",
        idle_since=AT + timedelta(seconds=pid),
        idle_s=600.0,
        superuser=False,
        replicates=False,
        holds_advisory_lock=False,
        listens=Tells.NO,
        temp_tables=Tells.NO,
        query="SELECT 1",
    )
    return replace(one, **changes)


def refused(one: PlannedStep, *seen: SelectedSession, idlers: Any = ()) -> str:
    answer = choose(one, seen, idlers, target=TARGET)
    assert isinstance(answer, Refusal), answer
    assert answer.guard in {guard.name for guard in GUARDS}
    return answer.guard


def chosen(one: PlannedStep, *seen: SelectedSession, idlers: Any = ()) -> list[int]:
    answer = choose(one, seen, idlers, target=TARGET)
    assert isinstance(answer, Choice), answer
    return [found.pid for found in answer.sessions]


def test_those_named_are_ended_longest_in_their_state_first() -> None:
    assert chosen(picked(), session(7), session(8, state_age_s=900.0)) == [8, 7]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"pid": 9}, id="one that was not named"),
        pytest.param({"backend_start": AT + timedelta(microseconds=1)}, id="its pid is another's"),
        pytest.param({"backend_start": None}, id="its start is hidden"),
        pytest.param({"state": "active"}, id="at work again"),
        pytest.param({"state": ""}, id="its state is hidden"),
        pytest.param({"state_age_s": 299.0}, id="too young"),
        pytest.param({"state_age_s": None}, id="of unknown age"),
        pytest.param({"state_change": None}, id="since nobody knows when"),
        pytest.param({"usename": "App"}, id="of another role"),
        pytest.param({"application_name": "shop2"}, id="of another application"),
    ],
)
def test_whoever_is_not_as_picked_is_left_alone(changes: dict[str, Any]) -> None:
    assert refused(picked(), session(**changes)) == "still_selected"
    assert chosen(picked(), session(**changes), session(8)) == [8]


@pytest.mark.parametrize("by", [{"datname": "other"}, {"client_addr": "192.0.2.10"}])
def test_a_database_and_an_address_are_compared_exactly(by: dict[str, str]) -> None:
    assert refused(picked(**by), session(), session(8, client_addr=None)) == "still_selected"
    assert chosen(picked(datname="shop", client_addr="192.0.2.1"), session()) == [7]


def test_without_a_state_any_known_one_will_do() -> None:
    one = picked(state=None)
    assert chosen(one, session(), session(8, state="active")) == [7, 8]
    assert refused(one, session(state="disabled")) == "still_selected"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"backend_type": "autovacuum worker"}, id="a worker"),
        pytest.param({"replicates": True}, id="replication"),
        pytest.param({"superuser": True}, id="a superuser"),
        pytest.param({"superuser": None}, id="perhaps a superuser"),
        pytest.param({"application_name": "pg_dump"}, id="a backup"),
        pytest.param({"application_name": "stanch acting"}, id="ourselves"),
    ],
)
def test_what_its_end_would_hurt_is_left_alone(changes: dict[str, Any]) -> None:
    one = picked(application_name=None)
    assert refused(one, session(**changes)) == "not_protected"
    assert chosen(one, session(**changes), session(8)) == [8]


def test_an_idle_session_is_ended_only_where_it_holds_nothing() -> None:
    one = picked(state="idle")
    now = session(state="idle", state_change=idle(7).idle_since)
    assert chosen(one, now, idlers=(idle(7),)) == [7]
    gone = Missing(what="idle sessions", reason="no answer")
    listens = idle(7, holds_advisory_lock=True)
    later = idle(7, idle_since=AT)
    for idlers in (gone, (), (listens,), (later,), (idle(8),)):
        assert refused(one, now, idlers=idlers) == "not_protected"


@pytest.mark.parametrize(
    ("changes", "guard"),
    [
        ({"sessions": "7"}, "selector"),
        ({"sessions": f"{BOUND} {BOUND}"}, "selector"),
        ({"sessions": "7@2026-03-14T09:00:00"}, "selector"),
        ({"sessions": "7@2026-03-14T09:00:00+00:00; SELECT 1"}, "selector"),
        ({"state": "idle%"}, "selector"),
        ({"usename": None, "application_name": None, "older_than_s": None}, "selector"),
        ({"usename": None, "application_name": "", "older_than_s": 0.0}, "selector"),
        ({"at_most": 1}, "few_enough"),
        ({"at_most": ENDED_MAX + 1}, "few_enough"),
    ],
)
def test_a_selector_that_says_too_little_or_too_much_ends_nobody(
    changes: dict[str, Any], guard: str
) -> None:
    one = picked(**changes)
    assert refused(one, session(), session(8)) == guard
    held = PLANNING.withheld(one, cause("idle_in_transaction"), TARGET)
    assert held is not None
    assert held.guard == guard
    assert "refused" in PLANNING.preview(dict(one.params), cause("idle_in_transaction"))


@pytest.mark.parametrize(
    "only",
    [{"older_than_s": 1.0}, {"usename": "app"}, {"application_name": "shop"}, {"datname": "shop"}],
)
def test_one_that_narrows_is_enough(only: dict[str, Any]) -> None:
    none = {"usename": None, "application_name": None, "older_than_s": None}
    assert chosen(picked(**(none | only)), session()) == [7]


def test_what_cannot_be_read_ends_nobody() -> None:
    answer = choose(picked(), Missing(what="x", reason="no answer"), (), target=TARGET)
    assert isinstance(answer, Refusal)
    assert answer.guard == "still_selected"


async def test_without_an_acting_session_nobody_is_ended() -> None:
    refusal = await END_SESSIONS.check(picked(), bare_world())
    assert refusal is not None
    assert refusal.guard == "acting_session"


def test_the_preview_says_whose_they_are_how_many_and_what_is_lost() -> None:
    said = PLANNING.preview(PICKED | {"usename": "a\nb"}, cause("x", idle_oldest_s=3600.0))
    assert said.startswith("End 2 sessions of application shop of role a\\nb that are idle in t")
    for word in ("7, 8", "1 h", "not committed is rolled back"):
        assert word in said, said


def test_those_of_a_backup_are_not_even_proposed() -> None:
    one = picked(application_name="pg_dump")
    held = PLANNING.withheld(one, cause("x"), TARGET)
    assert held is not None
    assert held.guard == "not_protected"
    assert PLANNING.withheld(picked(), cause("x"), TARGET) is None
    assert PLANNING.loses_work(cause("x"))


def test_names_of_sessions_are_read_back_as_they_were_written() -> None:
    bound = (
        BoundSession(pid=1, backend_start=AT),
        BoundSession(pid=99, backend_start=AT + timedelta(microseconds=1)),
    )
    assert parse_bound(bound_text(bound)) == bound


# --- a real server --------------------------------------------------------------------------------


def forgotten(server: ScratchServer, stack: ExitStack, name: str) -> Connection:
    """A session that has written something and said nothing since."""
    one = stack.enter_context(server.connect("app", "app", application_name=name))
    one.autocommit = False
    one.execute("INSERT INTO orders VALUES (1)")
    return one


def naming(server: ScratchServer, *sessions: Connection) -> PlannedStep:
    rows = server.query("SELECT pid, backend_start FROM pg_stat_activity WHERE pid > 0")
    began = {pid: when for pid, when in rows if when is not None}
    bound = (
        BoundSession(pid=s.info.backend_pid, backend_start=began[s.info.backend_pid])
        for s in sessions
    )
    return picked(sessions=bound_text(bound), older_than_s=None)


def alive(one: Connection) -> bool:
    try:
        one.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


async def test_those_named_are_ended_and_whoever_moved_on_or_was_not_named_is_not(
    server: ScratchServer, tmp_path: Path
) -> None:
    sentinel, acting = Sentinel(server.dsn("stanch_watch")), ActingSession(server.dsn("stanch_act"))
    assert (await sentinel.connect(deadline_s=5.0)).answers
    assert (await acting.connect(deadline_s=5.0)).answers
    world = world_of(server, tmp_path, sessions=(sentinel, acting))
    server.query("CREATE TABLE orders (id int)", user="app")
    with ExitStack() as stack:
        gone, busy, other = (forgotten(server, stack, "shop") for _ in range(3))
        dump = forgotten(server, stack, "pg_dump")
        one = naming(server, gone, busy, dump)

        def moves_on() -> Refusal | None:
            busy.execute("SELECT 1")
            return None

        silent = replace(world, actor=RecordingActor(Acted(outcome="in_doubt", detail="no answer")))
        doubt = await END_SESSIONS.act(one, silent, always)
        assert not isinstance(doubt, Refusal)
        assert doubt.outcome is StepOutcome.IN_DOUBT
        no_right = Acted(outcome="failed", sqlstate="42501", detail="permission denied")
        with pytest.raises(ActionFailed, match="permission denied"):
            await END_SESSIONS.act(one, replace(world, actor=RecordingActor(no_right)), always)
        report = await END_SESSIONS.act(naming(server, busy), world, moves_on)
        assert isinstance(report, Refusal)
        assert report.guard == "still_selected"

        last = naming(server, gone, dump)
        done, log = await run(END_SESSIONS, last, world)

        assert done.outcome is StepOutcome.DONE, done.refusal
        assert log.verified().ok, log.verified().detail
        assert "had written" in log.ended().before
        assert [alive(s) for s in (gone, busy, other)] == [False, True, True]
        left = "SELECT state FROM pg_stat_activity WHERE pid = %s"
        assert server.query(left, [dump.info.backend_pid]) == [("idle in transaction",)]
        again = await END_SESSIONS.act(last, world, always)
        assert isinstance(again, Refusal)
