"""What a role may do on one server, and the settings that decide what Stanch can do there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, LiteralString, TypeAlias, TypeVar, cast

import psycopg
from psycopg.conninfo import make_conninfo

from stanch.adapters.postgres.conninfo import resolve
from stanch.facts.cluster import CLUSTER_IDENTITY_SQL, parse_cluster_identity
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.policy.quoting import printable

STATEMENT_TIMEOUT_MS = 3_000

T = TypeVar("T")
Session: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]

# pg_settings shows a protected setting to nobody who may not read it, where current_setting fails.
# to_regrole answers NULL for roles that this version does not have.
PRIVILEGES_SQL: LiteralString = """
SELECT pg_catalog.json_build_object(
  'role', current_user,
  'version_num', current_setting('server_version_num')::int,
  'superuser', r.rolsuper,
  'connection_limit', r.rolconnlimit,
  'reads_all_stats', pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'),
  'reads_all_settings', pg_catalog.pg_has_role(current_user, 'pg_read_all_settings', 'USAGE'),
  'signals_backends', pg_catalog.pg_has_role(current_user, 'pg_signal_backend', 'USAGE'),
  'uses_reserved', CASE WHEN pg_catalog.to_regrole('pg_use_reserved_connections') IS NOT NULL
    THEN pg_catalog.pg_has_role(current_user, 'pg_use_reserved_connections', 'USAGE') END,
  'max_connections', current_setting('max_connections')::int,
  'superuser_reserved_connections', current_setting('superuser_reserved_connections')::int,
  'reserved_connections', current_setting('reserved_connections', true)::int,
  'in_recovery', pg_catalog.pg_is_in_recovery(),
  'receives', EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver),
  'archive_mode', current_setting('archive_mode'),
  'archives_to', coalesce(nullif(current_setting('archive_command'), '(disabled)'), '') <> ''
    OR coalesce(current_setting('archive_library', true), '') <> '',
  'data_directory', (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory'),
  'port', current_setting('port')::int
)
FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Privileges:
    """One role on one server."""

    role: str
    version_num: int
    """As `server_version_num`: 150004, say."""
    superuser: bool
    connection_limit: int
    """-1: none."""
    reads_all_stats: bool
    reads_all_settings: bool
    signals_backends: bool
    uses_reserved: bool | None
    """Member of pg_use_reserved_connections; None: this version has no such role."""
    max_connections: int
    superuser_reserved_connections: int
    reserved_connections: int | None
    """None: before version 16."""
    in_recovery: bool
    receives: bool
    """A standby whose WAL receiver runs just now."""
    archive_mode: str
    archives_to: bool
    """A command or library for archiving is set."""
    data_directory: str
    """Empty: the role may not see it."""
    port: int
    cluster: str = ""
    """Its system identifier; empty: the role may not read it."""

    @property
    def major(self) -> int:
        return self.version_num // 10_000

    @property
    def reserved_slots(self) -> int:
        """Connections kept free that this role may take when every other one is taken."""
        if self.superuser:
            return self.superuser_reserved_connections + (self.reserved_connections or 0)
        return (self.reserved_connections or 0) if self.uses_reserved else 0


