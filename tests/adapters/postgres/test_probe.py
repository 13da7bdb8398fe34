"""Every state of a probe, on real servers of both versions."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, suppress

import psycopg
import pytest

from fix_servers import MakeServer
from samplings import Watched, seen
from stanch.adapters.postgres.probe import probe
from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.model.errors import SetupError
from stanch.model.reach import Reach, ReachState
from stanch.watch.reachability.readings import reach_readings

one_major = pytest.mark.parametrize("pg_major", [15], indirect=True)


def names(reach: Reach) -> list[str]:
    return [layer.name for layer in reach.layers]


async def test_a_healthy_server_is_up_through_every_layer(shared_server: ScratchServer) -> None:
    reach = await probe(shared_server.dsn("app"))

    assert reach.state is ReachState.UP
    assert names(reach) == [
        "dns",
        "tcp",
        "tls",
        "startup",
        "auth",
        "database",
        "select",
        "read_only",
    ]
    assert all(layer.ok for layer in reach.layers)
    assert (reach.server_version or "").startswith(str(shared_server.binaries.major))


WEEK_S = 7 * 86_400.0


@asynccontextmanager
async def way_to(server: ScratchServer, wait_s: list[float]) -> AsyncGenerator[str]:
    """A way to the server on which every answer takes as long as the last of these."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: bool) -> None:
        while piece := await reader.read(65536):
            await asyncio.sleep(wait_s[-1] if back else 0)
            writer.write(piece)
        writer.close()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(carry(reader, far[1], False), carry(far[0], writer, True))

    way = await asyncio.start_server(meet, "127.0.0.1", 0)
    async with way:
        yield server.dsn("app", port=way.sockets[0].getsockname()[1])


@one_major
async def test_a_way_that_takes_far_longer_than_in_three_weeks_is_told_and_than_in_two_is_not(
    shared_server: ScratchServer,
) -> None:
    wait_s = [0.0]
    async with way_to(shared_server, wait_s) as dsn:
        usual = [reach_readings(await probe(dsn)) for _ in range(5)]
        wait_s.append(0.1)
        slow = [reach_readings(await probe(dsn)) for _ in range(3)]
    assert all(usual)
    assert all(slow)
    for weeks, told in ((3, True), (2, False)):
        rules = Watched()
        for week in range(weeks):
            for minute in range(70):
                rules.look(week * WEEK_S + 60 * minute, seen(readings=usual[minute % 5]))
        rules.look(weeks * WEEK_S, seen(readings=usual[0]))
        assert rules.raised == []
        for minute in range(1, 12):
            rules.look(weeks * WEEK_S + 60 * minute, seen(readings=slow[minute % 3]))
        assert ("layer_slow:select" in rules.raised) is told


async def test_a_unix_socket_takes_the_place_of_name_and_tcp(shared_server: ScratchServer) -> None:
    reach = await probe(shared_server.dsn("app", over_socket=True))

    assert reach.state is ReachState.UP
    assert names(reach)[0] == "socket"


async def test_a_scram_login_succeeds_with_the_right_password(make_server: MakeServer) -> None:
    server = make_server(auth="scram-sha-256")

    assert (await probe(server.dsn("app"))).state is ReachState.UP


@one_major
async def test_an_md5_login_succeeds_with_the_right_password(make_server: MakeServer) -> None:
    server = make_server(auth="scram-sha-256", conf={"password_encryption": "md5"})
    server.add_hba("host all elder all md5")
    server.query("CREATE ROLE elder LOGIN PASSWORD 'old secret'")

    reach = await probe(server.dsn("elder", "postgres", password="old secret"))

    assert reach.state is ReachState.UP


@one_major
async def test_a_cleartext_login_succeeds_and_keeps_non_ascii_passwords(
    make_server: MakeServer,
) -> None:
    server = make_server(auth="scram-sha-256")
    server.add_hba("host all plain all password")
    server.query("CREATE ROLE plain LOGIN PASSWORD 'pä\u00a0ss\u2168'")
    server.query("CREATE ROLE scrambled LOGIN PASSWORD 'pä\u00a0ss\u2168'")

    for role in ("plain", "scrambled"):
        reach = await probe(server.dsn(role, "postgres", password="pä\u00a0ss\u2168"))
        assert reach.state is ReachState.UP, reach


