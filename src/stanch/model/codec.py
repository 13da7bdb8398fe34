"""Frozen dataclasses to canonical JSON bytes and back, without anything but the standard library.

The bytes are what is hashed and stored, so they must be the same for equal values: keys sorted,
no spaces, UTF-8, datetimes as ISO 8601 in UTC with microseconds. Decoding is strict: a missing,
surplus or wrongly typed field is an error, because a timeline that is read loosely proves nothing.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


class CodecError(ValueError):
    """These bytes do not describe such a value."""


def encode(value: object) -> bytes:
    """The canonical bytes of a dataclass value."""
    text = json.dumps(
        _plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    # Lone surrogates come from hostile log lines and object names; they must not stop a page.
    return text.encode("utf-8", "replace")


def decode(into: type[T], data: bytes) -> T:
    """The value that `encode` made these bytes from. Raises CodecError."""
    try:
        plain = json.loads(data)
    except ValueError as error:
        raise CodecError(f"not JSON: {error}") from error
    return cast("T", _build(into, plain, into.__name__))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, datetime):
        return to_iso(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in cast("Sequence[Any]", value)]
    raise CodecError(f"cannot encode {type(value).__name__}")


def to_iso(at: datetime) -> str:
    """UTC with microseconds; a naive datetime is refused."""
    if at.tzinfo is None:
        raise CodecError("a datetime without zone has no place in a timeline")
    return at.astimezone(UTC).isoformat(timespec="microseconds")


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _build(kind: Any, plain: Any, where: str) -> Any:
    origin = get_origin(kind)
    if hasattr(kind, "__supertype__"):
        return _build(kind.__supertype__, plain, where)
    if origin in (Union, types.UnionType):
        return _build_union(get_args(kind), plain, where)
    if origin is Literal:
        return _require(plain in get_args(kind), plain, where)
    if origin is tuple:
        return _build_tuple(get_args(kind), plain, where)
    if origin is not None and is_dataclass(origin):
        bound = dict(zip(cast("Any", origin).__parameters__, get_args(kind), strict=True))
        return _build_dataclass(cast("type", origin), plain, where, bound)
    if origin is not None and issubclass(origin, Mapping):
        _require(isinstance(plain, dict), plain, where)
        return {k: _build(get_args(kind)[1], v, f"{where}.{k}") for k, v in plain.items()}
    return _build_plain(kind, plain, where)


def _build_tuple(items: tuple[Any, ...], plain: Any, where: str) -> tuple[Any, ...]:
    _require(isinstance(plain, list), plain, where)
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_build(items[0], item, f"{where}[]") for item in plain)
    _require(len(items) == len(plain), plain, where)
    return tuple(
        _build(i, p, f"{where}[{n}]") for n, (i, p) in enumerate(zip(items, plain, strict=True))
    )


def _build_union(options: tuple[Any, ...], plain: Any, where: str) -> Any:
    if plain is None:
        return _require(type(None) in options, plain, where)
    errors: list[str] = []
    for option in options:
        if option is type(None):
            continue
        try:
            return _build(option, plain, where)
        except CodecError as error:
            errors.append(str(error))
    raise CodecError("; ".join(errors) or f"{where}: nothing fits")


def _build_plain(kind: Any, plain: Any, where: str) -> Any:
    if is_dataclass(kind):
        return _build_dataclass(cast("type", kind), plain, where)
    if kind is datetime:
        return _build_datetime(plain, where)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        try:
            return kind(plain)
        except ValueError as error:
            raise CodecError(f"{where}: {error}") from error
    if kind is float:
        _require(isinstance(plain, int | float) and not isinstance(plain, bool), plain, where)
        return float(plain)
    if kind is int:
        return _require(isinstance(plain, int) and not isinstance(plain, bool), plain, where)
    if kind in (str, bool):
        return _require(isinstance(plain, kind), plain, where)
    raise CodecError(f"{where}: no rule for {kind!r}")


def _build_dataclass(
    cls: type, plain: Any, where: str, bound: Mapping[Any, Any] | None = None
) -> Any:
    """`bound` says what a generic dataclass's type variables stand for."""
    _require(isinstance(plain, dict), plain, where)
    hints, given = _hints(cls), cast("dict[str, Any]", plain)
    if bound:
        hints = {name: bound.get(kind, kind) for name, kind in hints.items()}
    known = {f.name: f for f in fields(cls)}
    if surplus := given.keys() - known.keys():
        raise CodecError(f"{where}: unknown field {sorted(surplus)[0]!r}")
    values: dict[str, Any] = {}
    for name, field in known.items():
        if name in given:
            values[name] = _build(hints[name], given[name], f"{where}.{name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise CodecError(f"{where}: field {name!r} is missing")
    return cls(**values)


def _build_datetime(plain: Any, where: str) -> datetime:
    _require(isinstance(plain, str), plain, where)
    try:
        at = datetime.fromisoformat(plain)
    except ValueError as error:
        raise CodecError(f"{where}: {error}") from error
    if at.tzinfo is None:
        raise CodecError(f"{where}: datetime without zone")
    return at.astimezone(UTC)


def _require(ok: bool, plain: Any, where: str) -> Any:
    if not ok:
        raise CodecError(f"{where}: unexpected {type(plain).__name__}")
    return plain
