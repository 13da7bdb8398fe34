"""Memory that ran out behind a large work_mem, also a moment after the kernel made room."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import cases_host as c
import evidences as w
from stanch.diagnose.condense import kernel_from
from stanch.diagnose.condense_files import log_from
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.outside import Kernel, Kill
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.model.diagnosis import Missing, Verdict
from stanch.model.host import LogChunk, LogPosition, Memory, OomKills

GIB = w.GIB
DIED = (w.SIGKILLED_CHILD, w.line("reinitializing", 29), w.line("interrupted_recovery", 28))


def killed(seconds_ago: float = 30, **more: Any) -> Kernel:
    """By the kernel, and since then there is memory again."""
    usual: dict[str, Any] = {
        "oom_kills": 1,
        "kills": (Kill(pid=77, name="postgres", at=w.ago(seconds_ago)),),
        "same_pids": True,
        "memory_total_bytes": 4 * GIB,
        "memory_available_bytes": 3 * GIB,
    }
    return Kernel(**{**usual, **more})


def back(sessions: int = 8, kernel: Kernel | None = None, **settings: str) -> Evidence:
    """The server has recovered, and those who were cut off are at work again."""
    return w.healthy(
        log=w.log(*DIED, w.line("ready", 27)),
        kernel=w.read(kernel or killed()),
        activity=w.activity(w.doing(sessions)),
        figures=w.figures(*w.HEALTHY_FIGURES, **{**w.SETTINGS, "work_mem": "512MB", **settings}),
    )


def test_a_kill_for_memory_behind_a_large_work_mem_is_told_from_the_setting() -> None:
    diagnosis = diagnose(back())
    assert diagnosis.verdict is Verdict.CAUSE
    assert diagnosis.causes[0].id == "work_mem_too_high"
    assert "8 sessions are at work with work_mem = 512.0 MiB each, of 4.0 GiB" in diagnosis.summary
    assert "30 s ago the kernel killed process 77" in diagnosis.summary


NOT_THE_SETTING = {
    "a statement that ate all with the usual work_mem": back(work_mem="4MB"),
    "too few at work to fill it": back(sessions=2),
    "a kill of another server": back(
        kernel=killed(kills=(Kill(pid=4711, name="postgres", at=w.ago(30)),))
    ),
}


@pytest.mark.parametrize("what", sorted(NOT_THE_SETTING))
def test_a_kill_for_memory_that_the_setting_does_not_explain_stays_a_kill(what: str) -> None:
    diagnosis = diagnose(NOT_THE_SETTING[what])
    assert diagnosis.verdict is Verdict.RECOVERED
    assert diagnosis.causes[0].id in {"oom_killed", "killed"}


def test_a_kill_of_an_hour_ago_says_nothing_of_the_setting() -> None:
    evidence = replace(back(kernel=killed(3600)), log=w.log())
    assert diagnose(evidence).verdict is Verdict.HEALTHY


NO_KILLS = OomKills(host=0, cgroup=None)


@pytest.mark.parametrize(
    ("limit", "used", "cache", "told"),
    [
        (None, None, 0, (16 * GIB, 9 * GIB)),
        (2 * GIB, 2 * GIB, 0, (2 * GIB, 0)),
        (2 * GIB, 2 * GIB, GIB, (2 * GIB, GIB)),
        (64 * GIB, 7 * GIB, 0, (16 * GIB, 9 * GIB)),
        (12 * GIB, GIB, 0, (12 * GIB, 9 * GIB)),
    ],
    ids=["no limit", "at its limit", "much of it is cache", "a limit above all", "others use it"],
)
def test_what_the_servers_control_group_may_have_is_all_there_is(
    limit: int | None, used: int | None, cache: int, told: tuple[int, int]
) -> None:
    memory = Memory(
        total_bytes=16 * GIB,
        available_bytes=9 * GIB,
        cgroup_limit_bytes=limit,
        cgroup_used_bytes=used,
        cgroup_cache_bytes=cache,
    )
    found = kernel_from((), NO_KILLS, memory, before=None)
    assert not isinstance(found, Missing)
    assert (found.memory_total_bytes, found.memory_available_bytes) == told


def test_memory_that_is_short_needs_no_kill() -> None:
    [found] = [
        f for f in diagnose(c.CASES["work_mem_too_high"]).causes if f.probability >= STANDS_FROM
    ]
    assert (found.id, found.summary.endswith("the kernel will kill next.")) == (
        "work_mem_too_high",
        True,
    )


def test_a_kill_for_memory_tells_what_its_process_was_running() -> None:
    died = replace(w.SIGKILLED_CHILD, statement="SELECT array_agg(t) FROM t")
    kernel = w.read(Kernel(oom_kills=1, kills=(Kill(pid=77, name="postgres", at=w.ago(30)),)))
    log = w.log(died, w.line("interrupted_recovery", 28), w.line("ready", 27))
    diagnosis = diagnose(w.healthy(log=log, kernel=kernel))
    assert (diagnosis.verdict, diagnosis.causes[0].id) == (Verdict.RECOVERED, "oom_killed")
    assert "was running: SELECT array_agg(t) FROM t" in diagnosis.summary


def test_what_a_killed_process_was_running_is_kept_without_its_literals() -> None:
    text = (
        "2026-03-01 03:00:00 UTC [5] LOG:  server process (PID 77) was terminated by signal 9: "
        "Killed\n2026-03-01 03:00:00 UTC [5] DETAIL:  Failed process was running: SELECT 'secret'\n"
    )
    position = LogPosition(path="/x.log", device=1, inode=1, offset=0)
    chunk = LogChunk(path="/x.log", content=text.encode(), position=position)
    [event] = log_from(chunk).events
    assert event.statement.startswith("SELECT")
    assert "secret" not in str(event)
