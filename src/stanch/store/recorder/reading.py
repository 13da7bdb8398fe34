"""A recording as it can be shown, whatever state its file is in."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

from stanch.model.errors import StoreUnsuitable
from stanch.store.failures import from_os
from stanch.store.recorder.columns import Column, read_names, read_values
from stanch.store.recorder.layout import (
    FILE_BYTES,
    HEADER_BYTES,
    SEGMENT_BYTES,
    SEGMENTS,
    Kind,
    Record,
    SegmentHead,
    read_header,
    read_segment,
    records,
    take_number,
)

INFLATED_MAX = 64 * 1024
_HINT = "A recording begins with STANCHR1; they lie in the state directory, under recordings/."

Series = tuple[str, str]
"""Name and subject."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The values at one moment; a series without a value is not among them."""

    at: datetime
    values: dict[Series, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A state, a note, or the largest groups of sessions at one moment; other people's words."""

    at: datetime
    value: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Everything that could be read, oldest first."""

    target: str
    created_at: datetime
    frames: tuple[Frame, ...]
    states: tuple[Said, ...]
    notes: tuple[Said, ...]
    activity: tuple[Said, ...]
    segments: int
    damaged: int
    """Records that were whole and still made no sense: what followed a damaged one."""

    @property
    def ends_at(self) -> datetime | None:
        """The newest moment of all."""
        found = [*self.frames[-1:], *self.states[-1:], *self.notes[-1:], *self.activity[-1:]]
        return max((one.at for one in found), default=None)

    def since(self, seconds: float) -> Recording:
        """Only the last so many seconds before its end; the state that held then stays."""
        end = self.ends_at
        if end is None:
            return self
        first = end - timedelta(seconds=seconds)
        before = [one for one in self.states if one.at < first][-1:]
        return Recording(
            target=self.target,
            created_at=self.created_at,
            frames=tuple(one for one in self.frames if one.at >= first),
            states=(*before, *(one for one in self.states if one.at >= first)),
            notes=tuple(one for one in self.notes if one.at >= first),
            activity=tuple(one for one in self.activity if one.at >= first),
            segments=self.segments,
            damaged=self.damaged,
        )


def read_recording(path: Path) -> Recording:
    """The recording in a file, also while it is being written. Raises: StoreError."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES)
    except OSError as error:
        raise from_os(error, on=str(path), doing="read the recording") from error
    return parse_recording(raw, on=str(path))


def parse_recording(raw: bytes, *, on: str) -> Recording:
    """The recording in these bytes. Raises StoreUnsuitable where they begin none."""
    header = read_header(raw[:HEADER_BYTES])
    if header is None:
        raise StoreUnsuitable("is no recording of this version", on=on, hint=_HINT)
    reader = _Reader()
    heads = sorted(_segments(raw), key=lambda found: found[0].number)
    for head, segment in heads:
        reader.take(head, segment)
    return Recording(
        target=header.target,
        created_at=_moment(header.created_ms),
        frames=tuple(reader.frames),
        states=tuple(_without_repeats(reader.states)),
        notes=tuple(reader.notes),
        activity=tuple(reader.activity),
        segments=len(heads),
        damaged=reader.damaged,
    )


def _segments(raw: bytes) -> Iterator[tuple[SegmentHead, bytes]]:
    for place in range(SEGMENTS):
        at = HEADER_BYTES + place * SEGMENT_BYTES
        segment = raw[at : at + SEGMENT_BYTES]
        head = read_segment(segment)
        if head is not None and head.number % SEGMENTS == place:
            yield head, segment


@dataclass(slots=True)
class _Reader:
    """Applies records one after the other; a value is believed only on a whole chain to a FULL."""

    frames: list[Frame] = field(default_factory=list[Frame])
    states: list[Said] = field(default_factory=list[Said])
    notes: list[Said] = field(default_factory=list[Said])
    activity: list[Said] = field(default_factory=list[Said])
    damaged: int = 0
    _columns: dict[int, Column] = field(default_factory=dict[int, Column])
    _values: dict[int, int | None] | None = None

    def take(self, head: SegmentHead, segment: bytes) -> None:
        self._columns, self._values = {}, None
        end = 0
        for record in records(segment, head.number):
            length = len(record.payload)
            start = record.end - length
            if end and start - end > _RECORD_GAP:
                # Something between two whole records is gone: differences have lost their base.
                self._values = None
                self.damaged += 1
            end = record.end
            try:
                self._apply(head, record)
            except (ValueError, OverflowError, zlib.error, RecursionError):
                self._values = None
                self.damaged += 1

    def _apply(self, head: SegmentHead, record: Record) -> None:
        after_ms, start = take_number(record.payload, 0)
        at, content = _moment(head.base_ms + after_ms), record.payload[start:]
        match record.kind:
            case Kind.NAMES:
                first, columns = read_names(content)
                if first == 0:
                    self._columns, self._values = {}, None
                self._columns.update(enumerate(columns, first))
            case Kind.FULL:
                self._values = {}
                self._take_values(at, content)
            case Kind.CHANGES:
                if self._values is not None:
                    self._take_values(at, content)
            case Kind.STATE:
                self.states.append(Said(at=at, value=_inflated(content)))
            case Kind.NOTE:
                self.notes.append(Said(at=at, value=_inflated(content)))
            case Kind.ACTIVITY:
                self.activity.append(Said(at=at, value=_inflated(content)))

    def _take_values(self, at: datetime, content: bytes) -> None:
        assert self._values is not None
        read_values(content, self._values)
        found: dict[Series, float] = {}
        for number, value in self._values.items():
            column = self._columns.get(number)
            if column is None:
                # Its names are lost: a look without them would say that nothing was seen.
                raise ValueError("a column without a name")
            if value is not None:
                name, subject, scale = column
                found[name, subject] = value / scale if scale != 1 else value
        if self.frames and self.frames[-1].at == at:
            self.frames.pop()
        self.frames.append(Frame(at=at, values=found))


_RECORD_GAP = 7
"""Bytes of a record's head, between the end of one payload and the start of the next."""


def _inflated(content: bytes) -> object:
    text = zlib.decompressobj().decompress(content, INFLATED_MAX)
    return cast("object", json.loads(text))


def _without_repeats(states: list[Said]) -> Iterator[Said]:
    """Each segment tells the state it begins in, which is mostly the one before."""
    before: object = None
    for said in states:
        if said.value and said.value != before:
            before = said.value
            yield said


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
