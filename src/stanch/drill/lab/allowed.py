"""The list of staging servers on which faults may be made, and the refusal of everything else.

    servers:
      - name: orders-staging
        system_identifier: "7391822455667788990"
        until: 2026-12-01T18:00:00Z
        faults: [forgotten-transaction]

A server is known by its system identifier, which no address and no typing error can change.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import psycopg
import yaml

from stanch.drill.lab.fault import Fault
from stanch.model.errors import SetupError

DAYS_MAX = 31
KEYS = ("name", "system_identifier", "until", "faults")
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
WHO_SQL = """
SELECT (SELECT system_identifier::text FROM pg_control_system()),
       pg_is_in_recovery(),
       (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user)
"""
EVERY = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """One server of the list."""

    name: str
    system_identifier: str
    until: datetime
    faults: tuple[str, ...]
    """Ids, or `all`: every fault that may be made on a staging server at all."""


def read_allow_list(path: Path) -> tuple[Allowed, ...]:
    """The servers of a list. Raises: SetupError that says what is wrong with it, and where."""
    on = str(path)
    try:
        found = path.stat()
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"cannot be read: {error}", on=on, hint=HINT) from error
    if found.st_mode & WRITABLE_BY_OTHERS or found.st_uid not in (0, os.geteuid()):
        raise SetupError(
            "others may write it", on=on, hint="It must be yours or root's: chmod go-w, chown."
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SetupError(f"is no YAML: {error}", on=on, hint=HINT) from error
    servers = cast("dict[str, Any]", value).get("servers") if isinstance(value, dict) else None
    if not isinstance(servers, list) or not servers:
        raise SetupError("names no servers", on=on, hint=HINT)
    every = cast("list[object]", servers)
    return tuple(_allowed(one, f"{on}: server {n}") for n, one in enumerate(every, 1))


HINT = "docs/lab.md shows one."


def _allowed(value: object, on: str) -> Allowed:
    if not isinstance(value, dict):
        raise SetupError("is no mapping", on=on, hint=HINT)
    entry = cast("dict[str, Any]", value)
    unknown = sorted(str(key) for key in entry if key not in KEYS)
    lacking = [key for key in KEYS if key not in entry]
    if unknown or lacking:
        words = [f"unknown: {', '.join(unknown)}"] if unknown else []
        words += [f"missing: {', '.join(lacking)}"] if lacking else []
        raise SetupError("; ".join(words), on=on, hint=HINT)
    identifier = str(entry["system_identifier"])
    if not identifier.isdecimal():
        raise SetupError(
            "system_identifier is a number in quotes",
            on=on,
            hint="SELECT system_identifier FROM pg_control_system();",
        )
    faults = entry["faults"]
    names = [faults] if faults == EVERY else faults
    if not isinstance(names, list) or not all(isinstance(one, str) for one in cast("Any", names)):
        raise SetupError("faults is a list of ids, or all", on=on, hint=HINT)
    return Allowed(
        name=str(entry["name"]),
        system_identifier=identifier,
        until=_until(entry["until"], on),
        faults=tuple(cast("list[str]", names)),
    )


def _until(value: object, on: str) -> datetime:
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError as error:
        raise SetupError(f"until is no moment: {value}", on=on, hint=HINT) from error
    # YAML turns what has a zone into UTC and takes the zone off again.
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Who answers at a connection string."""

    system_identifier: str
    in_recovery: bool
    powerful: bool
    """The role is a superuser, or may replicate."""


def who_answers(dsn: str) -> Server:
    """Raises: SetupError where nobody does, or does not say."""
    try:
        with psycopg.connect(dsn, connect_timeout=10, autocommit=True) as session:
            row = session.execute(WHO_SQL).fetchone()
    except psycopg.Error as error:
        words = " ".join(str(error).split())
        raise SetupError(f"the server does not say who it is: {words}") from error
    assert row is not None
    return Server(system_identifier=row[0], in_recovery=row[1], powerful=row[2])


def permit(fault: Fault, server: Server, allowed: Sequence[Allowed], *, at: datetime) -> Allowed:
    """The entry that allows it. Raises: SetupError with what stands against it."""
    if not fault.on_staging:
        raise SetupError(
            f"{fault.id} is only made on throw-away servers",
            hint="`stanch lab faults --staging` lists the others.",
        )
    entry = next((a for a in allowed if a.system_identifier == server.system_identifier), None)
    if entry is None:
        raise SetupError(
            f"the server with system identifier {server.system_identifier} is not on the list",
            hint="Whoever owns it adds it there, or it is the wrong server.",
        )
    if entry.until <= at:
        raise SetupError(f"{entry.name} was allowed until {entry.until:%Y-%m-%d %H:%M} UTC")
    if entry.until - at > timedelta(days=DAYS_MAX):
        raise SetupError(
            f"{entry.name} is allowed for more than {DAYS_MAX} days",
            hint="A game day has a date: shorten `until`.",
        )
    if EVERY not in entry.faults and fault.id not in entry.faults:
        raise SetupError(f"{fault.id} is not among the faults allowed on {entry.name}")
    if server.in_recovery:
        raise SetupError(f"{entry.name} is a standby: nothing can be made on it by SQL")
    if server.powerful:
        raise SetupError(
            "the role may do too much",
            hint="Use an ordinary role of the application: no superuser, no replication.",
        )
    return entry
