"""Who uses this machine's processors: a program that burns one, and a server beside it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from stanch.adapters.hosts.processor_use import ProcessorWatch
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.diagnosis import Missing
from stanch.model.host import ProcessorUse

pytestmark = pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system has no /proc")


def used(folder: str | Path, within_s: float = 2.0, proc: Path = Path("/proc")) -> object:
    return asyncio.run(ProcessorWatch(str(folder), proc=proc).used(within_s))


@pytest.fixture
def burner() -> Generator[int]:
    command = (sys.executable, "-c", "while True: pass")
    with subprocess.Popen(command) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def test_a_program_that_burns_a_processor_is_seen_beside_the_server(
    shared_server: ScratchServer, burner: int
) -> None:
    # On a busy machine its turn may come late.
    until_s = time.monotonic() + 30
    while True:
        seen = used(shared_server.data_directory)
        assert isinstance(seen, ProcessorUse)
        assert seen.processors == os.cpu_count()
        found = next((p for p in seen.programs if p.pid == burner and p.used > seen.server), None)
        if found is not None or time.monotonic() > until_s:
            break
    assert found is not None
    assert found.used > 0.1
    assert 0 <= seen.idle <= seen.processors
    assert os.getpid() not in {program.pid for program in seen.programs}
    assert seen.server_waited_share is None or 0 <= seen.server_waited_share <= 1


def test_without_a_server_there_is_nobody_to_compare_with(tmp_path: Path) -> None:
    seen = used(tmp_path)
    assert isinstance(seen, Missing)
    assert "no server" in seen.reason


def test_where_time_or_the_files_are_missing_it_says_so(tmp_path: Path) -> None:
    short, none = used(tmp_path, within_s=0.2), used(tmp_path, proc=tmp_path)
    assert isinstance(short, Missing)
    assert "no time" in short.reason
    assert isinstance(none, Missing)


def processes(proc: Path, ticks: dict[str, int], *, total: int) -> None:
    """A /proc as the kernel writes it."""
    proc.mkdir(exist_ok=True)
    rest = f"{total} 0 0 {total} 0 0 0 0 0 0"
    (proc / "stat").write_text(f"cpu  {rest}\ncpu0 {rest}\ncpu1 {rest}\nintr 1\n")
    parents = {"7": 1, "8": 7, "9": 8, "50": 1, "2": 0}
    for pid, used_ticks in ticks.items():
        (proc / pid).mkdir(exist_ok=True)
        flags = 0x00200000 if pid == "2" else 0
        head = f"{pid} (a) b (c)) R {parents[pid]} 1 1 0 -1 {flags} 0 0 0 0 {used_ticks} 0"
        (proc / pid / "stat").write_text(f"{head} 0 0 20 0 1 0 99 0 0")
        (proc / pid / "schedstat").write_text(f"{used_ticks * 10} {used_ticks * 30} 5\n")


def test_what_the_server_started_is_the_servers_and_kernel_threads_are_nobodys(
    tmp_path: Path,
) -> None:
    (tmp_path / "postmaster.pid").write_text("7\n/srv\n")
    proc = tmp_path / "proc"
    processes(proc, {"7": 0, "8": 0, "9": 0, "50": 0, "2": 0}, total=0)
    watch = ProcessorWatch(str(tmp_path), proc=proc)

    async def look() -> object:
        looking = asyncio.create_task(watch.used(0.6))
        await asyncio.sleep(0.15)
        processes(proc, {"7": 5, "8": 10, "9": 25, "50": 100, "2": 90}, total=100)
        return await looking

    seen = asyncio.run(look())
    assert isinstance(seen, ProcessorUse)
    assert (seen.processors, seen.idle, seen.server) == (2, 1.0, 0.4)
    assert [(p.pid, p.name, p.used) for p in seen.programs] == [(50, "a) b (c)", 1.0)]
    assert seen.server_waited_share == 0.75
