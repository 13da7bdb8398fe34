"""Logs that are kept as messages with a time: what Docker and Kubernetes hold of a container.

Their positions are no offsets in a file. A `LogPosition` of such a log has the container in `path`,
the time of the last message in nanoseconds in `offset`, and in `inode` how many messages of exactly
that time were read.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from stanch.model.host import LogChunk, LogPosition

_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d)) ")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HEAD_BYTES = 8


def stamp_ns(message: bytes) -> tuple[int | None, bytes]:
    """The time in front of a message, and the message; None where there is no time."""
    match = _STAMP.match(message)
    if match is None:
        return None, message
    try:
        at = datetime.fromisoformat(match[1].decode("ascii")).replace(tzinfo=UTC)
    except ValueError:
        return None, message
    if match[3] is not None:
        away = timedelta(hours=int(match[4]), minutes=int(match[5]))
        at = at - away if match[3] == b"+" else at + away
    whole_s = (at - _EPOCH) // timedelta(seconds=1)
    return whole_s * 10**9 + int((match[2] or b"0").ljust(9, b"0")), message[match.end() :]


def since_text(offset_ns: int) -> str:
    """A position as Docker takes it: seconds, a point, nanoseconds."""
    return f"{offset_ns // 10**9}.{offset_ns % 10**9:09d}"


@dataclass(slots=True, kw_only=True)
class Following:
    """Takes messages in order, leaves out those read before, and stops when it has enough."""

    path: str
    after: LogPosition | None
    """None, or another container's: from the beginning."""
    bytes_max: int
    full: bool = False
    """There is more than could be taken."""
    resumed: bool = False
    """The message read last was seen again, so nothing lies between."""
    messages: int = 0
    _content: bytearray = field(default_factory=bytearray)
    _skipped: int = 0
    _last_ns: int = 0
    _at_last: int = 0
    _to_pass: int = 0

    def __post_init__(self) -> None:
        if self.after is not None and self.after.path != self.path:
            self.after = None
        if self.after is not None:
            self._last_ns, self._at_last = self.after.offset, self.after.inode
            self._to_pass = self.after.inode

    def take(self, message: bytes) -> None:
        self.messages += 1
        stamp, text = stamp_ns(message)
        at_ns = self._last_ns if stamp is None else stamp
        if self._was_read(at_ns):
            return
        if self.full or (self._content and len(self._content) + len(text) > self.bytes_max):
            self.full = True
            return
        self._skipped += max(0, len(text) - self.bytes_max)
        self._content += text[: self.bytes_max]
        self._at_last = self._at_last + 1 if at_ns == self._last_ns else 1
        self._last_ns = at_ns

    def _was_read(self, at_ns: int) -> bool:
        if self.after is None or at_ns > self.after.offset:
            return False
        if at_ns == self.after.offset:
            if self._to_pass == 0:
                return False
            self._to_pass -= 1
            self.resumed = True
        return True

    def chunk(self) -> LogChunk:
        at = LogPosition(path=self.path, device=0, inode=self._at_last, offset=self._last_ns)
        new = bool(self._content)
        return LogChunk(
            path=self.path,
            content=bytes(self._content),
            position=at,
            started_anew=new and not self.resumed,
            skipped_bytes=self._skipped,
            more=self.full and new,
        )


@dataclass(slots=True, kw_only=True)
class Tail:
    """Keeps the newest messages that fit."""

    path: str
    bytes_max: int
    _kept: deque[bytes] = field(default_factory=deque[bytes])
    _bytes: int = 0
    _skipped: int = 0
    _last_ns: int = 0
    _at_last: int = 0

    def take(self, message: bytes) -> None:
        stamp, text = stamp_ns(message)
        at_ns = self._last_ns if stamp is None else stamp
        self._at_last = self._at_last + 1 if at_ns == self._last_ns else 1
        self._last_ns = at_ns
        self._kept.append(text)
        self._bytes += len(text)
        while self._bytes > self.bytes_max:
            gone = len(self._kept.popleft())
            self._bytes -= gone
            self._skipped += gone

    def chunk(self) -> LogChunk:
        at = LogPosition(path=self.path, device=0, inode=self._at_last, offset=self._last_ns)
        return LogChunk(
            path=self.path,
            content=b"".join(self._kept),
            position=at,
            started_anew=True,
            skipped_bytes=self._skipped,
        )


@dataclass(slots=True)
class Frames:
    """Docker's stream of messages: each has a head of 8 bytes with its length."""

    message_bytes_max: int = 1024 * 1024
    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The messages that are complete now; a message beyond the limit is cut there."""
        self._rest += piece
        while len(self._rest) >= _HEAD_BYTES:
            length = int.from_bytes(self._rest[4:_HEAD_BYTES], "big")
            wanted = _HEAD_BYTES + min(length, self.message_bytes_max)
            if len(self._rest) < wanted:
                return
            yield bytes(self._rest[_HEAD_BYTES:wanted])
            del self._rest[:wanted]
            if length > self.message_bytes_max:
                # What is longer than any log message is no stream of frames: read no further.
                self._rest.clear()
                return


@dataclass(slots=True)
class Lines:
    """A stream of lines, each one message with its line end."""

    line_bytes_max: int = 1024 * 1024
    _rest: bytearray = field(default_factory=bytearray)
    _cut: bool = False

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The lines that are complete now; a line beyond the limit is cut and gets its end."""
        self._rest += piece
        while (end := self._rest.find(b"\n")) >= 0:
            line = bytes(self._rest[: end + 1])
            del self._rest[: end + 1]
            if not self._cut:
                yield line
            self._cut = False
        if len(self._rest) > self.line_bytes_max:
            if not self._cut:
                yield bytes(self._rest[: self.line_bytes_max]) + b"\n"
            self._rest.clear()
            self._cut = True
