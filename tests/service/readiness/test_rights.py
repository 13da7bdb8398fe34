"""What an action needs beyond ending sessions: told when it is missing, given as it is printed."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import psycopg
import pytest

from stanch.adapters.postgres.privileges import Rights, read_rights
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.respond.actions.set_parameter.parameters import PARAMETERS
from stanch.service.readiness.granting import Acting
from stanch.service.readiness.rights import RIGHTS, give

ALL = Rights(
    role="act",
    version_num=180001,
    superuser=False,
    createrole=True,
    replication=True,
    database="shop",
    reloads=True,
    reads_files=True,
    reads_rules=True,
    alter_system=True,
    parameters=(),
    roles=(),
    others=2,
    owner="owner",
    owner_superuser=False,
    owns=True,
    owners=(),
    maintains=True,
)
NONE = replace(
    ALL,
    createrole=False,
    replication=False,
    reloads=False,
    reads_files=False,
    reads_rules=False,
    parameters=("work_mem", "autovacuum"),
    roles=("app", "jobs"),
    owns=False,
    owners=("owner", 'the "boss"'),
    maintains=False,
)
SETTINGS, ROLES = "change settings", "change what a role starts with"
DATABASE, TABLES = "make a database read-only", "quarantine tables"
UPKEEP, INDEXES, SLOTS = "analyze and vacuum tables", "rebuild indexes", "drop replication slots"


@pytest.mark.parametrize("name", RIGHTS)
def test_a_role_with_all_of_them_can_and_nothing_is_to_be_changed(name: str) -> None:
    assert RIGHTS[name].judge(ALL).can
    assert RIGHTS[name].judge(ALL).change == ""
    assert RIGHTS[name].judge(replace(NONE, superuser=True)).can


@pytest.mark.parametrize(
    ("name", "seen", "change"),
    [
        (SETTINGS, NONE, "GRANT ALTER SYSTEM ON PARAMETER work_mem, autovacuum TO act;"),
        (SETTINGS, replace(ALL, parameters=("work_mem",)), "PARAMETER work_mem TO act;"),
        (SETTINGS, replace(ALL, reloads=False), "EXECUTE ON FUNCTION pg_catalog.pg_reload_conf()"),
        (SETTINGS, replace(ALL, reads_files=False), "SELECT ON pg_catalog.pg_file_settings TO act"),
        (SETTINGS, replace(NONE, version_num=140001), "Upgrade to PostgreSQL 15"),
        (SETTINGS, replace(ALL, alter_system=False), "where it is managed"),
        (ROLES, NONE, "ALTER ROLE act CREATEROLE;"),
        (ROLES, replace(NONE, version_num=150001), "ALTER ROLE act CREATEROLE;"),
        (ROLES, replace(ALL, roles=("app", "jobs")), "WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"),
        (DATABASE, NONE, "GRANT owner TO act WITH INHERIT TRUE, SET FALSE;"),
        (DATABASE, replace(NONE, version_num=150001), "GRANT owner TO act;"),
        (DATABASE, replace(NONE, owner_superuser=True), "ALTER DATABASE shop OWNER TO"),
        (TABLES, NONE, 'GRANT "the ""boss""" TO act WITH INHERIT TRUE'),
        (UPKEEP, NONE, "GRANT pg_maintain TO act;"),
        (UPKEEP, replace(NONE, version_num=160001, maintains=None), "GRANT owner TO act"),
        (INDEXES, NONE, "GRANT pg_maintain TO act;"),
        (SLOTS, NONE, "ALTER ROLE act REPLICATION;"),
    ],
)
def test_a_right_that_is_missing_is_told_with_the_exact_change(
    name: str, seen: Rights, change: str
) -> None:
    judged = RIGHTS[name].judge(seen)
    assert not judged.can
    assert change in judged.change


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        pytest.param(ROLES, replace(ALL, roles=("jobs",)), id="one of two roles"),
        pytest.param(ROLES, replace(ALL, version_num=150001, roles=("a", "b")), id="all before 16"),
        pytest.param(UPKEEP, replace(ALL, maintains=False), id="the owner's rights are enough"),
        pytest.param(TABLES, replace(NONE, owners=()), id="tables, though not the database"),
    ],
)
def test_what_only_looks_like_a_missing_right_is_none(name: str, seen: Rights) -> None:
    assert RIGHTS[name].judge(seen).can