# has_parameter_privilege() came with 15; before it a parameter cannot be granted at all.
PARAMETERS_SQL: LiteralString = """
  (SELECT json_agg(p ORDER BY p) FROM unnest(%(parameters)s::text[]) AS p
    WHERE NOT pg_catalog.has_parameter_privilege(p, 'ALTER SYSTEM'))
"""
ASKED_SQL: LiteralString = "(SELECT json_agg(p) FROM unnest(%(parameters)s::text[]) AS p)"
RIGHTS_SQL: LiteralString = """
SELECT pg_catalog.json_build_object(
  'role', current_user,
  'version_num', current_setting('server_version_num')::int,
  'superuser', r.rolsuper,
  'createrole', r.rolcreaterole,
  'replication', r.rolreplication,
  'database', d.datname,
  'reloads', pg_catalog.has_function_privilege('pg_catalog.pg_reload_conf()', 'EXECUTE'),
  'reads_files',
    pg_catalog.has_function_privilege('pg_catalog.pg_show_all_file_settings()', 'EXECUTE')
    AND pg_catalog.has_table_privilege('pg_catalog.pg_file_settings', 'SELECT'),
  'reads_rules',
    pg_catalog.has_function_privilege('pg_catalog.pg_hba_file_rules()', 'EXECUTE')
    AND pg_catalog.has_table_privilege('pg_catalog.pg_hba_file_rules', 'SELECT'),
  'alter_system', coalesce(current_setting('allow_alter_system', true), 'on'),
  'parameters', {parameters},
  'roles', (SELECT json_agg(o.rolname ORDER BY o.rolname) FROM pg_catalog.pg_roles AS o
    WHERE o.rolcanlogin AND NOT o.rolsuper AND NOT o.rolreplication
      AND o.rolname <> current_user AND o.rolname !~ '^(pg_|stanch_)'
      AND NOT pg_catalog.pg_has_role(o.oid, 'MEMBER WITH ADMIN OPTION')),
  'others', (SELECT count(*) FROM pg_catalog.pg_roles AS o
    WHERE o.rolcanlogin AND NOT o.rolsuper AND NOT o.rolreplication
      AND o.rolname <> current_user AND o.rolname !~ '^(pg_|stanch_)'),
  'owner', o.rolname,
  'owner_superuser', o.rolsuper,
  'owns', pg_catalog.pg_has_role(o.oid, 'USAGE'),
  'owners', (SELECT json_agg(DISTINCT w.rolname) FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_roles AS w ON w.oid = c.relowner
    WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT pg_catalog.pg_has_role(w.oid, 'USAGE')),
  'maintains', CASE WHEN pg_catalog.to_regrole('pg_maintain') IS NOT NULL
    THEN pg_catalog.pg_has_role('pg_maintain', 'USAGE') END
)
FROM pg_catalog.pg_roles AS r, pg_catalog.pg_database AS d
JOIN pg_catalog.pg_roles AS o ON o.oid = d.datdba
WHERE r.rolname = current_user AND d.datname = current_database()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a role may change on one server, and in the database that was asked."""

    role: str
    version_num: int
    superuser: bool
    createrole: bool
    replication: bool
    database: str
    reloads: bool
    """EXECUTE on pg_reload_conf() in this database."""
    reads_files: bool
    """pg_file_settings, in this database."""
    reads_rules: bool
    """pg_hba_file_rules, in this database."""
    alter_system: bool
    """False: allow_alter_system is off (17 and newer)."""
    parameters: tuple[str, ...]
    """Those that were asked about and that it may not change; before 15 all of them."""
    roles: tuple[str, ...]
    """Ordinary logins over which it has no ADMIN OPTION."""
    others: int
    """How many ordinary logins there are."""
    owner: str
    """Of the database."""
    owner_superuser: bool
    owns: bool
    """It has the rights of the database's owner."""
    owners: tuple[str, ...]
    """Of tables in this database, whose rights it does not have."""
    maintains: bool | None
    """Has those of pg_maintain; None: before 17."""

    @property
    def major(self) -> int:
        return self.version_num // 10_000


async def read_rights(
    dsn: str, *, database: str, parameters: Sequence[str], deadline_s: float
) -> Rights | Missing:
    """Log in once to that database and ask what the role may change there; "" is the DSN's own.

    Source: pg_roles, pg_database, pg_class, the has_*_privilege functions; 13 to 18, no privilege
    needed. Cost: one session, one statement over small catalogues and pg_class.
    Never: raises for trouble at the server; that is Missing. Raises SetupError for a bad string.
    """

    async def ask(session: Session) -> dict[str, Any]:
        asked = PARAMETERS_SQL if session.info.server_version >= 150_000 else ASKED_SQL
        query = RIGHTS_SQL.replace("{parameters}", asked)
        values = {"parameters": list(parameters)}
        return _of_ours(await (await session.execute(query, values)).fetchone())

    found = await _logged_in(dsn, ask, database=database, what="rights", deadline_s=deadline_s)
    return found if isinstance(found, Missing) else _rights(found)


