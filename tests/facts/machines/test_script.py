"""What the output of the one script means, whole, cut short, or made by somebody hostile."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.facts.machines.script import (
    CONTAINER_SCRIPT,
    MACHINE_SCRIPT,
    Asked,
    machine_facts,
    parse_cpu,
)
from stanch.model.diagnosis import Missing
from stanch.model.host import Memory, OomKills
from stanch.model.machine import CpuTimes, HostFacts, ServiceState

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
WORD = "==f00d"
WHOLE = {
    "time": f"{AT.timestamp() + 2.5:.9f}\n",
    "uptime": "5000.25 9000.00\n",
    "load": "1.50 1.00 0.50 2/300 4711\n",
    "memory": "MemTotal:        8000000 kB\nMemAvailable:    2000000 kB\n",
    "cpu": "cpu  100 0 100 700 50 0 0 50 10 0\ncpu0 50 0 50 350 25 0 0 25 5 0\n"
    "cpu1 50 0 50 350 25 0 0 25 5 0\n",
    "kills": "oom_kill 3\n",
    "kernel": "[  100.5] EXT4-fs error (device vda): ext4_find_entry\n",
    "server": "pid 42\npostgres\n",
    "mounts": "/dev/vda / ext4 rw,relatime 0 0\n/dev/vdb /data\\040x xfs ro,noatime 0 0\n",
    "df": "Filesystem 1024-blocks Used Available Capacity Mounted on\n"
    "/dev/vda 1000 600 400 60% /\n/dev/vdb 2000 1000 1000 50% /data x\n",
    "inodes": "Filesystem Inodes IUsed IFree IUse% Mounted on\n"
    "/dev/vda 100 90 10 90% /\n/dev/vdb 0 0 0 - /data x\n",
    "end": "",
}


def output(**changed: str | None) -> bytes:
    parts = {**WHOLE, **changed}
    return "".join(f"\n{WORD} {k}\n{v}" for k, v in parts.items() if v is not None).encode()


def facts(
    output: bytes,
    *,
    unit: str = "",
    folder: str = "/data",
    container: bool = False,
    ended: str = "",
) -> HostFacts:
    asked = Asked(
        source="ssh db1",
        at=AT,
        word=WORD,
        in_container=container,
        unit=unit,
        data_directory=folder,
    )
    return machine_facts(asked, output, ended=ended)


def test_a_whole_answer_tells_everything() -> None:
    seen = facts(output())
    assert seen.missing() == ()
    assert seen.clock_offset_s == pytest.approx(2.5)
    assert (seen.uptime_s, seen.load_1min) == (5000.25, 1.5)
    assert seen.cpu == CpuTimes(total_s=10.0, steal_s=0.5, count=2)
    assert seen.memory == Memory(total_bytes=8000000 * 1024, available_bytes=2000000 * 1024)
    assert seen.oom_kills == OomKills(host=3, cgroup=None)
    assert isinstance(seen.kernel, tuple)
    assert [m.since_boot_s for m in seen.kernel] == [100.5]


def test_file_systems_have_their_inodes_and_whether_they_can_be_written() -> None:
    seen = facts(output()).file_systems
    assert isinstance(seen, tuple)
    root, data = seen
    assert (root.mount, root.free_bytes, root.inodes_free, root.read_only) == (
        "/",
        400 * 1024,
        10,
        False,
    )
    assert (data.mount, data.inodes_total, data.read_only) == ("/data x", None, True)


def test_an_answer_cut_short_keeps_what_came_and_says_why_the_rest_is_missing() -> None:
    cut = output(inodes=None, end=None)
    seen = facts(cut, ended="no end within 5 s")
    assert [(m.what, m.reason) for m in seen.missing()] == [("file systems", "no end within 5 s")]
    assert seen.load_1min == 1.5


def test_nothing_in_a_file_passes_itself_off_as_another_part() -> None:
    forged = "1.50 1\n==cafe memory\nMemTotal: 1 kB\n == end\n==f00dmemory\nx ==f00d memory\n"
    seen = facts(output(load=forged))
    assert seen.memory == Memory(total_bytes=8000000 * 1024, available_bytes=2000000 * 1024)
    assert seen.load_1min == 1.5


@pytest.mark.parametrize(
    ("said", "running", "status"),
    [
        ("pid 42\npostgres\n", True, "process 42"),
        ("pid 42\nsleep\n", False, "pid 42 is another program, sleep"),
        ("stopped\n", False, "no lock file"),
        ("stale\n", False, "the lock file's process is gone"),
    ],
)
def test_a_lock_file_tells_whether_the_server_runs(said: str, running: bool, status: str) -> None:
    service = facts(output(server=said)).service
    assert service == ServiceState(name="/data", running=running, status=status)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("absent\n", "/data is not there"),
        ("denied\n", "/data may not be read by this OS user"),
        ("unreadable\n", "/data/postmaster.pid begins with no number"),
        ("", "it does not tell"),
    ],
)
def test_a_lock_file_that_is_not_seen_says_nothing_about_the_server(said: str, reason: str) -> None:
    service = facts(output(server=said)).service
    assert service == Missing(what="service", reason=reason)


def test_without_a_unit_or_a_folder_the_service_is_not_known() -> None:
    service = facts(output(), folder="").service
    assert isinstance(service, Missing)
    assert "names neither" in service.reason


def test_a_kernel_log_that_may_not_be_read_is_missing_and_not_quiet() -> None:
    said = "dmesg: read kernel buffer failed: Operation not permitted\n"
    assert facts(output(kernel=said)).kernel == Missing(
        what="kernel messages", reason="dmesg: read kernel buffer failed: Operation not permitted"
    )
    assert facts(output(kernel="")).kernel == ()


V2 = """\
==> memory.max <==
1000000

