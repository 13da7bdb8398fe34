from __future__ import annotations

import os
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.adapters.hosts.traces import (
    LocalTraces,
    parse_kill,
    parse_slot_file,
    segment_number,
)
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.diagnosis import Missing

BOOTED = datetime(2026, 3, 1, tzinfo=UTC)
MIB = 1024 * 1024

KILLS = {
    "of the whole machine": "3,999,5000000,-;Out of memory: Killed process 812 (postgres) total-vm",
    "of a control group": "3,9,5000000,;Memory cgroup out of memory: Killed process 812 (postgres)",
}


@pytest.mark.parametrize("which", sorted(KILLS))
def test_a_kill_is_read_with_its_pid_and_moment(which: str) -> None:
    kill = parse_kill(KILLS[which], booted=BOOTED)
    assert kill is not None
    assert (kill.pid, kill.name, kill.at) == (812, "postgres", BOOTED + timedelta(seconds=5))


@pytest.mark.parametrize(
    "record",
    [
        "6,12,5000000,-;postgres invoked oom-killer: gfp_mask=0x0",
        "6,12,x,-;Out of memory: Killed process 812 (postgres)",
        "Out of memory: Killed process 812 (postgres)",
        "",
    ],
)
def test_other_lines_tell_of_no_kill(record: str) -> None:
    assert parse_kill(record, booted=BOOTED) is None


@given(st.text())
def test_no_line_of_the_kernel_log_breaks_the_reader(record: str) -> None:
    parse_kill(record, booted=BOOTED)
    parse_kill(f"1,1,1,-;Out of memory: Killed process {record}", booted=BOOTED)


@given(st.binary(max_size=300))
def test_no_slot_file_breaks_the_reader(content: bytes) -> None:
    parse_slot_file("s", content)


def test_a_file_with_another_magic_is_no_slot() -> None:
    good = struct.pack("=I", 0x1051CA1) + bytes(92) + struct.pack("=Q", 77)
    slot = parse_slot_file("s", good)
    assert slot is not None
    assert slot.restart_lsn == 77
    assert parse_slot_file("s", b"x" + good[1:]) is None


def test_a_segments_number_counts_through_the_whole_wal() -> None:
    assert segment_number("000000010000000000000002", 16 * MIB) == 2
    assert segment_number("000000010000000100000000", 16 * MIB) == 256


async def test_a_folder_that_is_none_is_missing_with_the_reason(tmp_path: Path) -> None:
    traces = LocalTraces(str(tmp_path / "none"), kernel_log=tmp_path / "kmsg")
    for found in (
        await traces.kernel_kills(),
        await traces.wal_on_disk(segment_bytes=16 * MIB),
        await traces.owner_uid(),
    ):
        assert isinstance(found, Missing)
        assert "no such file" in found.reason


async def test_the_kernel_log_is_read_to_its_end(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text(KILLS["of the whole machine"])
    kills = await LocalTraces(str(tmp_path), kernel_log=log).kernel_kills()
    assert not isinstance(kills, Missing)
    assert [kill.pid for kill in kills] == [812]


async def test_slots_of_a_killed_server_are_read_as_the_server_last_said_them(
    server: ScratchServer,
) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("SELECT pg_create_physical_replication_slot('forgotten', true)")
        connection.execute("SELECT pg_create_physical_replication_slot('reserves_nothing')")
        for _ in range(3):
            connection.execute("SELECT pg_logical_emit_message(true, 'x', repeat('x', 700000))")
            connection.execute("SELECT pg_switch_wal()")
        connection.execute("CHECKPOINT")
        row = connection.execute(
            "SELECT (restart_lsn - '0/0')::bigint, (pg_current_wal_lsn() - '0/0')::bigint"
            " FROM pg_replication_slots WHERE slot_name = 'forgotten'"
        ).fetchone()
    assert row is not None
    server.kill()
    found = await LocalTraces(str(server.data_directory)).wal_on_disk(segment_bytes=MIB)
    assert not isinstance(found, Missing)
    slots = {slot.name: slot.restart_lsn for slot in found.slots}
    assert slots == {"forgotten": row[0], "reserves_nothing": 0}
    assert row[1] <= found.newest_lsn <= row[1] + 2 * MIB


async def test_what_a_start_needs_is_read_from_the_folder(server: ScratchServer) -> None:
    server.stop()
    traces = LocalTraces(str(server.data_directory))
    found = await traces.start_files()
    assert not isinstance(found, Missing)
    assert found.version == str(server.binaries.major)
    assert (found.control_file, found.control_set_aside, found.backup_label) == (True, False, False)
    assert (found.upgrade_output, found.upgrade_at) == ("", None)


async def test_what_pg_upgrade_leaves_is_seen(tmp_path: Path) -> None:
    (tmp_path / "global").mkdir()
    (tmp_path / "global" / "pg_control.old").write_bytes(b"x")
    for name, age_s in (("20260301T010000.000", 900), ("20260301T020000.000", 60)):
        (tmp_path / "pg_upgrade_output.d" / name).mkdir(parents=True)
        moment = BOOTED.timestamp() - age_s
        os.utime(tmp_path / "pg_upgrade_output.d" / name, (moment, moment))
    found = await LocalTraces(str(tmp_path)).start_files()
    assert not isinstance(found, Missing)
    assert (found.version, found.control_file, found.control_set_aside) == ("", False, True)
    assert found.upgrade_output == "20260301T020000.000"
    assert found.upgrade_at == BOOTED - timedelta(seconds=60)


async def test_a_folder_that_is_not_there_says_nothing_about_a_start(tmp_path: Path) -> None:
    assert isinstance(await LocalTraces(str(tmp_path / "none")).start_files(), Missing)


HUNG = "3,900,5000000,-;INFO: task postgres:4711 blocked for more than 120 seconds.\n"


async def test_a_process_that_hangs_is_read_from_the_kernel_log(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text(f"6,1,1,-;task done\n{HUNG}3,9,x,-;task a:1 blocked for more than 120 seconds\n")
    [found] = await LocalTraces(str(tmp_path), kernel_log=log).kernel_stalls()
    assert (found.pid, found.name) == (4711, "postgres")


async def test_a_kernel_log_that_may_not_be_read_tells_of_nobody(tmp_path: Path) -> None:
    assert await LocalTraces(str(tmp_path), kernel_log=tmp_path / "none").kernel_stalls() == ()
