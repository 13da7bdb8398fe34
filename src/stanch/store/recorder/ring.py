"""The file of a recording: made whole beforehand, written in place, gone on with after a restart.

Everything else about the target may be lost at any byte: a record is written with one call, at the
end of the newest segment, and a reader takes only what its checksum vouches for. Nothing is synced
to disk: what was written survives the end of Stanch, and a power cut costs the seconds that the
kernel had not written back yet (about thirty by Linux's defaults).
"""

from __future__ import annotations

import os
from pathlib import Path

from stanch.store.recorder.layout import (
    FILE_BYTES,
    HEADER_BYTES,
    RECORD_HEAD_BYTES,
    SEGMENT_BYTES,
    SEGMENT_HEAD_BYTES,
    SEGMENTS,
    Header,
    Kind,
    SegmentHead,
    header_bytes,
    read_header,
    read_segment,
    record_bytes,
    records,
    segment_bytes,
)


class Ring:
    """The writing end. One writer a file; it holds no descriptor between two writes.

    Raises OSError from every method that touches the file.
    """

    def __init__(self, path: Path, target: str, *, at_ms: int) -> None:
        self._path = path
        self._head: SegmentHead | None = None
        self._offset = 0
        self._make(target, at_ms)

    @property
    def base_ms(self) -> int:
        """What moments of the present segment count from."""
        return self._head.base_ms if self._head else 0

    @property
    def begun(self) -> bool:
        """There is a segment to write in."""
        return self._head is not None

    def fits(self, payload_bytes: int) -> bool:
        """Whether a record of this size fits into what is left of the present segment."""
        left = SEGMENT_BYTES - self._offset
        return self._head is not None and RECORD_HEAD_BYTES + payload_bytes <= left

    def turn(self, at_ms: int) -> None:
        """Begin the next segment, in the place of the oldest."""
        head = SegmentHead(number=self._head.number + 1 if self._head else 1, base_ms=at_ms)
        self._write(self._place(head.number), segment_bytes(head))
        self._head, self._offset = head, SEGMENT_HEAD_BYTES

    def put(self, kind: Kind, payload: bytes) -> None:
        """Append one record to the present segment, where it has to fit."""
        assert self._head is not None
        assert self.fits(len(payload))
        record = record_bytes(kind, payload, number=self._head.number)
        self._write(self._place(self._head.number) + self._offset, record)
        self._offset += len(record)

    def _place(self, number: int) -> int:
        return HEADER_BYTES + number % SEGMENTS * SEGMENT_BYTES

    def _write(self, at: int, content: bytes) -> None:
        # A descriptor a target would be a thousand more than many a process may have.
        fd = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            left = memoryview(content)
            while left:
                wrote = os.pwrite(fd, left, at)
                left, at = left[wrote:], at + wrote
        finally:
            os.close(fd)

    def _make(self, target: str, at_ms: int) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            # Also for a file that was cut off: what is there already stays as it is.
            os.posix_fallocate(fd, 0, FILE_BYTES)
            header = read_header(os.pread(fd, HEADER_BYTES, 0))
            if header is None or header.target != target:
                # Another version's or another target's: its segments would count as ours.
                for place in range(SEGMENTS):
                    os.pwrite(fd, bytes(SEGMENT_HEAD_BYTES), HEADER_BYTES + place * SEGMENT_BYTES)
                os.pwrite(fd, header_bytes(Header(target=target, created_ms=at_ms)), 0)
                return
            self._go_on(fd)
        finally:
            os.close(fd)

    def _go_on(self, fd: int) -> None:
        """Behind the last whole record of the newest segment: a restart costs no segment."""
        for place in range(SEGMENTS):
            at = HEADER_BYTES + place * SEGMENT_BYTES
            head = read_segment(os.pread(fd, SEGMENT_HEAD_BYTES, at))
            misplaced = head is not None and head.number % SEGMENTS != place
            if head is None or misplaced or (self._head and head.number < self._head.number):
                continue
            self._head = head
        if self._head is not None:
            raw = os.pread(fd, SEGMENT_BYTES, self._place(self._head.number))
            ends = [record.end for record in records(raw, self._head.number)]
            self._offset = max(ends, default=SEGMENT_HEAD_BYTES)
