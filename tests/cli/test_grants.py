"""`stanch grants` prints SQL that real servers accept and that gives no more than it says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psycopg
import pytest
import typer
from typer.testing import CliRunner

from stanch.adapters.postgres.privileges import Privileges, read_privileges
from stanch.adapters.postgres.probe import probe
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.cli import grants as command
from stanch.model.reach import ReachState
from stanch.service.readiness.granting import identifier, literal
from stanch.service.readiness.grants import ACT_ROLE, WATCH_CONNECTIONS, WATCH_ROLE, grants


def invoke(*arguments: str) -> tuple[int, str, str]:
    app = typer.Typer()
    command.register(app)
    app.callback()(lambda: None)
    result = CliRunner().invoke(app, ["grants", *arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def psql(server: ScratchServer, sql: str) -> str:
    """Run a script the way a person does; the first error stops it."""
    done = subprocess.run(
        [str(server.binaries.bin_dir / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-",
         server.dsn()],
        input=sql, text=True, capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def privileges(seen: object) -> Privileges:
    assert isinstance(seen, Privileges), seen
    return seen


@pytest.fixture
def bare(server: ScratchServer) -> ScratchServer:
    """A server without any role of ours, and with a table nobody gave away."""
    server.query("DROP ROLE IF EXISTS stanch_watch, stanch_act")
    server.query("CREATE TABLE public.salaries (id int)")
    return server


async def test_the_printed_sql_makes_roles_that_see_activity_and_read_no_user_table(
    bare: ScratchServer,
) -> None:
    code, sql, _ = invoke()
    assert code == 0
    psql(bare, sql)
    with bare.connect("app") as someone:
        someone.execute("SELECT 'other people''s statement'")
        pid = someone.info.backend_pid
        with bare.connect(WATCH_ROLE) as watching:
            [[query]] = watching.execute(
                "SELECT query FROM pg_stat_activity WHERE pid = %s", [pid]
            ).fetchall()
            assert "other people" in query
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                watching.execute("SELECT * FROM public.salaries")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                watching.execute("SELECT pg_terminate_backend(%s)", [pid])
            assert watching.execute("SHOW lock_timeout").fetchall() == [("100ms",)]
    assert (await probe(bare.dsn(WATCH_ROLE), deadline_s=10)).state is ReachState.UP
    seen = privileges(await read_privileges(bare.dsn(WATCH_ROLE), deadline_s=10))
    assert seen.reads_all_stats
    assert seen.reads_all_settings
    assert not seen.signals_backends
    assert not seen.superuser
    assert seen.connection_limit == WATCH_CONNECTIONS
    assert seen.data_directory == str(bare.data_directory)


async def test_the_acting_role_ends_sessions_of_others_but_never_of_a_superuser(
    bare: ScratchServer,
) -> None:
    psql(bare, invoke("--only", "acting")[1])
    with (
        bare.connect("app") as someone,
        bare.connect() as superuser,
        bare.connect(ACT_ROLE) as acting,
    ):
        [[ended]] = acting.execute(
            "SELECT pg_terminate_backend(%s, 5000)", [someone.info.backend_pid]
        ).fetchall()
        assert ended is True
        with pytest.raises(psycopg.OperationalError):
            someone.execute("SELECT 1")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            acting.execute("SELECT pg_terminate_backend(%s)", [superuser.info.backend_pid])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            acting.execute("SELECT * FROM public.salaries")
    seen = privileges(await read_privileges(bare.dsn(ACT_ROLE), deadline_s=10))
    assert seen.signals_backends
    assert bare.query("SELECT 1 FROM pg_roles WHERE rolname = 'stanch_watch'") == []


async def test_the_reserved_connections_role_is_granted_where_the_version_has_it(
    bare: ScratchServer, pg_major: int
) -> None:
    psql(bare, invoke()[1])
    seen = privileges(await read_privileges(bare.dsn(WATCH_ROLE), deadline_s=10))
    assert seen.major == pg_major
    assert seen.uses_reserved == (True if pg_major >= 16 else None)


def test_the_sql_may_be_run_twice(bare: ScratchServer) -> None:
    sql = invoke()[1]
    psql(bare, sql)
    psql(bare, sql)


@pytest.mark.parametrize(
    "name", ['Ops "Watch"', "it's", r"back\slash", "$stanch$", "; DROP ROLE x"]
)
def test_role_names_of_any_kind_are_quoted(server: ScratchServer, name: str) -> None:
    sql = grants(watch_role=name, act_role=name + "2", major=15)
    psql(server, sql.watching + sql.acting)
    [[limit]] = server.query("SELECT rolconnlimit FROM pg_roles WHERE rolname = %s", [name])
    assert limit == WATCH_CONNECTIONS


def test_only_one_part_is_printed_when_asked_and_other_words_are_refused() -> None:
    watching, acting = invoke("--only", "watching")[1], invoke("--only", "acting")[1]
    assert "pg_signal_backend" not in watching
    assert WATCH_ROLE not in acting
    assert invoke()[1].startswith(watching)
    assert invoke("--only", "everything")[0] == 2


def policy_for(path: Path, dsn: str, more: str = "") -> Path:
    path.write_text(
        "state_directory: /tmp/x\npeople: {asha: {name: A}}\nladder: [asha]\n"
        "channels: {console: {type: terminal}}\n"
        f'targets:\n  orders:\n    dsn: "{dsn}"\n{more}'
    )
    return path


def test_a_target_s_own_role_names_and_version_are_used(
    server: ScratchServer, pg_major: int, tmp_path: Path
) -> None:
    server.query("CREATE ROLE watcher LOGIN")
    config = policy_for(tmp_path / "s.yaml", server.dsn("watcher", "postgres"))
    code, sql, _ = invoke("--target", "orders", "-c", str(config))
    assert code == 0
    assert "TO watcher;" in sql
    assert ("pg_use_reserved_connections" in sql) == (pg_major >= 16)
    psql(server, sql)


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_the_right_for_an_action_is_printed_only_where_policy_lets_it_happen(
    bare: ScratchServer, tmp_path: Path
) -> None:
    more = (
        f'    acting_dsn: "{bare.dsn(ACT_ROLE)}"\n    app_dsn: "{bare.dsn("app")}"\n'
        "    actions: {set_parameter: advise, set_role_timeout: act, make_read_only: observe}\n"
    )
    psql(bare, invoke()[1])
    config = policy_for(tmp_path / "s.yaml", bare.dsn(WATCH_ROLE), more)
    code, sql, _ = invoke("--target", "orders", "--only", "rights", "-c", str(config))
    assert code == 0
    assert "GRANT ALTER SYSTEM ON PARAMETER autovacuum," in sql
    assert "GRANT app TO stanch_act WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;" in sql
    assert "dbname='postgres'" in sql
    assert "current_database()" not in sql, "that is of make_read_only"
    psql(bare, sql)
    assert "ALTER SYSTEM" not in invoke()[1].replace("ALTER SYSTEM SET reserved", "")


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_the_role_of_a_superuser_or_of_the_application_is_never_limited(
    server: ScratchServer, tmp_path: Path
) -> None:
    server.query("CREATE ROLE boss SUPERUSER LOGIN")
    for role in ("postgres", "boss", "app"):
        more = f'    app_dsn: "{server.dsn("app")}"\n'
        config = policy_for(tmp_path / "s.yaml", server.dsn(role), more)
        _, sql, notes = invoke("--target", "orders", "-c", str(config))
        assert f"ALTER ROLE {role} " not in sql
        assert f"ALTER ROLE {WATCH_ROLE} " in sql
        assert f"{role} is not for Stanch alone" in notes


def test_names_and_literals_are_quoted_as_the_server_reads_them() -> None:
    assert (identifier("stanch_watch"), identifier("Ops"), identifier('a"b')) == (
        "stanch_watch",
        '"Ops"',
        '"a""b"',
    )
    assert (literal("it's"), literal("a\\'b")) == ("'it''s'", "E'a\\\\''b'")


def test_the_table_of_the_canary_is_printed_for_who_wants_it(
    bare: ScratchServer, tmp_path: Path
) -> None:
    _, portable, _ = invoke()
    assert "stanch.canary" not in portable
    code, sql, _ = invoke("--only", "canary")
    assert code == 0
    psql(bare, portable)
    psql(bare, sql)
    psql(bare, sql)  # may be run again

    file = tmp_path / "stanch.yaml"
    file.write_text(
        f"state_directory: {tmp_path}\npeople: {{ann: {{name: Ann}}}}\nladder: [ann]\n"
        "channels: {console: {type: terminal}}\ntargets:\n  orders:\n"
        f'    dsn: "{bare.dsn("stanch_watch", "postgres")}"\n'
        "    canary: {every: 10s, table: watch.orders}\n"
    )
    _, wanted, _ = invoke("--target", "orders", "-c", str(file))
    assert "CREATE TABLE IF NOT EXISTS watch.orders" in wanted
    assert "ALTER ROLE stanch_watch LOGIN" in wanted
