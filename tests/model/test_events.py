import contextlib
import functools
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.model.codec import CodecError, decode, encode
from stanch.model.events import (
    KINDS,
    Event,
    NoteAdded,
    UnknownEvent,
    from_body,
    stored_kind,
    to_body,
)
from stanch.model.ids import PersonId

TEXTS = st.text(max_size=8) | st.sampled_from(["\x1b[2J", "'; DROP TABLE x; --", "<b>", "\u202e"])
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS,
    int: st.integers(-(2**62), 2**62),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    datetime: st.datetimes(timezones=st.just(UTC)),
    type(None): st.none(),
}


@functools.cache
def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type."""
    if hasattr(kind, "__supertype__"):
        return values_of(kind.__supertype__)
    if kind in PLAIN:
        return PLAIN[kind]
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return st.sampled_from(args)
    if origin in (Union, types.UnionType):
        return st.one_of([values_of(option) for option in args])
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return st.lists(values_of(args[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*(values_of(item) for item in args))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return st.dictionaries(TEXTS, values_of(args[1]), max_size=2)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return st.sampled_from(list(kind))
    assert is_dataclass(kind), kind
    return st.deferred(lambda: instances_of(kind))


@functools.cache
def instances_of(cls: Any) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls)
    return st.builds(cls, **{f.name: values_of(hints[f.name]) for f in fields(cls)})


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(data=st.data())
def test_every_event_survives_being_stored_byte_for_byte(kind: str, data: st.DataObject) -> None:
    event: Event = data.draw(instances_of(KINDS[kind]))
    body = to_body(event)
    again = from_body(kind, body)
    assert not isinstance(again, UnknownEvent)
    assert again == event
    assert to_body(again) == body


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_names_its_version_and_says_whether_it_decides(kind: str) -> None:
    assert kind.rsplit(".", 1)[-1].startswith("v")
    assert KINDS[kind].nature in ("decision", "fact")


def test_an_event_of_a_newer_release_keeps_its_kind_and_its_bytes() -> None:
    event = from_body("incident.split.v7", b'{"into":["a","b"]}')
    assert isinstance(event, UnknownEvent)
    assert stored_kind(event) == "incident.split.v7"
    assert to_body(event) == b'{"into":["a","b"]}'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"by":"ann"}',
        b'{"by":"ann","text":3}',
        b'{"by":"ann","text":"x","more":1}',
        b"\xff\xfe",
    ],
)
def test_a_body_that_does_not_fit_its_kind_is_unknown_and_not_half_read(body: bytes) -> None:
    assert isinstance(from_body(NoteAdded.kind, body), UnknownEvent)


def test_text_that_is_no_valid_unicode_is_stored_all_the_same() -> None:
    note = NoteAdded(by=PersonId("ann"), text="half a pair: \ud800")
    assert isinstance(from_body(NoteAdded.kind, to_body(note)), NoteAdded)


def test_a_moment_without_zone_has_no_place_in_a_timeline() -> None:
    with pytest.raises(CodecError):
        encode({"at": datetime(2026, 3, 1)})  # noqa: DTZ001


@given(st.binary(max_size=64))
def test_decoding_arbitrary_bytes_never_fails_in_another_way(data: bytes) -> None:
    with contextlib.suppress(CodecError):
        decode(NoteAdded, data)
