"""What pg_controldata says, from real tools and from garbage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.adapters.hosts.local import LocalHost
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.controldata import ClusterState, ControlData, parse_controldata


async def _read(server: ScratchServer) -> ControlData:
    data, programs = str(server.data_directory), str(server.binaries.bin_dir)
    text = await LocalHost(data_directory=data, bin_dir=programs).controldata(deadline_s=10)
    assert isinstance(text, str), text
    return parse_controldata(text)


async def test_a_clean_stop_and_a_kill_are_told_apart(server: ScratchServer, pg_major: int) -> None:
    running = await _read(server)
    assert running.state is ClusterState.IN_PRODUCTION
    assert running.pg_control_version is not None
    assert running.pg_control_version // 100 == (13 if pg_major == 15 else 18)
    assert (running.timeline_id, running.data_checksums) == (1, True)
    assert running.backup_start_lsn is running.minimum_recovery_end_lsn is None
    server.stop()
    assert (await _read(server)).ended_cleanly is True
    server.start()
    server.kill()
    assert (await _read(server)).ended_cleanly is False


async def test_a_damaged_control_file_says_nothing_about_how_it_ended(
    server: ScratchServer,
) -> None:
    server.stop()
    path = server.data_directory / "global/pg_control"
    content = bytearray(path.read_bytes())
    content[100] ^= 0xFF
    path.write_bytes(content)
    damaged = await _read(server)
    assert damaged.crc_wrong
    assert damaged.ended_cleanly is None


@pytest.mark.parametrize("state", list(ClusterState))
def test_every_state_has_its_meaning(state: ClusterState) -> None:
    data = parse_controldata(f"Database cluster state:               {state.value}\n")
    clean = {ClusterState.SHUT_DOWN, ClusterState.SHUT_DOWN_IN_RECOVERY}
    assert data.state is state
    unknown = state is ClusterState.UNRECOGNISED
    assert data.ended_cleanly is (None if unknown else state in clean)


def test_a_state_of_a_later_version_is_unrecognised_not_clean() -> None:
    assert parse_controldata("Database cluster state: shut down nicely\n").ended_cleanly is None


@given(st.text())
def test_garbage_says_nothing(text: str) -> None:
    assert parse_controldata(text).ended_cleanly is None
