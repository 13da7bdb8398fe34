"""One record of a server's log, whatever it was written as."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from stanch.facts.log_class import LogClass
from stanch.facts.log_classes import classify

RECORD_CHARS_MAX: Final = 16384
"""Of each part of a record: message, detail, hint, statement."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """One record of a log. Every text may be a client's own words: show it escaped."""

    severity: str
    message: str
    log_class: LogClass = LogClass.OTHER
    sqlstate: str | None = None
    at: datetime | None = None
    """None: not in the log, or in a zone whose name does not say its offset."""
    pid: int | None = None
    detail: str = ""
    hint: str = ""
    statement: str = ""
    user: str = ""
    database: str = ""
    application_name: str = ""
    backend_type: str = ""
    named_pid: int | None = None
    """The process the message is about, where that is not its writer."""
    signal: int | None = None


def from_fields(fields: Mapping[str, str], *, zone: ZoneInfo | None) -> LogRecord:
    """A record out of named texts, as prefix, CSV column or JSON key gave them."""

    def part(name: str) -> str:
        return fields.get(name, "")[:RECORD_CHARS_MAX]

    pid = fields.get("pid", "")
    return LogRecord(
        severity=part("severity"),
        message=part("message"),
        sqlstate=fields.get("sqlstate") or None,
        at=_moment(fields, zone),
        pid=int(pid) if re.fullmatch(r"[0-9]{1,10}", pid) else None,
        detail=part("detail"),
        hint=part("hint"),
        statement=part("statement"),
        user=part("user"),
        database=part("database"),
        application_name=part("application_name"),
        backend_type=part("backend_type"),
    )


def classified(record: LogRecord) -> LogRecord:
    """The record with its class and the numbers its message names."""
    found = classify(record.severity, record.sqlstate, record.message)
    log_class = found.log_class
    if log_class is LogClass.AUTH_FAILED:
        log_class = _told_by_detail(record.detail)
    return replace(record, log_class=log_class, named_pid=found.named_pid, signal=found.signal)


_ROLE_GONE: Final = re.compile(r'^Role "[^\n]{1,200}" does not exist\.')


def _told_by_detail(detail: str) -> LogClass:
    """Clients are told the same of every refused password, on purpose; the log says more."""
    if "has an expired password" in detail:
        return LogClass.PASSWORD_EXPIRED
    return LogClass.ROLE_UNKNOWN if _ROLE_GONE.match(detail) else LogClass.AUTH_FAILED


def zone_named(name: str | None) -> ZoneInfo | None:
    """A `log_timezone` by name; None where this machine does not know it."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _moment(fields: Mapping[str, str], zone: ZoneInfo | None) -> datetime | None:
    """The record's time in UTC, where the log says it without doubt."""
    if "epoch" in fields:
        try:
            return datetime.fromtimestamp(float(fields["epoch"]), UTC)
        except (ValueError, OverflowError, OSError):
            return None
    stamp = fields.get("stamp_ms") or fields.get("stamp") or ""
    day, _, rest = stamp.partition(" ")
    clock, _, abbreviation = rest.partition(" ")
    try:
        local = datetime.fromisoformat(f"{day} {clock}")
    except ValueError:
        return None
    if local.tzinfo is not None:
        return local.astimezone(UTC)
    if abbreviation in {"UTC", "GMT", "Z"}:
        return local.replace(tzinfo=UTC)
    return _with_offset(local, abbreviation, zone)


def _with_offset(local: datetime, abbreviation: str, zone: ZoneInfo | None) -> datetime | None:
    offset = re.fullmatch(r"<?([+-])(\d\d):?(\d\d)?>?", abbreviation)
    try:
        if offset is not None:
            apart = timedelta(hours=int(offset[2]), minutes=int(offset[3] or 0))
            sign = 1 if offset[1] == "+" else -1
            return local.replace(tzinfo=timezone(sign * apart)).astimezone(UTC)
        if zone is None:
            return None
        # In the hour that comes twice, the abbreviation says which one it is.
        for fold in (0, 1):
            moment = local.replace(tzinfo=zone, fold=fold)
            if moment.tzname() == abbreviation:
                return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return None
