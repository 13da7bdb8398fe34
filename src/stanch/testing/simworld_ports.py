"""The ports to one simulated server, as one life of the responder holds them.

Every call first asks whether that life still lives: a process that was killed reads nothing, does
nothing and hears no answer. Right after each effect the life may end, before anybody is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from stanch.facts.vitals import parse_vitals
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
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
from stanch.model.messages import Dedup, Delivery, Handover, Message
from stanch.model.ports.acting import (
    FileAnswer,
    FileReport,
    KeptFile,
    LoginReading,
    ManagerAnswer,
    ManagerStatus,
    Space,
)
from stanch.model.ports.channels import HandoverResult
from stanch.model.ports.server import Acted, Row, SqlParams
from stanch.model.ports.traces import KernelKill, WalOnDisk
from stanch.model.reach import Reach, ReachState
from stanch.model.vitals import Vitals
from stanch.testing.simworld import SERVER_UID, TOTAL_BYTES, SimServer
from stanch.testing.simworld_life import Life
from stanch.testing.simworld_sql import answer, vitals
from stanch.testing.virtual_time import EPOCH

PROBE_S = 0.001
QUESTION_S = 0.001
LOGIN_S = 0.004
HANDOVER_S = 0.05
NOT_SEEN = "not part of this world"


class SimNet:
    """Probing, knocking and greeting from outside."""

    def __init__(self, server: SimServer, life: Life) -> None:
        self._server, self._life = server, life

    async def probe(self, *, deadline_s: float) -> Reach:
        self._life.check()
        silent = not self._server.reachable
        await asyncio.sleep(deadline_s if silent else PROBE_S)
        self._life.check()
        state = ReachState.TIMEOUT if silent else self._server.reach_for_stanch
        return Reach(state=state, layers=(), elapsed_ms=1.0, at=self._server.clock.now())

    async def knock(self, deadline_s: float) -> bool:
        self._life.check()
        await asyncio.sleep(PROBE_S if self._server.reachable else deadline_s)
        return self._server.reachable


class SimSentinel:
    """The one open session: asked by the watch and by diagnoses."""

    def __init__(self, server: SimServer, life: Life) -> None:
        self._server, self._life = server, life
        self._net = SimNet(server, life)
        self._gone = asyncio.Event()
        self._gone.set()
        self.round_trip_s = QUESTION_S

    @property
    def is_open(self) -> bool:
        return not self._gone.is_set()

    async def open(self, deadline_s: float) -> Reach:
        reach = await self._net.probe(deadline_s=deadline_s)
        if reach.answers:
            self._gone = self._server.gone
        return reach

    async def vitals(self, *, timeout_s: float) -> Vitals:
        await self._ask(timeout_s)
        return parse_vitals(vitals(self._server, self._server.clock.now()))

    async def lost(self) -> datetime:
        await self._gone.wait()
        return self._server.clock.now()

    async def close(self) -> None:
        self._gone = asyncio.Event()
        self._gone.set()

    async def fetch_json(
        self, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> str:
        await self._ask(timeout_s)
        return answer(self._server, sql, params)

    async def fetch_rows(
        self, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> tuple[Row, ...]:
        raise ProbeFailed("this session answers in JSON only", on=self._server.name)

    async def _ask(self, timeout_s: float) -> None:
        self._life.check()
        await asyncio.sleep(QUESTION_S)
        self._life.check()
        if not self.is_open:
            raise ProbeFailed("the session is closed", on=self._server.name)


class SimActor:
    """The acting session; it was opened while there was room, so a full server keeps it."""

    def __init__(self, server: SimServer, life: Life) -> None:
        self._server, self._life = server, life

    async def execute(
        self, sql: str, params: SqlParams | None = None, *, deadline_s: float
    ) -> Acted:
        self._life.check()
        if not self._server.running:
            return Acted(outcome="not_sent", detail="no session")
        before = self._server.done("end")
        outcome = answer(self._server, sql, params)
        if self._server.done("end") > before:
            self._life.boundary("effect end")
        await asyncio.sleep(QUESTION_S)
        return Acted(outcome="done", rows=({"outcome": outcome},))


class SimManager:
    """Starts the server when asked; the start goes on even if nobody waits for it any more."""

    kind = "pg_ctl"

    def __init__(self, server: SimServer, life: Life) -> None:
        self._server, self._life = server, life

    def describe(self) -> str:
        return "the manager of a simulated server"

    async def status(self) -> ManagerStatus | Missing:
        self._life.check()
        return ManagerStatus(
            restarts_by_itself=False,
            other_manager="",
            jobs=(),
            markers=(),
            may_act=True,
            owner_uid=SERVER_UID,
        )

    async def start(self, *, deadline_s: float) -> ManagerAnswer:
        self._life.check()
        refusal = self._server.start()
        self._life.boundary("effect start")
        if refusal:
            return ManagerAnswer(ok=False, detail=refusal)
        try:
            async with asyncio.timeout(deadline_s):
                await self._server.ready.wait()
        except TimeoutError as error:
            raise ProbeFailed("no answer in time", on=self._server.name) from error
        self._life.check()
        return ManagerAnswer(ok=True, detail="server started")


class SimFiles:
    """The three things that are done to files."""

    def __init__(self, server: SimServer, life: Life) -> None:
        self._server, self._life = server, life

    async def set_aside_lock_file(
        self, data_directory: str, *, inode: int, sha256: str, new_name: str
    ) -> FileReport:
        self._life.check()
        if not self._server.rename_lock(inode=inode, sha256=sha256, new_name=new_name):
            return FileReport(answer=FileAnswer.CHANGED, detail="it is another file now")
        self._life.boundary("effect rename")
        return FileReport(
            answer=FileAnswer.DONE,
            detail=f"renamed to {new_name}",
            new_path=f"{data_directory}/{new_name}",
        )

    async def kept_file(self, path: str) -> KeptFile | Missing:
        self._life.check()
        return self._server.files.get(path) or Missing(what=path, reason="there is no such file")

    async def old_logs(
        self, directory: str, *, modified_before: datetime
    ) -> Sequence[KeptFile] | Missing:
        return ()

    async def remove(self, file: KeptFile) -> FileReport:
        self._life.check()
        if not self._server.remove(file):
            return FileReport(answer=FileAnswer.CHANGED, detail="it is another file now")
        self._life.boundary("effect remove")
        return FileReport(
            answer=FileAnswer.DONE,
            detail=f"deleted {file.path}",
            freed_bytes=file.allocated_bytes,
        )

    async def space(self, path: str) -> Space | Missing:
        self._life.check()
        return Space(device=1, total_bytes=TOTAL_BYTES, free_bytes=self._server.free_bytes)


class SimLogin:
    """Logs in as the application and writes one row."""

    def __init__(self, server: SimServer, life: Life) -> None:
        self._server, self._life = server, life

    async def login_and_write(self, *, deadline_s: float) -> LoginReading:
        self._life.check()
        await asyncio.sleep(LOGIN_S)
        self._life.check()
        reach = self._server.reach
        return LoginReading(
            role="app",
            login_ok=reach is ReachState.UP,
            write_ok=self._server.writable if reach is ReachState.UP else None,
            detail="" if reach is ReachState.UP else reach.value,
            took_ms=LOGIN_S * 1000,
        )


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

    async def kernel_pids_are_ours(self) -> bool:
        return True

    async def wal_on_disk(self, *, segment_bytes: int) -> WalOnDisk | Missing:
        return WalOnDisk(slots=(), newest_lsn=50331648, segment_bytes=segment_bytes)

    async def owner_uid(self) -> int | Missing:
        return SERVER_UID


class SimMail:
    """A mail server that keeps what it takes. It outlives every life of the responder."""

    def __init__(self) -> None:
        self.taken: list[tuple[datetime, Message, Delivery]] = []
        self.failing = False
        self.refused = 0


class SimMailChannel:
    """One life's connection to the mail server. `ChannelPort`."""

    dedup: ClassVar[Dedup] = Dedup.KEY

    def __init__(self, mail: SimMail, life: Life) -> None:
        self._mail, self._life = mail, life

    async def send(
        self, message: Message, delivery: Delivery, *, deadline_s: float
    ) -> HandoverResult:
        self._life.check()
        await asyncio.sleep(HANDOVER_S)
        self._life.check()
        if self._mail.failing:
            self._mail.refused += 1
            return HandoverResult(outcome=Handover.FAILED, detail="451 try again later")
        now = EPOCH + timedelta(seconds=asyncio.get_running_loop().time())
        self._mail.taken.append((now, message, delivery))
        self._life.boundary("effect mail")
        await asyncio.sleep(HANDOVER_S)
        self._life.check()
        return HandoverResult(outcome=Handover.ACCEPTED, detail="250 taken")
