"""A flush of WAL that does not end is the storage's fault, whoever asks, and however few wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

import cases_disk as d
import evidences as w
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.flushing.run import is_waited_for, look_at_flushes
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.facts.flushing import FLUSHING_SQL
from stanch.model.diagnosis import Missing, Verdict

MIB = 1024**2
STRANGER = {
    "history": Missing(what="history", reason="nobody watches this server"),
    "changes": Missing(what="changes", reason="nobody watches this server"),
    "onset": None,
}


def waits(stood_s: float, rate: float, *doings: Any, **more: Any) -> Evidence:
    """Few sessions, as on a small server, and all of them wait for WAL."""
    told = (
        w.figure("wal_flush_stood_s", stood_s),
        w.figure("wal_flushed_bytes_per_s", rate),
    )
    waiting = doings or (w.doing(1, "IO:WALSync"), w.doing(1, "LWLock:WALWrite", query_id="2"))
    return w.healthy(
        activity=w.activity(*waiting), figures=d.figures(*told), **{**STRANGER, **more}
    )


def standing(evidence: Evidence) -> list[str]:
    return [c.id for c in diagnose(evidence).causes if c.probability >= STANDS_FROM]


def test_a_flush_that_hangs_is_stalled_storage_though_nobody_knows_what_is_usual() -> None:
    evidence = waits(1.1, 4096)
    assert standing(evidence) == ["storage_stalled"]
    summary = diagnose(evidence).summary
    assert "2 of 2 active sessions wait for it" in summary
    assert "no flush of WAL ended for 1.1 s" in summary


def test_those_who_watched_need_not_have_seen_the_commits_fall() -> None:
    watched = {"history": d.courses(w.course("commits_total", 5, 4)), "onset": w.ago(60)}
    assert standing(waits(1.1, 4096, **watched)) == ["storage_stalled"]


QUIET = {
    "a disk that is slow and flushes": waits(0.12, 90_000),
    "a hiccup": waits(0.3, 2 * MIB),
    "a disk that is busy writing a lot": waits(0.8, 60 * MIB),
    "one session of many that waits": waits(
        0.2, 90_000, w.doing(30), w.doing(1, "IO:WALSync", query_id="2")
    ),
}


@pytest.mark.parametrize("what", sorted(QUIET))
def test_a_flush_that_ends_soon_or_writes_much_is_no_stalled_storage(what: str) -> None:
    assert diagnose(QUIET[what]).verdict is Verdict.HEALTHY


def test_only_a_wait_for_wal_is_worth_looking_at() -> None:
    assert is_waited_for([w.doing(9), w.doing(1, "IO:WalSync")])
    assert is_waited_for([w.doing(1, "LWLock:WALWrite")])
    assert not is_waited_for([w.doing(9), w.doing(9, "IO:DataFileRead")])


def looked(answer: Callable[[int], Any], left_s: float = 2.0) -> tuple[int, dict[str, Any]]:
    """How often was asked, and what came of it."""
    asked = 0

    async def ask(sql: str) -> str | Missing:
        nonlocal asked
        assert sql == FLUSHING_SQL
        asked += 1
        told = answer(asked)
        return told if isinstance(told, Missing) else json.dumps(told)

    found = asyncio.run(look_at_flushes(ask, left_s=lambda: left_s))
    return asked, {reading.name: reading.value for reading in found}


def test_a_disk_that_is_well_is_asked_six_times() -> None:
    asked, told = looked(lambda n: {"flushed": n * 8192, "waiting": 2})
    assert asked == 6
    assert told["wal_flush_stood_s"] == 0.0


def test_a_disk_that_hangs_is_looked_at_for_as_long_as_there_is_time() -> None:
    asked, told = looked(lambda _n: {"flushed": 8192, "waiting": 2}, left_s=1.1)
    assert asked >= 3
    assert 0.3 < told["wal_flush_stood_s"] < 0.8


def test_a_server_that_answers_no_more_tells_nothing() -> None:
    gone = Missing(what="session", reason="server closed the connection")
    assert looked(lambda _n: gone) == (1, {})
    assert looked(lambda _n: {"flushed": 1, "waiting": 1}, left_s=0.2) == (0, {})
