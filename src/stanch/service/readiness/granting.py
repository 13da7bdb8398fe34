"""The SQL for each right beyond ending sessions, by version. Printed and never run. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stanch.policy.quoting import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """Who is to get a right, and where."""

    role: str
    major: int | None
    """None: not known, then the SQL asks the server."""
    database: str = ""
    """Of the acting session; empty: whichever psql is in."""
    tables: str = ""
    """Of the application's tables; empty: whichever psql is in."""
    app_role: str = ""
    """The application's own role; empty: not known."""

    @property
    def name(self) -> str:
        return identifier(self.role)


def grant(role: str, granted: str) -> str:
    """One GRANT, as it can be pasted."""
    return f"GRANT {granted} TO {identifier(role)};"


def grant_reload(role: str) -> str:
    """To have the files read again; belongs to one database."""
    return grant(role, "EXECUTE ON FUNCTION pg_catalog.pg_reload_conf()")


def grant_files(role: str) -> tuple[str, str]:
    """To see what the settings files say; both belong to one database."""
    return (
        grant(role, "EXECUTE ON FUNCTION pg_catalog.pg_show_all_file_settings()"),
        grant(role, "SELECT ON pg_catalog.pg_file_settings"),
    )


def grant_rules(role: str) -> tuple[str, str]:
    """To see what pg_hba.conf says, and what of it cannot be read; both belong to one database."""
    return (
        grant(role, "EXECUTE ON FUNCTION pg_catalog.pg_hba_file_rules()"),
        grant(role, "SELECT ON pg_catalog.pg_hba_file_rules"),
    )


def grant_member(owner: str, role: str, major: int, *, admin: bool = False) -> str:
    """Membership in a role (given as SQL): its rights without becoming it, where that can be."""
    options = "ADMIN TRUE, INHERIT FALSE, SET FALSE" if admin else "INHERIT TRUE, SET FALSE"
    how = f" WITH {options}" if major >= 16 else ""
    return f"GRANT {owner} TO {identifier(role)}{how};"


def identifier(name: str) -> str:
    """A role's name as SQL; quoted unless it is plainly lower case."""
    if re.fullmatch(r"[a-z_][a-z0-9_]*", name):
        return name
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Text as an SQL string, safe whatever standard_conforming_strings says."""
    quoted = text.replace("'", "''")
    return f"E'{quoted.replace(chr(92), chr(92) * 2)}'" if "\\" in text else f"'{quoted}'"


def block(body: str, *, declare: str = "") -> str:
    """One anonymous block of PL/pgSQL."""
    tag = "$stanch$"
    while tag in body:
        tag = f"$s{tag[1:]}"
    head = f"DECLARE\n  {declare}\n" if declare else ""
    return f"DO {tag}\n{head}BEGIN\n  {body}\nEND\n{tag};"


# --- the rights ---------------------------------------------------------------------------------


HOME = "the database postgres, or in that of `acting_dsn` where the role may not connect to it"
"""Where the acting session goes."""


def give_settings(acting: Acting, parameters: tuple[str, ...]) -> str:
    """From 15 on one right a parameter; before it only superusers."""
    lines = [
        "-- Change settings: these parameters and no other, by reload, checked before and after.",
        _since(
            acting.major,
            15,
            grant(acting.role, f"ALTER SYSTEM ON PARAMETER {', '.join(parameters)}"),
            "before PostgreSQL 15 only superusers may change settings: a person does it",
        ),
        _go_to(acting.database, HOME),
        grant_reload(acting.role),
        *grant_files(acting.role),
    ]
    return "\n".join(lines) + "\n"


def give_admin(acting: Acting) -> str:
    """CREATEROLE, and from 16 on the ADMIN OPTION on each role besides."""
    member = f"{identifier(acting.app_role)}" if acting.app_role else "ROLE"
    admin = grant_member(member, acting.role, 16, admin=True)
    if not acting.app_role:
        admin = f"-- {admin}   -- for each role that is meant"
    wide = (
        "before PostgreSQL 16 this takes CREATEROLE, with which a role can take almost any other "
        f"right: ALTER ROLE {acting.name} CREATEROLE; or a person does it"
    )
    lines = [
        "-- Change what a role starts with (timeouts). The ADMIN OPTION lets whoever has it take",
        "-- the rights of that role: give it for the application's roles, not for others.",
        _since(acting.major, 16, f"ALTER ROLE {acting.name} CREATEROLE;", wide),
    ]
    if acting.app_role and (acting.major is None or acting.major >= 16):
        lines.append(_since(acting.major, 16, admin, "there is no ADMIN OPTION on single roles"))
    elif acting.major is None or acting.major >= 16:
        lines.append(admin)
    lines += [
        "-- And to see what the settings files say, so that a timeout is only ever shortened:",
        _go_to(acting.database, HOME),
        *grant_files(acting.role),
    ]
    return "\n".join(lines) + "\n"


def give_database(acting: Acting) -> str:
    """The rights of the database's owner."""
    owners = (
        "SELECT r.rolname, r.rolsuper FROM pg_catalog.pg_database AS d\n"
        "    JOIN pg_catalog.pg_roles AS r ON r.oid = d.datdba\n"
        "    WHERE d.datname = pg_catalog.current_database()"
    )
    lines = [
        "-- Make a database read-only: only its owner may set that, so the acting role gets the",
        "-- owner's rights, to drop it as well. There is no narrower right.",
        _go_to(acting.tables, "the database that is meant"),
        _members(acting, owners, "the database belongs to"),
    ]
    return "\n".join(lines) + "\n"


