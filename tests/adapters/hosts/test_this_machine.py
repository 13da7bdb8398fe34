"""The machine we run on: the server's process, the kernel's log, and what an extra is missing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stanch.adapters.hosts.control_groups import MemoryGroup, cache_bytes
from stanch.adapters.hosts.kernel_clock import clock_offset
from stanch.adapters.hosts.kernel_log import KernelLog
from stanch.adapters.hosts.this_machine import ThisMachine
from stanch.model.diagnosis import Missing
from stanch.model.machine import HostFacts, KernelTrouble, ServiceState

KILLED = "3,{n},{us},-;Out of memory: Killed process 42 (postgres)\n"


async def service(folder: Path | str) -> ServiceState | Missing:
    machine = ThisMachine(lambda: str(folder), now=lambda: datetime.now(UTC))
    facts = await machine.facts(deadline_s=5)
    await machine.close()
    assert isinstance(facts, HostFacts)
    return facts.service


def lock(folder: Path, pid: int) -> Path:
    (folder / "postmaster.pid").write_text(f"{pid}\n{folder}\n1795255200\n5432\n")
    return folder


async def test_a_folder_without_a_lock_file_has_no_running_server(tmp_path: Path) -> None:
    found = await service(tmp_path)
    assert found == ServiceState(name=str(tmp_path), running=False, status="no lock file")


async def test_a_lock_file_whose_process_is_another_program_is_no_running_server(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        found = await service(lock(tmp_path, sleeper.pid))
        sleeper.kill()
    assert isinstance(found, ServiceState | Missing)
    if isinstance(found, Missing):  # In a container, where such a file proves nothing.
        assert "inside a container" in found.reason
    else:
        assert (found.running, "another program" in found.status) == (False, True)


async def test_a_lock_file_whose_process_is_gone_is_no_running_server(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    found = await service(lock(tmp_path, ended.pid))
    assert not (isinstance(found, ServiceState) and found.running)


@pytest.mark.parametrize("content", ["", "x\n", "0\n"])
async def test_a_lock_file_without_a_number_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "postmaster.pid").write_text(content)
    assert isinstance(await service(tmp_path), Missing)


async def test_a_folder_that_is_not_known_or_not_there_says_nothing(tmp_path: Path) -> None:
    unknown = await service("")
    assert unknown == Missing(what="service", reason="the data directory is not known")
    assert isinstance(await service(tmp_path / "absent"), Missing)


def test_each_record_of_the_kernels_log_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "kmsg"
    path.write_text(KILLED.format(n=1, us=1_500_000) + "6,2,1600000,-;usb 1-1: new device\n")
    log = KernelLog(path)
    first = log.read()
    assert isinstance(first, tuple)
    assert [(m.trouble, m.since_boot_s) for m in first] == [(KernelTrouble.OOM_KILL, 1.5)]
    assert log.read() == first
    with path.open("a") as file:
        file.write(KILLED.format(n=3, us=2_500_000))
    later = log.read()
    assert isinstance(later, tuple)
    assert [m.since_boot_s for m in later] == [1.5, 2.5]
    log.close()
    assert log.read() == later


def test_a_kernel_log_that_may_not_be_read_is_missing(tmp_path: Path) -> None:
    found = KernelLog(tmp_path / "absent").read()
    assert isinstance(found, Missing)
    assert found.reason.endswith("no such file or directory")


def test_a_clock_is_either_near_the_right_time_or_not_known() -> None:
    offset_s = clock_offset()
    assert isinstance(offset_s, Missing) or abs(offset_s) < 60


@pytest.mark.parametrize(
    ("version", "stat"),
    [
        (1, "inactive_file 1\ntotal_inactive_file 30\ntotal_active_file 12\n"),
        (2, "inactive_file 30\nactive_file 12\n"),
    ],
)
def test_page_cache_is_counted_in_either_version(tmp_path: Path, version: int, stat: str) -> None:
    (tmp_path / "memory.stat").write_text(stat)
    assert cache_bytes(MemoryGroup(path=tmp_path, top=tmp_path, version=version)) == 42
    assert cache_bytes(MemoryGroup(path=tmp_path / "x", top=tmp_path, version=version)) == 0


@pytest.mark.parametrize(
    ("package", "made"),
    [
        (
            "asyncssh",
            "from stanch.adapters.hosts.ssh_link import SshLink as L\n"
            "from stanch.policy.hosts import SshHost\n"
            "asked = L(SshHost(host='db1')).run('true', bytes_max=9, deadline_s=5)\n",
        ),
        (
            "kubernetes_asyncio",
            "from stanch.adapters.hosts.kubernetes_link import KubernetesLink as L\n"
            "from stanch.policy.hosts import KubernetesHost\n"
            "asked = L(KubernetesHost(namespace='a', pod='b')).pod()\n",
        ),
    ],
)
def test_without_the_extra_one_sentence_says_which_it_is(package: str, made: str) -> None:
    head = f"import asyncio, sys\nsys.modules[{package!r}] = None\n"
    argv = [sys.executable, "-c", f"{head}{made}print(asyncio.run(asked))"]
    ran = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "needs stanch[hosts]: pip install 'stanch[hosts]'" in ran.stdout


async def test_looks_beside_each_other_all_end(tmp_path: Path) -> None:
    machine = ThisMachine(lambda: str(tmp_path), now=lambda: datetime.now(UTC))
    for _ in range(5):
        looks = await asyncio.gather(*(machine.facts(deadline_s=5) for _ in range(8)))
        assert all(isinstance(look, HostFacts) for look in looks)
    await machine.close()
