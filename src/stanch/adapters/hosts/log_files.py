"""Following a server's log through rotation, renaming and truncation, a bounded piece at a time."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from stanch.adapters.hosts.threads import OwnThreads
from stanch.model.diagnosis import Missing
from stanch.model.host import LogChunk, LogPosition

_BEST_FIRST = ("jsonlog", "csvlog", "stderr")
"""What names its fields needs no guessing."""

_SIBLINGS_MAX = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSource:
    """Where a server's log is to be looked for: what was said first, then what the server says."""

    data_directory: str
    given: str | None = None
    """A file, or a folder whose newest file counts."""


class LogFile:
    """A `LogReader` of one file of this machine, or of a folder whose newest file counts."""

    def __init__(self, path: str) -> None:
        self._source = LogSource(data_directory="", given=path)
        self._threads = OwnThreads()

    async def log_tail(self, *, bytes_max: int) -> LogChunk | Missing:
        return await self._threads.run(read_tail, self._source, bytes_max=bytes_max)

    async def log_since(self, position: LogPosition, *, bytes_max: int) -> LogChunk | Missing:
        return await self._threads.run(read_since, self._source, position, bytes_max=bytes_max)


def current_log(source: LogSource) -> str | Missing:
    """The path of the file the server writes now."""
    if source.given is not None:
        return _newest(source.given) if os.path.isdir(source.given) else source.given
    try:
        with open(f"{source.data_directory}/current_logfiles", encoding="utf-8") as file:
            lines = file.read(4096).splitlines()
    except FileNotFoundError:
        reason = "the server does not collect its log itself, and no path was given"
        return Missing(what="log", reason=reason)
    except (OSError, UnicodeDecodeError) as error:
        return Missing(what="log", reason=str(error))
    named = {kind: path for kind, _, path in (line.partition(" ") for line in lines) if path}
    for kind in _BEST_FIRST:
        if kind in named:
            return os.path.join(source.data_directory, named[kind])
    return Missing(what="log", reason="current_logfiles names no file")


def _newest(folder: str) -> str | Missing:
    try:
        files = [entry for entry in os.scandir(folder) if entry.is_file()]
        newest = max(files, key=lambda entry: entry.stat().st_mtime_ns, default=None)
    except OSError as error:
        return Missing(what="log", reason=error.strerror or str(error))
    if newest is None:
        return Missing(what="log", reason=f"{folder} holds no file")
    return newest.path


def read_tail(source: LogSource, *, bytes_max: int) -> LogChunk | Missing:
    """The last whole lines of the current log."""
    path = current_log(source)
    if isinstance(path, Missing):
        return path
    return _read(path, offset=None, bytes_max=bytes_max)


def read_since(source: LogSource, position: LogPosition, *, bytes_max: int) -> LogChunk | Missing:
    """What came after `position`: first the rest of that file, then the file written now."""
    path = current_log(source)
    if isinstance(path, Missing):
        return path
    known = _identity(path)
    if known == (position.device, position.inode):
        return _read(path, offset=position.offset, bytes_max=bytes_max)
    rest = _rest_of_old(position, bytes_max=bytes_max)
    if isinstance(rest, LogChunk) and rest.content:
        # Read everything of the old file before the new one: what ended the server is in there.
        return rest
    chunk = _read(path, offset=0, bytes_max=bytes_max, anew=True)
    gap = _gap(position, path, rest)
    return replace(chunk, gap=gap) if isinstance(chunk, LogChunk) else chunk


def _gap(position: LogPosition, path: str, rest: LogChunk | Missing | None) -> str:
    """Why going on with the file at `path` may leave lines out."""
    if not isinstance(rest, LogChunk):
        return "the file read before is gone, was emptied or cannot be read"
    between = _files_between(rest.path, path)
    return f"{between} whole files were written in between" if between else ""


def _files_between(old: str, new: str) -> int:
    """Files of the same kind beside them that were written to after the old one was finished."""
    try:
        begin_ns, end_ns = os.stat(old).st_mtime_ns, os.stat(new).st_mtime_ns
        with os.scandir(Path(new).parent) as entries:
            return sum(
                begin_ns < entry.stat().st_mtime_ns <= end_ns
                for _, entry in zip(range(_SIBLINGS_MAX), entries, strict=False)
                if entry.path not in (old, new)
                and os.path.splitext(entry.path)[1] == os.path.splitext(new)[1]
                and entry.is_file()
            )
    except OSError:
        return 0


def _rest_of_old(position: LogPosition, *, bytes_max: int) -> LogChunk | Missing | None:
    path = _path_of(position)
    if path is None:
        return None
    chunk = _read(path, offset=position.offset, bytes_max=bytes_max)
    if isinstance(chunk, Missing) or chunk.started_anew:
        return None
    return LogChunk(
        path=path,
        content=chunk.content,
        position=chunk.position,
        skipped_bytes=chunk.skipped_bytes,
        more=True,
    )


def _path_of(position: LogPosition) -> str | None:
    """Where the file is now that was read before: at its old name, or renamed beside it."""
    wanted = (position.device, position.inode)
    if _identity(position.path) == wanted:
        return position.path
    try:
        with os.scandir(Path(position.path).parent) as entries:
            for _, entry in zip(range(_SIBLINGS_MAX), entries, strict=False):
                if entry.inode() == position.inode and _identity(entry.path) == wanted:
                    return entry.path
    except OSError:
        return None
    return None


def _identity(path: str) -> tuple[int, int] | None:
    try:
        known = os.stat(path)
    except OSError:
        return None
    return known.st_dev, known.st_ino


def _read(
    path: str, *, offset: int | None, bytes_max: int, anew: bool = False
) -> LogChunk | Missing:
    try:
        # Without O_NONBLOCK opening a named pipe would wait for its writer for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return Missing(what="log", reason=f"{path}: {error.strerror}")
    try:
        known = os.fstat(handle)
        if not stat.S_ISREG(known.st_mode):
            return Missing(what="log", reason=f"{path} is not a regular file")
        return _read_open(handle, known, path=path, offset=offset, bytes_max=bytes_max, anew=anew)
    except OSError as error:
        return Missing(what="log", reason=f"{path}: {error.strerror}")
    finally:
        os.close(handle)


def _read_open(
    handle: int,
    known: os.stat_result,
    *,
    path: str,
    offset: int | None,
    bytes_max: int,
    anew: bool,
) -> LogChunk:
    tail = offset is None
    begin = max(0, known.st_size - bytes_max) if offset is None else offset
    gap = ""
    if begin > known.st_size:
        # Truncated under us: copytruncate, or somebody emptied it.
        begin, anew, gap = 0, True, "the file was emptied"
    content = os.pread(handle, bytes_max, begin)
    skipped = begin if tail else 0
    if tail and begin > 0:
        line_end = content.find(b"\n") + 1
        skipped, content = begin + line_end, content[line_end:]
        begin += line_end
    end = begin + len(content)
    return LogChunk(
        path=path,
        content=content,
        position=LogPosition(path=path, device=known.st_dev, inode=known.st_ino, offset=end),
        started_anew=anew or tail,
        skipped_bytes=skipped,
        more=end < known.st_size and bool(content),
        gap=gap,
    )