def give_tables(acting: Acting) -> str:
    """The rights of whoever owns tables there."""
    lines = [
        "-- Of tables: only their owners may, so the acting role gets the owners' rights, to drop",
        "-- them as well. There is no narrower right.",
        _go_to(acting.tables, "the database of the tables"),
        _members(acting, _TABLE_OWNERS, "tables belong to"),
    ]
    return "\n".join(lines) + "\n"


def give_maintenance(acting: Acting) -> str:
    """pg_maintain from 17 on; before it the rights of whoever owns the tables."""
    maintain = grant(acting.role, "pg_maintain")
    head = "-- Analyze and vacuum tables, rebuild indexes: all of them, and nothing else.\n"
    if acting.major is not None and acting.major >= 17:
        return f"{head}{maintain}\n"
    if acting.major is not None:
        return give_tables(acting)
    asks = "IF pg_catalog.to_regrole('pg_maintain') IS NOT NULL THEN"
    body = f"{asks}\n    EXECUTE {literal(maintain.rstrip(';'))};\n  END IF;"
    before = "-- Before PostgreSQL 17 there is no such role:\n"
    return f"{head}{block(body)}\n{before}{_before_17(acting)}\n"


def give_files(acting: Acting) -> str:
    """The settings files and pg_hba.conf as the server reads them; nothing is changed by it."""
    lines = [
        "-- Restart the server: to see before that the server could read its files at the start.",
        _go_to(acting.database, HOME),
        *grant_files(acting.role),
        *grant_rules(acting.role),
    ]
    return "\n".join(lines) + "\n"


def give_replication(acting: Acting) -> str:
    """The attribute; there is no right for slots alone."""
    return (
        "-- Drop replication slots: takes REPLICATION, with which the role could also copy the\n"
        "-- whole server where pg_hba.conf lets it. There is no narrower right.\n"
        f"ALTER ROLE {acting.name} REPLICATION;\n"
    )


_TABLE_OWNERS = (
    "SELECT DISTINCT r.rolname, r.rolsuper FROM pg_catalog.pg_class AS c\n"
    "    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace\n"
    "    JOIN pg_catalog.pg_roles AS r ON r.oid = c.relowner\n"
    "    WHERE c.relkind IN ('r', 'p', 'm')\n"
    "      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
)


def _before_17(acting: Acting) -> str:
    return _members(
        acting,
        f"{_TABLE_OWNERS} AND pg_catalog.to_regrole('pg_maintain') IS NULL",
        "tables belong to",
    )


def _members(acting: Acting, owners: str, whose: str) -> str:
    """Makes the role a member of each owner; of no superuser, whose rights are everybody's."""
    role = literal(acting.role)
    warn = (
        f"RAISE WARNING '{whose} %, a superuser: give them an owner who is none, then run this "
        "again', one.rolname;"
    )
    body = (
        f"FOR one IN {owners}\n  LOOP\n"
        f"    IF one.rolsuper THEN\n      {warn}\n"
        f"    ELSIF NOT pg_catalog.pg_has_role({role}, one.rolname, 'USAGE') THEN\n"
        "      EXECUTE pg_catalog.format('GRANT %I TO %I', one.rolname, " + role + ")\n"
        "        || CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 160000\n"
        "           THEN ' WITH INHERIT TRUE, SET FALSE' ELSE '' END;\n"
        "    END IF;\n  END LOOP;"
    )
    return block(body, declare="one record;")


def _go_to(database: str, otherwise: str) -> str:
    """Goes to a database in psql, or says to whom it is left."""
    if not database or printable(database) != database:
        return f"-- In {otherwise}:"
    quoted = database.replace("\\", "\\\\").replace("'", "\\'").replace('"', '""')
    return f"\\connect -reuse-previous=on \"dbname='{quoted}'\""


def _since(major: int | None, since: int, statement: str, otherwise: str) -> str:
    """The statement from a version on, and before it the words."""
    if major is not None:
        return statement if major >= since else f"-- {otherwise[0].upper()}{otherwise[1:]}."
    asks = f"IF pg_catalog.current_setting('server_version_num')::int >= {since}0000 THEN"
    return block(
        f"{asks}\n    EXECUTE {literal(statement.rstrip(';'))};\n"
        f"  ELSE\n    RAISE NOTICE '%', {literal(otherwise)};\n  END IF;"
    )
