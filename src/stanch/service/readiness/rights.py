"""What the acting role needs beyond ending sessions: one right for each kind of action. Pure.

Each right is written once: the SQL that gives it (`stanch grants`) and how it is told whether it is
there (`stanch check`). Its name is the one that an action's `stands_on` has.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from stanch.adapters.postgres.privileges import Rights
from stanch.model.plans import Mode
from stanch.policy.policy import TargetPolicy
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.actions.set_parameter.parameters import PARAMETERS
from stanch.service.readiness.granting import (
    Acting,
    give_admin,
    give_database,
    give_files,
    give_maintenance,
    give_replication,
    give_settings,
    give_tables,
    grant,
    grant_files,
    grant_member,
    grant_reload,
    grant_rules,
    identifier,
)

ALTER_SYSTEM_SINCE = 15
ADMIN_SINCE = 16
MAINTAIN_SINCE = 17
SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Whether a role has a right, why, and the exact change that gives it."""

    can: bool
    why: str
    change: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One thing that a role may be allowed beside ending sessions."""

    give: Callable[[Acting], str]
    """The SQL, with what has to be known before it is run."""
    judge: Callable[[Rights], Judged]
    in_tables: bool = True
    """Judged in the database of the application's tables, else in that of the acting session."""


def wanted_rights(target: TargetPolicy) -> tuple[str, ...]:
    """The rights of those actions that policy does not merely observe."""
    named = {
        action.stands_on
        for action in CATALOGUE.values()
        if target.mode(action.name) is not Mode.OBSERVE
    }
    return tuple(name for name in RIGHTS if name in named)


def give(names: Collection[str], acting: Acting) -> str:
    """The SQL for these rights, in the order of the table, each statement once."""
    parts = dict.fromkeys(right.give(acting) for name, right in RIGHTS.items() if name in names)
    return "\n".join(parts)


# --- is it there? -------------------------------------------------------------------------------


def _settings(seen: Rights) -> Judged:
    if not seen.alter_system:
        change = "ALTER SYSTEM is switched off where it is managed: let a person change it there."
        return Judged(can=False, why="allow_alter_system is off", change=change)
    if seen.superuser:
        return Judged(can=True, why=_superuser(seen))
    if seen.major < ALTER_SYSTEM_SINCE:
        return Judged(
            can=False,
            why=f"PostgreSQL {seen.major} lets nobody but superusers change settings",
            change=f"Upgrade to PostgreSQL {ALTER_SYSTEM_SINCE} or newer, or let a person do it.",
        )
    lacks: list[str] = []
    if seen.parameters:
        lacks.append(grant(seen.role, f"ALTER SYSTEM ON PARAMETER {', '.join(seen.parameters)}"))
    if not seen.reloads:
        lacks.append(grant_reload(seen.role))
    lacks += _files(seen)
    if not (seen.reloads and seen.reads_files):
        lacks.append(f"-- in the database {identifier(seen.database)}")
    if not lacks:
        return Judged(can=True, why=f"{len(PARAMETERS)} parameters, by reload, and no other")
    why = f"{seen.role} may not change, reload or check all {len(PARAMETERS)} parameters"
    return Judged(can=False, why=why, change=" ".join(lacks))


def _files(seen: Rights) -> tuple[str, ...]:
    return () if seen.reads_files else grant_files(seen.role)


def _roles(seen: Rights) -> Judged:
    if seen.superuser:
        return Judged(can=True, why=_superuser(seen))
    if not seen.createrole:
        wide = seen.major < ADMIN_SINCE
        more = ", with which it could take almost any other right" if wide else ""
        return Judged(
            can=False,
            why=f"{seen.role} has no CREATEROLE{more}",
            change=f"ALTER ROLE {identifier(seen.role)} CREATEROLE;",
        )
    if not seen.reads_files:
        change = " ".join([*_files(seen), f"-- in the database {identifier(seen.database)}"])
        why = f"{seen.role} may not see what the settings files say, so nothing is known shorter"
        return Judged(can=False, why=why, change=change)
    if seen.major < ADMIN_SINCE:
        return Judged(can=True, why="all roles but superusers")
    if len(seen.roles) >= max(1, seen.others):
        return Judged(
            can=False,
            why=f"{seen.role} has the ADMIN OPTION on no role: {_some(seen.roles)}",
            change=grant_member("ROLE", seen.role, seen.major, admin=True),
        )
    left = f"; not {_some(seen.roles)}" if seen.roles else ""
    return Judged(can=True, why=f"{seen.others - len(seen.roles)} of {seen.others} logins{left}")


