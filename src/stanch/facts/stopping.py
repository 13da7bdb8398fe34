"""What a stop or a restart of a running server would cost, and whether it would start again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from stanch.facts.reading import Answer, read_object
from stanch.facts.sql import load

STOPPING_SQL: Final = load("stopping")
STARTABLE_SQL: Final = load("startable")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """One running server; the names in it are other people's words."""

    cluster: str
    """Its system identifier."""
    postmaster_start: datetime
    version_num: int
    """As `server_version_num`: 150004, say."""
    in_recovery: bool
    checkpointer_pid: int | None
    """A child of its postmaster; None: the role may not see it."""
    clients: int
    """Client sessions beside ours."""
    transactions: int
    oldest_transaction_s: float | None
    applications: tuple[str, ...]
    base_backups: int
    """That are streamed just now (pg_basebackup and its like)."""
    prepared: int
    prepared_gids: tuple[str, ...]
    """The five oldest."""
    standbys: tuple[str, ...]
    waits_for_restart: tuple[str, ...]
    """Settings that were changed and come into force with the next start."""
    checkpoint_age_s: float | None
    replay_bytes: int | None
    """WAL since the last checkpoint: what a start has to replay after anything but a clean stop."""

    @property
    def major(self) -> int:
        return self.version_num // 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Startable:
    """What of the settings files and of pg_hba.conf the server cannot read."""

    settings: tuple[str, ...]
    rules: tuple[str, ...]
    rules_read: int
    """Lines of pg_hba.conf that it can; without any, nobody could log in."""


def parse_running_server(payload: object) -> RunningServer:
    """What the answer to STOPPING_SQL says. Raises: ProbeFailed."""
    answer = read_object(payload, "stopping")
    return RunningServer(
        cluster=answer.text("cluster"),
        postmaster_start=answer.moment("postmaster_start"),
        version_num=answer.whole("version_num"),
        in_recovery=answer.flag("in_recovery"),
        checkpointer_pid=answer.whole_or_none("checkpointer_pid"),
        clients=answer.whole("clients"),
        transactions=answer.whole("transactions"),
        oldest_transaction_s=answer.age_s("oldest_transaction_s"),
        applications=_names(answer, "applications"),
        base_backups=answer.whole("base_backups"),
        prepared=answer.whole("prepared"),
        prepared_gids=_names(answer, "prepared_gids"),
        standbys=_names(answer, "standbys"),
        waits_for_restart=_names(answer, "waits_for_restart"),
        checkpoint_age_s=answer.age_s("checkpoint_age_s"),
        replay_bytes=answer.whole_or_none("replay_bytes"),
    )


def parse_startable(payload: object) -> Startable:
    """What the answer to STARTABLE_SQL says. Raises: ProbeFailed."""
    answer = read_object(payload, "startable")
    return Startable(
        settings=_names(answer, "settings"),
        rules=_names(answer, "rules"),
        rules_read=answer.whole("rules_read"),
    )


def _names(answer: Answer, field: str) -> tuple[str, ...]:
    return tuple(part.text("name") for part in answer.parts(field))
