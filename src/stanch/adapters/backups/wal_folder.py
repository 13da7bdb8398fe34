"""A folder of archived WAL on this machine, by the names of its files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from stanch.adapters.backups.leaving import OneLook
from stanch.facts.wal_names import WalNames, parse_history
from stanch.model.backups import Branch, WalHeld
from stanch.model.diagnosis import Missing

WALK_EVERY_S: Final = 300.0
FOLDERS_MAX: Final = 20_000
FILES_MAX: Final = 2_000_000
_HISTORY_BYTES_MAX: Final = 65_536


class WalFolder:
    """An `ArchiveReader` of a folder, and of the folders in it.

    Cost: the directories are read one after the other, no file but the newest history file.
    """

    every_s = WALK_EVERY_S

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._folders: dict[str, str] = {}
        """Where files lie, by the first sixteen digits of their names."""
        self._looking = OneLook(self._walk, late=f"{folder} was not read")

    @property
    def place(self) -> str:
        return self._folder

    async def walk(self, *, deadline_s: float) -> tuple[WalHeld, ...] | Missing:
        return await self._looking.answer(deadline_s=deadline_s)

    async def when(self, wal: str, *, repository: str, deadline_s: float) -> datetime | None:
        asked = OneLook(lambda: self._when(wal), late="it was not read")
        found = await asked.answer(deadline_s=deadline_s)
        return None if isinstance(found, Missing) else found

    def _when(self, wal: str) -> datetime | None:
        try:
            with os.scandir(self._folders.get(wal[:16], self._folder)) as entries:
                times = [e.stat().st_mtime for e in entries if e.name.startswith(wal)]
        except OSError:
            return None
        return datetime.fromtimestamp(max(times), UTC) if times else None

    def _walk(self) -> tuple[WalHeld, ...] | Missing:
        names, folders, seen = WalNames(), dict[str, str](), 0
        histories: dict[str, str] = {}
        try:
            for entry in _files(self._folder):
                seen += 1
                if seen > FILES_MAX:
                    return _missing(f"{self._folder} holds more than {FILES_MAX} files")
                if place := names.add(entry.name):
                    folders.setdefault(place, os.path.dirname(entry.path))
                elif entry.name in names.histories:
                    histories[entry.name] = entry.path
        except OSError as error:
            return _missing(f"{error.filename or self._folder}: {error.strerror}")
        if names.too_many:
            return _missing(f"{self._folder}: more WAL than can be kept in mind")
        self._folders = folders
        return (WalHeld(runs=names.runs(), branches=_branches(histories, names.history())),)


def _files(folder: str) -> Iterator[os.DirEntry[str]]:
    """Of the folder and those in it. One that vanishes meanwhile was expired."""
    inside: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                inside += [entry.path] if len(inside) < FOLDERS_MAX else []
            else:
                yield entry
    for path in inside:
        try:
            with os.scandir(path) as entries:
                yield from (e for e in entries if not e.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            continue


def _branches(histories: dict[str, str], name: str) -> tuple[Branch, ...]:
    path = histories.get(name, "")
    if not path.endswith(".history"):
        return ()
    try:
        with Path(path).open("rb") as file:
            return parse_history(file.read(_HISTORY_BYTES_MAX).decode("utf-8", "replace"))
    except OSError:
        return ()


def _missing(reason: str) -> Missing:
    return Missing(what="backups", reason=reason)
