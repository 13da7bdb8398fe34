"""The capability table, read from real servers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fix_servers import MakeServer
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.ids import TargetName
from stanch.model.reach import ReachState
from stanch.policy.policy import FreeSpace, TargetPolicy
from stanch.service.readiness.capabilities import Capability, capabilities, report_target


def target_of(server: ScratchServer) -> TargetPolicy:
    return TargetPolicy(
        name=TargetName("orders"),
        dsn=server.dsn("stanch_watch"),
        acting_dsn=server.dsn("stanch_act"),
        app_dsn=server.dsn("app"),
    )


async def table(target: TargetPolicy) -> dict[str, Capability]:
    return {row.feature: row for row in await capabilities(target, heartbeat=None)}


async def test_a_server_on_this_machine_with_the_granted_roles(
    shared_server: ScratchServer, pg_major: int
) -> None:
    found = await table(target_of(shared_server))
    for feature in (
        "watch",
        "see every session and setting",
        "see the server's machine",
        "prove a rescue by the application's login and a write",
        "end sessions",
        "start the server",
    ):
        assert found[feature].can, found[feature]
    assert f"PostgreSQL {pg_major}" in found["watch"].why
    assert str(shared_server.data_directory) in found["see the server's machine"].why
    assert "pg_ctl" in found["start the server"].why
    full = found["get in when the server is full (watching)"]
    assert full.can is False
    wanted = "Upgrade" if pg_major < 16 else "GRANT pg_use_reserved_connections TO stanch_watch;"
    assert wanted in full.change


async def test_the_printed_changes_make_the_no_a_yes(
    make_server: MakeServer, pg_major: int, tmp_path: Path
) -> None:
    server = make_server()
    server.query("CREATE ROLE bare LOGIN")
    target = replace(target_of(server), dsn=server.dsn("bare"), acting_dsn=server.dsn("bare"))
    before = await table(target)
    features = ["see every session and setting", "end sessions"]
    if pg_major >= 16:
        features.append("get in when the server is full (watching)")
    for feature in features:
        assert before[feature].can is False
        for statement in before[feature].change.split("  --")[0].split("; "):
            server.query(statement.rstrip(";"))
    server.restart()
    after = await table(target)
    assert [after[feature].can for feature in features] == [True] * len(features)


@pytest.mark.parametrize("pg_major", [18], indirect=True)
async def test_a_role_with_the_reserved_slots_really_gets_into_a_full_server(
    make_server: MakeServer,
) -> None:
    server = make_server(
        conf={"max_connections": 8, "reserved_connections": 2, "superuser_reserved_connections": 1}
    )
    server.query("GRANT pg_use_reserved_connections TO stanch_watch")
    assert (await table(target_of(server)))["get in when the server is full (watching)"].can
    taken = [server.connect("app") for _ in range(5)]
    try:
        found = await table(target_of(server))
        assert found["watch"].can
        assert found["prove a rescue by the application's login and a write"].can is False
        acting = found["get in when the server is full (acting)"]
        assert acting.can is not True
    finally:
        for session in taken:
            session.close()


async def test_a_stopped_server_is_a_no_for_watching_and_unknown_for_the_rest(
    server: ScratchServer,
) -> None:
    server.stop("fast")
    report = await report_target(target_of(server), heartbeat=None)
    found = {row.feature: row for row in report.capabilities}
    assert report.state is ReachState.REFUSED
    assert not report.reached
    assert report.shares_host is True
    assert found["watch"].can is False
    assert found["end sessions"].can is None
    assert found["see every session and setting"].can is None


async def test_a_stopped_server_can_be_started_when_its_directory_is_named(
    server: ScratchServer,
) -> None:
    server.stop("fast")
    target = replace(target_of(server), data_directory=str(server.data_directory))
    found = await table(replace(target, bin_directory=str(server.binaries.bin_dir)))
    assert found["see the server's machine"].can
    named = replace(target, bin_directory=str(server.binaries.bin_dir), manager="pg_ctl")
    assert (await table(replace(named, log=str(server.log_path))))["start the server"].can


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_files_of_another_server_are_not_taken_for_this_one_s(
    make_server: MakeServer,
) -> None:
    one, other = make_server(), make_server()
    target = replace(target_of(one), data_directory=str(other.data_directory))
    row = (await table(target))["see the server's machine"]
    assert row.can is False
    assert f"port {other.port}, not {one.port}" in row.why


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_ballast_is_looked_at(shared_server: ScratchServer, tmp_path: Path) -> None:
    ballast = tmp_path / "ballast"
    ballast.write_bytes(b"x" * 4096)
    target = replace(target_of(shared_server), free_space=FreeSpace(ballast=(str(ballast),)))
    assert (await table(target))["free space on a full volume"].can
    ballast.unlink()
    row = (await table(target))["free space on a full volume"]
    assert (row.can, str(ballast) in row.why) == (False, True)


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_a_wrong_application_password_and_a_missing_role_are_told_apart_from_silence(
    shared_server: ScratchServer,
) -> None:
    target = target_of(shared_server)
    broken = replace(
        target,
        app_dsn=shared_server.dsn("nobody_here"),
        acting_dsn=shared_server.dsn("nobody_here"),
    )
    found = await table(broken)
    assert "nobody_here" in found["prove a rescue by the application's login and a write"].why
    assert found["end sessions"].can is False
    assert "acting_dsn" in found["end sessions"].change


@pytest.mark.parametrize("dsn", ["service=no_such_service_here", "host=h port=99999999"])
async def test_a_connection_string_that_libpq_cannot_use_is_a_row_and_not_a_crash(dsn: str) -> None:
    target = TargetPolicy(name=TargetName("t"), dsn=dsn, acting_dsn=dsn, app_dsn=dsn)
    report = await report_target(target, heartbeat=None)
    assert (report.state, report.shares_host) == (None, None)
    assert report.capabilities[0].change == "Correct `dsn`."
