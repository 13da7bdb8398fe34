"""Events filled with anything at all: control characters, markup, lone surrogates, odd times."""

from __future__ import annotations

import types
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from stanch.model.events import Event

E = TypeVar("E", bound=Event)

MARKUP = (
    "<script>alert(1)</script>",
    "[x](http://evil.example.com)",
    "![x](http://evil.example.com/x.png)",
    "http://evil.example.com www.example.com",
    "# heading",
    "| a | b |",
    "`code` ``` ~~~",
    "a\r\n## forged\r\n- [x] done",
    "</td>&lt;&#60;",
    "@everyone",
    "'; DROP TABLE incident; --",
    "\x1b[2J\x00\u202e\ud800",
    "1. one",
    "$x$ *b* _i_ ~~s~~",
)

texts = st.one_of(st.sampled_from(MARKUP), st.text(alphabet=st.characters(codec=None), max_size=60))
times = st.integers(1_577_836_800, 2_051_222_400).map(lambda s: datetime.fromtimestamp(s, UTC))

_PLAIN: dict[object, st.SearchStrategy[Any]] = {
    str: texts,
    datetime: times,
    bool: st.booleans(),
    int: st.integers(-(10**12), 10**12),
    float: st.floats(-1e9, 1e9, allow_nan=False),
    type(None): st.none(),
}


def event_of(kind: type[E]) -> st.SearchStrategy[E]:
    """Any event of this kind."""
    return anything_of(kind)


@cache
def anything_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type the model uses; unknown types are an error here, not a gap."""
    origin = get_origin(kind)
    if hasattr(kind, "__supertype__"):
        return anything_of(kind.__supertype__)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if origin is Literal:
        return st.sampled_from(get_args(kind))
    if origin in (Union, types.UnionType):
        return st.one_of(*map(anything_of, get_args(kind)))
    if origin is tuple and get_args(kind)[-1] is Ellipsis:
        return st.lists(anything_of(get_args(kind)[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(anything_of, get_args(kind)))
    if issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    assert isinstance(kind, type), kind
    assert is_dataclass(kind), kind
    hints = get_type_hints(kind)
    return st.builds(kind, **{f.name: anything_of(hints[f.name]) for f in fields(kind)})
