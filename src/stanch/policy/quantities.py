"""Quantities in stanch.yaml: lengths of time, sizes and shares, each with its unit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from stanch.policy.kinds import JsonSchema, Written, Wrong, with_article
from stanch.policy.quoting import quoted

DURATION_S_MAX = 366 * 86_400.0
_NUMBER_CHARS_MAX = 18

DURATION_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s?(ms|s|m|h|d)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """A length of time with its unit: 500ms, 30s, 5m, 2h, 1d. The value is in seconds."""

    min_s: float = 0.0
    max_s: float = DURATION_S_MAX
    word: str = "duration"

    def read(self, written: Written) -> float | Wrong:
        text = written.text.strip()
        if text == "0":
            return self._in_range(0.0)
        found = _DURATION.fullmatch(text) if len(text) <= _NUMBER_CHARS_MAX else None
        if found is None:
            return _without_unit(text, self.word, "30s (units: ms, s, m, h, d)")
        milliseconds = Decimal(found[1]) * DURATION_UNITS_MS[found[2]]
        if milliseconds != int(milliseconds):
            return Wrong(
                what=f"{quoted(text)} is finer than a millisecond", hint="Round it to 1ms."
            )
        return self._in_range(int(milliseconds) / 1000)

    def _in_range(self, seconds: float) -> float | Wrong:
        if self.min_s <= seconds <= self.max_s:
            return seconds
        return Wrong(
            what=f"{duration_text(seconds)} is out of range",
            hint=f"Between {duration_text(self.min_s)} and {duration_text(self.max_s)}.",
        )

    def show(self, value: object) -> str:
        assert isinstance(value, int | float)
        return duration_text(value)

    def schema(self) -> JsonSchema:
        return {"type": ["string", "integer"], "pattern": r"^(?:0|\d+(\.\d+)?\s?(ms|s|m|h|d))$"}


def duration_text(seconds: float) -> str:
    """A length of time as a person writes it, in the largest unit that keeps it whole."""
    milliseconds = round(seconds * 1000)
    for unit in ("d", "h", "m", "s"):
        if milliseconds and milliseconds % DURATION_UNITS_MS[unit] == 0:
            return f"{milliseconds // DURATION_UNITS_MS[unit]}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"


SIZE_UNITS = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s?([A-Za-z]+)", re.ASCII)
_SIZE_UNIT_OF = {unit.lower(): factor for unit, factor in SIZE_UNITS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A number of bytes with its unit: 32MiB, 1GB."""

    min_bytes: int = 0
    max_bytes: int = 2**50
    word: str = "size"

    def read(self, written: Written) -> int | Wrong:
        text = written.text.strip()
        if text == "0":
            return self._in_range(0)
        found = _SIZE.fullmatch(text) if len(text) <= _NUMBER_CHARS_MAX else None
        factor = _SIZE_UNIT_OF.get(found[2].lower()) if found else None
        if found is None or factor is None:
            return _without_unit(text, self.word, "32MiB (units: B, kB, MB, GB, KiB, MiB, GiB)")
        number = Decimal(found[1]) * factor
        if number != int(number):
            return Wrong(what=f"{quoted(text)} is not a whole number of bytes", hint="Round it.")
        return self._in_range(int(number))

    def _in_range(self, size_bytes: int) -> int | Wrong:
        if self.min_bytes <= size_bytes <= self.max_bytes:
            return size_bytes
        return Wrong(
            what=f"{size_text(size_bytes)} is out of range",
            hint=f"Between {size_text(self.min_bytes)} and {size_text(self.max_bytes)}.",
        )

    def show(self, value: object) -> str:
        assert isinstance(value, int)
        return size_text(value)

    def schema(self) -> JsonSchema:
        return {
            "type": ["string", "integer"],
            "pattern": r"^(?:0|\d+(\.\d+)?\s?[kKmMgGtT]?i?[bB])$",
        }


def size_text(size_bytes: int) -> str:
    """A number of bytes in the largest binary unit that keeps it whole."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % SIZE_UNITS[unit] == 0:
            return f"{size_bytes // SIZE_UNITS[unit]}{unit}"
    return f"{size_bytes}B"


@dataclass(frozen=True, slots=True, kw_only=True)
class Percent:
    """A share with its sign: 80%."""

    min_pct: float = 0.0
    max_pct: float = 100.0
    word: str = "percentage"

    def read(self, written: Written) -> float | Wrong:
        text = written.text.strip()
        found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)\s?%", text, re.ASCII)
        if found is None:
            return _without_unit(text, self.word, "80%")
        value = float(found[1])
        if self.min_pct <= value <= self.max_pct:
            return value
        return Wrong(
            what=f"{quoted(text)} is out of range",
            hint=f"Between {self.show(self.min_pct)} and {self.show(self.max_pct)}.",
        )

    def show(self, value: object) -> str:
        assert isinstance(value, int | float)
        return f"{value:.6f}".rstrip("0").rstrip(".") + "%"

    def schema(self) -> JsonSchema:
        return {"type": "string", "pattern": r"^\d+(\.\d+)?\s?%$"}


def _without_unit(text: str, word: str, like: str) -> Wrong:
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        return Wrong(what=f"{quoted(text)} has no unit", hint=f"Write it like {like}.")
    return Wrong(what=f"{quoted(text)} is not {with_article(word)}", hint=f"Write it like {like}.")
