"""Who answers, the settings that decide whether data is safe, and what it knows of its backups."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stanch.facts.reading import Answer, read_object
from stanch.facts.sql import load

SETTINGS_SQL: Final = load("health_settings")
BACKUPS_SQL: Final = load("health_backups")


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRead:
    """One setting as it is in force; `value` is PostgreSQL's own text for it."""

    name: str
    value: str
    unit: str
    source: str
    pending_restart: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """A setting of one role, one database, or both; an empty name means every one."""

    database: str
    role: str
    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRead:
    """Who answers, and what is set."""

    at: datetime
    version: str
    version_num: int
    started_at: datetime
    in_recovery: bool
    database: str
    role: str
    sees_settings: bool
    settings: tuple[SettingRead, ...]
    overrides: tuple[Override, ...]

    def value(self, name: str) -> str | None:
        """The value of a setting; None where this version or this role has none."""
        return next((s.value for s in self.settings if s.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupsRead:
    """The archive as the server believes it to be, and a base backup under way."""

    archived_count: int
    failed_count: int
    last_wal: str | None
    last_age_s: float | None
    last_failed_age_s: float | None
    last_failed_wal: str | None
    running: int
    """Base backups being taken right now."""

    @property
    def failing(self) -> bool:
        """The newest attempt failed."""
        if self.last_failed_age_s is None:
            return False
        return self.last_age_s is None or self.last_failed_age_s < self.last_age_s


def parse_settings(payload: object) -> ServerRead:
    """What the answer to SETTINGS_SQL says. Raises ProbeFailed."""
    answer = read_object(payload, "settings")
    return ServerRead(
        at=answer.moment("at"),
        version=answer.text("version"),
        version_num=answer.whole("version_num"),
        started_at=answer.moment("started_at"),
        in_recovery=answer.flag("in_recovery"),
        database=answer.text("database"),
        role=answer.text("role"),
        sees_settings=answer.flag("sees_settings"),
        settings=tuple(_setting(part) for part in answer.parts("settings")),
        overrides=tuple(_override(part) for part in answer.parts("overrides")),
    )


def parse_backups(payload: object) -> BackupsRead:
    """What the answer to BACKUPS_SQL says. Raises ProbeFailed."""
    answer = read_object(payload, "backups")
    archived = answer.part("archived")
    return BackupsRead(
        archived_count=archived.whole("count"),
        failed_count=archived.whole("failed_count"),
        last_wal=archived.text_or_none("last_wal"),
        last_age_s=archived.age_s("last_age_s"),
        last_failed_age_s=archived.age_s("last_failed_age_s"),
        last_failed_wal=archived.text_or_none("last_failed_wal"),
        running=len(answer.parts("running")),
    )


def _setting(part: Answer) -> SettingRead:
    return SettingRead(
        name=part.text("name"),
        value=part.text("value"),
        unit=part.text("unit"),
        source=part.text("source"),
        pending_restart=part.flag("pending_restart"),
    )


def _override(part: Answer) -> Override:
    return Override(
        database=part.text("database"),
        role=part.text("role"),
        name=part.text("name"),
        value=part.text("value"),
    )
