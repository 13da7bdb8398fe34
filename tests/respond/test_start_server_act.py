"""How start_server takes its manager's answers: retries, patience, and somebody else's server."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from acting_worlds import FixedProber, always, bare_world, permits, step
from stanch.adapters.hosts.local import LocalHost
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed
from stanch.model.host import DataDirectoryProcesses, ProcessInfo
from stanch.model.plans import Refusal
from stanch.model.ports.acting import ManagerAnswer, ManagerStatus, Postmaster
from stanch.model.reach import ReachState
from stanch.respond.actions.start_server.run import START_SERVER
from stanch.respond.reading.corruption import corruption_signs
from stanch.steps.action import ActReport
from stanch.steps.world import World

STEP = step("start_server", deadline_s=10.0, data_directory="/data")

POSTMASTER = ProcessInfo(
    pid=7,
    ppid=1,
    started_at=None,
    exe="/usr/bin/postgres",
    cwd="/data",
    title="postgres -D /data",
    state="sleeping",
    uid=101,
)
NOBODY = DataDirectoryProcesses(postmaster=None, members=(), orphans=(), holders=())
STARTED = replace(NOBODY, postmaster=POSTMASTER)

YES = ManagerAnswer(ok=True, detail="server started")
NO = ManagerAnswer(ok=False, detail="could not start server")
LOCKED = ManagerAnswer(ok=False, detail="lock file exists", lock_held=True)


@dataclass
class ScriptedManager:
    """Gives its answers in turn, the last one for ever."""

    answers: list[ManagerAnswer]
    starts: int = 0
    kind: str = "pg_ctl"

    def describe(self) -> str:
        return "a stand-in"

    async def status(self) -> ManagerStatus | Missing:
        return Missing(what="status", reason="not asked here")

    async def start(self, *, deadline_s: float) -> ManagerAnswer:
        self.starts += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def stop(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        raise NotImplementedError

    async def restart(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        raise NotImplementedError


@dataclass(slots=True, kw_only=True)
class ScriptedHost(LocalHost):
    """A machine whose processes are told in turn, the last for ever."""

    seen: list[DataDirectoryProcesses | Missing] = field(
        default_factory=list["DataDirectoryProcesses | Missing"]
    )

    async def data_directory_processes(self) -> DataDirectoryProcesses | Missing:
        return self.seen.pop(0) if len(self.seen) > 1 else self.seen[0]


def world(manager: ScriptedManager, *seen: DataDirectoryProcesses | Missing) -> World:
    host = ScriptedHost(data_directory="/data", seen=list(seen) or [NOBODY])
    return replace(bare_world(), host=host, manager=manager, data_directory="/data")


async def test_a_start_refused_for_a_lock_still_held_is_tried_again() -> None:
    manager = ScriptedManager([LOCKED, LOCKED, YES])
    report = await START_SERVER.act(STEP, world(manager), always)
    assert isinstance(report, ActReport)
    assert manager.starts == 3
    assert "attempt 3" in report.detail


async def test_no_attempt_is_made_once_the_permit_has_ended() -> None:
    manager = ScriptedManager([LOCKED])
    # Asked once before waiting for children, once before the first attempt.
    with pytest.raises(ActionFailed):
        await START_SERVER.act(STEP, world(manager), permits(2))
    assert manager.starts == 1


async def test_without_a_permit_nothing_is_started_at_all() -> None:
    manager = ScriptedManager([YES])
    answer = await START_SERVER.act(STEP, world(manager), permits(0))
    assert isinstance(answer, Refusal)
    assert manager.starts == 0


async def test_a_start_that_fails_for_another_reason_is_not_repeated() -> None:
    manager = ScriptedManager([NO])
    with pytest.raises(ActionFailed, match="could not start"):
        await START_SERVER.act(STEP, world(manager), always)
    assert manager.starts == 1


async def test_patience_that_ends_before_crash_recovery_is_no_failure() -> None:
    manager = ScriptedManager([NO])
    report = await START_SERVER.act(STEP, world(manager, NOBODY, STARTED), always)
    assert isinstance(report, ActReport)
    assert "not take connections yet" in report.detail


async def test_a_server_somebody_else_started_meanwhile_is_not_claimed_as_ours() -> None:
    manager = ScriptedManager([LOCKED])
    answer = await START_SERVER.act(STEP, world(manager, NOBODY, STARTED), always)
    assert isinstance(answer, Refusal)
    assert answer.guard == "no_live_postmaster"


async def test_children_that_leave_in_time_are_waited_for() -> None:
    leaving = replace(NOBODY, orphans=(replace(POSTMASTER, pid=8, title="postgres: app"),))
    manager = ScriptedManager([YES])
    report = await START_SERVER.act(STEP, world(manager, leaving, leaving, NOBODY), always)
    assert isinstance(report, ActReport)
    assert manager.starts == 1


async def test_processes_that_can_no_longer_be_read_stop_the_start() -> None:
    manager = ScriptedManager([YES])
    gone = Missing(what="processes", reason="permission denied")
    assert isinstance(await START_SERVER.act(STEP, world(manager, gone), always), Refusal)
    assert manager.starts == 0


@pytest.mark.parametrize(
    ("state", "ok", "pending"),
    [
        (ReachState.UP, True, False),
        (ReachState.READ_ONLY, True, False),
        (ReachState.TOO_MANY_CLIENTS, True, False),
        (ReachState.AUTH_FAILED, True, False),
        (ReachState.STARTING_UP, False, True),
        (ReachState.REFUSED, False, False),
        (ReachState.HUNG, False, False),
        (ReachState.TIMEOUT, False, False),
        (ReachState.SHUTTING_DOWN, False, False),
    ],
)
async def test_only_answers_of_a_running_server_verify_a_start(
    state: ReachState, ok: bool, pending: bool
) -> None:
    seen = await START_SERVER.verify(STEP, replace(bare_world(), prober=FixedProber(state)))
    assert (seen.ok, seen.pending) == (ok, pending)


# --- signs of damage ------------------------------------------------------------------------------

DAMAGE = [
    "2026-03-14 09:00:00 UTC [9] ERROR:  invalid page in block 7 of relation base/5/1259",
    "2026-03-14 09:00:00 UTC [9] XX001 WARNING:  page verification failed, calculated checksum 1",
    'PANIC:  could not fsync file "pg_wal/000000010000000000000001": Input/output error',
    "2026-03-14 09:00:00 UTC [9] LOG:  invalid primary checkpoint record",
    "2026-03-14 09:00:00 UTC [9] PANIC:  could not locate a valid checkpoint record",
    "2026-03-14 09:00:00 UTC [9] ERROR:  missing chunk number 0 for toast value 16390",
]

HARMLESS = [
    "2026-03-14 09:00:00 UTC [9] LOG:  database system was interrupted",
    "2026-03-14 09:00:00 UTC [9] FATAL:  the database system is starting up",
    "2026-03-14 09:00:00 UTC [9] STATEMENT:  SELECT 'invalid page in block 7'",
    "2026-03-14 09:00:00 UTC [9] LOG:  checkpoint complete: wrote 3 buffers",
    "2026-03-14 09:00:00 UTC [9] LOG:  invalid record length at 0/1539D18: wanted 24, got 0",
    'PANIC:  could not write to file "pg_wal/xlogtemp.1": No space left on device',
    "\x00\x1b[31m binary \udcff noise",
]


@pytest.mark.parametrize("line", DAMAGE)
def test_a_line_that_speaks_of_damage_is_found(line: str) -> None:
    assert corruption_signs(f"first\n{line}\nlast\n".encode()) == (line,)


@pytest.mark.parametrize("line", HARMLESS)
def test_a_line_of_an_ordinary_death_is_not(line: str) -> None:
    assert corruption_signs(f"{line}\n".encode("utf-8", "surrogateescape")) == ()


def test_only_the_newest_few_lines_are_kept() -> None:
    log = "\n".join(DAMAGE[:1] * 50)
    assert len(corruption_signs(log.encode())) == 5
