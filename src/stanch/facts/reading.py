"""Reading a JSON answer strictly: one place where untyped data becomes typed.

A server, a proxy or a test double may answer anything; whatever does not fit is one `ProbeFailed`
that names the field, never a KeyError deep inside a rule.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from stanch.model.errors import ProbeFailed

_DECODER = json.JSONDecoder(parse_constant=lambda _: None)
"""Made once: to make one costs as much as to read a small answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One JSON object of an answer, read field by field."""

    fields: Mapping[str, object]
    where: str

    def text(self, name: str) -> str:
        value = self.fields.get(name)
        return _printable_utf8(value) if isinstance(value, str) else ""

    def text_or_none(self, name: str) -> str | None:
        return None if self.fields.get(name) is None else self.text(name)

    def flag(self, name: str) -> bool:
        value = self.fields.get(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "a boolean")
        return value

    def whole(self, name: str) -> int:
        value = self.fields.get(name)
        # `type` and not `isinstance`, because True is an int as well.
        if type(value) is not int:
            raise self._wrong(name, "a whole number")
        return value

    def whole_or_none(self, name: str) -> int | None:
        value = self.fields.get(name)
        if value is None:
            return None
        if type(value) is not int:
            raise self._wrong(name, "a whole number")
        return value

    def number_or_none(self, name: str) -> float | None:
        return self._number(name)

    def age_s(self, name: str) -> float | None:
        """Seconds; a clock that stepped back makes them zero, not negative."""
        value = self._number(name)
        return None if value is None else max(0.0, value)

    def moment(self, name: str) -> datetime:
        value = self.moment_or_none(name)
        if value is None:
            raise self._wrong(name, "a time")
        return value

    def moment_or_none(self, name: str) -> datetime | None:
        """From seconds since 1970, or from ISO 8601 with an offset."""
        value = self.fields.get(name)
        if value is None:
            return None
        try:
            if isinstance(value, str):
                stamp = datetime.fromisoformat(value)
                if stamp.tzinfo is None:
                    raise self._wrong(name, "a time with its offset")
                return stamp.astimezone(UTC)
            return datetime.fromtimestamp(self._number(name) or 0.0, UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise self._wrong(name, "a time") from error

    def part(self, name: str) -> Answer:
        value = self.part_or_none(name)
        if value is None:
            raise self._wrong(name, "an object")
        return value

    def part_or_none(self, name: str) -> Answer | None:
        value = self.fields.get(name)
        if value is None:
            return None
        return _object(value, f"{self.where}.{name}")

    def parts(self, name: str) -> tuple[Answer, ...]:
        """A list of objects; null is the empty list, as SQL aggregates have it."""
        return _objects(self.fields.get(name), f"{self.where}.{name}")

    def wholes_or_none(self, name: str) -> tuple[int, ...] | None:
        value = self.fields.get(name)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self._wrong(name, "a list")
        items = cast("list[object]", value)
        if any(isinstance(item, bool) or not isinstance(item, int) for item in items):
            raise self._wrong(name, "a list of whole numbers")
        return tuple(cast("list[int]", items))

    def counts(self, name: str) -> tuple[tuple[str, int], ...]:
        """An object of counts, largest first."""
        part = self.part_or_none(name)
        if part is None:
            return ()
        found = [(_printable_utf8(key), part.whole(key)) for key in part.fields]
        return tuple(sorted(found, key=lambda pair: (-pair[1], pair[0])))

    def _number(self, name: str) -> float | None:
        value = self.fields.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "a number")
        try:
            return float(value)
        except OverflowError as error:
            raise self._wrong(name, "a number of sensible size") from error

    def _wrong(self, name: str, wanted: str) -> ProbeFailed:
        return ProbeFailed(f"the answer's {self.where}.{name} is not {wanted}", on="answer")


def read_object(payload: object, where: str) -> Answer:
    """The one object an answer consists of. Raises ProbeFailed."""
    return _object(_decoded(payload, where), where)


def read_objects(payload: object, where: str) -> tuple[Answer, ...]:
    """The list of objects an answer consists of; null is the empty list. Raises ProbeFailed."""
    return _objects(_decoded(payload, where), where)


def _decoded(payload: object, where: str) -> object:
    if isinstance(payload, bytes | bytearray):
        # Names made under another encoding may reach us as they are stored.
        payload = bytes(payload).decode("utf-8", "replace")
    if not isinstance(payload, str):
        return payload
    try:
        return cast("object", _DECODER.decode(payload))
    except (ValueError, RecursionError) as error:
        raise ProbeFailed(f"the answer to {where} is not JSON", on="answer") from error


def _object(value: object, where: str) -> Answer:
    if not isinstance(value, dict):
        raise ProbeFailed(f"the answer's {where} is not an object", on="answer")
    return Answer(cast("dict[str, object]", value), where)


def _objects(value: object, where: str) -> tuple[Answer, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ProbeFailed(f"the answer's {where} is not a list", on="answer")
    items = cast("list[object]", value)
    return tuple(_object(item, f"{where}[{n}]") for n, item in enumerate(items))


def _printable_utf8(text: str) -> str:
    """Lone surrogates become question marks: they could be neither stored nor sent."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
