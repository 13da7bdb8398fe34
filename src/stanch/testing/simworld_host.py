"""The machine of one simulated server, as one life of the responder may read it."""

from __future__ import annotations

from datetime import timedelta

from stanch.model.diagnosis import Missing
from stanch.model.host import (
    ContainerSigns,
    DataDirectoryProcesses,
    DeletedOpenFile,
    DirectorySizes,
    FileHolds,
    LockFileRead,
    LogChunk,
    LogPosition,
    Memory,
    OomKills,
    ProcessInfo,
    SharedMemory,
    TempRelationFile,
    Volume,
    VolumeUse,
)
from stanch.model.ports.traces import KernelKill, KernelStall, StartFiles, WalOnDisk
from stanch.testing.simworld import SimServer
from stanch.testing.simworld_life import Life
from stanch.testing.simworld_parts import SERVER_UID, TOTAL_BYTES

NOT_SEEN = "not part of this world"


class SimHost:
    """The server's machine: lock file, processes, volumes, log, control file."""

    def __init__(self, server: SimServer, life: Life) -> None:
        self._server, self._life = server, life

    async def lock_file(self) -> LockFileRead | Missing | None:
        self._life.check()
        server = self._server
        if server.lock_inode is None:
            return None
        return LockFileRead(
            path=f"{server.data_directory}/postmaster.pid",
            content=server.lock_content,
            device=1,
            inode=server.lock_inode,
            modified_at=server.started_at,
        )

    async def process(self, pid: int) -> ProcessInfo | Missing | None:
        self._life.check()
        server = self._server
        if pid == server.postmaster:
            return self._postmaster(pid)
        stranger = server.strangers.get(pid)
        if stranger is None:
            return None
        return ProcessInfo(
            pid=pid,
            ppid=1,
            started_at=stranger.started_at + timedelta(hours=1),
            exe="/usr/bin/sleep",
            cwd="/",
            title="sleep 1000",
            state="sleeping",
            uid=SERVER_UID,
        )

    def _postmaster(self, pid: int) -> ProcessInfo:
        return ProcessInfo(
            pid=pid,
            ppid=1,
            started_at=self._server.started_at,
            exe="/usr/lib/postgresql/15/bin/postgres",
            cwd=self._server.data_directory,
            title=f"postgres -D {self._server.data_directory}",
            state="sleeping",
            uid=SERVER_UID,
        )

    async def data_directory_processes(self) -> DataDirectoryProcesses | Missing:
        self._life.check()
        pid = self._server.postmaster
        alive = None if pid is None else self._postmaster(pid)
        return DataDirectoryProcesses(postmaster=alive, members=(), orphans=(), holders=())

    async def file_holds(self, *, deadline_s: float) -> FileHolds | Missing:
        self._life.check()
        if self._server.postmaster is not None:
            return FileHolds(held=("base/5/2619",), files=900, complete=False)
        return FileHolds(held=(), files=901, complete=True)

    async def boot_id(self) -> str | Missing:
        return self._server.clock.boot_id

    async def shared_memory(self, shm_id: int) -> SharedMemory | Missing:
        attached = 5 if self._server.postmaster is not None else 0
        return SharedMemory(shm_id=shm_id, exists=attached > 0, attached=attached)

    async def volumes(self) -> tuple[Volume | Missing, ...]:
        self._life.check()
        return tuple([self._volume(use) for use in (VolumeUse.DATA, VolumeUse.WAL)])

    async def volume(self, use: VolumeUse, path: str) -> Volume | Missing:
        return self._volume(use)

    def _volume(self, use: VolumeUse) -> Volume:
        return Volume(
            use=use,
            path=self._server.data_directory,
            mount_point=f"/srv/{self._server.name}",
            device="/dev/vdb",
            fs_type="ext4",
            total_bytes=TOTAL_BYTES,
            free_bytes=self._server.free_bytes,
            inodes_total=1_000_000,
            inodes_free=900_000,
            network=False,
            read_only=False,
        )

    async def memory(self) -> Memory | Missing:
        return Memory(total_bytes=2**34, available_bytes=2**33)

    async def oom_kills(self) -> OomKills | Missing:
        return OomKills(host=0, cgroup=None)

    async def controldata(self, *, deadline_s: float) -> str | Missing:
        self._life.check()
        state = "shut down" if self._server.ended_cleanly else "in production"
        return (
            f"Database system identifier:           {self._server.system_identifier}\n"
            f"Database cluster state:               {state}\n"
            "Latest checkpoint location:           0/2000060\n"
            "Bytes per WAL segment:                16777216\n"
            "Data page checksum version:           0\n"
        )

    async def log_tail(self, *, bytes_max: int) -> LogChunk | Missing:
        self._life.check()
        content = "".join(f"{line}\n" for line in self._server.log).encode()[-bytes_max:]
        path = f"{self._server.data_directory}/log/postgresql.log"
        position = LogPosition(path=path, device=1, inode=2, offset=len(content))
        return LogChunk(path=path, content=content, position=position)

    async def log_since(self, position: LogPosition, *, bytes_max: int) -> LogChunk | Missing:
        return Missing(what="log", reason=NOT_SEEN)

    async def directory_sizes(self, *, deadline_s: float) -> DirectorySizes | Missing:
        return DirectorySizes(
            wal_bytes=64 * 1024 * 1024,
            wal_segments=4,
            archive_ready=0,
            base_bytes=2**30,
            temp_bytes=0,
            log_bytes=None,
        )

    async def deleted_open_files(self) -> tuple[DeletedOpenFile, ...] | Missing:
        return ()

    async def temp_relation_files(self) -> tuple[TempRelationFile, ...] | Missing:
        return ()

    async def container_signs(self) -> ContainerSigns:
        return ContainerSigns(in_container=False)


class SimTraces:
    """Nothing was killed for memory, and nothing retains WAL."""

    async def kernel_kills(self) -> tuple[KernelKill, ...] | Missing:
        return ()

    async def kernel_stalls(self) -> tuple[KernelStall, ...]:
        return ()

    async def kernel_pids_are_ours(self) -> bool:
        return True

    async def wal_on_disk(self, *, segment_bytes: int) -> WalOnDisk | Missing:
        return WalOnDisk(slots=(), newest_lsn=50331648, segment_bytes=segment_bytes)

    async def start_files(self) -> StartFiles | Missing:
        return StartFiles(version="18", control_file=True)

    async def owner_uid(self) -> int | Missing:
        return SERVER_UID
