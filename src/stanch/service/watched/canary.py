"""The canary of one target: what it writes with, and whom it asks before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import structlog

from stanch.adapters.postgres.canary import Canary
from stanch.facts.canary import CANARY_SESSIONS_SQL, parse_canary_sessions
from stanch.model.canary import WriteOutcome
from stanch.model.errors import ProbeFailed
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.eyes import SharedSentinel
from stanch.watch.canary.run import CanaryWatch

ASK_S = 1.0

log = structlog.get_logger("canary")


class Gate(Protocol):
    """Who knows which sessions of ours are open at the target."""

    def reads_work(self) -> bool: ...

    def in_recovery(self) -> bool: ...

    def no_write(self) -> str: ...


class _Writer:
    """A `CanaryWriter`: writes over its own session, and asks the sentinel about it."""

    def __init__(self, target: TargetPolicy, sentinel: SharedSentinel, table: str) -> None:
        self._target = target
        self._sentinel = sentinel
        self._canary = Canary(
            target.dsn, target=target.name, table=table, database=lambda: sentinel.dbname
        )

    async def write(self) -> WriteOutcome:
        try:
            return await self._canary.write()
        except asyncio.CancelledError:
            log.warning(
                "a write of the canary was given up; its row may be there all the same",
                target=self._target.name,
            )
            raise

    async def under_way(self) -> tuple[float, str] | None:
        try:
            answer = await self._sentinel.fetch_json(CANARY_SESSIONS_SQL, timeout_s=ASK_S)
            return parse_canary_sessions(answer)
        except ProbeFailed:
            return None


def canary_watch(
    target: TargetPolicy, sentinel: SharedSentinel, *, gate: Gate, now: Callable[[], datetime]
) -> CanaryWatch | None:
    """None where the policy wants nothing written."""
    wanted = target.canary
    if wanted is None:
        return None
    return CanaryWatch(
        _Writer(target, sentinel, wanted.table),
        every_s=wanted.every_s,
        deadline_s=wanted.deadline_s,
        in_the_way=gate.no_write,
        in_recovery=gate.in_recovery,
        reads_work=gate.reads_work,
        now=now,
    )