async def test_a_wrong_password_is_auth_failed_and_tried_once(make_server: MakeServer) -> None:
    server = make_server(auth="scram-sha-256")

    reach = await probe(server.dsn("app", password="wrong"))

    assert (reach.state, reach.sqlstate) == (ReachState.AUTH_FAILED, "28P01")
    assert names(reach)[-1] == "auth"
    assert server.log_text().count("password authentication failed") == 1


@one_major
async def test_a_password_that_is_refused_for_ten_seconds_leaves_a_server_unwatched_and_not_down(
    make_server: MakeServer,
) -> None:
    server = make_server(auth="scram-sha-256")
    rules, right = Watched(), server.passwords["app"]

    async def look(at_s: float, password: str) -> list[str]:
        reach = await probe(server.dsn("app", password=password))
        rules.look(at_s, seen(reach=reach, confirmed=True))
        return rules.raised

    assert await look(0, "wrong") == []
    assert await look(5, right) == []
    assert await look(6, "wrong") == []
    assert await look(15, "wrong") == []
    assert await look(16, "wrong") == ["unwatched"]
    await look(17, right)
    await look(30, right)
    assert rules.cleared == ["unwatched"]
    server.kill()
    assert await look(40, "wrong") == ["unwatched", "server_down"]


async def test_a_missing_password_is_auth_failed_and_says_so(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", "/nonexistent")
    server = make_server(auth="scram-sha-256")

    reach = await probe(f"host=127.0.0.1 port={server.port} user=app dbname=app")

    assert reach.state is ReachState.AUTH_FAILED
    assert "none is given" in reach.layers[-1].detail


async def test_a_role_refused_by_hba_is_auth_failed(make_server: MakeServer) -> None:
    server = make_server()
    server.add_hba("host all app all reject")

    reach = await probe(server.dsn("app"))

    assert (reach.state, reach.sqlstate) == (ReachState.AUTH_FAILED, "28000")


async def test_a_role_that_does_not_exist_is_auth_failed_at_that_layer(
    shared_server: ScratchServer,
) -> None:
    reach = await probe(shared_server.dsn("nobody_here", "postgres"))

    assert (reach.state, reach.sqlstate) == (ReachState.AUTH_FAILED, "28000")
    assert [layer.name for layer in reach.layers if not layer.ok] == ["auth"]


async def test_a_dropped_database_is_no_such_database(shared_server: ScratchServer) -> None:
    reach = await probe(shared_server.dsn("app", "gone"))

    assert (reach.state, reach.sqlstate) == (ReachState.NO_SUCH_DATABASE, "3D000")
    assert names(reach)[-1] == "database"


async def test_a_database_closed_to_connections_is_no_such_database(
    shared_server: ScratchServer,
) -> None:
    reach = await probe(shared_server.dsn("app", "template0"))

    assert (reach.state, reach.sqlstate) == (ReachState.NO_SUCH_DATABASE, "55000")


async def test_a_hostile_database_name_is_shown_escaped(shared_server: ScratchServer) -> None:
    name = "a\x1b[31m\n'; DROP TABLE x; --<script>" + "é" * 2000

    reach = await probe(shared_server.dsn("app", name))

    assert not reach.answers
    assert reach.layers[-1].detail.isprintable()
    assert len(reach.layers[-1].detail) < 1000


async def test_a_closed_port_is_refused() -> None:
    reach = await probe(f"host=127.0.0.1 port={free_port()} user=app dbname=app")

    assert reach.state is ReachState.REFUSED
    assert names(reach) == ["dns", "tcp"]


async def test_a_missing_socket_file_is_refused_and_named() -> None:
    reach = await probe("host=/tmp/no-such-folder user=app")

    assert reach.state is ReachState.REFUSED
    assert "no socket file" in reach.layers[0].detail


async def test_a_name_that_does_not_exist_is_dns_failure() -> None:
    reach = await probe("host=no-such-host.invalid user=app", deadline_s=10)

    assert reach.state is ReachState.DNS_FAILURE
    assert names(reach) == ["dns"]


def fill_up(server: ScratchServer, stack: ExitStack) -> None:
    with suppress(psycopg.OperationalError):
        while True:
            stack.enter_context(server.connect("app"))


async def test_a_full_server_has_too_many_clients_but_lets_the_superuser_in(
    make_server: MakeServer,
) -> None:
    server = make_server(conf={"max_connections": 6, "superuser_reserved_connections": 2})
    with ExitStack() as stack:
        fill_up(server, stack)
        full = await probe(server.dsn("app"))
        near_miss = await probe(server.dsn())

    assert (full.state, full.sqlstate) == (ReachState.TOO_MANY_CLIENTS, "53300")
    assert near_miss.state is ReachState.UP


@pytest.mark.parametrize("limited", ["ROLE", "DATABASE"])
async def test_a_role_or_database_at_its_own_limit_is_not_a_full_server(
    make_server: MakeServer, limited: str
) -> None:
    server = make_server()
    server.query(f"ALTER {limited} app CONNECTION LIMIT 1")
    with server.connect("app"):
        reach = await probe(server.dsn("app"))

    assert (reach.state, reach.sqlstate) == (ReachState.CONNECTION_LIMIT, "53300")


async def test_a_probe_leaves_its_slot_free_when_it_returns(make_server: MakeServer) -> None:
    server = make_server()
    server.query("ALTER ROLE app CONNECTION LIMIT 1")

    states = [(await probe(server.dsn("app"))).state for _ in range(20)]

    assert states == [ReachState.UP] * 20


async def test_a_server_waiting_for_wal_is_starting_up(make_server: MakeServer) -> None:
    server = make_server()
    server.stop()
    server.set_conf({"restore_command": "sleep 3; false"})
    server.folder.write_owned(server.data_directory / "recovery.signal", "")
    with pytest.raises(SetupError):
        server.start(timeout_s=1)

    reach = await probe(server.dsn("app"))

    assert (reach.state, reach.sqlstate) == (ReachState.STARTING_UP, "57P03")


async def test_a_smart_shutdown_waiting_for_a_session_is_shutting_down(
    make_server: MakeServer,
) -> None:
    server = make_server()
    pid = server.postmaster_pid()
    assert pid is not None
    with server.connect("app"):
        os.kill(pid, signal.SIGTERM)
        reach = await probe(server.dsn("app"))
        while reach.state is ReachState.UP:
            reach = await probe(server.dsn("app"))

    assert (reach.state, reach.sqlstate) == (ReachState.SHUTTING_DOWN, "57P03")


async def test_a_stopped_postmaster_is_hung_and_a_resumed_one_is_up(
    make_server: MakeServer,
) -> None:
    server = make_server()
    server.pause()
    over_tcp = await probe(server.dsn("app"), deadline_s=0.5)
    without_tls = await probe(server.dsn("app", sslmode="disable"), deadline_s=0.5)
    over_socket = await probe(server.dsn("app", over_socket=True), deadline_s=0.5)
    server.resume()
    resumed = await probe(server.dsn("app"))

    for hung in (over_tcp, without_tls, over_socket):
        assert hung.state is ReachState.HUNG
        assert 450 < hung.elapsed_ms < 1500
    assert resumed.state is ReachState.UP


async def test_a_killed_postmaster_is_refused(make_server: MakeServer) -> None:
    server = make_server()
    server.kill()

    assert (await probe(server.dsn("app"))).state is ReachState.REFUSED


async def test_a_standby_is_read_only(make_server: MakeServer) -> None:
    server = make_server()
    server.stop()
    server.folder.write_owned(server.data_directory / "standby.signal", "")
    server.start()

    reach = await probe(server.dsn("app"))

    assert reach.state is ReachState.READ_ONLY
    assert "standby" in reach.layers[-1].detail
    assert names(reach)[-1] == "read_only"


async def test_sessions_that_begin_read_only_are_read_only(make_server: MakeServer) -> None:
    server = make_server(conf={"default_transaction_read_only": "on"})

    reach = await probe(server.dsn("app"))

    assert reach.state is ReachState.READ_ONLY
    assert "default_transaction_read_only" in reach.layers[-1].detail


async def test_options_of_the_string_reach_the_session(shared_server: ScratchServer) -> None:
    dsn = shared_server.dsn("app", options="-c default_transaction_read_only=on")

    assert (await probe(dsn)).state is ReachState.READ_ONLY


async def test_a_probe_leaves_no_line_in_the_servers_log(make_server: MakeServer) -> None:
    server = make_server()
    before = server.log_text()

    await probe(server.dsn("app"))
    await probe(server.dsn("app", sslmode="require"))

    assert server.log_text() == before
