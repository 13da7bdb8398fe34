"""The log of a real server, followed as `stanch run` does, over our own restarts."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from fix_servers import MakeServer
from samplings import T0
from samplings import Watched as RulesWatched
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.ids import TargetName
from stanch.model.samples import Sample
from stanch.policy.policy import TargetPolicy
from stanch.service.clock import SteadyClock
from stanch.service.watched.target import Watched
from stanch.store.statedir import StateDir

pytestmark = pytest.mark.parametrize("pg_major", [15], indirect=True)

REFUSED = "Nov 21 11:40:00 db1 sshd[7]: Failed password for a from 192.0.2.7 port 9 ssh2\n"
WAIT_S = 20.0

Told = dict[tuple[str, str], float | None]


async def follow(policy: TargetPolicy, state: Path, *steps: Callable[[Told], bool]) -> Told:
    """One process: until each step is true of what was told, one after another."""

    async def no_doubts() -> tuple[str, ...]:
        return ()

    told: Told = {}
    seen = asyncio.Event()

    rules = RulesWatched(policy)

    async def emit(sample: Sample) -> None:
        told.update({(r.name, r.subject): r.value for r in sample.readings})
        rules.look((sample.at - T0).total_seconds(), sample)
        told.update({("told", key): 1.0 for key in rules.raised})
        seen.set()

    one = Watched(policy, clock=SteadyClock(), state=StateDir(path=state), doubts=no_doubts)
    running = [asyncio.create_task(one.run(emit)), asyncio.create_task(one.watch_logs())]
    try:
        async with asyncio.timeout(WAIT_S):
            for step in steps:
                while not step(told):
                    seen.clear()
                    await seen.wait()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await one.close()
    return told


async def test_a_servers_log_and_the_machines_are_counted_once_over_our_own_restarts(
    server: ScratchServer, tmp_path: Path
) -> None:
    auth = tmp_path / "auth.log"
    auth.write_text(REFUSED)
    policy = TargetPolicy(
        name=TargetName("orders"),
        dsn=server.dsn("stanch_watch"),
        sample_every_s=0.2,
        security_logs=(str(auth),),
    )
    state = tmp_path / "state"
    state.mkdir()
    deadlocks, refused = ("log_class_total", "deadlock"), ("auth_failures_total", str(auth))

    def begun(told: Told) -> bool:
        if told.get(("log_class_total", "out_of_memory")) != 0 or told.get(refused) != 0:
            return False
        with auth.open("a") as file:
            file.write(REFUSED * 2)
        raise_deadlock(server)
        return True

    def counted(told: Told) -> bool:
        return told.get(deadlocks) == 1 and told[refused] == 2

    def account_kept(told: Told) -> bool:
        kept = state / "logs" / "orders.json"
        return kept.exists() and '"deadlock": 1' in kept.read_text()

    await follow(policy, state, begun, counted, account_kept)
    raise_deadlock(server)
    after = await follow(policy, state, lambda told: told.get(deadlocks) == 2)
    assert after[refused] == 2
    assert after["log_gaps_total", "server"] == 0


async def test_what_only_the_log_tells_is_told_and_ordinary_errors_are_not(
    server: ScratchServer, tmp_path: Path
) -> None:
    """Locks that find no room, then sessions whose processes crash; before, what looks like it."""
    policy = TargetPolicy(
        name=TargetName("orders"), dsn=server.dsn("stanch_watch"), sample_every_s=0.2
    )
    wrong_setting = ("told", "log_config_error:config_error")
    damaged = ("told", "log_corruption:invalid_page")
    no_room = ("told", "log_out_of_memory:lock_table_full")
    crashed = ("told", "process_crashed:crash_child_signal")
    gave_up = ("told", "process_crashed:crash_child_exit")

    def near_misses(told: Told) -> bool:
        if told.get(("log_class_total", "out_of_memory")) != 0:
            return False
        end_a_session(server)
        server.query("DO $$ BEGIN PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN END $$")
        raise_deadlock(server)
        return True

    def quiet_then_no_room(told: Told) -> bool:
        if told.get(("log_class_total", "deadlock")) != 1:
            return False
        assert not {no_room, crashed, gave_up, wrong_setting, damaged} & told.keys()
        server.set_conf({"no_such_setting": 1})
        server.query("SELECT pg_reload_conf()")
        with suppress(psycopg.errors.DataCorrupted):
            log_once(server, "XX001", "EXCEPTION")
        with server.connect() as conn, suppress(psycopg.errors.OutOfMemory):
            conn.execute("SELECT pg_advisory_lock(n) FROM generate_series(1, 200000) n")
        return True

    def then_a_crash(told: Told) -> bool:
        if not {no_room, wrong_setting, damaged} <= told.keys():
            return False
        assert crashed not in told
        with server.connect() as conn:
            os.kill(conn.info.backend_pid, signal.SIGSEGV)
        return True

    def then_one_sent_away(told: Told) -> bool:
        if crashed not in told:
            return False
        assert gave_up not in told
        with server.connect() as conn:
            os.kill(conn.info.backend_pid, signal.SIGQUIT)
        return True

    state = tmp_path / "state"
    state.mkdir()
    told = lambda known: gave_up in known  # noqa: E731
    await follow(
        policy, state, near_misses, quiet_then_no_room, then_a_crash, then_one_sent_away, told
    )


async def test_logins_refused_by_the_dozen_are_told_and_a_password_typed_wrong_is_not(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server(auth="scram-sha-256")
    policy = TargetPolicy(
        name=TargetName("orders"), dsn=server.dsn("stanch_watch"), sample_every_s=0.2
    )
    refused = ("auth_failures_total", "database")
    told = ("told", "login_failures:database")

    def typed_wrong(known: Told) -> bool:
        if known.get(refused) != 0:
            return False
        type_wrong(server, times=1)
        return True

    def then_by_the_dozen(known: Told) -> bool:
        if known[refused] != 1:
            return False
        assert told not in known
        type_wrong(server, times=24)
        return True

    state = tmp_path / "state"
    state.mkdir()
    await follow(policy, state, typed_wrong, then_by_the_dozen, lambda known: told in known)


def type_wrong(server: ScratchServer, *, times: int) -> None:
    for _ in range(times):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.dsn("app", "app", password="wrong"))


def end_a_session(server: ScratchServer) -> None:
    with server.connect() as conn:
        server.query(f"SELECT pg_terminate_backend({conn.info.backend_pid})")


def raise_deadlock(server: ScratchServer) -> None:
    log_once(server, "40P01")


def log_once(server: ScratchServer, sqlstate: str, how: str = "LOG") -> None:
    """One record of that class, as a server writes it in any language."""
    with server.connect() as conn:
        conn.execute(f"DO $$ BEGIN RAISE {how} 'Ach' USING ERRCODE = '{sqlstate}'; END $$".encode())
