"""Control groups, mounts, segments and container signs, from written-out machines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stanch.adapters.hosts import containers, control_groups, lock_files, processes, volumes
from stanch.facts.machines.file_systems import takes_no_writes
from stanch.model.diagnosis import Missing
from stanch.model.host import SharedMemory


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_version_1_groups_give_limit_use_and_kills(tmp_path: Path) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    _write(proc / "7/cgroup", "4:memory:/db\n0::/\n")
    _write(groups / "memory/db/memory.stat", "cache 1\nhierarchical_memory_limit 1000\n")
    _write(groups / "memory/db/memory.usage_in_bytes", "500\n")
    _write(groups / "memory/db/memory.oom_control", "oom_kill_disable 0\noom_kill 3\n")
    group = control_groups.memory_group(proc, groups, 7)
    assert group is not None
    assert control_groups.limit_bytes(group) == 1000
    assert control_groups.used_bytes(group) == 500
    assert control_groups.oom_kills(group) == 3


def test_no_limit_of_version_1_is_no_limit(tmp_path: Path) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    _write(proc / "7/cgroup", "4:memory:/db\n")
    _write(groups / "memory/db/memory.stat", "hierarchical_memory_limit 9223372036854771712\n")
    group = control_groups.memory_group(proc, groups, 7)
    assert group is not None
    assert control_groups.limit_bytes(group) is None


def test_in_version_2_the_tightest_limit_above_counts(tmp_path: Path) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    _write(proc / "7/cgroup", "0::/a/b\n")
    _write(groups / "cgroup.controllers", "memory\n")
    _write(groups / "a/memory.max", "1000\n")
    _write(groups / "a/b/memory.max", "max\n")
    _write(groups / "a/b/memory.events", "oom 1\noom_kill 2\n")
    group = control_groups.memory_group(proc, groups, 7)
    assert group is not None
    assert control_groups.limit_bytes(group) == 1000
    assert control_groups.oom_kills(group) == 2


def test_only_a_group_narrower_than_the_machine_counts_as_a_servers_own(tmp_path: Path) -> None:
    def is_narrow(path: str, top: str, version: int) -> bool:
        group = control_groups.MemoryGroup(
            path=tmp_path / path, top=tmp_path / top, version=version
        )
        return control_groups.is_narrow(group)

    _write(tmp_path / "one/memory.oom_control", "oom_kill 3\n")
    _write(tmp_path / "two/cgroup.controllers", "memory\n")
    _write(tmp_path / "inside/memory.events", "oom_kill 0\n")
    _write(tmp_path / "limited/memory.stat", "hierarchical_memory_limit 1000\n")
    assert is_narrow("one/db", "one", 1)
    assert not is_narrow("one", "one", 1)
    assert not is_narrow("two", "two", 2)
    # A container is shown its own group as the top.
    assert is_narrow("inside", "inside", 2)
    assert is_narrow("limited", "limited", 1)


def test_a_process_without_groups_has_none(tmp_path: Path) -> None:
    assert control_groups.memory_group(tmp_path, tmp_path, 7) is None
    _write(tmp_path / "7/cgroup", "garbage\n::\n")
    assert control_groups.memory_group(tmp_path, tmp_path, 7) is None


@pytest.mark.parametrize(
    ("fs_type", "network"),
    [("ext4", False), ("xfs", False), ("nfs4", True), ("virtiofs", True), ("fuse.new", None)],
)
def test_file_systems_of_unknown_kind_are_unknown(fs_type: str, *, network: bool | None) -> None:
    assert volumes.is_network(fs_type) is network


def test_mount_points_with_blanks_are_read(tmp_path: Path) -> None:
    _write(
        tmp_path / "self/mountinfo",
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
        "2 1 8:2 / /a\\040b rw shared:1 - xfs /dev/sdb rw\nbad\n",
    )
    assert [m.mount_point for m in volumes.mounts(tmp_path)] == ["/", "/a b"]


def test_the_options_of_a_file_system_are_not_those_of_our_view_of_it(tmp_path: Path) -> None:
    """As Linux 6.18 shows an ext4 that found itself damaged, and a bind mount for reading."""
    _write(
        tmp_path / "self/mountinfo",
        "218 145 7:1 / /data rw,relatime - ext4 /dev/loop1 rw,errors=remount-ro,emergency_ro\n"
        "219 145 7:2 / /view ro,relatime - ext4 /dev/loop2 rw,errors=remount-ro\n"
        "220 145 7:3 / /old rw,relatime - ext4 /dev/loop3 ro\n",
    )
    options = [m.options for m in volumes.mounts(tmp_path)]
    assert [takes_no_writes(one) for one in options] == [True, False, True]


SEGMENTS = (
    "       key      shmid perms       size  cpid  lpid nattch\n    5     17   600   56  1  2  4\n"
)


def test_a_segment_is_found_by_its_id(tmp_path: Path) -> None:
    _write(tmp_path / "sysvipc/shm", SEGMENTS)
    found = [lock_files.read_shared_memory(n, tmp_path) for n in (17, 18)]
    assert found == [
        SharedMemory(shm_id=17, exists=True, attached=4),
        SharedMemory(shm_id=18, exists=False, attached=0),
    ]


@pytest.mark.parametrize("text", [None, "", "other heads\n"])
def test_an_unreadable_list_of_segments_proves_nothing(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        _write(tmp_path / "sysvipc/shm", text)
    assert isinstance(lock_files.read_shared_memory(17, tmp_path), Missing)


PID, IPC = "pid:[4026531836]", "ipc:[4026531839]"


def _namespaces(proc: Path, who: str, pid: str, ipc: str) -> None:
    folder = proc / who / "ns"
    folder.mkdir(parents=True)
    (folder / "pid").symlink_to(pid)
    (folder / "ipc").symlink_to(ipc)


def _signs(tmp_path: Path, *, server_pid: int | None = None) -> bool | None:
    return containers.read_signs(
        str(tmp_path / "data"), tmp_path / "proc", root=tmp_path, server_pid=server_pid
    ).in_container


@pytest.mark.parametrize(
    ("pid", "ipc", "expected"),
    [(PID, IPC, False), ("pid:[1]", IPC, True), (PID, "ipc:[1]", True)],
)
def test_the_kernels_namespaces_decide(
    tmp_path: Path, pid: str, ipc: str, *, expected: bool
) -> None:
    _namespaces(tmp_path / "proc", "self", pid, ipc)
    assert _signs(tmp_path) is expected


def test_a_marker_left_in_an_image_is_no_container(tmp_path: Path) -> None:
    _namespaces(tmp_path / "proc", "self", PID, IPC)
    (tmp_path / ".dockerenv").touch()
    assert _signs(tmp_path) is False


def test_unreadable_namespaces_leave_it_open(tmp_path: Path) -> None:
    assert _signs(tmp_path) is None
    _namespaces(tmp_path / "proc", "self", PID, IPC)
    assert _signs(tmp_path, server_pid=7) is None


@pytest.mark.parametrize(
    ("pid", "groups", "expected"),
    [
        (PID, "0::/system.slice/postgresql.service\n", False),
        ("pid:[1]", "0::/\n", True),
        (PID, "4:memory:/docker/0123456789ab\n", True),
    ],
)
def test_a_server_seen_from_outside_its_container_is_in_one(
    tmp_path: Path, pid: str, groups: str, *, expected: bool
) -> None:
    proc = tmp_path / "proc"
    _namespaces(proc, "self", PID, IPC)
    _namespaces(proc, "7", pid, IPC)
    _write(proc / "7/cgroup", groups)
    assert _signs(tmp_path, server_pid=7) is expected


def test_no_deleted_file_is_only_said_when_every_process_could_be_seen(tmp_path: Path) -> None:
    # Running processes have no folder in this /proc: they count as ended, so all were seen.
    assert processes.read_deleted_open(frozenset(), tmp_path) == ()
    assert isinstance(processes.read_deleted_open(frozenset(), tmp_path / "none"), Missing)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give up its rights")
def test_without_rights_deleted_files_are_missing_not_none() -> None:
    os.seteuid(65534)
    try:
        said = processes.read_deleted_open(frozenset(), Path("/proc"))
    finally:
        os.seteuid(0)
    assert isinstance(said, Missing)
    assert "could not be inspected" in said.reason
