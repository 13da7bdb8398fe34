"""Setting one parameter: only a safe one, only from what it was, and back exactly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from acting_worlds import TARGET, always, bare_world, cause, permits, run, step
from stanch.adapters.postgres.acting import ActingSession
from stanch.adapters.postgres.acting_visits import ActingVisits
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.facts.parameters import Differing, Parameter, parse_parameter
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed, ProbeFailed
from stanch.model.plans import PlannedStep, Refusal, StepOutcome
from stanch.model.ports.server import Acted, Row, ServerVisits, SqlParams
from stanch.policy.patroni import PatroniSource
from stanch.respond.actions.set_parameter.guards import GUARDS, RELOADED, Change, may_change
from stanch.respond.actions.set_parameter.parameters import PARAMETERS, number_of, same_value, unfit
from stanch.respond.actions.set_parameter.planning import withheld
from stanch.respond.actions.set_parameter.run import SET_PARAMETER
from stanch.service.readiness.granting import Acting
from stanch.service.readiness.rights import give
from stanch.steps.world import World

VACUUM = step("set_parameter", parameter="autovacuum", value="on", was="off")
OFF = Parameter(
    cluster="7",
    name="autovacuum",
    setting="off",
    unit="",
    context="sighup",
    source="configuration file",
    default="on",
    pending_restart=False,
    cluster_name_source="default",
    alter_system=True,
    written="off",
    written_sql="'off'",
    below=None,
    errors=(),
    differing=(),
)
WAL = step("set_parameter", parameter="max_wal_size", value="2GB", was="1GB")
SMALL = replace(
    OFF, name="max_wal_size", setting="1024", unit="MB", default="1024", written=None,
    written_sql="", source="default",
)  # fmt: skip


def judged(one: PlannedStep, seen: Parameter | Missing | None) -> Refusal | Change:
    return may_change(one, seen, target=TARGET, cluster="7")


def test_autovacuum_may_be_switched_on_and_the_way_back_is_exact() -> None:
    change = judged(VACUUM, OFF)
    assert isinstance(change, Change)
    assert change.sql == "ALTER SYSTEM SET autovacuum = 'on'"
    assert change.undo == "ALTER SYSTEM SET autovacuum = 'off'"


def test_what_was_not_in_the_file_is_reset_on_the_way_back() -> None:
    change = judged(WAL, SMALL)
    assert isinstance(change, Change)
    assert change.undo == "ALTER SYSTEM RESET max_wal_size"


def test_a_reset_brings_what_the_other_files_say() -> None:
    one = step("set_parameter", parameter="autovacuum", was="off")
    change = judged(one, OFF)
    assert isinstance(change, Change)
    assert (change.sql, change.wanted) == ("ALTER SYSTEM RESET autovacuum", "on")
    refused = judged(one, replace(OFF, below="off"))
    assert isinstance(refused, Refusal)
    refused = judged(one, replace(OFF, written=None))
    assert isinstance(refused, Refusal)


OTHER = Differing(name="work_mem", written="64MB", setting="4096", unit="kB")


@pytest.mark.parametrize(
    ("seen", "guard"),
    [
        pytest.param(Missing(what="x", reason="no right"), "still_so", id="not read"),
        pytest.param(None, "still_so", id="no such parameter"),
        pytest.param(replace(OFF, cluster="8"), "same_server", id="another cluster"),
        pytest.param(
            replace(OFF, cluster_name_source="command line"), "not_managed", id="under Patroni"
        ),
        pytest.param(replace(OFF, alter_system=False), "not_managed", id="by a provider"),
        pytest.param(replace(OFF, context="postmaster"), "by_reload", id="takes a restart"),
        pytest.param(replace(OFF, pending_restart=True), "by_reload", id="waits for a restart"),
        pytest.param(replace(OFF, source="command line"), "still_so", id="from the command line"),
        pytest.param(replace(OFF, source="user"), "still_so", id="hidden by the role's own"),
        pytest.param(replace(OFF, setting="on"), "still_so", id="somebody was quicker"),
        pytest.param(replace(OFF, errors=("line 7",)), "files_readable", id="a broken file"),
        pytest.param(replace(OFF, differing=(OTHER,)), "nothing_else_waits", id="an edit waits"),
        pytest.param(
            replace(OFF, differing=(replace(OTHER, written=None),)),
            "nothing_else_waits",
            id="a line was taken away",
        ),
    ],
)
def test_whatever_is_not_what_was_planned_is_left_alone(
    seen: Parameter | Missing | None, guard: str
) -> None:
    answer = judged(VACUUM, seen)
    assert isinstance(answer, Refusal)
    assert answer.guard == guard
    assert guard in {one.name for one in GUARDS}


def test_a_value_of_another_plan_or_one_that_is_there_already_is_left_alone() -> None:
    for one, seen, guard, said in (
        (replace(WAL, params=(*WAL.params[:2], ("was", "512MB"))), SMALL, "still_so", "512MB"),
        (replace(WAL, params=WAL.params[:2]), SMALL, "still_so", "None"),
        (
            step("set_parameter", parameter="autovacuum", value="on", was="on"),
            replace(OFF, setting="on"),
            "still_so",
            "already",
        ),
        (
            step("set_parameter", parameter="autovacuum", value="off", was="on"),
            replace(OFF, setting="on"),
            "allowed",
            "only become on",
        ),
    ):
        answer = judged(one, seen)
        assert isinstance(answer, Refusal)
        assert answer.guard == guard
        assert said in answer.reason


def test_one_value_in_two_writings_is_no_edit_that_waits() -> None:
    same = replace(OTHER, written="4MB")
    assert isinstance(judged(VACUUM, replace(OFF, differing=(same,))), Change)


def test_under_patroni_nothing_is_changed_nor_proposed() -> None:
    target = replace(TARGET, patroni=PatroniSource(url="http://127.0.0.1:8008"))
    answer = may_change(VACUUM, OFF, target=target, cluster="7")
    assert isinstance(answer, Refusal)
    assert answer.guard == "not_managed"
    assert withheld(VACUUM, cause("autovacuum_starved"), target)
    assert withheld(VACUUM, cause("autovacuum_starved"), TARGET) is None


@pytest.mark.parametrize(
    ("name", "value", "now", "unit", "fits"),
    [
        ("max_wal_size", "2GB", "1024", "MB", True),
        ("max_wal_size", "4GB", "1024", "MB", True),
        ("max_wal_size", "5GB", "1024", "MB", False),
        ("max_wal_size", "512MB", "1024", "MB", False),
        ("max_wal_size", "2 GB; x", "1024", "MB", False),
        ("max_wal_size", "2GB", "1024", "8kB", False),
        ("work_mem", "4MB", "65536", "kB", True),
        ("work_mem", "4MB", "much", "kB", False),
        ("log_min_duration_statement", "200s", "-1", "s", False),
        ("work_mem", "128MB", "65536", "kB", False),
        ("work_mem", "64kB", "65536", "kB", False),
        ("temp_file_limit", "10GB", "-1", "kB", True),
        ("temp_file_limit", "-1", "10485760", "kB", False),
        ("log_min_duration_statement", "-1", "0", "ms", True),
        ("log_min_duration_statement", "0", "-1", "ms", False),
        ("log_min_duration_statement", "1s", "-1", "ms", True),
        ("log_statement", "all", "none", "", False),
        ("autovacuum", "off", "on", "", False),
        ("checkpoint_timeout", "15min", "300", "s", True),
        ("checkpoint_timeout", "30s", "300", "s", False),
        ("fsync", "off", "on", "", False),
        ("archive_command", "x", "", "", False),
    ],
)
def test_only_safe_values_in_the_safe_direction_fit(
    name: str, value: str, now: str, unit: str, *, fits: bool
) -> None:
    assert (unfit(name, value, now, unit=unit) == "") is fits


@pytest.mark.parametrize(
    "name",
    ["fsync", "full_page_writes", "synchronous_commit", "archive_command", "archive_library",
     "session_replication_role", "zero_damaged_pages", "ignore_checksum_failure",
     "data_sync_retry", "shared_buffers", "autovacuum; DROP"],
)  # fmt: skip
def test_what_could_lose_data_has_no_way_in(name: str) -> None:
    assert name not in PARAMETERS
    answer = judged(step("set_parameter", parameter=name, value="on", was="off"), OFF)
    assert isinstance(answer, Refusal)
    assert answer.guard == "allowed"


def test_sizes_and_times_are_read_as_the_server_reads_them() -> None:
    assert number_of("1GB", "8kB") == 131_072
    assert number_of("1.5min", "s") == 90
    assert number_of("1 KB", "kB") is None
    assert number_of("1e3", "ms") is None
    assert same_value("true", "on", unit="")
    assert same_value("FALSE", "off", unit="")
    assert same_value("ddl", "DDL", unit="")
    assert not same_value("off", "on", unit="")


@pytest.mark.parametrize("answer", ["[]", "null", '{"name": 1}', "{"])
def test_an_answer_that_is_none_is_no_parameter(answer: str) -> None:
    with pytest.raises(ProbeFailed):
        parse_parameter(answer)


async def test_without_an_acting_session_nothing_is_changed() -> None:
    refusal = await SET_PARAMETER.check(VACUUM, bare_world())
    assert refusal is not None
    assert refusal.guard == "acting_session"


# --- real servers -------------------------------------------------------------------------------


@dataclass
class Through:
    """Real visits, but one statement is answered otherwise."""

    real: ServerVisits
    at: str
    answer: Acted | None = None
    sent: list[str] = field(default_factory=list[str])

    async def fetch_rows(
        self, database: str, sql: str, params: SqlParams | None = None, *, timeout_s: float
    ) -> tuple[Row, ...]:
        return await self.real.fetch_rows(database, sql, params, timeout_s=timeout_s)

    async def execute(
        self, database: str, sql: str, params: SqlParams | None = None, *, deadline_s: float
    ) -> Acted:
        self.sent.append(sql)
        if self.answer is not None and sql.startswith(self.at):
            return self.answer
        return await self.real.execute(database, sql, params, deadline_s=deadline_s)


def test_each_parameter_of_the_table_is_one_that_a_reload_changes_in_that_unit(
    shared_server: ScratchServer,
) -> None:
    rows = shared_server.query(
        "SELECT name, coalesce(unit, ''), context, vartype FROM pg_settings WHERE name = ANY(%s)",
        [list(PARAMETERS)],
    )
    seen = {name: (unit, context, kind) for name, unit, context, kind in rows}
    assert seen.keys() == PARAMETERS.keys()
    for name, (unit, context, kind) in seen.items():
        allowed = PARAMETERS[name]
        assert context in RELOADED, name
        assert (allowed.unit == unit) or allowed.words, name
        assert (kind == "integer") == (not allowed.words), name


@pytest.fixture
async def world(server: ScratchServer, tmp_path: Path) -> AsyncIterator[World]:
    """An acting role with this one right more, on a server that never cleans up."""
    rights = give(["change settings"], Acting(role="stanch_act", major=server.binaries.major))
    for statement in rights.split(";\n"):
        server.query(statement)
    server.query("ALTER SYSTEM SET autovacuum = 'off'")
    acting = ActingSession(server.dsn("stanch_act"))
    assert (await acting.connect(deadline_s=5.0)).answers
    server.query("SELECT pg_reload_conf()")
    while server.query("SHOW autovacuum") != [("off",)]:
        pass
    [(cluster,)] = server.query("SELECT system_identifier::text FROM pg_control_system()")
    target = replace(TARGET, dsn=server.dsn("stanch_watch"))
    visits = ActingVisits(server.dsn("stanch_act"), cluster=str(cluster))
    yield replace(bare_world(target), actor=acting, visits=visits, cluster=str(cluster))
    acting.close()


def written(server: ScratchServer) -> str:
    return (server.data_directory / "postgresql.auto.conf").read_text()


async def test_a_parameter_is_set_by_reload_once_and_taken_back_exactly(
    server: ScratchServer, world: World
) -> None:
    before = written(server)
    done, log = await run(SET_PARAMETER, VACUUM, world)
    assert done.outcome is StepOutcome.DONE, done.refusal
    assert log.verified().ok
    assert server.query("SHOW autovacuum") == [("on",)]

    again, _ = await run(SET_PARAMETER, VACUUM, world)
    assert again.refusal is not None
    assert again.refusal.guard == "still_so"

    way_back = log.ended().before.split("way back: ")[1]
    for statement in filter(None, way_back.split(";")):
        server.query(statement)
    assert written(server) == before


async def test_what_came_between_plan_and_act_is_not_brought_into_force(
    server: ScratchServer, world: World
) -> None:
    with (server.data_directory / "postgresql.conf").open("a") as conf:
        conf.write("work_mem = 64MB\n")
    before = written(server)
    done, _ = await run(SET_PARAMETER, VACUUM, world)
    assert done.refusal is not None
    assert done.refusal.guard == "nothing_else_waits"
    with (server.data_directory / "postgresql.conf").open("a") as conf:
        conf.write("work_mem = much\n")
    done, _ = await run(SET_PARAMETER, VACUUM, world)
    assert done.refusal is not None
    assert done.refusal.guard == "files_readable"
    assert written(server) == before
    assert server.query("SHOW work_mem") == [("4MB",)]


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_a_halt_a_doubt_and_a_broken_file_in_the_middle(
    server: ScratchServer, world: World
) -> None:
    before, visits = written(server), world.visits
    assert visits is not None
    halted = await SET_PARAMETER.act(VACUUM, world, permits(0))
    assert isinstance(halted, Refusal)
    assert written(server) == before

    halted = await SET_PARAMETER.act(VACUUM, world, permits(1))
    assert not isinstance(halted, Refusal)
    assert (halted.outcome, "not reloaded" in halted.detail) == (StepOutcome.FAILED, True)
    assert server.query("SHOW autovacuum") == [("off",)]
    server.query("ALTER SYSTEM SET autovacuum = 'off'")

    lost = Through(visits, "ALTER SYSTEM", Acted(outcome="in_doubt", detail="no answer"))
    doubt = await SET_PARAMETER.act(VACUUM, replace(world, visits=lost), always)
    assert not isinstance(doubt, Refusal)
    assert doubt.outcome is StepOutcome.IN_DOUBT
    assert not [
        sql for sql in lost.sent if "pg_reload_conf" in sql and "SELECT COALESCE" not in sql
    ]
    assert not (await SET_PARAMETER.verify(VACUUM, world)).ok

    refused = Through(visits, "ALTER SYSTEM", Acted(outcome="failed", detail="permission denied"))
    with pytest.raises(ActionFailed, match="permission denied"):
        await SET_PARAMETER.act(VACUUM, replace(world, visits=refused), always)

    def breaks() -> None:
        with (server.data_directory / "postgresql.conf").open("a") as conf:
            conf.write("work_mem = much\n")
        return

    report = await SET_PARAMETER.act(VACUUM, world, breaks)
    assert not isinstance(report, Refusal)
    assert (report.outcome, "put back" in report.detail) == (StepOutcome.FAILED, True)
    assert written(server) == before
