"""What is noted of a server while it lives, also where its files do not answer."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from samplings import ORDERS, T0, vitals
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.ports.server import Row, SqlParams
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.diagnosing import Located
from stanch.service.watched.home import Home
from stanch.service.watched.life import Life
from stanch.service.watched.noting import Kept, note_path, read_note, write_note

ELSEWHERE = Missing(what="host", reason="elsewhere")
POLICY = TargetPolicy(name=ORDERS, dsn="host=db.example.com user=x")
ALIVE = vitals()
RESTARTED = replace(ALIVE, postmaster_start=ALIVE.postmaster_start + timedelta(hours=1))


class NoAnswer:
    """A server that tells nothing of itself."""

    async def fetch_json(
        self, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> str:
        raise ProbeFailed("nothing is told here")

    async def fetch_rows(
        self, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> tuple[Row, ...]:
        raise ProbeFailed("nothing is told here")


class DeadMount:
    """Files that answer nobody until they are mended."""

    def __init__(self) -> None:
        self.mended = asyncio.Event()
        self.asked = 0

    async def find(self, target: TargetPolicy, *, data_directory: str = "") -> Home:
        self.asked += 1
        await self.mended.wait()
        located = Located(place=ELSEWHERE, host=ELSEWHERE, traces=ELSEWHERE)
        return Home(located=located, manager=None, data_directory="/d", bin_directory="", log="")


async def note(life: Life, *, after_s: float = 0.0, began: bool = False) -> None:
    async with asyncio.timeout(5):
        at = T0 + timedelta(seconds=after_s)
        await life.note_down(at, RESTARTED if began else ALIVE)


async def test_a_dead_mount_keeps_nobody_from_watching_and_the_note_comes_once_it_answers(
    tmp_path: Path,
) -> None:
    files, path = DeadMount(), note_path(tmp_path, POLICY)
    life = Life(POLICY, NoAnswer(), state=tmp_path, find=files.find, note_s=0.1)
    for second in range(5):
        await note(life, after_s=second)
    assert (files.asked, read_note(path)) == (1, None), "asked once, and nobody waits"
    assert life.vitals_before is not None
    files.mended.set()
    async with asyncio.timeout(10):
        while (kept := read_note(path)) is None:
            await note(life)
            await asyncio.sleep(0.01)
    assert (kept.data_directory, kept.roles) == ("/d", ((T0, True),))


async def test_what_changed_while_a_note_was_late_is_noted_next(tmp_path: Path) -> None:
    files = DeadMount()
    life = Life(POLICY, NoAnswer(), state=tmp_path, find=files.find, note_s=0.1)
    await note(life)
    await note(life, began=True)
    assert files.asked == 1
    files.mended.set()
    async with asyncio.timeout(10):
        while files.asked < 2:
            await note(life, began=True)
            await asyncio.sleep(0.01)


async def test_a_state_directory_that_hangs_keeps_nobody_from_watching(tmp_path: Path) -> None:
    mended, written = threading.Event(), list[Kept]()

    def write(path: Path, kept: Kept) -> None:
        mended.wait(10)
        written.append(kept)

    files = DeadMount()
    files.mended.set()
    life = Life(POLICY, NoAnswer(), state=tmp_path, find=files.find, write=write, note_s=0.1)
    for second in range(3):
        await note(life, after_s=second)
    assert not written
    mended.set()
    async with asyncio.timeout(10):
        while not written:
            await asyncio.sleep(0.01)
    assert len(written) == 1


async def test_where_files_answer_the_note_is_there_before_the_sample_is_told(
    tmp_path: Path,
) -> None:
    files = DeadMount()
    files.mended.set()
    life = Life(POLICY, NoAnswer(), state=tmp_path, find=files.find, write=write_note)
    await note(life)
    assert read_note(note_path(tmp_path, POLICY)) is not None
