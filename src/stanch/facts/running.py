"""One running statement: whose it is, and how it is cancelled. What the answers mean."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stanch.facts.reading import read_object
from stanch.facts.redacting import redacted
from stanch.facts.sql import load

RUNNING_SQL: Final = load("running_statement")
"""Takes the pid."""
CANCEL_SQL: Final = load("cancel_statement")
"""Takes pid, backend_start, query_start and while_waiting; answers as END_SESSION_SQL does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStatement:
    """A session and what it runs. Every name and the query are the client's own words."""

    pid: int
    backend_start: datetime | None
    query_start: datetime | None
    backend_type: str
    state: str
    wait_type: str
    """Empty: on a processor, or waiting for one."""
    usename: str
    datname: str
    application_name: str
    query_age_s: float | None
    query: str
    """Literals are replaced."""


def parse_running(payload: object) -> RunningStatement | None:
    """What the answer to RUNNING_SQL says; None: nobody has that pid. Raises: ProbeFailed."""
    answer = read_object(payload, "running_statement")
    if not answer.fields:
        return None
    return RunningStatement(
        pid=answer.whole("pid"),
        backend_start=answer.moment_or_none("backend_start"),
        query_start=answer.moment_or_none("query_start"),
        backend_type=answer.text("backend_type"),
        state=answer.text("state"),
        wait_type=answer.text("wait_event_type"),
        usename=answer.text("usename"),
        datname=answer.text("datname"),
        application_name=answer.text("application_name"),
        query_age_s=answer.age_s("query_age_s"),
        query=redacted(answer.text("query")),
    )


def cancel_parameters(
    pid: int, backend_start: datetime, query_start: datetime, *, while_waiting: bool = False
) -> dict[str, int | str | bool | None]:
    """The parameters of CANCEL_SQL, exact to the microsecond."""
    return {
        "pid": pid,
        "backend_start": backend_start.isoformat(),
        "query_start": query_start.isoformat(),
        "while_waiting": while_waiting,
    }
