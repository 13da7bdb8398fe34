"""The page of all kinds of events: docs/events.md."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import fields

from stanch.model.events import KINDS, Event

HEAD = """\
# Events

Everything that can happen to an incident, and to the responder itself. A timeline is a sequence of
these; state, pages due, resumption after a crash and the post-mortem are read from it and from
nothing else. How they are kept is in [ADR 1](adr/0001-events-wakes-leases-journals.md).

A *decision* is refused when its writer had not read the newest events; a *fact* (sent, acted,
observed) never is, at worst it is marked late. Kinds end in a version. A change of shape is a new
version, and old ones stay readable.

| Kind | Nature | What happened |
| --- | --- | --- |
"""


def events_page() -> str:
    """The whole page as Markdown."""
    rows = [
        f"| [`{kind}`](#{_anchor(kind)}) | {cls.nature} | {_sentence(cls)} |"
        for kind, cls in KINDS.items()
    ]
    sections = [line for kind, cls in KINDS.items() for line in _section(kind, cls)]
    return HEAD + "\n".join([*rows, *sections]) + "\n"


def _section(kind: str, cls: type[Event]) -> Iterator[str]:
    yield ""
    yield f"## {kind}"
    yield ""
    yield f"{_sentence(cls)} A {cls.nature}."
    yield ""
    names = ", ".join(f"`{field.name}`" for field in fields(cls))
    yield f"Fields: {names}."


def _sentence(cls: type[Event]) -> str:
    return " ".join((inspect.getdoc(cls) or "").split())


def _anchor(kind: str) -> str:
    """What the usual renderers make of a heading."""
    return kind.replace(".", "")
