"""The rescue check's login: what it proves on real servers, and that nothing stays behind."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from fix_servers import MakeServer
from stanch.adapters.postgres.applogin import PsycopgAppLogin
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.ids import TargetName
from stanch.model.ports.acting import LoginReading
from stanch.model.reach import ReachState
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.eyes import SharedSentinel
from stanch.service.watched.slow_lane import SlowWatch
from stanch.testing.fakepg import FakePostgres
from two_faced import PROXYS, TwoFaced

EMIT = "pg_catalog.pg_logical_emit_message"


def now() -> datetime:
    return datetime.now(UTC)


async def login(server: ScratchServer, *, user: str = "app", writes: bool = True) -> LoginReading:
    return await PsycopgAppLogin(server.dsn(user), writes=writes).login_and_write(deadline_s=5.0)


async def test_an_ordinary_role_logs_in_and_its_write_is_made_durable(
    server: ScratchServer,
) -> None:
    [(before,)] = server.query("SELECT pg_current_wal_flush_lsn()")
    reading = await login(server)
    [(moved,)] = server.query("SELECT pg_current_wal_flush_lsn() > %s::pg_lsn", [before])
    assert (reading.login_ok, reading.write_ok, reading.role) == (True, True, "app"), reading
    assert moved


async def test_nothing_stays_behind(server: ScratchServer) -> None:
    count = "SELECT count(*) FROM pg_class"
    before = server.query(count, dbname="app")
    await login(server)
    assert server.query(count, dbname="app") == before
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ 'rescue'"
    assert server.query(sessions) == [(0,)]


async def test_a_read_only_role_logs_in_but_does_not_write(server: ScratchServer) -> None:
    server.query("ALTER ROLE app SET default_transaction_read_only = on")
    reading = await login(server)
    assert (reading.login_ok, reading.write_ok) == (True, False)
    assert "read-only" in reading.detail


async def test_a_role_that_only_watches_is_not_asked_to_write(server: ScratchServer) -> None:
    reading = await login(server, user="stanch_watch", writes=False)
    assert (reading.login_ok, reading.write_ok) == (True, None)


async def test_a_server_that_is_read_only_for_all_is_told_by_a_role_that_only_watches(
    server: ScratchServer,
) -> None:
    server.query("ALTER SYSTEM SET default_transaction_read_only = on")
    server.query("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 10
    while server.query("SHOW default_transaction_read_only", user="app") != [("on",)]:
        assert time.monotonic() < deadline, "the setting never came into force"
    reading = await login(server, user="stanch_watch", writes=False)
    assert (reading.login_ok, reading.write_ok) == (True, False)
    assert "read-only" in reading.detail


async def test_a_watching_roles_own_read_only_setting_says_nothing_about_the_server(
    server: ScratchServer,
) -> None:
    server.query("ALTER ROLE stanch_watch SET default_transaction_read_only = on")
    reading = await login(server, user="stanch_watch", writes=False)
    assert (reading.login_ok, reading.write_ok) == (True, None)
    assert "own" in reading.detail


async def test_without_the_right_to_emit_messages_a_temporary_table_proves_the_write(
    server: ScratchServer,
) -> None:
    tail = ", boolean" if server.binaries.major >= 17 else ""
    for kind in ("text", "bytea"):
        revoke = f"REVOKE EXECUTE ON FUNCTION {EMIT}(boolean, text, {kind}{tail}) FROM PUBLIC"
        server.query(revoke, dbname="app")
    assert (await login(server)).write_ok is True
    server.query("REVOKE TEMPORARY ON DATABASE app FROM PUBLIC")
    server.query("ALTER DATABASE app OWNER TO postgres")
    reading = await login(server)
    assert (reading.login_ok, reading.write_ok) == (True, None)
    assert "may not" in reading.detail


async def test_a_role_that_is_turned_away_is_told_with_its_sqlstate(server: ScratchServer) -> None:
    server.query("ALTER ROLE app NOLOGIN")
    reading = await login(server)
    assert (reading.login_ok, reading.write_ok, reading.sqlstate) == (False, None, "28000")
    assert "not permitted to log in" in reading.detail


async def test_a_wrong_password_is_sent_once_a_minute_and_told_with_its_age() -> None:
    async with FakePostgres(passwords={"app": "right"}) as server:
        dsn = server.dsn(password="wrong").replace("disable", "prefer")
        app = PsycopgAppLogin(dsn, writes=True)
        first, *later = [await app.login_and_write(deadline_s=5.0) for _ in range(4)]

        assert server.passwords_tried == 1
        assert (first.login_ok, first.sqlstate) == (False, "28P01")
        assert "ago" not in first.detail
        for reading in later:
            assert (reading.login_ok, reading.write_ok, reading.sqlstate) == (False, None, "28P01")
            assert reading.detail.startswith(f"{first.detail}; that was 0 s ago")


async def test_a_role_let_in_again_is_not_tried_within_the_minute(server: ScratchServer) -> None:
    app = PsycopgAppLogin(server.dsn("app"), writes=True)
    server.query("ALTER ROLE app NOLOGIN")
    assert not (await app.login_and_write(deadline_s=5.0)).login_ok
    server.query("ALTER ROLE app LOGIN")
    assert "ago" in (await app.login_and_write(deadline_s=5.0)).detail


async def test_a_role_at_its_limit_is_tried_every_time(server: ScratchServer) -> None:
    app = PsycopgAppLogin(server.dsn("app"), writes=True)
    server.query("ALTER ROLE app CONNECTION LIMIT 0")
    full = [await app.login_and_write(deadline_s=5.0) for _ in range(3)]
    assert [(reading.login_ok, reading.sqlstate) for reading in full] == [(False, "53300")] * 3
    server.query("ALTER ROLE app CONNECTION LIMIT -1")
    assert (await app.login_and_write(deadline_s=5.0)).write_ok


async def test_a_refusal_that_the_watch_met_is_the_checks_as_well() -> None:
    async with FakePostgres(passwords={"app": "right"}) as server:
        target = TargetPolicy(name=TargetName("orders"), dsn=server.dsn(password="wrong"))
        sentinel = SharedSentinel(target.dsn, now=now)
        slow = SlowWatch(target, sentinel, now=now)
        app = PsycopgAppLogin(target.dsn, writes=False, probe=slow.probe)
        refused = await sentinel.open(5)
        reading = await app.login_and_write(deadline_s=5.0)

        assert refused.state is ReachState.AUTH_FAILED
        assert (reading.login_ok, reading.sqlstate) == (False, "28P01")
        assert "ago" in reading.detail
        assert server.passwords_tried == 1


async def test_a_login_that_only_libpq_is_refused_is_left_alone_after_the_second() -> None:
    async with TwoFaced() as server:
        app = PsycopgAppLogin(server.dsn(), writes=True)
        told = [await app.login_and_write(deadline_s=5.0) for _ in range(5)]

        assert server.logins == 4, "twice a probe and libpq behind it"
        assert [reading.login_ok for reading in told] == [False] * 5
        assert all(PROXYS in reading.detail for reading in told)
        assert "ago" in told[2].detail


async def test_a_server_that_is_down_is_an_answer(server: ScratchServer) -> None:
    server.stop()
    reading = await login(server)
    assert not reading.login_ok
    assert reading.detail


async def test_a_server_that_hangs_is_given_up_in_time(server: ScratchServer) -> None:
    server.pause()
    reading = await PsycopgAppLogin(server.dsn("app"), writes=True).login_and_write(deadline_s=0.5)
    assert not reading.login_ok
    assert reading.took_ms < 3000


async def test_a_broken_connection_string_is_an_answer_too() -> None:
    reading = await PsycopgAppLogin("host=a,b dbname=x", writes=True).login_and_write(deadline_s=1)
    assert not reading.login_ok


async def test_options_of_the_connection_string_are_kept(make_server: MakeServer) -> None:
    server = make_server()
    dsn = server.dsn("app", options="-c default_transaction_read_only=on")
    reading = await PsycopgAppLogin(dsn, writes=True).login_and_write(deadline_s=5.0)
    assert reading.write_ok is False


@pytest.mark.parametrize("pg_major", [18], indirect=True)
async def test_a_standby_takes_no_writes_by_design(
    server: ScratchServer, make_server: MakeServer
) -> None:
    standby = make_server()
    standby.stop()
    (standby.data_directory / "standby.signal").touch()
    standby.start()
    reading = await login(standby)
    assert (reading.login_ok, reading.write_ok) == (True, None)
    assert "standby" in reading.detail
    assert server.postmaster_pid() is not None
