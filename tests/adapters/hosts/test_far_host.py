"""A machine seen from afar, as a diagnosis asks it: with fewer rights, cut short, without files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fix_servers import MakeServer
from stanch.adapters.hosts.commands import LocalCommands, Printed
from stanch.adapters.hosts.far_host import FarHost
from stanch.adapters.hosts.far_traces import FarTraces
from stanch.adapters.hosts.far_volumes import parse_volumes, volumes_of_look
from stanch.adapters.hosts.local import LocalHost
from stanch.adapters.hosts.log_files import LogFile
from stanch.adapters.hosts.traces import LocalTraces
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.diagnosis import Missing
from stanch.model.host import LogChunk, Volume
from stanch.model.machine import FileSystem, HostFacts, KernelMessage, KernelTrouble

GIB = 1024**3
NOBODY = "65534"


class As:
    """`Commands` on this machine as another OS user."""

    source = "test"

    def __init__(self, *prefix: str) -> None:
        self._prefix = prefix

    async def printed(self, *argv: str, bytes_max: int, deadline_s: float) -> Printed | Missing:
        return await LocalCommands().printed(
            *self._prefix, *argv, bytes_max=bytes_max, deadline_s=deadline_s
        )

    async def close(self) -> None: ...


ORDINARY = As("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


class Cut:
    """`Commands` whose connection is slow: only the beginning of each output arrives."""

    source = "test"

    def __init__(self, share: float) -> None:
        self._share = share

    async def printed(self, *argv: str, bytes_max: int, deadline_s: float) -> Printed | Missing:
        whole = await LocalCommands().printed(*argv, bytes_max=bytes_max, deadline_s=deadline_s)
        assert isinstance(whole, Printed)
        kept = whole.output[: int(len(whole.output) * self._share)]
        return Printed(output=kept, exit_code=None, incomplete="no end within 1 s")

    async def close(self) -> None: ...


FACTS = HostFacts(
    at=datetime(2026, 3, 1, 3, tzinfo=UTC),
    source="test",
    service=Missing(what="service", reason="not asked"),
    file_systems=(
        FileSystem(mount="/", total_bytes=50 * GIB, free_bytes=20 * GIB),
        FileSystem(mount="/srv/pg", total_bytes=100 * GIB, free_bytes=GIB),
    ),
    memory=Missing(what="memory", reason="not asked"),
    cpu=Missing(what="cpu", reason="not asked"),
    load_1min=0.1,
    oom_kills=Missing(what="oom kills", reason="not asked"),
    clock_offset_s=30.0,
    uptime_s=3600.0,
    kernel=(
        KernelMessage(
            trouble=KernelTrouble.OOM_KILL,
            since_boot_s=3590.0,
            text="Out of memory: Killed process 4711 (postgres) total-vm:1kB",
        ),
        KernelMessage(trouble=KernelTrouble.IO_ERROR, since_boot_s=1.0, text="I/O error, dev sda"),
    ),
)


class Machine:
    """A `MachineReader` that says what it is told to."""

    source = "test"

    def __init__(self, facts: HostFacts | Missing = FACTS) -> None:
        self._facts = facts

    async def facts(self, *, deadline_s: float) -> HostFacts | Missing:
        return self._facts

    async def close(self) -> None: ...


def far(
    commands: As | Cut | LocalCommands | None,
    server: ScratchServer | None = None,
    *,
    data_directory: str = "",
    own: bool = False,
    facts: HostFacts | Missing = FACTS,
) -> FarHost:
    return FarHost(
        Machine(facts),
        commands,
        log=Missing(what="log", reason="no log of its own"),
        log_at=LogFile,
        given_log="",
        data_directory=data_directory,
        port=server.port if server is not None else 5432,
        own=own,
        still=None,
        deadline_s=20,
    )


@pytest.fixture
async def host(server: ScratchServer) -> AsyncIterator[FarHost]:
    made = far(LocalCommands(), server)
    yield made
    await made.close()


async def test_it_reads_what_a_reader_on_the_machine_reads(
    host: FarHost, server: ScratchServer
) -> None:
    folder = str(server.data_directory)
    local, traces = LocalHost(data_directory=folder), FarTraces(host, own=False)
    here = LocalTraces(folder)
    lock, known = await host.lock_file(), await local.lock_file()
    assert lock == replace(known, modified_at=lock.modified_at)  # type: ignore[union-attr,type-var]
    assert await host.boot_id() == await local.boot_id()
    assert await traces.start_files() == await here.start_files()
    assert await traces.owner_uid() == await here.owner_uid()
    assert await traces.kernel_pids_are_ours() == await here.kernel_pids_are_ours()
    mine = await here.wal_on_disk(segment_bytes=2**20)
    assert await traces.wal_on_disk(segment_bytes=16 * 2**20) == mine, "the file tells its size"
    segment = int(lock.content.split(b"\n")[6].split()[1])  # type: ignore[union-attr]
    assert await host.shared_memory(segment) == await local.shared_memory(segment)
    chunk = await host.log_tail(bytes_max=65536)
    assert isinstance(chunk, LogChunk)
    assert chunk.path == str(server.log_path)
    assert b"ready to accept connections" in chunk.content


async def test_sizes_are_those_of_the_files(host: FarHost, server: ScratchServer) -> None:
    local = LocalHost(data_directory=str(server.data_directory))
    ours = await host.directory_sizes(deadline_s=20)
    theirs = await local.directory_sizes(deadline_s=20)
    assert not isinstance(ours, Missing)
    assert not isinstance(theirs, Missing)
    assert ours.complete
    assert ours.wal_segments == theirs.wal_segments
    assert abs(ours.wal_bytes - theirs.wal_bytes) <= 256 * 1024
    assert abs(ours.base_bytes - theirs.base_bytes) <= 4 * 2**20


async def test_each_volume_is_told_with_what_lies_on_it(make_server: MakeServer) -> None:
    server = make_server(wal_volume_mb=96)
    host = far(LocalCommands(), server)
    seen = {v.use.value: v for v in await host.volumes() if isinstance(v, Volume)}
    await host.close()
    local = LocalHost(data_directory=str(server.data_directory))
    for one in await local.volumes():
        assert isinstance(one, Volume)
        if one.use.value == "log":
            continue
        ours = seen[one.use.value]
        assert (ours.mount_point, ours.total_bytes) == (one.mount_point, one.total_bytes)
        assert (ours.fs_type, ours.network, ours.read_only) == (one.fs_type, False, False)
    assert seen["wal"].mount_point != seen["data"].mount_point


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another OS user")
async def test_an_ordinary_user_sees_the_processes_and_is_told_what_it_may_not_read(
    server: ScratchServer,
) -> None:
    host = far(ORDINARY, server, data_directory=str(server.data_directory))
    processes = await host.data_directory_processes()
    denied = await host.controldata(deadline_s=5)
    sizes = await host.directory_sizes(deadline_s=5)
    await host.close()
    assert not isinstance(processes, Missing), processes
    assert processes.postmaster is not None, processes
    assert processes.postmaster.pid == server.postmaster_pid()
    assert processes.members
    assert isinstance(denied, Missing)
    assert "may" in denied.reason
    assert str(server.data_directory) in denied.reason
    assert isinstance(sizes, Missing)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2, 0.5, 0.8, 0.97])
async def test_an_answer_that_is_cut_short_is_never_taken_for_absence(
    server: ScratchServer, share: float
) -> None:
    host = far(Cut(share), server, data_directory=str(server.data_directory))
    traces = FarTraces(host, own=False)
    lock, start = await host.lock_file(), await traces.start_files()
    processes, volumes = await host.data_directory_processes(), await host.volumes()
    await host.close()
    assert lock is not None, "a running server has one"
    assert isinstance(start, Missing) or start.control_file
    if not isinstance(processes, Missing):
        assert processes.postmaster is not None
    assert volumes


async def test_what_shows_no_files_says_so_and_which_way_it_is_seen() -> None:
    host = far(None)
    for found in (
        await host.lock_file(),
        await host.controldata(deadline_s=1),
        await host.data_directory_processes(),
        await host.directory_sizes(deadline_s=1),
        await FarTraces(host, own=True).start_files(),
    ):
        assert isinstance(found, Missing)
        assert "shows no files" in found.reason
    await host.close()


async def test_kills_are_told_by_the_clock_of_their_machine() -> None:
    host = far(None)
    kills = await FarTraces(host, own=False).kernel_kills()
    await host.close()
    assert not isinstance(kills, Missing)
    [kill] = kills
    assert (kill.pid, kill.name) == (4711, "postgres")
    assert kill.at == datetime(2026, 3, 1, 3, 0, 20, tzinfo=UTC)


async def test_a_machine_that_does_not_answer_is_missing_with_its_reason() -> None:
    gone = Missing(what="host", reason="ssh db1: connection refused")
    host = far(None, facts=gone)
    assert await FarTraces(host, own=False).kernel_kills() is gone
    assert await host.memory() is gone
    assert await host.volumes() == (gone,)
    await host.close()


async def test_who_stops_waiting_leaves_the_answer_to_the_others(server: ScratchServer) -> None:
    host = far(LocalCommands(), server)
    impatient = asyncio.create_task(host.lock_file())
    patient = asyncio.create_task(host.controldata(deadline_s=10))
    await asyncio.sleep(0)
    impatient.cancel()
    assert isinstance(await patient, str)
    await host.close()


# --- volumes of a look --------------------------------------------------------------------------

NODE = FileSystem(mount="node", total_bytes=100 * GIB, free_bytes=0)
DATA = FileSystem(mount="/var/lib/pg", total_bytes=10 * GIB, free_bytes=GIB)
WAL = FileSystem(mount="/var/lib/pg/pg_wal", total_bytes=10 * GIB, free_bytes=GIB)
OTHER = FileSystem(mount="/backups", total_bytes=10 * GIB, free_bytes=0)


@pytest.mark.parametrize(
    ("found", "folder", "own", "uses"),
    [
        ((NODE, DATA), "", True, {"data": "/var/lib/pg", "wal": "/var/lib/pg"}),
        ((NODE, DATA, OTHER), "", True, {}),
        ((NODE, DATA, OTHER), "/var/lib/pg/data", True, {"data": "/var/lib/pg"}),
        ((DATA, WAL), "/var/lib/pg", True, {"data": "/var/lib/pg", "wal": "/var/lib/pg/pg_wal"}),
        ((DATA, OTHER), "", False, {}),
        ((DATA,), "/srv/pg", False, {}),
        ((NODE,), "/var/lib/pg", True, {}),
    ],
)
def test_a_volume_is_the_servers_only_where_that_is_plain(
    found: tuple[FileSystem, ...], folder: str, own: bool, uses: dict[str, str]
) -> None:
    seen = volumes_of_look(found, folder, own=own)
    told = {v.use.value: v.mount_point for v in seen if isinstance(v, Volume)}
    assert told == uses
    if not uses:
        assert "--data-directory" in seen[0].reason  # type: ignore[union-attr]


def test_a_folder_that_df_does_not_answer_for_is_said() -> None:
    df = "/dev/sda 1000 400 600 40% /srv"
    parts = {"mounts": "/dev/sda /srv ext4 ro 0 0\n", "volumes": f"data /srv/pg\n{df}\n{df}\n"}
    seen = parse_volumes(parts)
    assert isinstance(seen[0], Volume)
    assert (seen[0].read_only, seen[0].free_bytes) == (True, 600 * 1024)
    assert isinstance(seen[1], Missing)
    assert "dead network mount" in seen[1].reason
    assert all(isinstance(v, Volume) for v in parse_volumes({**parts, "end": ""}))
    broken = parse_volumes({"mounts": "", "volumes": "data /srv/pg\n\n\n", "end": ""})
    assert isinstance(broken[0], Missing)


def test_nothing_here_writes() -> None:
    text = Path("src/stanch/facts/machines/far_scripts.py").read_text()
    assert not [w for w in ("rm ", "mv ", "touch ", "tee ", " kill ", "chmod") if w in text]
