"""YAML text to a tree with line marks: nothing is constructed, and hostile input stays small.

Source: PyYAML's composer with the safe resolver. Limits come first, on the flat stream of events,
because the composer itself recurses; it then works from the same events, and nothing is read twice.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import yaml
from yaml.composer import Composer
from yaml.resolver import Resolver

TEXT_CHARS_MAX = 1_000_000
DEPTH_MAX = 24
EVENTS_MAX = 100_000
ALIASES_MAX = 500

_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "int", "float", "bool", "null", "timestamp", "map", "seq", "merge", "value")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Why the text is not one YAML document, and where; lines and columns count from 1."""

    what: str
    hint: str
    line: int = 1
    column: int = 1


def compose(text: str) -> yaml.Node | Unreadable:
    """The tree of the document, or why there is none. Never raises on any text."""
    if len(text) > TEXT_CHARS_MAX:
        return Unreadable(
            what=f"longer than {TEXT_CHARS_MAX} characters", hint="A policy is a short file."
        )
    try:
        events = _events(text)
        if isinstance(events, Unreadable):
            return events
        node = _EventComposer(events).get_single_node()
    except yaml.MarkedYAMLError as error:
        return _from_yaml(error)
    except yaml.YAMLError as error:
        return _from_reader(error, text)
    except (ValueError, OverflowError) as error:
        # The scanner turns \U escapes and version numbers into numbers without looking.
        return Unreadable(what=f"is not YAML: {error}", hint="Look for a wrong escape sequence.")
    if node is None:
        return Unreadable(
            what="the file is empty", hint="`stanch init` writes one with every key explained."
        )
    return node


class _EventComposer(Composer, Resolver):
    """PyYAML's composer on events that were parsed before."""

    def __init__(self, events: deque[yaml.Event]) -> None:
        Composer.__init__(self)
        Resolver.__init__(self)
        self._events = events

    def check_event(self, *choices: type[yaml.Event]) -> bool:
        return bool(self._events) and (not choices or isinstance(self._events[0], choices))

    def peek_event(self) -> yaml.Event | None:
        return self._events[0] if self._events else None

    def get_event(self) -> yaml.Event | None:
        return self._events.popleft() if self._events else None


def _events(text: str) -> deque[yaml.Event] | Unreadable:
    """Everything the parser finds, or the limit it goes over."""
    depth = aliases = 0
    events: deque[yaml.Event] = deque()
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader), 1):
        events.append(event)
        mark = event.start_mark
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
        over = _over(depth, aliases, count)
        if over:
            return Unreadable(
                what=over,
                hint="A policy needs nothing of the kind; write it plainly.",
                line=mark.line + 1 if mark else 1,
                column=mark.column + 1 if mark else 1,
            )
    return events


def _over(depth: int, aliases: int, events: int) -> str:
    if depth > DEPTH_MAX:
        return f"nested more than {DEPTH_MAX} levels deep"
    if aliases > ALIASES_MAX:
        return f"more than {ALIASES_MAX} aliases"
    return f"more than {EVENTS_MAX} parts" if events > EVENTS_MAX else ""


def _from_yaml(error: yaml.MarkedYAMLError) -> Unreadable:
    mark = error.problem_mark or error.context_mark
    what = ", ".join(part for part in (error.context, error.problem) if part)
    return Unreadable(
        what=f"is not YAML: {what}",
        hint="Look at the indentation, quotes and colons on this line and the one before.",
        line=mark.line + 1 if mark else 1,
        column=mark.column + 1 if mark else 1,
    )


def _from_reader(error: yaml.YAMLError, text: str) -> Unreadable:
    position = getattr(error, "position", 0)
    before = text[:position]
    return Unreadable(
        what="has a character that YAML does not allow",
        hint="Control characters must be removed, or written as an escape in double quotes.",
        line=before.count("\n") + 1,
        column=position - (before.rfind("\n") + 1) + 1,
    )


def unknown_tag(node: yaml.Node) -> str:
    """The explicit tag of a node when it is none of YAML's own plain ones; else empty."""
    return "" if node.tag in _TAGS else str(node.tag)
