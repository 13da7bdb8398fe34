"""The bytes of a recording: header, segments, records. The page docs/recorder.md states them.

A segment carries its own names and begins with every value, so that the oldest can be overwritten
without making the others unreadable. Every checksum is begun with the segment's number: what an
earlier pass over the same place left behind never passes for part of the present one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

MAGIC = b"STANCHR1"
VERSION = 1
HEADER_BYTES = 4096
SEGMENT_BYTES = 32_512
SEGMENTS = 16
FILE_BYTES = HEADER_BYTES + SEGMENTS * SEGMENT_BYTES
"""512 KiB exactly."""
TARGET_BYTES_MAX = 512

_HEAD = struct.Struct("<8sIHHIIqH")  # magic, crc of the rest, version, header, segment, n, ms, len
_SEGMENT = struct.Struct("<4sIQq")  # magic, crc of the rest, number, base in ms since 1970
_RECORD = struct.Struct("<HBI")  # length of the payload, kind, crc
_SEGMENT_MAGIC = b"SEG1"

SEGMENT_HEAD_BYTES = _SEGMENT.size
RECORD_HEAD_BYTES = _RECORD.size
PAYLOAD_BYTES_MAX = SEGMENT_BYTES - SEGMENT_HEAD_BYTES - RECORD_HEAD_BYTES


class Kind(IntEnum):
    """What a record holds."""

    NAMES = 1
    """Names of columns, from one number on; number 0 starts the table anew."""
    FULL = 2
    """The value of every column that has one."""
    CHANGES = 3
    """What is different from the record before."""
    ACTIVITY = 4
    """The largest groups of client sessions."""
    STATE = 5
    """How far the target was reached, where that changed."""
    NOTE = 6
    """A sentence: the recording began, the server started anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the first page of a file says."""

    target: str
    created_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentHead:
    """Which segment this is, and the moment its records count from."""

    number: int
    base_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One whole record; `end` is where the next may begin, counted from the segment's start."""

    kind: Kind
    payload: bytes
    end: int


def header_bytes(header: Header) -> bytes:
    """The first page, padded with zeros."""
    name = header.target.encode("utf-8", "replace")[:TARGET_BYTES_MAX]
    rest = struct.pack(
        "<HHIIqH", VERSION, HEADER_BYTES, SEGMENT_BYTES, SEGMENTS, header.created_ms, len(name)
    )
    whole = rest + name
    return (MAGIC + struct.pack("<I", zlib.crc32(whole)) + whole).ljust(HEADER_BYTES, b"\0")


def read_header(raw: bytes) -> Header | None:
    """None where these are not the first bytes of a recording of this version."""
    if len(raw) < _HEAD.size:
        return None
    magic, crc, version, *sizes, created_ms, length = _HEAD.unpack_from(raw)
    end = _HEAD.size + length
    if magic != MAGIC or length > TARGET_BYTES_MAX or zlib.crc32(raw[12:end]) != crc:
        return None
    if version != VERSION or sizes != [HEADER_BYTES, SEGMENT_BYTES, SEGMENTS]:
        return None
    target = raw[_HEAD.size : end].decode("utf-8", "replace")
    return Header(target=target, created_ms=created_ms)


def segment_bytes(head: SegmentHead) -> bytes:
    """A whole empty segment: what was there before goes, and zeros are no records."""
    rest = struct.pack("<Qq", head.number, head.base_ms)
    start = _SEGMENT_MAGIC + struct.pack("<I", zlib.crc32(rest)) + rest
    return start.ljust(SEGMENT_BYTES, b"\0")


def read_segment(raw: bytes) -> SegmentHead | None:
    """None where no segment was ever begun, or its head is damaged."""
    if len(raw) < _SEGMENT.size:
        return None
    magic, crc, number, base_ms = _SEGMENT.unpack_from(raw)
    if magic != _SEGMENT_MAGIC or zlib.crc32(raw[8 : _SEGMENT.size]) != crc:
        return None
    return SegmentHead(number=number, base_ms=base_ms)


def record_bytes(kind: Kind, payload: bytes, *, number: int) -> bytes:
    """One record of the segment with this number."""
    return _RECORD.pack(len(payload), kind, _crc(kind, payload, number)) + payload


def records(raw: bytes, number: int) -> Iterator[Record]:
    """Every whole record of a segment, in order; what is torn or damaged is stepped over."""
    at, last = SEGMENT_HEAD_BYTES, len(raw) - RECORD_HEAD_BYTES
    while at < last:
        found = _record_at(raw, at, number)
        if found is None:
            at += 1
        else:
            yield found
            at = found.end


def _record_at(raw: bytes, at: int, number: int) -> Record | None:
    length, kind, crc = _RECORD.unpack_from(raw, at)
    start = at + RECORD_HEAD_BYTES
    if not length or start + length > len(raw) or not Kind.NAMES <= kind <= Kind.NOTE:
        return None
    payload = raw[start : start + length]
    if _crc(kind, payload, number) != crc:
        return None
    return Record(kind=Kind(kind), payload=payload, end=start + length)


def _crc(kind: int, payload: bytes, number: int) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<QB", number, kind)))


# --- numbers ------------------------------------------------------------------------------------


def put_number(out: bytearray, number: int) -> None:
    """A signed number in as few bytes as it needs: zigzag, seven bits a byte, lowest first."""
    left = number << 1 if number >= 0 else (-number << 1) - 1
    while left > 127:
        out.append(left & 127 | 128)
        left >>= 7
    out.append(left)


def take_number(raw: bytes, at: int) -> tuple[int, int]:
    """The number there and where the next begins. Raises ValueError where it does not end."""
    found = shift = 0
    while True:
        if at >= len(raw) or shift > 70:
            raise ValueError("a number without an end")
        byte = raw[at]
        at += 1
        found |= (byte & 127) << shift
        if byte < 128:
            return (found >> 1) ^ -(found & 1), at
        shift += 7