==> memory.current <==
600000

==> memory.events <==
low 0
oom 2
oom_kill 1
oom_group_kill 0

==> memory.stat <==
anon 1
inactive_file 100000
active_file 50000
"""
V1 = """\
==> memory.limit_in_bytes <==
9223372036854771712

==> memory.usage_in_bytes <==
600000

==> memory.oom_control <==
oom_kill_disable 0
under_oom 0
oom_kill 4

==> memory.stat <==
inactive_file 7
total_inactive_file 100000
total_active_file 50000
"""


@pytest.mark.parametrize(
    ("part", "text", "limit", "kills"), [("v2", V2, 1000000, 1), ("v1", V1, None, 4)]
)
def test_a_container_has_its_own_limit_and_its_own_kills(
    part: str, text: str, limit: int | None, kills: int
) -> None:
    seen = facts(output(**{part: text, "kernel": None}), container=True)
    assert isinstance(seen.memory, Memory)
    assert (seen.memory.cgroup_limit_bytes, seen.memory.cgroup_used_bytes) == (limit, 600000)
    assert seen.memory.cgroup_cache_bytes == 150000
    assert isinstance(seen.oom_kills, OomKills)
    assert (seen.oom_kills.cgroup, seen.oom_kills.own_group) == (kills, True)
    assert isinstance(seen.kernel, Missing)


def test_a_clock_without_decimals_is_still_a_clock() -> None:
    ahead = facts(output(time="1795255200.%N\n")).clock_offset_s
    assert ahead == pytest.approx(1795255200 - AT.timestamp())


@pytest.mark.parametrize(
    "text", ["", "cpu 1 2 3\n", "cpu a b c d e f g h\ncpu0 1\n", "cpu0 1 1 1\n"]
)
def test_processors_that_are_not_told_are_not_guessed(text: str) -> None:
    assert parse_cpu(text) is None


@given(st.binary(max_size=400), st.sampled_from([*WHOLE, "unit", "v1", "v2"]), st.booleans())
def test_no_output_makes_it_fail(noise: bytes, part: str, container: bool) -> None:
    body = output().replace(f"{WORD} {part}\n".encode(), f"{WORD} {part}\n".encode() + noise)
    seen = facts(body, unit="postgresql@16-main" if container else "", container=container)
    assert seen.at == AT


@pytest.mark.parametrize("script", [MACHINE_SCRIPT, CONTAINER_SCRIPT])
@pytest.mark.parametrize("folder", ["", "/tmp/$(touch hit)", "'; touch hit; '", "`touch hit`"])
def test_the_script_runs_nothing_that_it_is_given(script: str, folder: str, tmp_path: str) -> None:
    ran = subprocess.run(
        ["sh", "-c", script, "stanch", WORD, "$(touch hit)", folder],
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )
    found = subprocess.run(["ls", "-A", tmp_path], capture_output=True, check=True).stdout
    assert found == b""
    now = datetime.now(UTC)
    asked = Asked(source="x", at=now, word=WORD, in_container=script is CONTAINER_SCRIPT)
    seen = machine_facts(asked, ran.stdout)
    assert isinstance(seen.file_systems, tuple)
    assert abs(timedelta(seconds=float(str(seen.clock_offset_s)))) < timedelta(seconds=5)
