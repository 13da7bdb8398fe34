"""A folder of dumps on this machine: which are whole, and whether `latest` is the newest."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from stanch.adapters.backups.dump_files import fault_of, kind_of
from stanch.adapters.backups.judging import Judge
from stanch.adapters.backups.leaving import OneLook
from stanch.adapters.backups.newest import Newest
from stanch.model.backups import Backup, BackupsSeen
from stanch.model.diagnosis import Missing

ENTRIES_MAX: Final = 200_000
PARTS_MAX: Final = 20_000
QUIET_S: Final = 300.0
"""A dump that grew within this time is still being written."""


class DumpFolder:
    """A `BackupReader` of one folder: `*.sql`, `*.sql.gz`, `*.dump`, and folders of `pg_dump -Fd`.

    Which of them are looked into says `Judge`.
    """

    def __init__(self, folder: str, *, now: Callable[[], datetime]) -> None:
        self._folder = folder
        self._now = now
        self._judge = Judge(self._fault)
        self._looking = OneLook(self._look, late=f"{folder} was not read")

    @property
    def place(self) -> str:
        return self._folder

    async def look(self, *, deadline_s: float) -> BackupsSeen | Missing:
        """A disk that hangs is waited for at the next look, not asked again."""
        return await self._looking.answer(deadline_s=deadline_s)

    def _look(self) -> BackupsSeen | Missing:
        kept = Newest()
        try:
            with os.scandir(self._folder) as entries:
                for number, entry in enumerate(entries):
                    if number >= ENTRIES_MAX:
                        return _missing(f"{self._folder} holds more than {ENTRIES_MAX} files")
                    backup = self._backup(entry)
                    if backup is not None:
                        kept.add(backup)
        except OSError as error:
            return _missing(f"{self._folder}: {error.strerror}")
        backups = self._judge.judged(kept.newest_first())
        more, more_bytes = kept.between
        latest = self._latest_fault(backups)
        return BackupsSeen(backups=backups, more=more, more_bytes=more_bytes, latest_fault=latest)

    def _backup(self, entry: os.DirEntry[str]) -> Backup | None:
        """As it lies there; whether it is whole is asked later. None: it is no dump, or gone."""
        try:
            if entry.is_symlink():
                return None
            is_folder = entry.is_dir()
            kind = kind_of(entry.path, is_folder=is_folder)
            if not kind:
                return None
            size, changed_s = _size_of(entry.path) if is_folder else _of(entry.stat())
        except OSError:
            return None
        at = datetime.fromtimestamp(changed_s, UTC)
        running = 0 <= (self._now() - at).total_seconds() < QUIET_S
        return Backup(name=entry.name, kind=kind, at=at, size_bytes=size, running=running)

    def _fault(self, backup: Backup) -> str:
        return fault_of(str(Path(self._folder, backup.name)), backup.kind)

    def _latest_fault(self, backups: tuple[Backup, ...]) -> str:
        link = next(
            (
                p
                for p in (Path(self._folder, name) for name in ("latest", "last"))
                if p.is_symlink()
            ),
            None,
        ) or _linked(self._folder)
        good = max((b for b in backups if b.is_good), key=lambda b: b.at, default=None)
        if link is None or good is None:
            return ""
        if not link.exists():
            return f"{link.name} points to nothing"
        if link.resolve() == Path(self._folder, good.name).resolve():
            return ""
        return f"{link.name} points to {link.resolve().name}, the newest good one is {good.name}"


def _linked(folder: str) -> Path | None:
    """A link such as `latest.sql.gz`."""
    return next((p for p in sorted(Path(folder).glob("la*st*.*")) if p.is_symlink()), None)


def _of(known: os.stat_result) -> tuple[int, float]:
    return known.st_size, known.st_mtime


def _size_of(folder: str) -> tuple[int, float]:
    """All files of a dump in a folder, and when the last of them was written."""
    size, changed_s = 0, 0.0
    with os.scandir(folder) as entries:
        for _, entry in zip(range(PARTS_MAX), entries, strict=False):
            if entry.is_file(follow_symlinks=False):
                known = entry.stat()
                size, changed_s = size + known.st_size, max(changed_s, known.st_mtime)
    return size, changed_s


def _missing(reason: str) -> Missing:
    return Missing(what="backups", reason=reason)
