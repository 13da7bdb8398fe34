"""What a runbook has read before anything is done: all at once, told short, never in the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from acting_worlds import AT, bare_world, run, step, world_of
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.sentinel import Sentinel
from stanch.model.diagnosis import Missing
from stanch.model.host import LogChunk, LogPosition, Volume, VolumeUse
from stanch.model.plans import StepOutcome
from stanch.model.ports.server import SqlParams
from stanch.model.vitals import SessionGroup, SlotVitals
from stanch.respond.actions.gather.run import GATHER
from stanch.respond.gathering import told
from stanch.respond.gathering.run import GATHERABLE, as_text, gather
from stanch.steps.executor import SHORT_CHARS

HOSTILE = "x\x1b[2J\ny"


@dataclass
class SlowReader:
    late_s: float
    asked: int = 0

    async def fetch_json(
        self, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> str:
        self.asked += 1
        await asyncio.sleep(self.late_s)
        return "{}"

    async def fetch_rows(
        self, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> tuple[Mapping[str, str | None], ...]:
        raise AssertionError(sql)


def chunk(text: str) -> LogChunk:
    position = LogPosition(path="/log", device=1, inode=1, offset=0)
    return LogChunk(path="/log", content=text.encode(), position=position)


async def test_where_nothing_can_be_read_everything_is_missing_with_its_reason() -> None:
    found = await gather(list(GATHERABLE), bare_world(), deadline_s=1)
    assert [one.name for one in found] == list(GATHERABLE)
    assert all(one.missing and not one.lines for one in found)


async def test_what_is_late_is_missing_and_the_step_is_done_all_the_same() -> None:
    reader = SlowReader(late_s=60)
    world = replace(bare_world(), reader=reader)
    began_s = time.monotonic()
    done, log = await run(GATHER, step("gather", deadline_s=2, what="sessions, slots"), world)
    assert time.monotonic() - began_s < 5
    assert done.outcome is StepOutcome.DONE
    assert log.ended().detail == "read nothing; not sessions, slots"
    assert "no answer within" in log.ended().before
    assert reader.asked == 1, "vitals are asked for once for all who want them"


async def test_a_real_server_tells_all_of_it(server: ScratchServer, tmp_path: Path) -> None:
    sentinel = Sentinel(server.dsn("stanch_watch"))
    await sentinel.connect()
    world = world_of(server, tmp_path, sessions=[sentinel])
    try:
        server.query("SELECT pg_create_physical_replication_slot('left_behind', true)")
        what = ", ".join(GATHERABLE)
        done, log = await run(GATHER, step("gather", deadline_s=10, what=what), world)
    finally:
        sentinel.close()
    text = log.ended().before
    assert done.outcome is StepOutcome.DONE
    assert "; not" not in log.ended().detail, text
    for words in (
        "connections are in use",
        "nobody waits for anybody",
        "left_behind (physical) is not in use",
        "this server archives nothing",
        "nobody receives from this server",
        "data on ",
        "state: in production",
        "postmaster.pid: ",
        "runs since",
        "database system is ready to accept connections",
    ):
        assert words in text, words


def test_the_log_is_told_in_the_servers_own_words_and_never_in_a_clients() -> None:
    text = "\n".join(
        (
            "2026-01-01 LOG:  database system was shut down",
            "2026-01-01 ERROR:  duplicate key value: (anna@example.com)",
            "2026-01-01 DETAIL:  Key (mail)=(anna@example.com) already exists.",
            "2026-01-01 STATEMENT:  INSERT INTO t VALUES ('anna@example.com')",
            "2026-01-01 LOG:  duration: 3 ms  statement: SELECT 'anna@example.com'",
            f"2026-01-01 FATAL:  no such role {HOSTILE}",
        )
    )
    lines = list(told.log(chunk(text)))
    assert lines[0].startswith("2026-01-01 FATAL:  no such role x\\x1b[2J")
    assert lines[1:] == ["2026-01-01 LOG:  database system was shut down"]


def test_a_log_without_a_word_of_its_own_says_so() -> None:
    [line] = told.log(chunk("2026-01-01 ERROR:  x"))
    assert "no word of the server's own among the last 1 lines" in line


def test_slots_that_hold_most_come_first() -> None:
    small = SlotVitals(name="small", slot_type="logical", active=True, retained_bytes=1)
    large = replace(
        small,
        name=HOSTILE,
        active=False,
        retained_bytes=2**31,
        inactive_since=AT,
        wal_status="lost",
    )
    first, second = told.slots([small, large])
    assert first == f"x\\x1b[2J\\ny (logical) is not in use since {AT:%Y-%m-%d %H:%M:%S} UTC" + (
        " and holds 2.0 GiB, lost"
    )
    assert second == "small (logical) is in use and holds 1 B"


def test_a_volume_that_cannot_be_read_hides_no_other() -> None:
    volume = Volume(
        use=VolumeUse.DATA,
        path="/data",
        mount_point="/data",
        device="/dev/sda1",
        fs_type="ext4",
        total_bytes=100 * 2**30,
        free_bytes=2**30,
        inodes_total=None,
        inodes_free=None,
        network=False,
        read_only=True,
    )
    lines = list(told.volumes([Missing(what="wal", reason="no right"), volume]))
    assert lines == [
        "wal: not read (no right)",
        "data on /data: 1.0 GiB of 100.0 GiB free, 1 %, READ-ONLY",
    ]


async def test_a_timeline_keeps_some_of_each_thing() -> None:
    group = SessionGroup(
        application_name="a" * 500, usename="u", datname="d", state="idle", sessions=1
    )
    assert len(told.group_line(group)) < 200
    found = await gather(["sessions", "slots"], bare_world(), deadline_s=1)
    long = [replace(one, missing="", lines=("x" * 5000,)) for one in found]
    text = as_text(long)
    assert "sessions (" in text
    assert "slots (" in text
    assert len(text) <= SHORT_CHARS


@pytest.mark.parametrize("name", GATHERABLE)
def test_everything_that_can_be_gathered_says_what_it_is(name: str) -> None:
    assert GATHERABLE[name].what.endswith(".")
