"""What is usual at this hour of the week: learned, robust, and silent until it knows.

An hour's median is one observation; of every hour of the week the last eight are kept. Less than
three of them is a cold start and no verdict. Times are seconds since 1970, hours are UTC.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from zlib import crc32

HOURS = 168
WEEKS_KEPT = 8
WEEKS_MIN = 3
SAMPLES_MAX = 60
"""A reading a minute is enough for the median of an hour."""
SAMPLES_MIN = 3
"""Fewer are no observation of that hour."""
SPREADS = 5.0
"""A value counts as unusual only so many spreads above the median."""
SPREAD_SHARE_MIN = 0.1
"""Hours that were all alike are taken to vary by this share of the median."""
EPOCH_TO_MONDAY_H = 72
"""1970 began on a Thursday; hour 0 of the week is Monday's first."""
VALUE_MAX = 1e30
"""What is larger is no measurement, and would not fit where values are kept."""

_MARK = b"usual/1\n"
_FIXED = struct.Struct("<8sqdB")
"""Mark, the hour in hand, when its last value was taken, how many values of it there are."""
_CELLS = struct.Struct(f"<{HOURS}B{HOURS * WEEKS_KEPT}f")
_CHECK = struct.Struct("<I")
STORED_BYTES_MAX = _FIXED.size + 4 * SAMPLES_MAX + _CELLS.size + _CHECK.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """What one hour of the week is like."""

    median: float
    spread: float
    weeks: int

    def is_beyond(self, value: float, factor: float) -> bool:
        """So many times the median, and clear of its spread."""
        return value >= self.median * factor and value >= self.median + SPREADS * self.spread


@dataclass(slots=True)
class Baseline:
    """The memory of one reading of one subject: 5.5 kB; `stored` carries it over a restart."""

    unstored: int = 0
    """Hours that were finished since it was last stored."""
    _counts: bytearray = field(default_factory=bytearray)
    _cells: array[float] = field(default_factory=lambda: array("f"))
    """Of every hour of the week eight places, the oldest first. Empty before the first hour is."""
    _hour: int = -1
    _taken_at: float = float("-inf")
    _samples: array[float] = field(default_factory=lambda: array("f"))

    def learn(self, at_s: float, value: float) -> None:
        """Take one value; a finished hour becomes one observation."""
        hour = int(at_s // 3600)
        if hour != self._hour:
            self._finish()
            self._hour, self._samples, self._taken_at = hour, array("f"), float("-inf")
        due = at_s - self._taken_at >= 3600 / SAMPLES_MAX and len(self._samples) < SAMPLES_MAX
        if due and abs(value) <= VALUE_MAX:
            self._taken_at = at_s
            self._samples.append(value)

    def _finish(self) -> None:
        if self._hour < 0 or len(self._samples) < SAMPLES_MIN:
            return
        if not self._cells:
            self._counts = bytearray(HOURS)
            self._cells = array("f", bytes(4 * HOURS * WEEKS_KEPT))
        hour, observed = hour_of_week(self._hour), median(self._samples)
        begin, count = hour * WEEKS_KEPT, self._counts[hour]
        if count == WEEKS_KEPT:
            last = begin + WEEKS_KEPT - 1
            self._cells[begin:last] = self._cells[begin + 1 : last + 1]
            self._cells[last] = observed
        else:
            self._cells[begin + count] = observed
            self._counts[hour] = count + 1
        self.unstored += 1

    def seen(self, hour: int) -> Sequence[float]:
        """What was observed in one hour of the week, oldest first."""
        begin = hour * WEEKS_KEPT
        return self._cells[begin : begin + self._counts[hour]] if self._cells else ()

    def usual(self, at_s: float) -> Usual | None:
        """What this hour of the week is like; None until it was seen in three weeks."""
        seen = self.seen(hour_of_week(int(at_s // 3600)))
        if len(seen) < WEEKS_MIN:
            return None
        middle = median(seen)
        deviation = 1.4826 * median(abs(value - middle) for value in seen)
        spread = max(deviation, SPREAD_SHARE_MIN * abs(middle))
        return Usual(median=middle, spread=spread, weeks=len(seen))

    @property
    def last_s(self) -> float:
        """When a value was last taken."""
        return self._taken_at if self._samples else 3600.0 * self._hour

    @property
    def is_new(self) -> bool:
        """Whether there is nothing that a restart could lose."""
        return not self._cells and not self._samples

    def stored(self) -> bytes:
        """All of it, the hour in hand as well, with a checksum."""
        samples = self._samples
        fixed = _FIXED.pack(_MARK, self._hour, self.last_s, len(samples))
        hour = struct.pack(f"<{len(samples)}f", *samples)
        cells = _CELLS.pack(*self._counts, *self._cells) if self._cells else b""
        body = fixed + hour + cells
        return body + _CHECK.pack(crc32(body))

    @classmethod
    def from_stored(cls, content: bytes) -> Baseline:
        """A baseline as it was stored. Raises ValueError where that is not what was written."""
        body, check = content[: -_CHECK.size], content[-_CHECK.size :]
        if len(body) < _FIXED.size or _CHECK.pack(crc32(body)) != check:
            raise ValueError("the checksum is another")
        mark, hour, taken_at, count = _FIXED.unpack_from(body)
        if mark != _MARK:
            raise ValueError("written by another release")
        cells_at = _FIXED.size + 4 * count
        if len(body) not in (cells_at, cells_at + _CELLS.size):
            raise ValueError("it has another length")
        known = cls(_hour=hour, _taken_at=taken_at)
        known._samples.extend(struct.unpack_from(f"<{count}f", body, _FIXED.size))
        if len(body) > cells_at:
            counts_and_cells = _CELLS.unpack_from(body, cells_at)
            known._counts = bytearray(counts_and_cells[:HOURS])
            known._cells.extend(counts_and_cells[HOURS:])
        return known


def hour_of_week(hour: int) -> int:
    """0 is Monday's first hour; `hour` counts since 1970."""
    return (hour + EPOCH_TO_MONDAY_H) % HOURS


LOOKS_MIN = 3
GAP_SPANS = 6
"""Values that are older than so many spans say nothing about now."""


@dataclass(slots=True)
class Recent:
    """The median of the last minutes, so that one slow answer is not "slower than usual".

    What is read more seldom than three times a span is judged by its last three values.
    """

    span_s: float
    _times: array[float] = field(default_factory=lambda: array("d"))
    _values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, at_s: float, value: float) -> float | None:
        """The median with this value; None with fewer than three values."""
        times, values = self._times, self._values
        if times and not 0.0 <= at_s - times[-1] <= GAP_SPANS * self.span_s:
            del times[:], values[:]
        times.append(at_s)
        values.append(value)
        while len(times) > LOOKS_MIN and (
            at_s - times[0] > self.span_s or len(times) > 2 * SAMPLES_MAX
        ):
            del times[0], values[0]
        return median(values) if len(values) >= LOOKS_MIN else None
