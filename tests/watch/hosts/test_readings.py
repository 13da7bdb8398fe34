"""Readings of a machine: what two looks tell together, and what is missing stays missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from stanch.model.diagnosis import Missing
from stanch.model.host import Memory, OomKills
from stanch.model.machine import (
    CpuTimes,
    FileSystem,
    HostFacts,
    KernelMessage,
    KernelTrouble,
    ServiceState,
)
from stanch.watch.hosts.readings import NAMES, VOLUME_NAMES, MachineReadings, relevant

GIB = 2**30
NO = Missing(what="x", reason="it does not tell")
DISK = FileSystem(
    mount="/",
    total_bytes=100 * GIB,
    free_bytes=25 * GIB,
    inodes_total=1000,
    inodes_free=100,
    read_only=False,
)
FACTS = HostFacts(
    at=datetime(2026, 11, 21, tzinfo=UTC),
    source="local",
    service=ServiceState(name="db", running=True, status="running", restarts=3),
    file_systems=(DISK,),
    memory=Memory(total_bytes=8 * GIB, available_bytes=2 * GIB),
    cpu=CpuTimes(total_s=1000.0, steal_s=10.0, count=4),
    load_1min=2.0,
    oom_kills=OomKills(host=5, cgroup=None),
    clock_offset_s=-1.5,
    uptime_s=9000.0,
    kernel=(),
)
Told = dict[tuple[str, str], float | None]


def told(*looks: HostFacts, places: tuple[str, ...] = ()) -> Told:
    """The readings of the last of these looks."""
    made, found = MachineReadings(volumes=True), ()
    for facts in looks:
        found = made.of(facts, places=places)
    return {(r.name, r.subject): r.value for r in found}


def changed(**changes: Any) -> HostFacts:
    return replace(FACTS, **changes)


def test_one_look_makes_every_reading() -> None:
    assert told(FACTS, places=("/data",)) == {
        ("service_running", "db"): 1.0,
        ("container_restarts_total", ""): 3.0,
        ("memory_available_pct", ""): 25.0,
        ("cpu_steal_pct", ""): None,
        ("load_per_cpu", ""): 0.5,
        ("oom_kills_total", "machine"): 5.0,
        ("clock_offset_s", ""): 1.5,
        ("uptime_s", ""): 9000.0,
        **{("kernel_messages_total", trouble.value): 0.0 for trouble in KernelTrouble},
        ("volume_free_bytes", "/"): 25.0 * GIB,
        ("volume_free_pct", "/"): 25.0,
        ("inodes_free_pct", "/"): 10.0,
        ("volume_read_only", "/"): 0.0,
    }


def test_stolen_time_is_a_share_of_what_passed_between_two_looks() -> None:
    later = changed(cpu=CpuTimes(total_s=1100.0, steal_s=35.0, count=4))
    assert told(FACTS, later)["cpu_steal_pct", ""] == 25.0


@pytest.mark.parametrize(
    "later", [CpuTimes(total_s=5.0, steal_s=0.0, count=4), FACTS.cpu], ids=["reboot", "no time"]
)
def test_counters_that_went_back_or_stood_still_tell_no_share(later: CpuTimes) -> None:
    assert told(FACTS, changed(cpu=later))["cpu_steal_pct", ""] is None


def test_a_look_that_failed_between_two_makes_no_share_of_both() -> None:
    made = MachineReadings(volumes=False)
    made.of(FACTS, places=())
    made.none("gone")
    later = changed(cpu=CpuTimes(total_s=1100.0, steal_s=35.0, count=4))
    steal = [r for r in made.of(later, places=()) if r.name == "cpu_steal_pct"]
    assert [r.value for r in steal] == [None]


def test_what_is_missing_is_none_with_its_reason_under_every_name() -> None:
    fields = ("service", "file_systems", "memory", "cpu", "load_1min", "oom_kills")
    fields += ("clock_offset_s", "uptime_s", "kernel")
    facts = changed(**dict.fromkeys(fields, NO))
    found = MachineReadings(volumes=True).of(facts, places=())
    assert {r.name for r in found} == {*NAMES, *VOLUME_NAMES}
    assert {(r.value, r.subject, r.detail) for r in found} == {(None, "", "it does not tell")}
    assert found == MachineReadings(volumes=True).none("it does not tell")


def test_volumes_that_are_read_elsewhere_are_not_told_twice() -> None:
    found = MachineReadings(volumes=False).of(FACTS, places=())
    assert not {r.name for r in found} & set(VOLUME_NAMES)


@pytest.mark.parametrize(
    ("limit", "used", "cache", "pct"),
    [
        (GIB, GIB, 0, 0.0),
        (GIB, GIB, GIB // 2, 25.0),
        (GIB, GIB, GIB // 8, 12.5),
        (GIB, 0, 0, 25.0),
        (None, GIB, 0, 25.0),
        (GIB, None, 0, 25.0),
        (GIB, 2 * GIB, 0, 0.0),
    ],
)
def test_the_tighter_of_machine_and_limit_counts_and_page_cache_is_available(
    limit: int | None, used: int | None, cache: int, pct: float
) -> None:
    memory = Memory(
        total_bytes=8 * GIB,
        available_bytes=2 * GIB,
        cgroup_limit_bytes=limit,
        cgroup_used_bytes=used,
        cgroup_cache_bytes=cache,
    )
    assert told(changed(memory=memory))["memory_available_pct", ""] == pct


def test_kills_in_the_own_group_and_on_the_machine_never_mix() -> None:
    own = told(changed(oom_kills=OomKills(host=5, cgroup=1, own_group=True)))
    assert [(s, v) for (n, s), v in own.items() if n == "oom_kills_total"] == [("", 1.0)]


def message(at_s: float) -> KernelMessage:
    return KernelMessage(trouble=KernelTrouble.IO_ERROR, since_boot_s=at_s, text="I/O error")


def test_kernel_messages_count_from_the_first_look_on_and_each_once() -> None:
    old, new, newer = message(10), message(20), message(30)
    key = ("kernel_messages_total", "io_error")
    assert told(changed(kernel=(old,)))[key] == 0.0
    assert told(changed(kernel=(old,)), changed(kernel=(old, new)))[key] == 1.0
    looks = [changed(kernel=k) for k in ((old,), (old, new), (old, new), (new, newer))]
    assert told(*looks)[key] == 2.0


def test_after_a_reboot_messages_count_though_their_clock_began_anew() -> None:
    before = changed(kernel=(message(5000),))
    after = changed(kernel=(message(3),), uptime_s=30.0)
    assert told(before, after)["kernel_messages_total", "io_error"] == 1.0


def test_a_server_that_ended_says_how_in_words() -> None:
    ended = ServiceState(
        name="db", running=False, status="exited", exit_code=137, oom_killed=True, restarts=0
    )
    found = MachineReadings(volumes=False).of(changed(service=ended), places=())
    assert (found[0].value, found[0].detail) == (
        0.0,
        "exited, exit code 137, killed for want of memory",
    )


def disk(mount: str, *, total: int = 10 * GIB) -> FileSystem:
    return FileSystem(mount=mount, total_bytes=total, free_bytes=total // 2)


def mounts(*places: str, own: bool = False) -> list[str]:
    found = [
        disk("/"),
        disk("/data"),
        disk("/data/wal"),
        disk("/backup"),
        disk("/tiny", total=4096),
    ]
    return [one.mount for one in relevant(found, places, own=own)]


def test_only_file_systems_of_the_server_and_the_root_count() -> None:
    assert mounts("/data/main", "/var/log/x") == ["/", "/data"]
    assert mounts("/data/wal/x") == ["/", "/data/wal"]
    assert mounts("/tiny/x") == ["/", "/tiny"]
    assert mounts("/database") == ["/"]


def test_in_a_container_all_but_the_small_ones_count() -> None:
    assert mounts(own=True) == ["/", "/data", "/data/wal", "/backup"]
    assert mounts("/tiny/x", own=True) == ["/", "/data", "/data/wal", "/backup", "/tiny"]


def locked(mount: str, *, read_only: bool = True) -> FileSystem:
    return replace(disk(mount), read_only=read_only)


def test_programs_that_are_mounted_read_only_are_no_lost_volume() -> None:
    made = MachineReadings(volumes=True, own=True)
    data = locked("/data", read_only=False)
    facts = changed(file_systems=(locked("/"), locked("/usr"), data))
    found = {r.subject: r.value for r in made.of(facts, places=("/data",)) if "read_only" in r.name}
    assert found == {"/": None, "/usr": None, "/data": 0.0}


def test_what_holds_the_data_or_took_writes_before_must_take_them() -> None:
    made = MachineReadings(volumes=True, own=True)
    made.of(changed(file_systems=(locked("/spaces", read_only=False),)), places=("/data",))
    facts = changed(file_systems=(locked("/spaces"), locked("/data")))
    found = {r.subject: r.value for r in made.of(facts, places=("/data",)) if "read_only" in r.name}
    assert found == {"/spaces": 1.0, "/data": 1.0}


def test_where_the_data_lies_nobody_knows_its_space_is_unknown_and_not_somebody_elses() -> None:
    facts = changed(file_systems=(disk("/"), disk("/data"), disk("/backup")))
    found = told(facts)
    assert {s for n, s in found if n == "volume_free_bytes"} == {"/", ""}
    assert found["volume_free_bytes", ""] is None
    known = told(facts, places=("/data/main",))
    assert {s for n, s in known if n == "volume_free_bytes"} == {"/", "/data"}
