"""restart_server and stop_server on real servers, and how they take their manager's answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from acting_worlds import always, bare_world, permits, run, step, world_of
from postmasters_at import postmaster
from stanch.adapters.hosts.local import LocalHost
from stanch.adapters.postgres.acting import ActingSession
from stanch.adapters.postgres.acting_visits import ActingVisits
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.sentinel import Sentinel
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed, ProbeFailed
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.acting import (
    LoginReading,
    ManagerAnswer,
    ManagerStatus,
    Postmaster,
    ServerManager,
)
from stanch.model.ports.server import Row, SqlParams
from stanch.respond.actions.restart_server.run import RESTART_SERVER
from stanch.respond.actions.stop_server.run import STOP_SERVER
from stanch.service.readiness.granting import Acting
from stanch.service.readiness.rights import give
from stanch.steps.action import ActReport
from stanch.steps.world import World

pytestmark = pytest.mark.story

on_15 = pytest.mark.parametrize("pg_major", [15], indirect=True)


@dataclass
class Watching:
    """The watch's own questions; it connects again where its server was restarted."""

    dsn: str

    async def fetch_json(
        self, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> str:
        with closing(Sentinel(self.dsn)) as session:
            if not (await session.connect(deadline_s=timeout_s)).answers:
                raise ProbeFailed("no session", on="server")
            return await session.fetch_json(sql, params, timeout_s=timeout_s)

    async def fetch_rows(
        self, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> tuple[Row, ...]:
        raise NotImplementedError


@dataclass
class Scripted:
    """The real manager's status, and an answer of ours to what it is asked."""

    real: ServerManager
    answer: ManagerAnswer | ProbeFailed
    asked: list[Postmaster] = field(default_factory=list[Postmaster])
    kind: str = "pg_ctl"

    def describe(self) -> str:
        return "a stand-in"

    async def status(self) -> ManagerStatus | Missing:
        return await self.real.status()

    async def start(self, *, deadline_s: float) -> ManagerAnswer:
        raise NotImplementedError

    async def stop(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        self.asked.append(server)
        if isinstance(self.answer, ProbeFailed):
            raise self.answer
        return self.answer

    async def restart(self, server: Postmaster, *, deadline_s: float) -> ManagerAnswer:
        return await self.stop(server, deadline_s=deadline_s)


@dataclass
class Refused:
    """An application that the server does not let in."""

    async def login_and_write(self, *, deadline_s: float) -> LoginReading:
        return LoginReading(role="app", login_ok=False, write_ok=None, detail="no", took_ms=1.0)


@pytest.fixture
async def world(server: ScratchServer, tmp_path: Path) -> AsyncIterator[World]:
    rights = give(["restart the server"], Acting(role="stanch_act", major=server.binaries.major))
    for statement in rights.split(";\n"):
        server.query(statement)
    acting = ActingSession(server.dsn("stanch_act"))
    assert (await acting.connect(deadline_s=5.0)).answers
    cluster = postmaster(server).system_identifier
    made = world_of(server, tmp_path, sessions=(acting,))
    yield replace(
        made,
        cluster=cluster,
        reader=Watching(server.dsn("stanch_watch")),
        visits=ActingVisits(server.dsn("stanch_act"), cluster=cluster),
    )
    acting.close()


def step_for(server: ScratchServer, action: str = "restart_server") -> PlannedStep:
    meant = postmaster(server)
    return step(
        action,
        deadline_s=30.0,
        data_directory=str(server.data_directory),
        system_identifier=meant.system_identifier,
        postmaster_start=meant.since.isoformat(),
    )


async def test_a_setting_that_waited_is_in_force_after_the_restart_and_once_is_enough(
    server: ScratchServer, world: World
) -> None:
    server.query("ALTER SYSTEM SET max_worker_processes = 11")
    server.query("SELECT pg_reload_conf()")
    one, first = step_for(server), postmaster(server)
    with server.connect("app", "app", application_name="shop"):
        done, log = await run(RESTART_SERVER, one, world)
    assert done.outcome is StepOutcome.DONE, (done.refusal, log.ended())
    assert log.verified().ok, log.verified().detail
    assert "lets app in" in log.verified().detail
    assert server.query("SHOW max_worker_processes") == [("11",)]
    kept = log.ended().before
    for words in ("a primary", "client sessions", "max_worker_processes", "of WAL since"):
        assert words in kept
    second = postmaster(server)
    assert second.since > first.since

    again, _log = await run(RESTART_SERVER, one, world)
    assert again.refusal is not None
    assert again.refusal.guard == "same_server"
    assert postmaster(server) == second

    # A line that the server could not read at its next start keeps it up; then it is stopped.
    with (server.data_directory / "pg_hba.conf").open("a") as rules:
        rules.write("host all all nonsense\n")
    broken, _log = await run(RESTART_SERVER, step_for(server), world)
    assert broken.refusal is not None
    assert broken.refusal.guard == "files_readable"
    done, log = await run(STOP_SERVER, step_for(server, "stop_server"), world)
    assert done.outcome is StepOutcome.DONE, done.refusal
    assert log.verified().detail == "it does not run: shut down"
    assert server.postmaster_pid() is None


@on_15
async def test_what_the_manager_answers_is_told_as_it_is_and_nothing_is_asked_twice(
    server: ScratchServer, world: World
) -> None:
    one, meant = step_for(server), postmaster(server)
    assert world.manager is not None

    def asking(answer: ManagerAnswer | ProbeFailed) -> tuple[Scripted, World]:
        manager = Scripted(world.manager, answer)  # pyright: ignore[reportArgumentType]
        return manager, replace(world, manager=manager)

    said = ManagerAnswer(ok=False, detail="FATAL: no memory", left_down=True)
    manager, scripted = asking(said)
    report = await RESTART_SERVER.act(one, scripted, always)
    assert isinstance(report, ActReport)
    assert (report.outcome, manager.asked) == (StepOutcome.FAILED, [meant])
    assert "stopped it in order, and it does not start" in report.detail
    assert "up since" in report.before

    _, scripted = asking(ManagerAnswer(ok=False, detail="Access denied"))
    report = await RESTART_SERVER.act(one, scripted, always)
    assert isinstance(report, ActReport)
    assert "the server it had still runs" in report.detail
    with pytest.raises(ActionFailed, match="did not stop it"):
        await STOP_SERVER.act(one, scripted, always)

    manager, scripted = asking(ManagerAnswer(ok=False, detail="another start", another=True))
    for action in (RESTART_SERVER, STOP_SERVER):
        refusal = await action.act(one, scripted, always)
        assert isinstance(refusal, Refusal)
        assert refusal.guard == "same_server"
    manager, scripted = asking(said)
    for action in (RESTART_SERVER, STOP_SERVER):
        assert isinstance(await action.act(one, scripted, permits(0)), Refusal)
    assert manager.asked == []

    _, scripted = asking(ProbeFailed("no answer", on="pg_ctl"))
    done, log = await run(RESTART_SERVER, one, scripted)
    assert done.outcome is StepOutcome.IN_DOUBT
    assert "may have happened" in log.ended().detail
    seen = await RESTART_SERVER.verify(one, world)
    assert (seen.ok, seen.detail) == (False, "the server of the plan still runs")
    seen = await STOP_SERVER.verify(one, world)
    assert not seen.ok

    older = replace(one, params=(*one.params, ("postmaster_start", "2026-01-01T00:00:00+00:00")))
    assert (await RESTART_SERVER.verify(older, world)).ok
    seen = await RESTART_SERVER.verify(older, replace(world, app_login=Refused()))
    assert (seen.ok, "does not let app in" in seen.detail) == (False, True)

    other = replace(one, params=(*one.params[:-1], ("system_identifier", "1")))
    assert "another cluster" in (await RESTART_SERVER.verify(other, world)).detail
    server.stop()
    seen = await RESTART_SERVER.verify(one, world)
    assert (seen.ok, seen.pending) == (False, False)
    assert "has not started" in seen.detail


async def test_without_the_machine_a_manager_or_the_directory_of_the_plan_nothing_is_asked() -> (
    None
):
    one = step("restart_server", data_directory="/data")
    host = LocalHost(data_directory="/data")
    manager = Scripted(None, ManagerAnswer(ok=True, detail=""))  # pyright: ignore[reportArgumentType]
    nowhere = bare_world()
    here = replace(nowhere, host=host, data_directory="/data")
    moved = replace(nowhere, host=host, manager=manager, data_directory="/other")
    without = replace(here, manager=manager)
    for action, world, guard in (
        (RESTART_SERVER, nowhere, "host"),
        (STOP_SERVER, nowhere, "host"),
        (RESTART_SERVER, here, "manager_known"),
        (STOP_SERVER, here, "manager_known"),
        (RESTART_SERVER, moved, "same_server"),
        (STOP_SERVER, moved, "same_server"),
        (RESTART_SERVER, without, "acting_session"),
    ):
        refusal = await action.check(one, world)
        assert refusal is not None
        assert refusal.guard == guard
    assert manager.asked == []
