"""A stanza of pgBackRest as the tool itself tells it, here or on another machine."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from typing import Any, Final

from stanch.adapters.hosts.commands import Commands
from stanch.facts.pgbackrest_info import (
    UNREADABLE,
    RepositoryArchive,
    parse_archives,
    parse_info,
)
from stanch.facts.wal_names import WalNames, parse_history
from stanch.model.backups import BackupsSeen, Branch, WalHeld
from stanch.model.diagnosis import Missing

PRINTED_BYTES_MAX: Final = 8 * 1024 * 1024
NAMES_BYTES_MAX: Final = 16 * 1024 * 1024
"""The names of 180,000 WAL files."""
WALK_EVERY_S: Final = 1800.0
_HISTORY_BYTES_MAX: Final = 65_536
_NOT_FOUND: Final = 127
_ERROR: Final = re.compile(rb"\s*(?:P\d\d\s+)?ERROR: ")
_FOLDER: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,2})?-[0-9]{1,9}")


class Stanza:
    """How the tool is called about one stanza. Needs: the right to read its configuration and
    repository, where the commands run."""

    def __init__(self, commands: Commands, name: str, *, config: str = "") -> None:
        """`config`: empty for the tool's own default."""
        self.name = name
        self._commands = commands
        self._options = (
            *((f"--config={config}",) if config else ()),
            f"--stanza={name}",
            # Also what only reads would write to the tool's own log file.
            "--log-level-file=off",
            # Over ssh and in containers only standard output is had; it holds nothing else.
            "--log-level-stderr=off",
            "--log-level-console=error",
            "--log-timestamp=n",
        )

    @property
    def place(self) -> str:
        return f"pgbackrest {self.name}"

    async def info(self, *, deadline_s: float) -> bytes | Missing:
        """Cost: reads a few small files of the repository."""
        return await self.asked(
            "info", "--output=json", bytes_max=PRINTED_BYTES_MAX, deadline_s=deadline_s
        )

    async def asked(self, *words: str, bytes_max: int, deadline_s: float) -> bytes | Missing:
        """What one of the tool's commands prints."""
        argv = ("pgbackrest", *self._options, *words)
        ran = await self._commands.printed(*argv, bytes_max=bytes_max, deadline_s=deadline_s)
        if isinstance(ran, Missing):
            return _missing(ran.reason)
        if ran.incomplete:
            return _missing(f"pgbackrest {words[0]}: {ran.incomplete}")
        failed = _ERROR.match(ran.output)
        if ran.exit_code in (0, None) and failed is None:
            return ran.output
        if ran.exit_code == _NOT_FOUND and failed is None:
            return _missing(f"{self._commands.source}: pgbackrest is not installed there")
        lines = ran.output.decode("utf-8", "replace").strip().splitlines()
        said = lines[0][:300] if lines else ran.said[:300]
        return _missing(said or f"pgbackrest ended with exit code {ran.exit_code}")


class PgBackRest:
    """A `BackupReader` of one stanza."""

    def __init__(self, stanza: Stanza) -> None:
        self._stanza = stanza

    @property
    def place(self) -> str:
        return self._stanza.place

    async def look(self, *, deadline_s: float) -> BackupsSeen | Missing:
        """Cost: one `pgbackrest info`."""
        printed = await self._stanza.info(deadline_s=deadline_s)
        if isinstance(printed, Missing):
            return printed
        return await asyncio.to_thread(parse_info, printed, self._stanza.name)


class PgBackRestArchive:
    """An `ArchiveReader` of one stanza, whatever storage its repositories are on.

    Cost: one `pgbackrest info`, and for each repository one `repo-ls` of all its WAL files, which
    reads directories only; of a new timeline once its history file.
    """

    every_s = WALK_EVERY_S

    def __init__(self, stanza: Stanza) -> None:
        self._stanza = stanza
        self._histories: dict[tuple[int, str], tuple[Branch, ...]] = {}
        self._folders: dict[str, tuple[int, str]] = {}

    @property
    def place(self) -> str:
        return self._stanza.place

    async def walk(self, *, deadline_s: float) -> tuple[WalHeld, ...] | Missing:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + deadline_s
        printed = await self._stanza.info(deadline_s=deadline_s)
        if isinstance(printed, Missing):
            return printed
        archives = await asyncio.to_thread(parse_archives, printed, self._stanza.name)
        if isinstance(archives, Missing):
            return archives
        found: list[WalHeld] = []
        for archive in archives:
            held = await self._held(
                archive,
                repository=f"repo{archive.repository}" if len(archives) > 1 else "",
                until_s=until_s,
            )
            if isinstance(held, Missing):
                return held
            found.append(held)
        return tuple(found)

    async def when(self, wal: str, *, repository: str, deadline_s: float) -> datetime | None:
        """Cost: lists one directory of the repository, only where a hole was found."""
        number, folder = self._folders.get(repository, (0, ""))
        if not folder:
            return None
        path = f"archive/{self._stanza.name}/{folder}/{wal[:16]}"
        printed = await self._stanza.asked(
            *("repo-ls", "--output=json", f"--repo={number}", f"--filter=^{wal}", path),
            bytes_max=_HISTORY_BYTES_MAX,
            deadline_s=deadline_s,
        )
        try:
            told: Any = {} if isinstance(printed, Missing) else json.loads(printed)
            times = [int(entry["time"]) for name, entry in told.items() if name.startswith(wal)]
            return datetime.fromtimestamp(max(times), UTC) if times else None
        except UNREADABLE:
            return None

    async def _held(
        self, archive: RepositoryArchive, *, repository: str, until_s: float
    ) -> WalHeld | Missing:
        if _FOLDER.fullmatch(archive.folder) is None:
            return _missing(f"{archive.folder!r} is no archive of pgBackRest")
        self._folders[repository] = archive.repository, archive.folder
        path = f"archive/{self._stanza.name}/{archive.folder}"
        listed = await self._stanza.asked(
            *("repo-ls", "--recurse", "--sort=none", f"--repo={archive.repository}", path),
            bytes_max=NAMES_BYTES_MAX,
            deadline_s=_left_s(until_s),
        )
        if isinstance(listed, Missing):
            return listed
        names = await asyncio.to_thread(_names, listed)
        if names.too_many:
            return _missing(f"{self.place}: more WAL than can be kept in mind")
        branches = await self._branches(archive, names.history(), until_s)
        return WalHeld(
            runs=names.runs(),
            repository=repository,
            branches=branches,
            needed=archive.needed,
        )

    async def _branches(
        self, archive: RepositoryArchive, history: str, until_s: float
    ) -> tuple[Branch, ...]:
        key = archive.repository, history
        if history and key not in self._histories:
            path = f"archive/{self._stanza.name}/{archive.folder}/{history}"
            printed = await self._stanza.asked(
                *("repo-get", f"--repo={archive.repository}", path),
                bytes_max=_HISTORY_BYTES_MAX,
                deadline_s=_left_s(until_s),
            )
            if not isinstance(printed, Missing):
                self._histories = {key: parse_history(printed.decode("utf-8", "replace"))}
        return self._histories.get(key, ())


def _names(listed: bytes) -> WalNames:
    names = WalNames()
    for line in listed.split(b"\n"):
        names.add(line.rpartition(b"/")[2].decode("ascii", "replace"))
    return names


def _left_s(until_s: float) -> float:
    return max(0.05, until_s - asyncio.get_running_loop().time())


def _missing(reason: str) -> Missing:
    return Missing(what="backups", reason=reason)
