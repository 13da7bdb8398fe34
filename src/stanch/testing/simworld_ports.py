"""The ports to one simulated server, as one life of the responder holds them.

Every call first asks whether that life still lives: a process that was killed reads nothing, does
nothing and hears no answer. Right after each effect the life may end, before anybody is told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime

from stanch.facts.vitals import parse_vitals
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.ports.acting import (
    FileAnswer,
    FileReport,
    KeptFile,
    LoginReading,
    ManagerAnswer,
    ManagerStatus,
    Postmaster,
    Space,
)
from stanch.model.ports.server import Acted, Row, SqlParams
from stanch.model.reach import Reach, ReachState
from stanch.model.vitals import Vitals
from stanch.testing.simworld import SimServer
from stanch.testing.simworld_life import Life
from stanch.testing.simworld_parts import SERVER_UID, TOTAL_BYTES
from stanch.testing.simworld_sql import answer, vitals

PROBE_S = 0.001
QUESTION_S = 0.001
LOGIN_S = 0.004


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
        self.unheard = None
        """No kernel keeps an account of a simulated connection."""

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

    async def lost_within(self, wait_s: float) -> datetime | None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                return await self.lost()
        return None

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

    async def stop(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        self._life.check()
        return ManagerAnswer(ok=False, detail="nobody stops a simulated server", another=True)

    async def restart(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        self._life.check()
        return ManagerAnswer(ok=False, detail="nobody restarts a simulated server", another=True)


class SimFiles:
    """The three things that are done to files."""

    def __init__(self, server: SimServer, life: Life) -> None:
        self._server, self._life = server, life

    async def socket_directories(self, data_directory: str) -> tuple[str, ...] | Missing:
        self._life.check()
        return ("/run/sim",)

    async def set_aside_lock_file(
        self,
        data_directory: str,
        *,
        inode: int,
        sha256: str,
        new_name: str,
        sockets: Sequence[str] = (),
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

    async def old_dumps(
        self, directory: str, *, keep: int, modified_before: datetime, now: datetime
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
