"""A server that was told to stop and does not: what is a cause, and what just takes its time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

import evidences as w
from fix_servers import MakeServer
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.outside import ServerProcesses
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.model.diagnosis import CauseFinding, Verdict
from stanch.service.watched.diagnosing import gather_for_dsn


def leaving(mode: str, ago_s: float, reach: str = "shutting_down") -> Evidence:
    asked = w.line(f"shutdown_request_{mode}", ago_s, f"received {mode} shutdown request")
    return w.down(
        reach=w.reach(reach),
        log=w.log(asked),
        processes=w.read(ServerProcesses(postmaster_pid=w.PID, children=8)),
        lock_file=w.LIVE_LOCK,
    )


def first(evidence: Evidence) -> CauseFinding | None:
    found = diagnose(evidence).first
    return found if found is not None and found.probability >= STANDS_FROM else None


@pytest.mark.parametrize(
    ("mode", "waits"),
    [("smart", "for every session to leave"), ("fast", "for its last checkpoint")],
)
def test_a_shutdown_that_does_not_end_is_told_with_what_it_waits_for(mode: str, waits: str) -> None:
    evidence = leaving(mode, 720)
    found = first(evidence)
    assert found is not None
    assert diagnose(evidence).verdict is Verdict.CAUSE
    assert found.id == "shutdown_waits"
    assert f"({mode}) 12 min ago and waits {waits}" in found.summary
    assert "8 of its processes are left" in found.summary
    assert "pg_ctl stop -m fast" in found.safe_first
    assert "start_server" in found.forbids
    assert found.since == w.ago(720)


@pytest.mark.parametrize(
    "evidence",
    [
        leaving("fast", 5),
        leaving("smart", 720, reach="starting_up"),
        replace(leaving("smart", 720), log=w.log()),
        leaving("smart", 720, reach="up"),
    ],
    ids=["asked just now", "a start", "nobody asked", "an answer"],
)
def test_what_is_no_shutdown_that_hangs(evidence: Evidence) -> None:
    found = first(evidence)
    assert found is None or found.id != "shutdown_waits"


def test_a_shutdown_whose_request_nobody_saw_is_told_with_what_it_may_wait_for() -> None:
    diagnosis = diagnose(replace(leaving("smart", 720), log=w.log()))
    assert diagnosis.verdict is Verdict.UNKNOWN
    assert "A smart shutdown waits for every session" in diagnosis.summary


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_a_smart_shutdown_waits_for_a_session_on_a_real_server(
    make_server: MakeServer,
) -> None:
    server = make_server()
    pid = server.postmaster_pid()
    assert pid is not None
    with psycopg.connect(server.dsn("app")):
        os.kill(pid, signal.SIGTERM)
        until(lambda: "received smart shutdown request" in server.log_text())
        evidence = await gather_for_dsn(
            server.dsn("stanch_watch"),
            data_directory=str(server.data_directory),
            log=str(Path(server.log_path)),
        )
        assert diagnose(evidence).verdict is Verdict.UNKNOWN
        found = first(replace(evidence, at=evidence.at + timedelta(minutes=2)))
        assert found is not None
        assert found.id == "shutdown_waits"
        assert found.fact("shutdown_mode") == "smart"
