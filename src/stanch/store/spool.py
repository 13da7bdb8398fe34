"""A place on disk that is already paid for: events that the store cannot take now.

One preallocated file, written in place, so that a full disk does not stop it. On file systems
that copy on write (btrfs, ZFS) even that may need space; `put` then says so. A ring: when it is
full, the oldest give way and are counted.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Lock

from stanch.model.ids import IncidentId
from stanch.store.chain import from_us, storable, to_us
from stanch.store.failures import from_os
from stanch.store.statedir import sync_directory, write_all

SIZE_BYTES = 1024 * 1024
SLOT_BYTES = 2048
PARTS_MAX = 32
"""An event may fill this many slots: about 62 KiB."""

_MARK = struct.Struct(">4sIQQ")  # magic, crc of the rest, newest counter, entry cleared up to
_SLOT = struct.Struct(">4sIQQHHI")  # magic, crc of the rest, counter, entry, part, parts, length
_NAMES = struct.Struct(">qHH")  # at in microseconds, lengths of kind and incident
_MARK_MAGIC, _SLOT_MAGIC = b"SPL1", b"SLT1"
_MARKS = 2
"""Slots at the start: the mark is written into both by turns, so one is always whole."""
_PART_BYTES = SLOT_BYTES - _SLOT.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """An event that was to be appended, as it was written down."""

    at: datetime
    kind: str
    incident_hint: IncidentId
    """The incident it belongs to, as far as that was known."""
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a spool holds, oldest first."""

    entries: tuple[Spooled, ...]
    lost: int
    """Entries that gave way to newer ones, were torn, or could not be written."""
    through: int
    """What to hand to `clear` once the entries are safe elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    counter: int
    entry: int
    part: int
    parts: int
    data: bytes


class Spool:
    """Open it once, early, while there is space. Safe to share between threads."""

    def __init__(self, path: Path, *, size_bytes: int = SIZE_BYTES) -> None:
        """Raises: StoreUnavailable, StoreUnsuitable where the file cannot be made."""
        self._lock = Lock()
        try:
            self._fd = _opened(path, size_bytes)
        except OSError as error:
            raise from_os(error, on=str(path), doing="make the spool") from error
        self._slots = os.fstat(self._fd).st_size // SLOT_BYTES - _MARKS
        self._cleared_entry, counter = max(self._marks())
        parts = list(self._parts())
        self._counter = max((counter, *(part.counter for part in parts)))
        self._entry = max((self._cleared_entry, *(part.entry for part in parts)))

    def put(self, kind: str, at: datetime, *, incident_hint: str, body: bytes) -> bool:
        """Write an event down durably, without needing free space. False: it could not be.

        Cost: one fdatasync.
        """
        names = storable(kind).encode()[:200], storable(incident_hint).encode()[:200]
        head = _NAMES.pack(to_us(at), len(names[0]), len(names[1]))
        payload = b"".join((head, *names, body))
        pieces = [payload[i : i + _PART_BYTES] for i in range(0, len(payload), _PART_BYTES)]
        if len(pieces) > min(PARTS_MAX, self._slots):
            return False
        with self._lock:
            if self._fd < 0:
                return False
            entry, counter = self._entry + 1, self._counter
            # Taken even if writing fails: half a write must not be continued by the next one.
            self._entry, self._counter = entry, counter + len(pieces)
            try:
                for number, piece in enumerate(pieces):
                    counter += 1
                    slot = _slot(
                        piece, counter=counter, entry=entry, part=number, parts=len(pieces)
                    )
                    os.pwrite(self._fd, slot, self._offset(counter))
                os.fdatasync(self._fd)
            except OSError:
                return False
            return True

    def pending(self) -> Contents:
        """Everything written down and not cleared yet. Changes nothing."""
        with self._lock:
            return self._contents()

    def clear(self, through: int) -> None:
        """Forget what `pending` has shown; what was put since stays. Raises StoreUnavailable."""
        with self._lock:
            self._clear(through)

    def drain(self) -> Contents:
        """Return everything and forget it: the caller answers for it from here on."""
        with self._lock:
            contents = self._contents()
            self._clear(contents.through)
            return contents

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _contents(self) -> Contents:
        found: dict[int, list[_Part]] = {}
        for part in self._parts():
            if part.entry > self._cleared_entry:
                found.setdefault(part.entry, []).append(part)
        entries = [_joined(found[entry]) for entry in sorted(found)]
        whole = tuple(entry for entry in entries if entry is not None)
        lost = self._entry - self._cleared_entry - len(whole)
        return Contents(entries=whole, lost=lost, through=self._entry)

    def _clear(self, through: int) -> None:
        if through <= self._cleared_entry:
            return
        rest = struct.pack(">QQ", self._counter, through)
        mark = _MARK.pack(_MARK_MAGIC, zlib.crc32(rest), self._counter, through)
        try:
            # Not the copy that is valid now: were this write torn, that one still counts.
            marks = self._marks()
            spare = (marks.index(max(marks)) + 1) % _MARKS
            os.pwrite(self._fd, mark, spare * SLOT_BYTES)
            os.fdatasync(self._fd)
        except OSError as error:
            raise from_os(error, on="spool", doing="clear the spool") from error
        self._cleared_entry = through

    def _marks(self) -> list[tuple[int, int]]:
        marks: list[tuple[int, int]] = []
        for index in range(_MARKS):
            raw = os.pread(self._fd, _MARK.size, index * SLOT_BYTES).ljust(_MARK.size, b"\0")
            magic, crc, counter, entry = _MARK.unpack(raw)
            good = magic == _MARK_MAGIC and crc == zlib.crc32(struct.pack(">QQ", counter, entry))
            marks.append((entry, counter) if good else (0, 0))
        return marks

    def _parts(self) -> Iterator[_Part]:
        for index in range(self._slots):
            raw = os.pread(self._fd, SLOT_BYTES, (index + _MARKS) * SLOT_BYTES)
            part = _part(raw)
            if part is not None and self._offset(part.counter) == (index + _MARKS) * SLOT_BYTES:
                yield part

    def _offset(self, counter: int) -> int:
        return (counter % self._slots + _MARKS) * SLOT_BYTES


class SpoolThread:
    """Writes events down beside the event loop: a disk that hangs must hold up nobody's page."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        # Not the loop's own threads: names are resolved there, for the very messages.
        self._thread = ThreadPoolExecutor(1, "stanch-spool")

    def put(self, kind: str, at: datetime, *, incident_hint: str, body: bytes) -> bool:
        """Like `Spool.put`, after this has returned. True: it will be tried."""
        write = partial(self._spool.put, kind, at, incident_hint=incident_hint, body=body)
        self._thread.submit(write)
        return True