def test_before_their_version_rights_are_words_and_no_statements() -> None:
    sql = give(RIGHTS, Acting(role="act", major=14))
    code = [line for line in sql.splitlines() if not line.startswith("--")]
    assert not any("ALTER SYSTEM" in line or "CREATEROLE" in line for line in code)
    assert "pg_maintain" not in sql


@pytest.mark.parametrize("hostile", ["a'b", 'a"b', "a\\b", "a=b c", "x\n; DROP TABLE t"])
def test_the_name_of_a_database_stays_one_word_of_psql(hostile: str) -> None:
    sql = give([DATABASE], Acting(role="act", major=18, tables=hostile))
    lines = [line for line in sql.splitlines() if line.startswith("\\connect")]
    assert len(lines) == (0 if "\n" in hostile else 1)
    assert "DROP TABLE" not in sql


# --- real servers -------------------------------------------------------------------------------

OWNER = 'own"er'


def psql(server: ScratchServer, sql: str) -> None:
    done = subprocess.run(
        [str(server.binaries.bin_dir / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-",
         server.dsn()],
        input=sql, text=True, capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


async def rights(server: ScratchServer, role: str = "act") -> Rights:
    seen = await read_rights(
        server.dsn(role), database="app", parameters=tuple(PARAMETERS), deadline_s=10
    )
    assert isinstance(seen, Rights), seen
    return seen


def needing(server: ScratchServer) -> None:
    """A role without any right, and things of others that it might touch."""
    server.query("CREATE ROLE act LOGIN")
    server.query('CREATE ROLE "own""er"')
    server.query("CREATE TABLE public.t (id int PRIMARY KEY)", dbname="app")
    server.query('ALTER TABLE public.t OWNER TO "own""er"', dbname="app")
    server.query('ALTER DATABASE app OWNER TO "own""er"')
    server.query("SELECT pg_create_physical_replication_slot('left')")


DONE = {
    SETTINGS: "ALTER SYSTEM SET autovacuum = on",
    ROLES: "ALTER ROLE app SET statement_timeout = '5min'",
    DATABASE: "ALTER DATABASE app SET default_transaction_read_only = on",
    TABLES: "REVOKE INSERT ON public.t FROM app",
    INDEXES: "REINDEX INDEX CONCURRENTLY public.t_pkey",
    SLOTS: "SELECT pg_drop_replication_slot('left')",
}
"""ANALYZE is not among them: without the right it warns and skips the table."""


@pytest.mark.parametrize("known", [True, False], ids=["version known", "asked by the SQL"])
async def test_what_is_printed_makes_each_no_a_yes_and_the_yes_is_true(
    server: ScratchServer, pg_major: int, *, known: bool
) -> None:
    needing(server)
    before = await rights(server)
    assert [name for name in RIGHTS if RIGHTS[name].judge(before).can] == []
    with server.connect("act", "app") as session:
        for statement in DONE.values():
            with pytest.raises(psycopg.Error):
                session.execute(statement.encode())

    major = pg_major if known else None
    acting = Acting(role="act", major=major, database="app", tables="app", app_role="app")
    psql(server, give(RIGHTS, acting))
    psql(server, give(RIGHTS, acting))  # may be run again

    seen = await rights(server)
    wide = {ROLES} if pg_major < 16 else set[str]()
    assert {name for name in RIGHTS if not RIGHTS[name].judge(seen).can} == wide
    with server.connect("act", "app") as session:
        session.execute("SELECT pg_reload_conf(), (SELECT count(*) FROM pg_file_settings)")
        for name in DONE.keys() - wide:
            session.execute(DONE[name].encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("ALTER SYSTEM SET fsync = off")


async def test_rights_of_a_superuser_are_given_to_nobody(server: ScratchServer) -> None:
    server.query("CREATE ROLE act LOGIN")
    server.query("CREATE TABLE public.t (id int)", dbname="app")
    psql(server, give([TABLES], Acting(role="act", major=None, tables="app")))
    assert RIGHTS[TABLES].judge(await rights(server)).can is False
