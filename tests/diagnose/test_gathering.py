"""Gathering with stand-ins: the deadline, the one extra session, and what becomes missing."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from stanch.diagnose.background import Background
from stanch.diagnose.cluster import ClusterSeen, Member
from stanch.diagnose.evidence import Evidence, from_bytes, to_bytes
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.diagnose.run import gather
from stanch.diagnose.session.run import OPEN_TRANSACTIONS_SQL
from stanch.diagnose.witnesses import Witnesses
from stanch.facts.pace import PACE_SQL
from stanch.facts.sessions import SESSIONS_WAITING_SQL
from stanch.facts.slow.questions import KEYS
from stanch.facts.vitals import VITALS_SQL
from stanch.facts.workings import FOLDERS_SQL, MORE_FROM, TABLES_SQL, WORKINGS_SQL
from stanch.model.diagnosis import Missing, Verdict
from stanch.model.errors import ProbeFailed
from stanch.model.host import DataDirectoryProcesses, ProcessInfo
from stanch.model.ports.server import Row, ServerReader, SqlParams
from stanch.model.reach import Reach, ReachState

NO_HOST = Missing(what="host", reason="the server is on another machine")

VITALS = """{"at": "2026-03-01T03:00:00+00:00", "postmaster_start": "2026-03-01T01:00:00+00:00",
 "version_num": 180000, "in_recovery": false, "transaction_read_only": true,
 "sees_sessions": true, "settings": {"max_connections": 100, "superuser_reserved_connections": 3,
 "reserved_connections": 0, "data_directory": "/srv/pg"}, "backends": 5,
 "sessions": {"client_backends": 5, "active": 1, "active_without_wait": 1, "waiting_on_lock": WAIT,
 "oldest_lock_wait_s": null, "oldest_xact_age_s": null, "oldest_idle_in_transaction_s": null,
 "by_state": {"idle": 5}, "groups": [], "limits": []},
 "work": {"commits": 1, "rollbacks": 0, "deadlocks": 0, "temp_files": 0, "temp_bytes": 0,
 "checksum_failures": null}, "archiver": null, "slots": [], "senders": [],
 "xid_age_max": null, "mxid_age_max": null, "prepared_xacts": 0,
 "oldest_prepared_xact_age_s": null, "wal_lsn": null, "wal_position_bytes": null}"""
OPENED = """{"idle": [], "prepared": [], "archive_mode": false, "wal_keep_bytes": 0,
 "wal_segment_bytes": 16777216}"""


class Reader:
    """Answers from a script; an answer may be late or an error."""

    def __init__(self, *, waiting: int = 0, late_s: float = 0.0, fails: str = "") -> None:
        self.asked: list[str] = []
        self._late_s = late_s
        self._fails = fails
        self._answers = {
            VITALS_SQL: VITALS.replace("WAIT", str(waiting)),
            OPEN_TRANSACTIONS_SQL: OPENED,
            SESSIONS_WAITING_SQL: "[]",
            WORKINGS_SQL: '{"groups": [], "locks": [], "figures": []}',
            TABLES_SQL: '{"figures": []}',
            FOLDERS_SQL: '{"figures": []}',
            **{sql: '{"figures": []}' for _, sql in MORE_FROM},
        }

    async def fetch_json(
        self, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> str:
        self.asked.append(sql)
        if self._fails == sql:
            raise ProbeFailed("server closed the connection")
        await asyncio.sleep(self._late_s)
        if sql not in self._answers:
            raise ProbeFailed("it does not know that statement")
        return self._answers[sql]

    async def fetch_rows(
        self, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> tuple[Row, ...]:
        raise AssertionError("not asked by a diagnosis")


class Door:
    """Counts the sessions that are opened and how many are open at once."""

    def __init__(self, reader: Reader, state: str = "up", probe_s: float = 0.0) -> None:
        self.opened = self.open = self.open_max = 0
        self._reader = reader
        self._state = ReachState(state)
        self._probe_s = probe_s

    async def probe(self, _deadline_s: float) -> Reach:
        self._enter()
        await asyncio.sleep(self._probe_s)
        self.open -= 1
        return Reach(state=self._state, layers=(), elapsed_ms=1.0, at=datetime.now(UTC))

    @asynccontextmanager
    async def session(self) -> AsyncGenerator[ServerReader]:
        self.opened += 1
        self._enter()
        try:
            yield self._reader
        finally:
            self.open -= 1

    def _enter(self) -> None:
        self.open += 1
        self.open_max = max(self.open_max, self.open)


async def look(door: Door, *, deadline_s: float = 2.0, **more: Any) -> Evidence:
    given: dict[str, Any] = {
        "host": NO_HOST,
        "traces": NO_HOST,
        "place": NO_HOST,
        "lock_witness": NO_HOST,
        "open_reader": door.session,
    }
    witnesses = Witnesses(probe=door.probe, **{**given, **more})
    return await gather("orders", witnesses, deadline_s=deadline_s)


def reason(item: object) -> str:
    assert isinstance(item, Missing), item
    return item.reason


async def test_tables_are_asked_about_where_the_application_lives() -> None:
    here, there = Reader(), Reader()
    home = Door(there)
    await look(Door(here), open_home=home.session)
    assert TABLES_SQL not in here.asked
    assert there.asked == [PACE_SQL, TABLES_SQL, KEYS.sql]
    assert home.opened == 1


async def test_a_home_that_lets_nobody_in_takes_nothing_from_the_rest() -> None:
    there = Reader(fails=TABLES_SQL)
    evidence = await look(Door(Reader()), open_home=Door(there).session)
    assert not isinstance(evidence.sessions, Missing)
    late = Reader(late_s=30.0)
    evidence = await look(Door(Reader()), open_home=Door(late).session)
    assert not isinstance(evidence.sessions, Missing)
    assert not isinstance(evidence.figures, Missing)


async def test_never_more_than_one_session_is_open_at_once() -> None:
    door = Door(Reader())
    evidence = await look(door)
    assert (door.opened, door.open_max, door.open) == (1, 1, 0)
    assert not isinstance(evidence.sessions, Missing)
    assert diagnose(evidence).verdict is Verdict.HEALTHY


async def test_a_session_that_is_held_is_used_and_none_is_opened() -> None:
    door, held = Door(Reader()), Reader()
    await look(door, held=held)
    assert door.opened == 0
    assert held.asked[:2] == [VITALS_SQL, OPEN_TRANSACTIONS_SQL]


async def test_a_held_session_still_tells_when_the_server_lets_nobody_in() -> None:
    door = Door(Reader(), "too_many_clients")
    evidence = await look(door, held=Reader())
    assert not isinstance(evidence.sessions, Missing)


async def test_a_full_server_without_a_held_session_is_missing_for_want_of_a_slot() -> None:
    door = Door(Reader(), "too_many_clients")
    evidence = await look(door)
    assert door.opened == 0
    assert reason(evidence.sessions).startswith("no slot")


async def test_no_session_is_tried_where_the_server_is_down() -> None:
    door = Door(Reader(), "refused")
    evidence = await look(door)
    assert door.opened == 0
    assert reason(evidence.chains) == "no session: refused"


@pytest.mark.parametrize(("state", "asked"), [("refused", False), ("hung", True), ("up", True)])
async def test_a_slow_look_at_the_machine_is_not_waited_for_once_the_server_has_refused(
    state: str, asked: bool
) -> None:
    ended: list[str] = []

    async def slow(deadline_s: float) -> Missing:
        await asyncio.sleep(0.3)
        ended.append("machine")
        return Missing(what="machine", reason="looked")

    evidence = await look(Door(Reader(), state), machine=slow)
    assert (ended == ["machine"]) is asked
    assert (evidence.elapsed_ms >= 300) is asked


async def test_the_blocking_graph_is_asked_for_only_while_somebody_waits() -> None:
    quiet, busy = Reader(), Reader(waiting=2)
    await look(Door(Reader()), held=quiet)
    await look(Door(Reader()), held=busy)
    assert SESSIONS_WAITING_SQL not in quiet.asked
    assert SESSIONS_WAITING_SQL in busy.asked


@pytest.mark.parametrize("sql", [OPEN_TRANSACTIONS_SQL, SESSIONS_WAITING_SQL])
async def test_a_later_question_that_fails_leaves_what_the_first_one_said(sql: str) -> None:
    evidence = await look(Door(Reader()), held=Reader(waiting=2, fails=sql))
    assert not isinstance(evidence.sessions, Missing)
    assert reason(evidence.chains) == "server closed the connection"


async def test_a_session_that_breaks_is_missing_with_its_reason() -> None:
    evidence = await look(Door(Reader()), held=Reader(fails=VITALS_SQL))
    assert reason(evidence.sessions) == "server closed the connection"


async def test_a_reader_that_hangs_costs_the_deadline_and_no_more() -> None:
    began = time.monotonic()
    evidence = await look(Door(Reader()), held=Reader(late_s=60), deadline_s=0.5)
    assert time.monotonic() - began < 1.0
    assert reason(evidence.sessions) == "not there within 0.5 s"
    assert not isinstance(evidence.reach, Missing)


async def test_a_probe_that_hangs_leaves_the_verdict_unknown() -> None:
    evidence = await look(Door(Reader(), probe_s=60), deadline_s=0.5)
    assert reason(evidence.reach) == "not there within 0.5 s"
    assert diagnose(evidence).verdict is Verdict.UNKNOWN


class Busy(Door):
    """Our own process gets no CPU while the probe waits."""

    async def probe(self, _deadline_s: float) -> Reach:
        for _ in range(12):
            time.sleep(0.1)
            await asyncio.sleep(0)
        return await super().probe(_deadline_s)


@pytest.mark.parametrize("state", ["timeout", "hung"])
async def test_silence_while_our_own_process_was_late_accuses_nobody(state: str) -> None:
    evidence = await look(Busy(Reader(), state))
    assert re.match(rf"{state}, but our own process was late by [01].\d s", reason(evidence.reach))
    assert diagnose(evidence).verdict is Verdict.UNKNOWN


async def test_what_somebody_answered_counts_however_late_we_were() -> None:
    evidence = await look(Busy(Reader(), "refused"))
    assert not isinstance(evidence.reach, Missing)


async def test_silence_that_lasts_while_our_process_is_on_time_is_evidence() -> None:
    evidence = await look(Door(Reader(), "timeout", probe_s=0.6))
    assert not isinstance(evidence.reach, Missing)


class SlowHost:
    """A machine on which everything but the process list takes for ever."""

    def __init__(self, processes: DataDirectoryProcesses) -> None:
        self._processes = processes

    async def data_directory_processes(self) -> DataDirectoryProcesses:
        return self._processes

    def __getattr__(self, _name: str) -> Any:
        async def never(*_args: object, **_kwargs: object) -> None:
            await asyncio.sleep(60)

        return never


def process(pid: int, title: str, ppid: int = 1) -> ProcessInfo:
    return ProcessInfo(
        pid=pid,
        ppid=ppid,
        started_at=None,
        exe="/usr/bin/postgres",
        cwd="/srv/pg",
        title=title,
        state="sleeping",
        uid=100,
    )


def crowd(doing: str, n: int) -> DataDirectoryProcesses:
    titles = [f"postgres: app orders 10.0.0.1({40000 + i}) {doing}" for i in range(n)]
    workers = ["postgres: checkpointer ", "postgres: walwriter "]
    members = tuple(process(100 + i, t, 50) for i, t in enumerate([*titles, *workers]))
    return DataDirectoryProcesses(
        postmaster=process(50, "postgres -D /srv/pg"), members=members, orphans=(), holders=()
    )


@pytest.mark.parametrize(
    ("doing", "cause"),
    [
        ("idle", "connections_leaked"),
        ("UPDATE waiting", "connections_behind_lock"),
        ("SELECT", "connections_load"),
    ],
)
async def test_process_titles_say_who_fills_a_server_that_lets_nobody_in(
    doing: str, cause: str
) -> None:
    host = SlowHost(crowd(doing, 95))
    evidence = await look(Door(Reader(), "too_many_clients"), host=host, deadline_s=0.5)
    assert not isinstance(evidence.sessions, Missing)
    assert evidence.sessions.value.client_backends == 95
    assert diagnose(evidence).causes[0].id == cause


def queue(*, ahead: str, change: str) -> DataDirectoryProcesses:
    """One session ahead, a change behind it, and thirty sessions behind both."""
    seen = crowd("SELECT waiting", 30)
    first = process(90, f"postgres: app orders 10.0.0.1(39999) {ahead}", 50)
    second = process(91, f"postgres: deploy orders 10.0.0.1(39998) {change}", 50)
    return replace(seen, members=(first, second, *seen.members))


async def told_of(seen: DataDirectoryProcesses) -> list[str]:
    evidence = await look(Door(Reader(), "too_many_clients"), host=SlowHost(seen), deadline_s=0.5)
    return [c.id for c in diagnose(evidence).causes if c.probability >= STANDS_FROM]


async def test_titles_tell_of_a_schema_change_that_takes_every_connection_with_it() -> None:
    told = await told_of(queue(ahead="SELECT", change="ALTER TABLE waiting"))
    assert told[0] == "ddl_lock_queue"
    told = await told_of(queue(ahead="idle in transaction", change="ALTER TABLE waiting"))
    assert told[:2] == ["idle_in_transaction", "ddl_lock_queue"]


@pytest.mark.parametrize(
    "change", ["ALTER TABLE", "UPDATE waiting", "CREATE INDEX waiting", "VACUUM waiting"]
)
async def test_a_schema_change_that_does_not_wait_and_waits_nobody_queues_behind_are_no_lock_queue(
    change: str,
) -> None:
    assert "ddl_lock_queue" not in await told_of(queue(ahead="SELECT", change=change))


async def test_a_few_who_wait_behind_a_schema_change_fill_no_server_of_idle_sessions() -> None:
    seen, idle = queue(ahead="SELECT", change="ALTER TABLE waiting"), crowd("idle", 92)
    few = replace(seen, members=(*seen.members[:4], *idle.members))
    assert await told_of(few) == ["connections_leaked"]


async def test_no_name_of_a_role_makes_a_title_a_schema_change() -> None:
    seen = crowd("SELECT waiting", 30)
    odd = process(91, "postgres: a [local] DROP TABLE orders 10.0.0.1(5) UPDATE waiting", 50)
    assert "ddl_lock_queue" not in await told_of(replace(seen, members=(odd, *seen.members)))


async def test_process_titles_are_no_load_where_nobody_said_that_the_server_is_full() -> None:
    host = SlowHost(crowd("SELECT", 1))
    evidence = await look(Door(Reader(), "auth_failed"), host=host, deadline_s=0.5)
    assert isinstance(evidence.sessions, Missing)
    assert "connections_load" not in {cause.id for cause in diagnose(evidence).causes}


async def test_readings_that_are_late_are_missing_and_the_rest_is_kept() -> None:
    evidence = await look(Door(Reader(), "up"), host=SlowHost(crowd("idle", 2)), deadline_s=0.6)
    assert not isinstance(evidence.processes, Missing)
    assert reason(evidence.log) == "not there within 0.6 s"
    assert reason(evidence.volumes) == "not there within 0.6 s"


async def test_each_reading_says_when_and_how_long_it_took() -> None:
    evidence = await look(Door(Reader(), probe_s=0.05), held=Reader())
    assert not isinstance(evidence.reach, Missing)
    assert not isinstance(evidence.sessions, Missing)
    assert evidence.reach.took_ms >= 45
    assert evidence.sessions.took_ms < evidence.reach.took_ms


async def test_evidence_is_kept_and_read_again_unchanged() -> None:
    evidence = await look(Door(Reader()), host=SlowHost(crowd("idle", 2)), deadline_s=0.5)
    assert from_bytes(to_bytes(evidence)) == evidence


async def test_hostile_titles_are_counted_or_passed_over() -> None:
    seen = crowd("idle", 3)
    odd = ("postgres: ", "postgres: \x1b[2J x [local] idle", "postgres: a b c d(1) " + "x" * 9999)
    members = (*seen.members, *(process(900 + n, t, 50) for n, t in enumerate(odd)))
    host = SlowHost(
        DataDirectoryProcesses(postmaster=seen.postmaster, members=members, orphans=(), holders=())
    )
    evidence = await look(Door(Reader(), "too_many_clients"), host=host, deadline_s=0.4)
    assert not isinstance(evidence.sessions, Missing)
    assert evidence.sessions.value.client_backends == 5


async def test_the_cluster_is_what_the_watch_knows_of_it_and_nobody_elses_guess() -> None:
    async def nothing() -> Missing:
        return Missing(what="it", reason="nothing was seen")

    seen = ClusterSeen(members=(Member(target="orders"), Member(target="orders-2")))
    known = Background(history=nothing, changes=nothing, cluster=seen)
    watched = await look(Door(Reader()), background=known)
    assert not isinstance(watched.cluster, Missing)
    assert watched.cluster.value == seen
    assert from_bytes(to_bytes(watched)) == watched
    assert reason((await look(Door(Reader()))).cluster) == "nobody watches this server"
