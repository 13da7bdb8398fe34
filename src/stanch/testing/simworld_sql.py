"""What a simulated server answers to the statements that Stanch asks."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from stanch.diagnose.session.run import OPEN_TRANSACTIONS_SQL
from stanch.facts.sessions import END_SESSION_SQL, IDLE_SESSIONS_SQL, SESSIONS_WAITING_SQL
from stanch.facts.vitals import VITALS_SQL
from stanch.model.errors import ProbeFailed
from stanch.model.ports.server import SqlParams
from stanch.testing.simworld import SimServer
from stanch.testing.simworld_parts import MAX_CONNECTIONS, RESERVED, SimSession

Json = dict[str, Any]


def answer(server: SimServer, sql: str, params: SqlParams | None) -> str:
    """The one JSON value of a statement. Raises ProbeFailed for one this server does not know."""
    now = server.clock.now()
    if sql == VITALS_SQL:
        return json.dumps(vitals(server, now))
    if sql == OPEN_TRANSACTIONS_SQL:
        return json.dumps(_open_transactions(server, now))
    if sql == SESSIONS_WAITING_SQL:
        return json.dumps(_waiting(server, now))
    if sql == IDLE_SESSIONS_SQL:
        return json.dumps([_idle(s, now) for s in server.sessions.values() if s.state == "idle"])
    if sql == END_SESSION_SQL and params is not None:
        return json.dumps(_end(server, params))
    raise ProbeFailed("no such statement in this world", on=server.name)


def vitals(server: SimServer, now: datetime) -> Json:
    """The fields of `facts.vitals`."""
    return {
        "at": now.timestamp(),
        "postmaster_start": server.started_at.timestamp(),
        "version_num": 150008,
        "in_recovery": False,
        "transaction_read_only": False,
        "sees_sessions": True,
        "settings": {
            "max_connections": MAX_CONNECTIONS,
            "superuser_reserved_connections": RESERVED,
            "reserved_connections": None,
            "data_directory": server.data_directory,
        },
        "backends": len(server.sessions),
        "sessions": _sessions(server, now),
        "work": {
            "commits": 1,
            "rollbacks": 0,
            "deadlocks": 0,
            "temp_files": 0,
            "temp_bytes": 0,
            "checksum_failures": None,
        },
        "archiver": None,
        "slots": None,
        "senders": None,
        "xid_age_max": 1000,
        "mxid_age_max": 1,
        "prepared_xacts": 0,
        "oldest_prepared_xact_age_s": None,
        "wal_lsn": "0/3000000",
        "wal_position_bytes": 50331648,
    }


def _sessions(server: SimServer, now: datetime) -> Json:
    every = list(server.sessions.values())
    waiting = [s for s in every if s.waits_for is not None]
    silent = [s for s in every if s.state == "idle in transaction"]
    states = {s.state: sum(o.state == s.state for o in every) for s in every}
    groups = {(s.application, s.usename, s.state): s for s in every}
    return {
        "client_backends": len(every),
        "active": sum(s.state == "active" for s in every),
        "active_without_wait": sum(s.state == "active" and s.waits_for is None for s in every),
        "waiting_on_lock": len(waiting),
        "oldest_lock_wait_s": max((_age_s(s, now) for s in waiting), default=None),
        "oldest_xact_age_s": None,
        "oldest_idle_in_transaction_s": max((_age_s(s, now) for s in silent), default=None),
        "by_state": states,
        "groups": [_group(every, key, now) for key in sorted(groups)],
        "limits": None,
    }


def _group(every: list[SimSession], key: tuple[str, str, str], now: datetime) -> Json:
    members = [s for s in every if (s.application, s.usename, s.state) == key]
    application, usename, state = key
    return {
        "application_name": application,
        "usename": usename,
        "datname": "app",
        "state": state,
        "sessions": len(members),
        "oldest_state_age_s": max(_age_s(s, now) for s in members),
    }


def _open_transactions(server: SimServer, now: datetime) -> Json:
    silent = [s for s in server.sessions.values() if s.state == "idle in transaction"]
    return {
        "idle": [_row(s, now) for s in silent],
        "prepared": [],
        "archive_mode": False,
        "wal_keep_bytes": 0,
        "wal_segment_bytes": 16 * 1024 * 1024,
    }


def _waiting(server: SimServer, now: datetime) -> list[Json]:
    waiting = [s for s in server.sessions.values() if s.waits_for is not None]
    roots = {s.waits_for for s in waiting}
    rows = [*waiting, *(s for s in server.sessions.values() if s.pid in roots)]
    return [
        _row(s, now)
        | {
            "client_addr": None,
            "wait_event_type": "Lock" if s.waits_for else None,
            "wait_event": "transactionid" if s.waits_for else None,
            "query_start": s.state_change.isoformat(),
            "xact_age_s": _age_s(s, now),
            "waits": s.waits_for is not None,
            "wait_age_s": _age_s(s, now) if s.waits_for else None,
            "blocked_by": [s.waits_for] if s.waits_for else [],
            "holds_advisory_lock": s.advisory,
            "query": "UPDATE stock SET left = left - 1",
        }
        for s in rows
    ]


def _row(session: SimSession, now: datetime) -> Json:
    xact = session.xact_start
    return {
        "pid": session.pid,
        "backend_start": session.backend_start.isoformat(),
        "backend_type": "client backend",
        "usename": session.usename,
        "datname": "app",
        "application_name": session.application,
        "state": session.state,
        "xact_start": xact.isoformat() if xact else None,
        "state_change": session.state_change.isoformat(),
        "state_age_s": _age_s(session, now),
    }


def _idle(session: SimSession, now: datetime) -> Json:
    return _row(session, now) | {
        "backend_number": session.pid % 1000,
        "database_oid": 5,
        "client_addr": None,
        "idle_s": _age_s(session, now),
        "superuser": False,
        "replicates": False,
        "holds_advisory_lock": session.advisory,
        "listens": "no_sign",
        "temp_tables": "no",
        "query": "SELECT 1",
    }


def _end(server: SimServer, params: SqlParams) -> Json:
    pid = int(str(params["pid"]))
    known = server.sessions.get(pid)
    if params.get("while_idle_in_transaction") and (known is None or not _is_idle_inside(known)):
        return {"matched": False, "signalled": False}
    matched = server.end_session(
        pid,
        datetime.fromisoformat(str(params["backend_start"])),
        idle_since=_moment(params.get("idle_since")),
        xact_start=_moment(params.get("xact_start")),
    )
    return {"matched": matched, "signalled": matched}


def _is_idle_inside(session: SimSession) -> bool:
    return session.state in ("idle in transaction", "idle in transaction (aborted)")


def _moment(value: object) -> datetime | None:
    return None if value is None else datetime.fromisoformat(str(value))


def _age_s(session: SimSession, now: datetime) -> float:
    return (now - session.state_change).total_seconds()
