"""The commented stanch.yaml that `stanch init` writes: every key, its meaning and its default.

A line that starts with `#` and a key is a default that holds anyway; taking the `#` away changes
nothing until its value is changed, too. Where the default is nothing, an example stands and says
so. Lines that start with `##` are prose.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from typing import Any, cast

from stanch.policy.keys import CONTACT, PERSON, POLICY, SEVERITY, SMTP, TARGET
from stanch.policy.kinds import yaml_text
from stanch.policy.policy import (
    DEFAULT_SEVERITIES,
    Person,
    SmtpChannel,
    TargetPolicy,
    TerminalChannel,
)
from stanch.policy.shapes import ByName, Key, ListOf, MapOf, Named, Section, Shape

WIDTH = 96
EXAMPLE = "# for example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a new user was asked; everything else keeps its default."""

    state_directory: str
    person: Person
    channel: SmtpChannel | TerminalChannel
    target: TargetPolicy


def template(answers: Answers) -> str:
    """A valid policy file for these answers, with every other key as a comment."""
    lines = [
        "## stanch.yaml: what is watched, who is told, what Stanch may do by itself.",
        "## Lines starting with # and a key show the default, which holds anyway;",
        "## where nothing is the default, they end in `for example`.",
        "## After editing: `stanch check`. Every key: docs/policy.md.",
        "",
    ]
    for key in POLICY.keys:
        lines += [*_prose(key.doc, 0), *_top(key, answers), ""]
    return "\n".join(lines)


def _top(key: Key, answers: Answers) -> Iterator[str]:
    person, channel, target = answers.person, answers.channel, answers.target
    if key.name == "state_directory":
        yield f"state_directory: {yaml_text(answers.state_directory)}"
    elif key.name == "people":
        yield from ("people:", f"  {yaml_text(person.id)}:", *_person(person))
    elif key.name == "ladder":
        yield f"ladder: [{yaml_text(person.id)}]"
    elif key.name == "channels":
        yield from ("channels:", f"  {yaml_text(channel.name)}:", *_channel(channel))
    elif key.name == "targets":
        yield from ("targets:", f"  {yaml_text(target.name)}:", *_keys(TARGET, target, 4))
    elif key.name == "severities":
        yield from _severities()
    else:
        yield from _commented(POLICY, key, 0)


def _person(person: Person) -> Iterator[str]:
    yield from _keys(PERSON, person, 4, leave_out=("contacts",))
    if person.contacts:
        yield from (*_prose(PERSON.keys[1].doc, 4), "    contacts:")
    for contact in person.contacts:
        first, *rest = _keys(CONTACT, contact, 0, with_prose=False)
        yield f"      - {first}"
        yield from (f"        {line}" for line in rest)


def _channel(channel: SmtpChannel | TerminalChannel) -> Iterator[str]:
    if isinstance(channel, SmtpChannel):
        yield "    type: smtp"
        yield from _keys(SMTP, channel, 4)
    else:
        yield "    type: terminal"


def _severities() -> Iterator[str]:
    yield "# severities:"
    for severity in DEFAULT_SEVERITIES:
        shown = (f"{k.name}: {_inline(k.holds, getattr(severity, k.field))}" for k in SEVERITY.keys)
        yield f"#   {severity.rank}: {{{', '.join(shown)}}}"


def _keys(
    section: Section,
    value: object,
    indent: int,
    *,
    leave_out: tuple[str, ...] = (),
    with_prose: bool = True,
) -> Iterator[str]:
    """The keys of a section: set where the value differs from the default, else commented out."""
    for key in section.keys:
        if key.name in leave_out:
            continue
        if with_prose:
            yield from _prose(key.doc, indent)
        held = getattr(value, key.field)
        if section.required(key) or held != section.default(key):
            yield f"{' ' * indent}{key.name}: {_inline(key.holds, held)}"
        else:
            yield from _commented(section, key, indent)


def _commented(section: Section, key: Key, indent: int) -> Iterator[str]:
    default = section.default(key)
    pad = " " * indent
    if isinstance(key.holds, Section):
        inner = key.holds
        # Alone, the head of examples would be a key without a value.
        mark = "" if any(_has_default(inner, part) for part in inner.keys) else f"  {EXAMPLE}"
        yield f"{pad}# {key.name}:{mark}"
        for part in inner.keys:
            yield from _prose(part.doc, indent, inset=2)
            yield f"{pad}#   {part.name}: {_suggestion(inner, part)}"
    elif default is None or default in ("", ()) or default == {}:
        yield f"{pad}# {key.name}: {_suggestion(section, key)}"
    else:
        yield f"{pad}# {key.name}: {_inline(key.holds, default)}"


def _has_default(section: Section, key: Key) -> bool:
    default = section.default(key)
    return not (default is MISSING or default is None or default in ("", ()) or default == {})


def _suggestion(section: Section, key: Key) -> str:
    """The default; where that is nothing, an example that says it is one."""
    if not _has_default(section, key):
        return f"{key.example}  {EXAMPLE}" if key.example else '""'
    return _inline(key.holds, section.default(key))


def _inline(shape: Shape, value: Any) -> str:
    if isinstance(shape, MapOf):
        known = cast("dict[str, object]", value)
        return "{" + ", ".join(f"{k}: {shape.value.show(v)}" for k, v in known.items()) + "}"
    if isinstance(shape, ListOf):
        item = shape.item
        assert not isinstance(item, Section), "sections in lists are written a line each"
        return "[" + ", ".join(item.show(each) for each in value) + "]"
    assert not isinstance(shape, Section | Named | ByName), "sections are written a line each"
    return '""' if value == "" else shape.show(value)


def _prose(text: str, indent: int, *, inset: int = 0) -> list[str]:
    start = " " * indent + "## " + " " * inset
    return textwrap.wrap(
        text,
        width=WIDTH,
        initial_indent=start,
        subsequent_indent=start,
        break_on_hyphens=False,
    )
