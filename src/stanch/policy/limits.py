"""How the limit of a rule is written in YAML, by the unit it is counted in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from stanch.model.readings import Unit
from stanch.policy.kinds import JsonSchema, Kind, Written, Wrong
from stanch.policy.quantities import SIZE_UNITS, Duration, Percent, Size
from stanch.policy.quoting import quoted

NUMBER_MAX = 10**15


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number without a unit: 3, 0.5."""

    word: str = "number"

    def read(self, written: Written) -> float | Wrong:
        text = written.text.strip()
        if not re.fullmatch(r"\d{1,16}(?:\.\d{1,6})?", text, re.ASCII):
            return Wrong(
                what=f"{quoted(text)} is not a number", hint="Write it like 3 or 0.5, without unit."
            )
        value = float(text)
        if value <= NUMBER_MAX:
            return value
        return Wrong(what=f"{quoted(text)} is out of range", hint=f"At most {NUMBER_MAX}.")

    def show(self, value: object) -> str:
        assert isinstance(value, int | float)
        return f"{value:.6f}".rstrip("0").rstrip(".")

    def schema(self) -> JsonSchema:
        return {"type": "number", "minimum": 0, "maximum": NUMBER_MAX}


@dataclass(frozen=True, slots=True, kw_only=True)
class DurationIn:
    """A length of time that is kept in another unit than seconds: days, milliseconds."""

    unit_s: Decimal
    duration: Duration = Duration(max_s=366 * 86_400.0)
    word: str = "duration"

    def read(self, written: Written) -> float | Wrong:
        seconds = self.duration.read(written)
        return seconds if isinstance(seconds, Wrong) else float(Decimal(str(seconds)) / self.unit_s)

    def show(self, value: object) -> str:
        assert isinstance(value, int | float)
        return self.duration.show(float(Decimal(str(value)) * self.unit_s))

    def schema(self) -> JsonSchema:
        return self.duration.schema()


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeAsNumber:
    """A size whose value is a float, as readings are."""

    word: str = "size"

    def read(self, written: Written) -> float | Wrong:
        size = Size().read(written)
        return size if isinstance(size, Wrong) else float(size)

    def show(self, value: object) -> str:
        assert isinstance(value, int | float)
        whole = int(value)
        written = (f"{whole // f}{u}" for u, f in SIZE_UNITS.items() if whole % f == 0)
        # 10GB stays 10GB: of all units that keep it whole the one with the fewest digits.
        return min(written, key=len) if whole else "0B"

    def schema(self) -> JsonSchema:
        return Size().schema()


_KINDS: dict[Unit, Kind] = {
    Unit.PERCENT: Percent(),
    Unit.BYTES: SizeAsNumber(),
    Unit.BYTES_PER_S: SizeAsNumber(),
    Unit.SECONDS: Duration(),
    Unit.MILLISECONDS: DurationIn(unit_s=Decimal("0.001")),
    Unit.DAYS: DurationIn(unit_s=Decimal(86_400)),
    Unit.COUNT: Number(),
    Unit.PER_MINUTE: Number(),
    Unit.TIMES: Number(),
}


def limit_kind(unit: Unit) -> Kind:
    """How a limit in this unit is read and shown."""
    return _KINDS[unit]
