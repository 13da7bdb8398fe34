"""The logs of a target that are followed, and where the account of them is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog

from stanch.adapters.hosts.log_files import LogFile
from stanch.facts.log_records import LogRecord
from stanch.facts.log_settings import LOG_SETTINGS_SQL, parse_log_settings
from stanch.model.diagnosis import Missing
from stanch.model.errors import ProbeFailed
from stanch.model.ports.machine import LogReader
from stanch.model.readings import Reading
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.eyes import SharedSentinel
from stanch.service.watched.machines import Machine
from stanch.store.statedir import write_durably
from stanch.watch.logs.guard_log import GuardLog
from stanch.watch.logs.run import Followed, LogWatch
from stanch.watch.logs.server_log import ServerLog

ACCOUNT_BYTES_MAX = 1024 * 1024
ASK_AGAIN_S = 300.0
"""A reload may change how the log is written."""
ASK_S = 1.0

log = structlog.get_logger("following")


class AccountFile:
    """How far the logs of one target were read, beside the notes on it."""

    def __init__(self, state: Path, target: TargetPolicy) -> None:
        self._path = state / "logs" / f"{target.name}.json"

    async def load(self) -> bytes | None:
        return await asyncio.to_thread(self._load)

    def _load(self) -> bytes | None:
        try:
            with self._path.open("rb") as file:
                return file.read(ACCOUNT_BYTES_MAX)
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("account of logs not read", path=str(self._path), error=str(error))
            return b""

    async def save(self, content: bytes) -> None:
        await asyncio.to_thread(self._save, content)

    def _save(self, content: bytes) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            write_durably(self._path, content)
        except OSError as error:
            # After our own restart the same lines are read again, into the counts of before.
            log.warning("account of logs not kept", path=str(self._path), error=str(error))


class LogsOf:
    """The logs of one target: the server's own, and those that the policy names."""

    def __init__(
        self,
        target: TargetPolicy,
        state: Path,
        *,
        far: Machine | None,
        here: Callable[[], LogReader | Missing],
        at: SharedSentinel,
        hear: Callable[[LogRecord], None] = lambda record: None,
    ) -> None:
        """`here`: the server's log on this machine, as far as it is known now. `hear` is told of
        every record of it."""
        self._target = target
        self._state = state
        self._far = far
        self._here = here
        self._server = at
        self._ask_at_s: float | None = None
        self._hear = hear
        self._watch: LogWatch | None = None

    def take(self) -> tuple[Reading, ...]:
        """What the logs told last, once."""
        return () if self._watch is None else self._watch.take()

    async def run(self) -> None:
        """Follow them until cancelled. Returns where there is nothing to read."""
        far, files = self._far, self._target.security_logs
        if far is not None and isinstance(far.log, Missing) and not files:
            return
        # Made anew at every start: it goes on from the account of what was read, not from memory.
        own, self._ask_at_s = ServerLog(hear=self._hear), None
        self._watch = LogWatch(
            [
                Followed(name="server", reader=self._server_log, content=own),
                *(self._followed(path) for path in files),
            ],
            AccountFile(self._state, self._target),
            prepare=lambda: self._ask(own),
        )
        await self._watch.run()

    def _server_log(self) -> LogReader | Missing:
        return self._here() if self._far is None else self._far.log

    def _followed(self, path: str) -> Followed:
        reader = LogFile(path) if self._far is None else self._far.log_at(path)
        return Followed(name=path, reader=lambda: reader, content=GuardLog(path=path))

    async def _ask(self, own: ServerLog) -> None:
        """Learn how the server writes its log, over the session that is open anyway."""
        at_s = asyncio.get_running_loop().time()
        if not self._server.is_open or (self._ask_at_s is not None and at_s < self._ask_at_s):
            return
        self._ask_at_s = at_s + ASK_AGAIN_S
        try:
            told = await self._server.fetch_json(LOG_SETTINGS_SQL, timeout_s=ASK_S)
            own.use(parse_log_settings(told))
        except ProbeFailed:
            return
