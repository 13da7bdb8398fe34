"""The SQL that gives Stanch's roles exactly what they need; Stanch prints it and never runs it.

Watching and acting are separate roles, so that the one whose password lies on more machines can
end nobody's session. Every statement works on PostgreSQL 13 to 18 and may be run again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from stanch.policy.canary import TABLE as CANARY_TABLE
from stanch.service.readiness.granting import Acting, block, identifier, literal
from stanch.service.readiness.rights import give

WATCH_ROLE = "stanch_watch"
ACT_ROLE = "stanch_act"
RESERVED_SINCE = 16

WATCH_CONNECTIONS = 20
ACT_CONNECTIONS = 10
"""Far more than are ever open at once (three and one). When the way is cut, the server keeps what
was open, for hours where nothing is asked (tcp_keepalives_idle), and each return opens new ones: a
tight limit would lock the watch out after a few cuts, just when it is needed."""

SESSION_LIMITS: Mapping[str, str] = {
    "statement_timeout": "10s",
    "lock_timeout": "100ms",
    "idle_in_transaction_session_timeout": "30s",
}
"""Whatever Stanch does wrong, the server ends it soon; each session may set shorter ones.

Not among them: default_transaction_read_only. The sessions that watch set it themselves, and as a
role's default it would make a probe take every healthy primary for one that cannot be written to.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """The statements for one server, in parts that can be run apart."""

    watching: str
    acting: str
    canary: str
    """Only where the policy wants a canary."""
    rights: str = ""
    """What the acting role needs for the actions that the policy does not merely observe."""


def grants(
    *,
    watch_role: str = WATCH_ROLE,
    act_role: str = ACT_ROLE,
    major: int | None = None,
    canary_table: str = CANARY_TABLE,
    rights: Collection[str] = (),
    places: Acting | None = None,
) -> Grants:
    """The SQL for both roles. Without `major`, parts that depend on the version ask the server.

    `rights`: rows of the capability table; `places`: in which databases they are needed.
    """
    acting = replace(places or Acting(role=act_role, major=major), role=act_role, major=major)
    return Grants(
        watching=_role_sql(
            watch_role,
            heading="Watching: reads statistics and settings of the whole server, no user table.",
            granted=("pg_monitor",),
            connections=WATCH_CONNECTIONS,
            major=major,
        ),
        acting=_role_sql(
            act_role,
            heading="Acting: may also end sessions, except those of superusers. Needed only where\n"
            "-- stanch.yaml has `acting_dsn`.",
            granted=("pg_monitor", "pg_signal_backend"),
            connections=ACT_CONNECTIONS,
            major=major,
        ),
        canary=_canary_sql(watch_role, canary_table),
        rights=give(rights, acting),
    )


def _role_sql(
    role: str, *, heading: str, granted: tuple[str, ...], connections: int, major: int | None
) -> str:
    name = identifier(role)
    create = (
        f"IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {literal(role)}) THEN\n"
        f"    CREATE ROLE {name};\n"
        "  END IF;"
    )
    lines = [
        f"-- {heading}",
        block(create),
        f"ALTER ROLE {name} LOGIN INHERIT CONNECTION LIMIT {connections};",
        f"GRANT {', '.join(granted)} TO {name};",
        *(
            f"ALTER ROLE {name} SET {setting} = {literal(value)};"
            for setting, value in SESSION_LIMITS.items()
        ),
        *_reserved(name, major),
        "-- Then set a password (psql: \\password) and keep it in a passfile of Stanch's OS user.",
    ]
    return "\n".join(lines) + "\n"


def _canary_sql(watch_role: str, table: str) -> str:
    """One table of one short row a target; of everything else the role still writes nothing."""
    schema = table.partition(".")[0]
    role = identifier(watch_role)
    return f"""\
-- Canary: one row a target, written again and again to know that writes work. Run it in the
-- database postgres where {role} may connect to it, else in the one that `dsn` names.
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {table} (
  target text PRIMARY KEY,
  written_at timestamptz NOT NULL
) WITH (fillfactor = 50);
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT SELECT, INSERT, UPDATE ON {table} TO {role};
"""


def _reserved(name: str, major: int | None) -> list[str]:
    """Getting in when every ordinary connection is taken; PostgreSQL 16 and newer."""
    statement = f"GRANT pg_use_reserved_connections TO {name};"
    restart = (
        "-- Lets it in when the server is full, once connections are kept free for that:\n"
        "--   ALTER SYSTEM SET reserved_connections = 3;   -- takes effect at the next restart"
    )
    if major is None:
        body = (
            f"IF current_setting('server_version_num')::int >= {RESERVED_SINCE}0000 THEN\n"
            f"    {statement}\n"
            "  END IF;"
        )
        return [f"-- PostgreSQL {RESERVED_SINCE} and newer:", restart, block(body)]
    return [restart, statement] if major >= RESERVED_SINCE else []
