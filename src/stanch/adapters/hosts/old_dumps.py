"""Dumps that may go, because enough newer ones of the same series were read and are whole."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from stanch.adapters.backups.dump_files import fault_of, kind_of, proves_whole
from stanch.model.diagnosis import Missing
from stanch.model.ports.acting import KeptFile

ENTRIES_MAX: Final = 20_000
QUIET_S: Final = 300.0
"""A dump that grew within this time may still be written."""
HOLD: Final = ".hold"
"""`NAME.hold` beside a dump keeps that one; a file `.hold` in the folder keeps them all."""

_DIGITS: Final = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dump:
    file: KeptFile
    kind: str

    @property
    def name(self) -> str:
        return Path(self.file.path).name


def old_dumps(
    directory: str, *, keep: int, modified_before: datetime, now: datetime
) -> Sequence[KeptFile] | Missing:
    """Oldest first. Of each series the `keep` newest that are whole, and all newer, are kept.

    A series is what differs in its digits alone (`orders-2026-03-14.sql.gz`); one without digits
    is a series of its own, and so is never offered. Never: a folder (`pg_dump -Fd`), a link, what
    a link of the folder points to, what has a hold.
    Cost: reads the newest dumps of each series that has an old one, whole, until enough are good.
    """
    try:
        with os.scandir(directory) as entries:
            seen = [entry for entry, _ in zip(entries, range(ENTRIES_MAX + 1), strict=False)]
            names = {entry.name for entry in seen}
            linked = {os.path.realpath(e.path) for e in seen if e.is_symlink()}
            dumps = [dump for entry in seen if (dump := _dump(entry)) is not None]
    except OSError as error:
        return Missing(what=directory, reason=error.strerror or str(error))
    if len(seen) > ENTRIES_MAX:
        return Missing(what=directory, reason=f"it holds more than {ENTRIES_MAX} files")
    if HOLD in names:
        return ()
    series: dict[tuple[str, str], list[_Dump]] = defaultdict(list)
    for dump in dumps:
        series[_DIGITS.sub("0", dump.name), dump.kind].append(dump)
    before_ns = int(modified_before.timestamp() * 1e9)
    found = [
        dump.file
        for one in series.values()
        for dump in _beyond(one, keep=keep, before_ns=before_ns, now=now)
        if f"{dump.name}{HOLD}" not in names and os.path.realpath(dump.file.path) not in linked
    ]
    return tuple(sorted(found, key=lambda file: (file.mtime_ns, file.path)))


def _dump(entry: os.DirEntry[str]) -> _Dump | None:
    """An ordinary file that is a dump by its name."""
    if not entry.is_file(follow_symlinks=False):
        return None
    kind = kind_of(entry.path, is_folder=False)
    seen = entry.stat(follow_symlinks=False)
    if not kind:
        return None
    file = KeptFile(
        path=entry.path,
        inode=seen.st_ino,
        size_bytes=seen.st_size,
        mtime_ns=seen.st_mtime_ns,
        allocated_bytes=seen.st_blocks * 512,
        device=seen.st_dev,
        links=seen.st_nlink,
    )
    return _Dump(file=file, kind=kind)


def _beyond(
    series: Sequence[_Dump], *, keep: int, before_ns: int, now: datetime
) -> Sequence[_Dump]:
    """Those behind the last of the `keep` newest whole ones; none where there are not so many."""
    newest_first = sorted(series, key=lambda d: (d.file.mtime_ns, d.name), reverse=True)
    if len(newest_first) <= keep or newest_first[-1].file.mtime_ns >= before_ns:
        return ()
    whole = 0
    for number, dump in enumerate(newest_first, 1):
        whole += _is_whole(dump, now)
        if whole == keep:
            last_ns = dump.file.mtime_ns
            rest = newest_first[number:]
            return [d for d in rest if d.file.mtime_ns < min(before_ns, last_ns)]
    return ()


def _is_whole(dump: _Dump, now: datetime) -> bool:
    """Read, and nothing found against it. What cannot be read to its end counts for nothing."""
    at = datetime.fromtimestamp(dump.file.mtime_ns / 1e9, UTC)
    if (now - at).total_seconds() < QUIET_S or dump.file.size_bytes == 0:
        return False
    proven = proves_whole(dump.file.size_bytes, dump.kind)
    return proven and not fault_of(dump.file.path, dump.kind)