def _opened(path: Path, size_bytes: int) -> int:
    assert size_bytes >= SLOT_BYTES * (_MARKS + 1)
    size = size_bytes // SLOT_BYTES * SLOT_BYTES
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        missing = size - os.fstat(fd).st_size
        if missing > 0:
            # Real zeros: a hole would need space exactly when there is none.
            os.lseek(fd, 0, os.SEEK_END)
            write_all(fd, bytes(missing))
            os.fsync(fd)
            sync_directory(path.parent)
    except OSError:
        os.close(fd)
        raise
    return fd


def _slot(data: bytes, *, counter: int, entry: int, part: int, parts: int) -> bytes:
    rest = struct.pack(">QQHHI", counter, entry, part, parts, len(data)) + data
    return struct.pack(">4sI", _SLOT_MAGIC, zlib.crc32(rest)) + rest


def _part(raw: bytes) -> _Part | None:
    if len(raw) < _SLOT.size:
        return None
    magic, crc, counter, entry, part, parts, length = _SLOT.unpack_from(raw)
    if magic != _SLOT_MAGIC or length > _PART_BYTES:
        return None
    if crc != zlib.crc32(raw[8 : _SLOT.size + length]):
        return None
    data = raw[_SLOT.size : _SLOT.size + length]
    return _Part(counter=counter, entry=entry, part=part, parts=parts, data=data)


def _joined(parts: list[_Part]) -> Spooled | None:
    ordered = sorted(parts, key=lambda part: part.part)
    if [part.part for part in ordered] != list(range(ordered[0].parts)):
        return None
    payload = b"".join(part.data for part in ordered)
    at_us, kind_bytes, hint_bytes = _NAMES.unpack_from(payload)
    hint_at = _NAMES.size + kind_bytes
    body_at = hint_at + hint_bytes
    return Spooled(
        at=from_us(at_us),
        kind=payload[_NAMES.size : hint_at].decode("utf-8", "replace"),
        incident_hint=IncidentId(payload[hint_at:body_at].decode("utf-8", "replace")),
        body=payload[body_at:],
    )
