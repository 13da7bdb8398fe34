"""Values of one target over time as columns of whole numbers, and what changed between two looks.

A column is a name and a subject. Where a name counts something whole (bytes, sessions, totals) the
number is the value, else the number is the value in thousandths.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import cast

from stanch.store.recorder.layout import put_number, take_number

OTHERS_MAX = 128
"""Columns beside the fixed ones; more than these are left out, so that fifteen minutes fit."""
NAME_CHARS_MAX = 40
SUBJECT_CHARS_MAX = 48
NUMBER_MAX = 2**62
THOUSANDTHS = 1000
_WHOLE_ENDINGS = ("_bytes", "_total", "_bytes_total", "_age")
NAMES_INFLATED_MAX = 256 * 1024

Column = tuple[str, str, int]
"""Name, subject, and how many of the stored number make one."""


def scale_of(name: str) -> int:
    """By the ending of the name, as units are."""
    return 1 if name.endswith(_WHOLE_ENDINGS) else THOUSANDTHS


class Columns:
    """What is known now and what was last written, number by number.

    The `fixed` ones come first and are always there.
    """

    def __init__(self, fixed: Sequence[Column]) -> None:
        self._fixed = tuple(fixed)
        self._subjects: dict[str, dict[str, int]] = {}
        """Numbers by name and subject; of a fixed name only once it has other subjects."""
        self._table: list[Column] = []
        self._now: list[int | None] = []
        self._written: list[int | None] = []
        self._named = 0
        self.left_out = 0
        """Values that found no column since the table was last made."""
        self.anew()

    def anew(self) -> None:
        """Start a table: columns that nobody speaks of any more give their place to others."""
        kept = [
            (column, value)
            for column, value in zip(self._table, self._now, strict=True)
            if value is not None
        ]
        self._subjects, self._table = {}, list(self._fixed)
        self._now = [None] * len(self._fixed)
        for column, value in kept:
            number = self._numbers(column[0]).get(column[1])
            number = self._add(column) if number is None else number
            self._now[number] = value
        self._written = [None] * len(self._table)
        self._named = self.left_out = 0

    def put_fixed(self, values: Sequence[int | None]) -> None:
        """The values of all fixed columns, scaled already."""
        self._now[: len(self._fixed)] = values

    def put(self, name: str, values: Iterable[tuple[str, float | None]]) -> None:
        """Everything there is under one name: subjects not among them are gone."""
        name = name[:NAME_CHARS_MAX]
        known = self._numbers(name)
        gone = set(known.values())
        for said, value in values:
            subject = said[:SUBJECT_CHARS_MAX]
            number = known.get(subject)
            if number is None:
                if len(self._table) - len(self._fixed) >= OTHERS_MAX:
                    self.left_out += 1
                    continue
                number = self._add((name, subject, scale_of(name)))
            gone.discard(number)
            self._now[number] = scaled(value, self._table[number][2])
        for number in gone:
            self._now[number] = None

    def names(self) -> bytes | None:
        """The columns not named yet, as a payload without its moment; None: all are."""
        if self._named == len(self._table):
            return None
        out = bytearray()
        put_number(out, self._named)
        fresh = self._table[self._named :]
        out += zlib.compress(json.dumps(fresh, ensure_ascii=True).encode(), 6)
        self._named = len(self._table)
        return bytes(out)

    def full(self) -> bytes:
        """Every value, and from here on the base of what changes."""
        self._written = [None] * len(self._table)
        return self.changes(everything=True)

    def changes(self, *, everything: bool) -> bytes:
        """What is different from what was last written; of the fixed columns alone, or of all."""
        out = bytearray()
        written, now = self._written, self._now
        if len(written) < len(now):
            written.extend([None] * (len(now) - len(written)))
        last = len(now) if everything else len(self._fixed)
        for number in range(last):
            value, before = now[number], written[number]
            if value == before:
                continue
            written[number] = value
            # Keys are never negative, so their zigzag is their double.
            key = number * 4 + (0 if value is None else 2)
            if key < 128:
                out.append(key)
            else:
                put_number(out, key // 2)
            if value is not None:
                put_number(out, value - (before or 0))
        return bytes(out)

    def _numbers(self, name: str) -> dict[str, int]:
        known = self._subjects.get(name)
        if known is None:
            fixed = numbers_of(self._fixed).get(name)
            known = self._subjects[name] = dict(fixed) if fixed is not None else {}
        return known

    def _add(self, column: Column) -> int:
        number = len(self._table)
        self._table.append(column)
        self._now.append(None)
        self._numbers(column[0])[column[1]] = number
        return number


@cache
def numbers_of(fixed: tuple[Column, ...]) -> Mapping[str, Mapping[str, int]]:
    """Where the fixed columns stand, by name and subject: once for all recordings."""
    found: dict[str, dict[str, int]] = {}
    for number, (name, subject, _) in enumerate(fixed):
        found.setdefault(name, {})[subject] = number
    return found


def scaled(value: float | None, scale: int) -> int | None:
    """The stored number; None for what is missing, or no number that can be stored."""
    if value is None or not math.isfinite(value):
        return None
    number = round(value * scale)
    return number if -NUMBER_MAX < number < NUMBER_MAX else None


# --- reading ------------------------------------------------------------------------------------


def read_names(payload: bytes) -> tuple[int, list[Column]]:
    """The first number and the columns from there on. Raises ValueError."""
    first, at = take_number(payload, 0)
    try:
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(payload[at:], NAMES_INFLATED_MAX)
    except zlib.error as error:
        raise ValueError("the names cannot be unpacked") from error
    return first, [(str(name), str(subject), scale) for name, subject, scale in _rows(text)]


def _rows(text: bytes) -> list[tuple[object, object, int]]:
    rows = json.loads(text)
    found: list[tuple[object, object, int]] = []
    for row in cast("list[object]", rows) if isinstance(rows, list) else [None]:
        cells = cast("list[object]", row) if isinstance(row, list) else []
        if len(cells) != 3 or not isinstance(cells[2], int) or cells[2] < 1:
            raise ValueError("no table of names")
        found.append((cells[0], cells[1], cells[2]))
    return found


def read_values(payload: bytes, values: dict[int, int | None]) -> None:
    """Apply one FULL (to nothing) or CHANGES (to the values before it). Raises ValueError."""
    at = 0
    while at < len(payload):
        key, at = take_number(payload, at)
        number, has_value = divmod(key, 2)
        if not has_value:
            values[number] = None
            continue
        difference, at = take_number(payload, at)
        values[number] = (values.get(number) or 0) + difference