def _restart(seen: Rights) -> Judged:
    """Only the files: its manager does the rest, and has a row of its own."""
    if seen.superuser:
        return Judged(can=True, why=_superuser(seen))
    lacks = [*_files(seen), *(() if seen.reads_rules else grant_rules(seen.role))]
    if not lacks:
        return Judged(can=True, why="its files can be read before; its manager does the rest")
    change = " ".join([*lacks, f"-- in the database {identifier(seen.database)}"])
    why = f"{seen.role} may not see whether the server could read its files at the next start"
    return Judged(can=False, why=why, change=change)


def _database(seen: Rights) -> Judged:
    if seen.superuser:
        return Judged(can=True, why=_superuser(seen))
    if seen.owns:
        return Judged(can=True, why=f"{seen.database} belongs to {seen.owner}: a brake, no lock")
    if seen.owner_superuser:
        return Judged(
            can=False,
            why=f"{seen.database} belongs to {seen.owner}, a superuser",
            change=f"ALTER DATABASE {identifier(seen.database)} OWNER TO a role that is none; then "
            "GRANT that role.",
        )
    return Judged(
        can=False,
        why=f"only its owner {seen.owner} may change {seen.database}",
        change=grant_member(identifier(seen.owner), seen.role, seen.major),
    )


def _owned(seen: Rights) -> Judged:
    if seen.superuser:
        return Judged(can=True, why=_superuser(seen))
    if not seen.owners:
        return Judged(can=True, why=f"it has the rights of all who own tables in {seen.database}")
    given = (grant_member(identifier(owner), seen.role, seen.major) for owner in seen.owners)
    return Judged(
        can=False,
        why=f"only their owners may, in {seen.database}: {_some(seen.owners)}",
        change=" ".join([*list(given)[:SHOWN], "-- not for an owner who is a superuser"]),
    )


def _maintenance(seen: Rights) -> Judged:
    if seen.superuser or seen.maintains:
        why = _superuser(seen) if seen.superuser else f"{seen.role} has pg_maintain"
        return Judged(can=True, why=why)
    owned = _owned(seen)
    if owned.can or seen.major < MAINTAIN_SINCE:
        return owned
    return Judged(can=False, why=owned.why, change=grant(seen.role, "pg_maintain"))


def _slots(seen: Rights) -> Judged:
    if seen.superuser or seen.replication:
        why = _superuser(seen) if seen.superuser else f"{seen.role} has REPLICATION"
        return Judged(can=True, why=why)
    return Judged(
        can=False,
        why=f"{seen.role} has no REPLICATION, with which it could also copy the whole server",
        change=f"ALTER ROLE {identifier(seen.role)} REPLICATION;",
    )


def _superuser(seen: Rights) -> str:
    return f"{seen.role} is a superuser, which is more than acting needs (`stanch grants`)"


def _some(names: Collection[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return f"{', '.join(listed[:SHOWN])}{more}"


RIGHTS: Mapping[str, Right] = MappingProxyType(
    {
        "change settings": Right(
            give=lambda acting: give_settings(acting, tuple(PARAMETERS)),
            judge=_settings,
            in_tables=False,
        ),
        "change what a role starts with": Right(give=give_admin, judge=_roles, in_tables=False),
        "make a database read-only": Right(give=give_database, judge=_database),
        "quarantine tables": Right(give=give_tables, judge=_owned),
        "analyze and vacuum tables": Right(give=give_maintenance, judge=_maintenance),
        "rebuild indexes": Right(give=give_maintenance, judge=_maintenance),
        "drop replication slots": Right(give=give_replication, judge=_slots),
        "restart the server": Right(give=give_files, judge=_restart, in_tables=False),
    }
)
"""In the order in which they are granted: what a membership adds comes after the ADMIN OPTION."""
