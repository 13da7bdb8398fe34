"""Connections used up: by a leak that may be ended, and by idle sessions that may not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from fix_responder import MakeResponder
from fix_servers import MakeServer
from stanch.adapters.postgres.scratch import ScratchServer

pytestmark = pytest.mark.story

SLOTS = 24
RESERVED = 3
"""superuser_reserved_connections' default."""


def session(server: ScratchServer, application: str) -> psycopg.Connection:
    dsn = server.dsn("app")
    return psycopg.connect(dsn, application_name=application, autocommit=True, connect_timeout=5)


@contextmanager
def leak(
    server: ScratchServer, sessions: int, *, holds: str = "SELECT 1"
) -> Iterator[list[psycopg.Connection]]:
    """So many idle sessions of one application, each after the same statement."""
    with ExitStack() as stack:
        made: list[psycopg.Connection] = []
        for number in range(sessions):
            one = session(server, "shop")
            stack.callback(one.close)
            one.execute(holds.replace("$n", str(number)))  # type: ignore[arg-type]
            made.append(one)
        yield made


def alive(sessions: list[psycopg.Connection]) -> int:
    """How many of them the server still serves."""
    served = 0
    for one in sessions:
        try:
            one.execute("SELECT 1")
        except psycopg.Error:
            continue
        served += 1
    return served


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_idle_sessions_of_a_leaking_application_are_ended_until_there_is_headroom(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = make_server(conf={"max_connections": SLOTS})
    stanch = make_responder(server, target={"idle_session_age_min": "2s"})
    # Of another application, idle as long, and none of the leak's business.
    with session(server, "payroll") as bystander, leak(server, SLOTS - RESERVED - 4) as leaked:
        bystander.execute("SELECT 1")
        seen = stanch.wait_for_status("resolved")
        assert bystander.execute("SELECT 2").fetchone() == (2,)
        left = alive(leaked)
    assert 0 < left < len(leaked)
    assert seen["diagnosis"]["cause"] == "connections_leaked"
    assert set(stanch.started_actions()) == {"end_idle_sessions"}
    stanch.wait_for_mail(lambda m: "connections" in m.subject, "of the page")
    stanch.wait_for_mail(lambda m: '"shop"' in m.text, "that names the application")
    [rescued] = stanch.events("incident.rescued")
    assert "connections in use" in rescued["detail"]
    written = stanch.call("postmortem", "1").out
    assert "idle sessions" in written
    with session(server, "after"):
        pass


@pytest.mark.parametrize("pg_major", [15], indirect=True)
@pytest.mark.parametrize("holds", ["SELECT pg_advisory_lock($n)", "LISTEN orders"])
def test_idle_sessions_that_would_lose_something_are_left_alone_and_people_are_asked(
    make_server: MakeServer, make_responder: MakeResponder, holds: str
) -> None:
    server = make_server(conf={"max_connections": SLOTS})
    stanch = make_responder(server)
    with leak(server, SLOTS - RESERVED - 3, holds=holds) as sessions:
        ended = stanch.wait_for_event("step.outcome")
        assert ended["outcome"] == "refused"
        assert ended["refusal"]["guard"] == "something_to_end"
        stanch.wait_for_mail(lambda m: "connections" in m.subject, "of the page")
        stanch.wait_for_mail(lambda m: "refused" in m.text, "that nothing was ended")
        assert alive(sessions) == len(sessions)


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_idle_sessions_below_the_limit_are_nobodys_concern(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = make_server(conf={"max_connections": SLOTS})
    stanch = make_responder(server)
    with leak(server, 12) as sessions:
        looked_for_s = 4.0
        end = time.monotonic() + looked_for_s
        stanch.wait_for(lambda: time.monotonic() > end)
        assert alive(sessions) == len(sessions)
    assert stanch.incidents() == []
    assert stanch.subjects() == []
