"""What takes the space in a data directory, and which temporary tables have files there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

from stanch.model.diagnosis import Missing
from stanch.model.host import DirectorySizes, TempRelationFile

ENTRIES_MAX = 2_000_000

_SEGMENT = re.compile(r"[0-9A-F]{24}")
_TEMP_RELATION = re.compile(r"t(\d{1,10})_\d{1,10}(?:_[a-z]+)?(?:\.\d+)?")


class _Walk:
    """Walks folders within one budget of entries and time."""

    def __init__(self, expired: Callable[[], bool]) -> None:
        self._expired = expired
        self._entries = 0
        self.complete = True

    def files(self, folder: str, *, deep: bool = True) -> Iterator[os.DirEntry[str]]:
        """The files below a folder, links not followed; ends early when the budget is spent."""
        stack = [folder]
        while stack:
            try:
                entries = os.scandir(stack.pop())
            except FileNotFoundError:
                continue
            except OSError:
                self.complete = False
                continue
            with entries:
                for entry in entries:
                    self._entries += 1
                    if self._entries > ENTRIES_MAX or (
                        self._entries % 256 == 0 and self._expired()
                    ):
                        self.complete = False
                        return
                    if entry.is_dir(follow_symlinks=False):
                        if deep:
                            stack.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        yield entry


def _allocated(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:
        return 0  # Gone since it was listed: servers recycle files all the time.


def read_sizes(
    data_directory: str, log_directory: str | None, expired: Callable[[], bool]
) -> DirectorySizes | Missing:
    """Allocated bytes by what they are for; `expired` says when to stop counting."""
    if not os.access(f"{data_directory}/base", os.R_OK | os.X_OK):
        return Missing(what="directory sizes", reason=f"{data_directory} may not be read")
    walk = _Walk(expired)
    wal = os.path.realpath(f"{data_directory}/pg_wal")
    segments = wal_bytes = 0
    for entry in walk.files(wal, deep=False):
        wal_bytes += _allocated(entry)
        segments += _SEGMENT.fullmatch(entry.name) is not None
    ready = sum(
        entry.name.endswith(".ready") for entry in walk.files(f"{wal}/archive_status", deep=False)
    )
    temp_folders = [f"{data_directory}/base/pgsql_tmp", *_tablespace_folders(data_directory, "tmp")]
    temp = sum(_allocated(entry) for folder in temp_folders for entry in walk.files(folder))
    base = sum(
        _allocated(entry)
        for entry in walk.files(f"{data_directory}/base")
        if "/pgsql_tmp" not in entry.path
    )
    logs = None
    if log_directory is not None and os.path.isdir(log_directory):
        logs = sum(_allocated(entry) for entry in walk.files(log_directory, deep=False))
    return DirectorySizes(
        wal_bytes=wal_bytes,
        wal_segments=segments,
        archive_ready=ready,
        base_bytes=base,
        temp_bytes=temp,
        log_bytes=logs,
        complete=walk.complete,
    )


def _tablespace_folders(data_directory: str, kind: str) -> list[str]:
    """In every tablespace the folder for temporary files (`tmp`), or those of databases (`db`)."""
    found: list[str] = []
    for space in _listed(f"{data_directory}/pg_tblspc"):
        real = os.path.realpath(f"{data_directory}/pg_tblspc/{space}")
        for version in _listed(real):
            if version.startswith("PG_"):
                folder = f"{real}/{version}"
                found.append(f"{folder}/pgsql_tmp" if kind == "tmp" else folder)
    return found


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def read_temp_relations(data_directory: str) -> tuple[TempRelationFile, ...] | Missing:
    """Every temporary table's file, by database and backend, in every tablespace."""
    found: set[tuple[int, int]] = set()
    try:
        roots = [f"{data_directory}/base", *_tablespace_folders(data_directory, "db")]
        for root in roots:
            for database in os.listdir(root):
                if database.isascii() and database.isdigit():
                    for name in _listed(f"{root}/{database}"):
                        match = _TEMP_RELATION.fullmatch(name)
                        if match is not None:
                            found.add((int(database), int(match[1])))
    except OSError as error:
        return Missing(what="temporary tables", reason=error.strerror or str(error))
    return tuple(
        TempRelationFile(database_oid=database, backend_number=number)
        for database, number in sorted(found)
    )
