"""Single sessions: who waits for whom, who is idle and may be ended, and the ending itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from stanch.facts.reading import Answer, read_object, read_objects
from stanch.facts.sql import load
from stanch.model.host import TempRelationFile

SESSIONS_WAITING_SQL: Final = load("sessions_waiting")
"""Takes no parameters. Once per diagnosis, never on a timer."""

IDLE_SESSIONS_SQL: Final = load("idle_sessions")
"""Takes no parameters. Ask it in the database whose sessions are in question."""

END_SESSION_SQL: Final = load("end_session")
"""Takes pid, backend_start, idle_since, xact_start; see `end_session_parameters`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingSession:
    """A session that waits for a lock, or one that somebody waits for.

    Every name and the query are the client's own words: show them escaped.
    """

    pid: int
    backend_start: datetime | None
    backend_type: str
    usename: str
    datname: str
    application_name: str
    client_addr: str | None
    state: str
    wait_event_type: str | None
    wait_event: str | None
    xact_start: datetime | None
    query_start: datetime | None
    state_change: datetime | None
    state_age_s: float | None
    xact_age_s: float | None
    waits: bool
    wait_age_s: float | None
    blocked_by: tuple[int, ...] | None
    """None: waits, but was not looked up. 0 stands for a prepared transaction."""
    holds_advisory_lock: bool
    query: str
    """The first 500 characters of its last statement."""


class Tells(StrEnum):
    """What can be said about a property of somebody else's session."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleSession:
    """An idle session with what would be lost by ending it."""

    pid: int
    backend_start: datetime
    backend_number: int | None
    """The N of its pg_temp_N. Known from version 16 on."""
    usename: str
    datname: str
    database_oid: int | None
    application_name: str
    client_addr: str | None
    idle_since: datetime
    idle_s: float
    superuser: bool | None
    replicates: bool
    holds_advisory_lock: bool
    listens: Tells
    """NO means that there is no sign of it; see the statement for how it is decided."""
    temp_tables: Tells
    query: str

    def exclusions(self, *, pooler_names: Iterable[str] = ()) -> tuple[str, ...]:
        """Why this session must not be ended to free a slot; empty: nothing speaks against it."""
        found = (
            (self.replicates, "replication"),
            (self.superuser is not False, "superuser"),
            (self.holds_advisory_lock, "advisory_lock"),
            (self.listens is Tells.YES, "listens"),
            (self.listens is Tells.UNKNOWN, "may_listen"),
            (self.temp_tables is Tells.YES, "temp_tables"),
            (self.temp_tables is Tells.UNKNOWN, "may_have_temp_tables"),
            (self.application_name.casefold() in {n.casefold() for n in pooler_names}, "pooler"),
        )
        return tuple(reason for holds, reason in found if holds)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndOutcome:
    """What `end_session` did: not matched means that nothing was touched."""

    matched: bool
    signalled: bool


def parse_waiting(payload: object) -> tuple[WaitingSession, ...]:
    """What the answer to SESSIONS_WAITING_SQL says. Raises ProbeFailed."""
    return tuple(_waiting(answer) for answer in read_objects(payload, "sessions_waiting"))


def parse_idle(payload: object) -> tuple[IdleSession, ...]:
    """What the answer to IDLE_SESSIONS_SQL says. Raises ProbeFailed."""
    return tuple(_idle(answer) for answer in read_objects(payload, "idle_sessions"))


def parse_end(payload: object) -> EndOutcome:
    """What the answer to END_SESSION_SQL says. Raises ProbeFailed."""
    answer = read_object(payload, "end_session")
    return EndOutcome(matched=answer.flag("matched"), signalled=answer.flag("signalled"))


def end_session_parameters(
    pid: int,
    backend_start: datetime,
    *,
    idle_since: datetime | None = None,
    xact_start: datetime | None = None,
    while_idle_in_transaction: bool = False,
) -> dict[str, int | str | bool | None]:
    """The parameters of END_SESSION_SQL, exact to the microsecond."""
    return {
        "pid": pid,
        "backend_start": backend_start.isoformat(),
        "idle_since": None if idle_since is None else idle_since.isoformat(),
        "xact_start": None if xact_start is None else xact_start.isoformat(),
        "while_idle_in_transaction": while_idle_in_transaction,
    }


def settle_temp_tables(
    sessions: Iterable[IdleSession], files: Iterable[TempRelationFile]
) -> tuple[IdleSession, ...]:
    """Answer `temp_tables` for sessions of other databases from the files on disk.

    The files must have been listed after the sessions were read: a session that is still idle
    since the same moment when it is ended cannot have made a table in between.
    """
    numbers: dict[int, set[int]] = {}
    for file in files:
        numbers.setdefault(file.database_oid, set()).add(file.backend_number)
    return tuple(_settled(session, numbers) for session in sessions)


def _settled(session: IdleSession, numbers: dict[int, set[int]]) -> IdleSession:
    if session.temp_tables is not Tells.UNKNOWN or session.database_oid is None:
        return session
    owners = numbers.get(session.database_oid, set())
    if not owners:
        return replace(session, temp_tables=Tells.NO)
    if session.backend_number is None:
        return session
    holds = session.backend_number in owners
    return replace(session, temp_tables=Tells.YES if holds else Tells.NO)


def _waiting(answer: Answer) -> WaitingSession:
    return WaitingSession(
        pid=answer.whole("pid"),
        backend_start=answer.moment_or_none("backend_start"),
        backend_type=answer.text("backend_type"),
        usename=answer.text("usename"),
        datname=answer.text("datname"),
        application_name=answer.text("application_name"),
        client_addr=answer.text_or_none("client_addr"),
        state=answer.text("state"),
        wait_event_type=answer.text_or_none("wait_event_type"),
        wait_event=answer.text_or_none("wait_event"),
        xact_start=answer.moment_or_none("xact_start"),
        query_start=answer.moment_or_none("query_start"),
        state_change=answer.moment_or_none("state_change"),
        state_age_s=answer.age_s("state_age_s"),
        xact_age_s=answer.age_s("xact_age_s"),
        waits=answer.flag("waits"),
        wait_age_s=answer.age_s("wait_age_s"),
        blocked_by=answer.wholes_or_none("blocked_by"),
        holds_advisory_lock=answer.flag("holds_advisory_lock"),
        query=answer.text("query"),
    )


_LISTENS: Final = {"yes": Tells.YES, "no_sign": Tells.NO}
_TEMP_TABLES: Final = {"yes": Tells.YES, "no": Tells.NO}


def _idle(answer: Answer) -> IdleSession:
    superuser = answer.fields.get("superuser")
    return IdleSession(
        pid=answer.whole("pid"),
        backend_start=answer.moment("backend_start"),
        backend_number=answer.whole_or_none("backend_number"),
        usename=answer.text("usename"),
        datname=answer.text("datname"),
        database_oid=answer.whole_or_none("database_oid"),
        application_name=answer.text("application_name"),
        client_addr=answer.text_or_none("client_addr"),
        idle_since=answer.moment("state_change"),
        idle_s=answer.age_s("idle_s") or 0.0,
        superuser=superuser if isinstance(superuser, bool) else None,
        replicates=answer.flag("replicates"),
        holds_advisory_lock=answer.flag("holds_advisory_lock"),
        listens=_LISTENS.get(answer.text("listens"), Tells.UNKNOWN),
        temp_tables=_TEMP_TABLES.get(answer.text("temp_tables"), Tells.UNKNOWN),
        query=answer.text("query"),
    )