def _rights(plain: dict[str, Any]) -> Rights:
    return Rights(
        role=plain["role"],
        version_num=plain["version_num"],
        superuser=plain["superuser"],
        createrole=plain["createrole"],
        replication=plain["replication"],
        database=plain["database"],
        reloads=plain["reloads"],
        reads_files=plain["reads_files"],
        reads_rules=plain["reads_rules"],
        alter_system=plain["alter_system"] == "on",
        parameters=tuple(plain["parameters"] or ()),
        roles=tuple(plain["roles"] or ()),
        others=plain["others"],
        owner=plain["owner"],
        owner_superuser=plain["owner_superuser"],
        owns=plain["owns"],
        owners=tuple(plain["owners"] or ()),
        maintains=plain["maintains"],
    )


async def read_privileges(dsn: str, *, deadline_s: float) -> Privileges | Missing:
    """Log in once and ask what this role may do.

    Source: pg_roles, pg_settings, pg_has_role(); PostgreSQL 13 to 18, no privilege needed.
    Cost: one session and two statements, over small catalogues and the control file.
    Never: raises for trouble at the server; that is Missing with the reason. Raises SetupError for
    a string that is no connection string.
    """

    async def ask(session: Session) -> Privileges:
        row = await (await session.execute(PRIVILEGES_SQL)).fetchone()
        return replace(_privileges(_of_ours(row)), cluster=await _cluster(session))

    return await _logged_in(dsn, ask, database="", what="privileges", deadline_s=deadline_s)


async def _logged_in(
    dsn: str,
    ask: Callable[[Session], Awaitable[T]],
    *,
    database: str,
    what: str,
    deadline_s: float,
) -> T | Missing:
    """What is answered in one short session; "" is the database of the connection string."""
    named = {"dbname": database} if database else {}
    options = f"{resolve(dsn).options} -c statement_timeout={STATEMENT_TIMEOUT_MS}".strip()
    conninfo = make_conninfo(
        dsn,
        application_name="stanch check",
        connect_timeout=max(2, int(deadline_s)),
        options=options,
        **named,
    )
    try:
        async with asyncio.timeout(deadline_s):
            session = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
            async with session:
                return await ask(session)
    except TimeoutError:
        return Missing(what=what, reason=f"no answer within {deadline_s:g} s")
    except psycopg.Error as error:
        return Missing(what=what, reason=printable(str(error).strip())[:300])


def _of_ours(row: tuple[Any, ...] | None) -> dict[str, Any]:
    assert row is not None, "a session's own role is in pg_roles"
    return cast("dict[str, Any]", row[0])


async def _cluster(session: Session) -> str:
    try:
        row = await (await session.execute(CLUSTER_IDENTITY_SQL.encode())).fetchone()
        return parse_cluster_identity(row[0]) if row is not None else ""
    except (psycopg.errors.InsufficientPrivilege, ProbeFailed):
        # Anybody may, unless somebody took that right away.
        return ""


def _privileges(plain: dict[str, Any]) -> Privileges:
    return Privileges(
        role=plain["role"],
        version_num=plain["version_num"],
        superuser=plain["superuser"],
        connection_limit=plain["connection_limit"],
        reads_all_stats=plain["reads_all_stats"],
        reads_all_settings=plain["reads_all_settings"],
        signals_backends=plain["signals_backends"],
        uses_reserved=plain["uses_reserved"],
        max_connections=plain["max_connections"],
        superuser_reserved_connections=plain["superuser_reserved_connections"],
        reserved_connections=plain["reserved_connections"],
        in_recovery=plain["in_recovery"],
        receives=plain["receives"],
        archive_mode=plain["archive_mode"],
        archives_to=plain["archives_to"],
        data_directory=plain["data_directory"] or "",
        port=plain["port"],
    )
