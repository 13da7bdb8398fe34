"""What a pooler's console says of itself where it is to be changed. Rows in, a pooler out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from stanch.facts.pools import ADMIN_DATABASE, IN_USE, OPEN
from stanch.facts.reading import read_object
from stanch.facts.sql import load
from stanch.model.ports.server import Row, SqlParams

POOL_SESSIONS_SQL: Final = load("pool_sessions")
"""Takes the pids of backends as the text of an array; see `session_parameters`."""

NAME_PATTERN: Final = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}"
"""Names that a console reads in one way whatever its version; 63 characters are its own limit."""
PIDS_MAX: Final = 2000
VALUE_MAX: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledDatabase:
    """One line of SHOW DATABASES; what could not be read is None."""

    name: str
    host: str
    """Empty: a socket on the pooler's own machine. Several are separated by commas."""
    pool_size: int | None
    max_connections: int | None
    reserve_pool: int | None
    paused: bool | None
    disabled: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLine:
    """One line of SHOW POOLS."""

    database: str
    user: str
    waiting: int
    in_use: int
    open: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLink:
    """A server connection of the pooler, as both ends can tell it."""

    database: str
    pid: int
    """Of the backend behind it."""
    port: int
    """The pooler's own, which the server sees as client_port. -1: a socket."""
    to_be_closed: bool = False
    """As soon as its transaction has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooler:
    """A pooler at one moment, as its console says."""

    product: str
    version: tuple[int, ...]
    databases: tuple[PooledDatabase, ...] = ()
    pools: tuple[PoolLine, ...] = ()
    links: tuple[ServerLink, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    """Those that may be changed at run time."""
    is_watched_one: bool = False
    """The console that is watched saw the session which asked."""

    def database(self, name: str) -> PooledDatabase | None:
        return next((d for d in self.databases if d.name == name), None)

    def waiting(self, database: str) -> int:
        return sum(p.waiting for p in self.pools if p.database == database)

    def open(self, database: str) -> int:
        return sum(p.open for p in self.pools if p.database == database)

    def in_use(self, database: str) -> int:
        return sum(p.in_use for p in self.pools if p.database == database)

    def setting(self, name: str) -> int | None:
        return _whole(self.settings.get(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSession:
    """A backend of the watched server that may be behind a pooler's connection."""

    pid: int
    client_port: int | None
    """None: hidden. -1: a socket."""
    backend_start: datetime | None
    state: str
    wait_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRoom:
    """What the server itself has left, and what those backends do."""

    sessions: tuple[PoolSession, ...]
    usable: int
    """Connections that ordinary roles may take (max_connections without those kept free)."""
    taken: int
    limits_left: int | None
    """What the strictest CONNECTION LIMIT of their roles and databases leaves; None: no limit."""

    @property
    def left(self) -> int:
        free = self.usable - self.taken
        return free if self.limits_left is None else min(free, self.limits_left)


def parse_version(rows: Sequence[Row]) -> tuple[str, tuple[int, ...]]:
    """From SHOW VERSION: `PgBouncer 1.18.0` and its like; the product is empty where unknown."""
    said = " ".join(value or "" for row in rows for value in row.values())
    found = re.match(r"\s*([A-Za-z]+)\s+(\d{1,4}(?:\.\d{1,4}){0,3})", said, re.ASCII)
    if found is None:
        return "", ()
    return found[1], tuple(int(part) for part in found[2].split("."))


def parse_databases(rows: Sequence[Row]) -> tuple[PooledDatabase, ...]:
    """From SHOW DATABASES."""
    return tuple(
        PooledDatabase(
            name=row.get("name") or "",
            host=row.get("host") or "",
            pool_size=_whole(row.get("pool_size")),
            max_connections=_whole(row.get("max_connections")),
            reserve_pool=_whole(row.get("reserve_pool")),
            paused=_flag(row.get("paused")),
            disabled=_flag(row.get("disabled")),
        )
        for row in rows
        if row.get("name") not in (None, ADMIN_DATABASE)
    )


def parse_pool_lines(rows: Sequence[Row]) -> tuple[PoolLine, ...]:
    """From SHOW POOLS."""
    return tuple(
        PoolLine(
            database=row.get("database") or "",
            user=row.get("user") or "",
            waiting=_whole(row.get("cl_waiting")) or 0,
            in_use=sum(_whole(row.get(name)) or 0 for name in IN_USE),
            open=sum(_whole(row.get(name)) or 0 for name in OPEN),
        )
        for row in rows
        if row.get("database") not in (None, ADMIN_DATABASE)
    )


def parse_links(rows: Sequence[Row]) -> tuple[ServerLink, ...]:
    """From SHOW SERVERS. A socket has no port of its own; it is told as -1."""
    found: list[ServerLink] = []
    for row in rows:
        pid, port = _whole(row.get("remote_pid")), _whole(row.get("local_port"))
        if row.get("addr") == "unix":
            port = -1
        if pid and port is not None:
            closes = _flag(row.get("close_needed")) is True
            name = row.get("database") or ""
            found.append(ServerLink(database=name, pid=pid, port=port, to_be_closed=closes))
    return tuple(found)


def parse_settings(rows: Sequence[Row]) -> Mapping[str, str]:
    """From SHOW CONFIG: what may be changed while it runs."""
    return {
        row["key"] or "": row.get("value") or ""
        for row in rows
        if row.get("key") and row.get("changeable") == "yes"
    }


def parse_room(payload: object) -> ServerRoom:
    """What the answer to POOL_SESSIONS_SQL says. Raises: ProbeFailed."""
    answer = read_object(payload, "pool_sessions")
    return ServerRoom(
        sessions=tuple(
            PoolSession(
                pid=one.whole("pid"),
                client_port=one.whole_or_none("client_port"),
                backend_start=one.moment_or_none("backend_start"),
                state=one.text("state"),
                wait_type=one.text("wait_event_type"),
            )
            for one in answer.parts("sessions")
        ),
        usable=answer.whole("usable"),
        taken=answer.whole("taken"),
        limits_left=answer.whole_or_none("limits_left"),
    )


def session_parameters(links: Sequence[ServerLink]) -> SqlParams:
    """The parameters of POOL_SESSIONS_SQL."""
    return {"pids": "{" + ",".join(str(link.pid) for link in links[:PIDS_MAX]) + "}"}


def is_plain(name: str) -> bool:
    """Whether every console reads this name in one way."""
    return re.fullmatch(NAME_PATTERN, name, re.ASCII) is not None


def command(verb: str, database: str) -> str:
    """A command about one database; consoles know no parameters. Raises: ValueError."""
    if not is_plain(database):
        raise ValueError("no plain name")
    return f'{verb} "{database}"'


def set_command(setting: str, value: int) -> str:
    """SET of one setting, until the pooler restarts or reloads. Raises: ValueError."""
    if re.fullmatch(r"[a-z_]{1,40}", setting) is None or not 0 <= value <= VALUE_MAX:
        raise ValueError("no plain setting")
    return f"SET {setting} = '{value}'"


def _whole(text: str | None) -> int | None:
    if text is None or not re.fullmatch(r"\d{1,9}", text, re.ASCII):
        return None
    return int(text)


def _flag(text: str | None) -> bool | None:
    return {"0": False, "1": True}.get(text or "")
