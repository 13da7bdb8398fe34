"""Which sessions may be ended, and which never: every exclusion and its near miss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from acting_worlds import AT, TARGET, RecordingActor, bare_world, step
from stanch.facts.blocking import BlockingChain
from stanch.facts.sessions import IdleSession, Tells, WaitingSession
from stanch.model.diagnosis import Missing, Scalar
from stanch.model.plans import Refusal
from stanch.model.ports.server import Acted
from stanch.model.vitals import ServerSettings, SessionVitals, Vitals, WorkCounters
from stanch.policy.policy import TargetPolicy
from stanch.respond.actions.end_blocking_session.guards import GUARDS as BLOCKING_GUARDS
from stanch.respond.actions.end_blocking_session.guards import may_end
from stanch.respond.actions.end_blocking_session.run import END_BLOCKING_SESSION
from stanch.respond.actions.end_idle_sessions.guards import (
    ENDED_MAX,
    Choice,
    choose,
)
from stanch.respond.actions.end_idle_sessions.guards import GUARDS as IDLE_GUARDS
from stanch.respond.actions.end_idle_sessions.run import END_IDLE_SESSIONS
from stanch.respond.idle import spared_because

GONE = Missing(what="sessions", reason="no session")
LEAK = step("end_idle_sessions", application_name="shop", usename="app")


def vitals(used: int, *, most: int = 103) -> Vitals:
    """`most` connections of which three are reserved, so that 100 are usable by default."""
    return Vitals(
        at=AT,
        postmaster_start=AT,
        version_num=150000,
        in_recovery=False,
        transaction_read_only=False,
        sees_sessions=True,
        settings=ServerSettings(max_connections=most, superuser_reserved_connections=3),
        backends=used,
        sessions=SessionVitals(
            client_backends=used, active=0, active_without_wait=0, waiting_on_lock=0
        ),
        work=WorkCounters(commits=0, rollbacks=0, deadlocks=0, temp_files=0, temp_bytes=0),
        archiver=None,
        slots=(),
        senders=(),
        xid_age_max=None,
        mxid_age_max=None,
        prepared_xacts=0,
        oldest_prepared_xact_age_s=None,
        wal_lsn=None,
        wal_position_bytes=None,
    )


def idle(pid: int = 1, **changes: Any) -> IdleSession:
    session = IdleSession(
        pid=pid,
        backend_start=AT - timedelta(hours=1),
        backend_number=pid,
        usename="app",
        datname="app",
        database_oid=5,
        application_name="shop",
        client_addr="192.0.2.1",
        idle_since=AT - timedelta(minutes=30) + timedelta(seconds=pid),
        idle_s=1800.0 - pid,
        superuser=False,
        replicates=False,
        holds_advisory_lock=False,
        listens=Tells.NO,
        temp_tables=Tells.NO,
        query="SELECT 1",
    )
    return replace(session, **changes)


SPARED: list[tuple[str, dict[str, Any]]] = [
    ("replication", {"replicates": True}),
    ("superuser", {"superuser": True}),
    ("superuser", {"superuser": None}),
    ("advisory_lock", {"holds_advisory_lock": True}),
    ("listens", {"listens": Tells.YES}),
    ("may_listen", {"listens": Tells.UNKNOWN}),
    ("temp_tables", {"temp_tables": Tells.YES}),
    ("may_have_temp_tables", {"temp_tables": Tells.UNKNOWN}),
    ("pooler", {"application_name": "pgbouncer"}),
    ("pooler", {"application_name": "PgBouncer-7"}),
    ("pooler", {"query": "DISCARD ALL"}),
    ("pooler", {"query": " discard  all ; "}),
    ("idle_too_short", {"idle_s": 299.0}),
    ("protected", {"application_name": "ledger"}),
    ("protected", {"application_name": "LEDGER"}),
    ("protected", {"application_name": "stanch sentinel"}),
]

PROTECTING = replace(TARGET, protected_applications=("ledger",))


@pytest.mark.parametrize(("reason", "changes"), SPARED)
def test_a_session_whose_end_would_cost_something_is_spared(
    reason: str, changes: dict[str, Any]
) -> None:
    assert spared_because(idle(**changes), PROTECTING) == reason


@pytest.mark.parametrize(
    "changes", [{}, {"query": "SELECT discard_all()"}, {"idle_s": 300.0}, {"application_name": ""}]
)
def test_a_plain_idle_session_is_not_spared(changes: dict[str, Any]) -> None:
    assert spared_because(idle(**changes), PROTECTING) == ""


def chosen(sessions: list[IdleSession], used: int = 100, target: TargetPolicy = TARGET) -> Choice:
    choice = choose(LEAK, target=target, vitals=vitals(used), idle=sessions)
    assert isinstance(choice, Choice), choice
    return choice


def refused(
    sessions: list[IdleSession] | Missing, used: int = 100, target: TargetPolicy = TARGET
) -> Refusal:
    choice = choose(LEAK, target=target, vitals=vitals(used), idle=sessions)
    assert isinstance(choice, Refusal)
    return choice


def test_the_longest_idle_are_chosen_first_and_only_as_many_as_needed() -> None:
    sessions = [idle(pid) for pid in range(1, 91)]
    pids = [s.pid for s in chosen(list(reversed(sessions)), used=100).sessions]
    assert pids == list(range(1, 31)), "down to 70 of 100, ten below the mark of 80 %"


def test_one_run_ends_no_more_than_its_limit() -> None:
    many = [idle(pid) for pid in range(1, 400)]
    choice = choose(LEAK, target=TARGET, vitals=vitals(500, most=503), idle=many)
    assert isinstance(choice, Choice)
    assert len(choice.sessions) == min(ENDED_MAX, 500 - 350)


def test_sessions_of_other_applications_and_roles_are_not_chosen() -> None:
    others = [idle(2, application_name="crm"), idle(3, usename="admin")]
    assert [s.pid for s in chosen([idle(1), *others]).sessions] == [1]


def test_who_was_spared_and_why_is_told() -> None:
    choice = chosen([idle(1), idle(2, holds_advisory_lock=True), idle(3, superuser=True)])
    assert choice.spared == (("advisory_lock", 1), ("superuser", 1))


def test_with_headroom_nobody_is_ended() -> None:
    assert refused([idle()], used=70).guard == "still_leaking"
    assert chosen([idle()], used=71).wanted == 1


def test_a_protected_application_is_left_alone_as_a_whole() -> None:
    target = replace(TARGET, protected_applications=("Shop",))
    assert refused([idle()], target=target).guard == "not_protected"


def test_nothing_that_may_be_ended_is_a_reason() -> None:
    refusal = refused([idle(holds_advisory_lock=True)])
    assert refusal.guard == "something_to_end"
    assert "advisory_lock" in refusal.reason


@pytest.mark.parametrize("missing", ["vitals", "idle"])
def test_what_cannot_be_read_is_a_no(missing: str) -> None:
    if missing == "vitals":
        found = choose(LEAK, target=TARGET, vitals=GONE, idle=[idle()])
    else:
        found = choose(LEAK, target=TARGET, vitals=vitals(100), idle=GONE)
    assert isinstance(found, Refusal)


def test_without_the_right_to_see_sessions_nobody_is_ended() -> None:
    blind = replace(vitals(100), sessions=None)
    found = choose(LEAK, target=TARGET, vitals=blind, idle=[idle()])
    assert isinstance(found, Refusal)
    assert found.guard == "still_leaking"


@pytest.mark.parametrize("action", [END_IDLE_SESSIONS, END_BLOCKING_SESSION])
async def test_without_an_acting_session_nothing_is_ended(action: Any) -> None:
    one = LEAK if action is END_IDLE_SESSIONS else root_step()
    refusal = await action.check(one, bare_world())
    assert refusal is not None
    assert refusal.guard == "acting_session"
    half = replace(bare_world(), actor=RecordingActor(Acted(outcome="done")))
    assert await action.check(one, half) is not None


def test_every_guard_has_its_name_in_a_test() -> None:
    idle_names = {"acting_session", "not_protected", "still_leaking", "something_to_end"}
    assert {g.name for g in IDLE_GUARDS} == idle_names
    assert {g.name for g in BLOCKING_GUARDS} - {g for _, g, _ in ROOT_STOPS} == {
        "acting_session",
        "idle_or_approved",
    }


# --- the head of a chain ------------------------------------------------------------------------

STARTED = AT - timedelta(hours=2)
BEGAN = AT - timedelta(minutes=5)


def root_step(**changes: Scalar) -> Any:
    facts: dict[str, Scalar] = {
        "root_pid": 10,
        "root_backend_start": STARTED.isoformat(),
        "root_xact_start": BEGAN.isoformat(),
    }
    known = step("end_blocking_session")
    return replace(known, params=tuple(sorted((facts | changes).items())))


def session(pid: int, *, blocked_by: tuple[int, ...] = (), **changes: Any) -> WaitingSession:
    known = WaitingSession(
        pid=pid,
        backend_start=STARTED,
        backend_type="client backend",
        usename="app",
        datname="app",
        application_name="shop",
        client_addr=None,
        state="idle in transaction",
        wait_event_type=None,
        wait_event=None,
        xact_start=BEGAN,
        query_start=BEGAN,
        state_change=BEGAN,
        state_age_s=300.0,
        xact_age_s=300.0,
        waits=bool(blocked_by),
        wait_age_s=200.0 if blocked_by else None,
        blocked_by=blocked_by,
        holds_advisory_lock=False,
        query="UPDATE orders SET paid = true",
    )
    return replace(known, **changes)


WAITERS = (session(11, blocked_by=(10,)), session(12, blocked_by=(11,)))

ROOT_STOPS: list[tuple[str, str, Callable[[], Any]]] = [
    ("the sessions cannot be read", "still_root", lambda: GONE),
    ("nobody waits for it any more", "still_root", lambda: ()),
    (
        "it waits itself",
        "still_root",
        lambda: (session(10, blocked_by=(9,)), session(9), *WAITERS),
    ),
    (
        "they wait in a circle",
        "still_root",
        lambda: (session(10, blocked_by=(11,)), session(11, blocked_by=(10,))),
    ),
    ("it was gone when its row was read", "same_session", lambda: WAITERS),
    (
        "its PID is another session's",
        "same_session",
        lambda: (session(10, backend_start=STARTED + timedelta(microseconds=1)), *WAITERS),
    ),
    (
        "it is in another transaction",
        "same_session",
        lambda: (session(10, xact_start=BEGAN + timedelta(microseconds=1)), *WAITERS),
    ),
    (
        "it is between transactions",
        "same_session",
        lambda: (session(10, xact_start=None), *WAITERS),
    ),
    (
        "it is autovacuum",
        "ordinary_client",
        lambda: (session(10, backend_type="autovacuum worker"), *WAITERS),
    ),
    (
        "it is replication",
        "ordinary_client",
        lambda: (session(10, backend_type="walsender"), *WAITERS),
    ),
    (
        "it is a dump",
        "not_protected",
        lambda: (session(10, application_name="pg_dump"), *WAITERS),
    ),
    (
        "it is a backup",
        "not_protected",
        lambda: (session(10, application_name="pgBackRest [backup]"), *WAITERS),
    ),
    (
        "policy protects it",
        "not_protected",
        lambda: (session(10, application_name="Ledger"), *WAITERS),
    ),
    (
        "it is Stanch",
        "not_protected",
        lambda: (session(10, application_name="stanch acting"), *WAITERS),
    ),
]


@pytest.mark.parametrize(("_why", "guard", "make"), ROOT_STOPS, ids=[w for w, _, _ in ROOT_STOPS])
def test_the_head_is_left_alone_when(_why: str, guard: str, make: Callable[[], Any]) -> None:
    found = may_end(root_step(), make(), target=PROTECTING)
    assert isinstance(found, Refusal), found
    assert found.guard == guard


def test_the_head_of_a_chain_may_be_ended() -> None:
    found = may_end(root_step(), (session(10), *WAITERS), target=PROTECTING)
    assert isinstance(found, BlockingChain)
    assert (found.root_pid, found.waiters) == (10, (11, 12))


WORKS = [{"state": "active"}, {"state": "fastpath function call"}, {"state": ""}]


@pytest.mark.parametrize("changes", WORKS)
def test_a_head_at_work_is_not_ended_unasked(changes: dict[str, Any]) -> None:
    rows = (session(10, **changes), *WAITERS)
    found = may_end(root_step(while_idle=True), rows, target=TARGET)
    assert isinstance(found, Refusal)
    assert found.guard == "idle_or_approved"
    assert isinstance(may_end(root_step(), rows, target=TARGET), BlockingChain), "once approved"


@pytest.mark.parametrize("state", ["idle in transaction", "idle in transaction (aborted)"])
def test_a_head_that_is_idle_is_ended_unasked(state: str) -> None:
    found = may_end(root_step(while_idle=True), (session(10, state=state), *WAITERS), target=TARGET)
    assert isinstance(found, BlockingChain)


def test_nobody_is_ended_for_a_prepared_transaction() -> None:
    found = may_end(root_step(root_pid=0), (session(11, blocked_by=(0,)),), target=TARGET)
    assert isinstance(found, Refusal)
    assert found.guard == "ordinary_client"


@pytest.mark.parametrize("told", ["not a time", "2026-03-14T07:00:00", 5, None])
def test_an_identity_that_is_no_exact_moment_matches_nobody(told: Scalar) -> None:
    found = may_end(root_step(root_backend_start=told), (session(10), *WAITERS), target=TARGET)
    assert isinstance(found, Refusal)
    assert found.guard == "same_session"


def test_a_moment_in_another_zone_is_the_same_moment() -> None:
    told = STARTED.isoformat().replace("07:00:00+00:00", "09:00:00+02:00")
    found = may_end(root_step(root_backend_start=told), (session(10), *WAITERS), target=TARGET)
    assert isinstance(found, BlockingChain)
