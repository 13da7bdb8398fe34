"""The manual page of stanch.yaml (docs/policy.md), made from the table of keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING
from typing import Any, cast

from stanch.policy.backups import S3
from stanch.policy.hook_keys import HOOK
from stanch.policy.keys import (
    BREAK_GLASS,
    CHANNEL,
    CLUSTER,
    CONTACT,
    HEARTBEAT,
    PERSON,
    POLICY,
    SEVERITY,
    TARGET,
    TIER,
)
from stanch.policy.kinds import Choice, Integer, Kind
from stanch.policy.level_keys import LEVEL
from stanch.policy.links import LINK
from stanch.policy.log_store_keys import LOG_STORE
from stanch.policy.pool_keys import POOL_SOURCE
from stanch.policy.quantities import Duration, Size
from stanch.policy.rule_keys import RULES
from stanch.policy.shapes import ByName, Key, ListOf, MapOf, Named, OneOf, Section, Shape, Variants
from stanch.policy.sign_keys import HEALTH_CHECK, SIGN_SOURCE
from stanch.policy.signal_keys import EXPECTED_HEARTBEAT, MAILBOX, ROUTE, SIGNALS, SOURCE
from stanch.policy.silence_keys import SILENCE

HEAD = """\
# stanch.yaml

One file says what is watched, who is told, and what Stanch may do by itself. `stanch init` writes
one; `stanch check` reads it and names every mistake with its line. This page is made from the same
table as the parser.

- **Durations** carry their unit: `500ms`, `30s`, `5m`, `2h`, `1d`. **Sizes** do, too: `32MiB`,
  `1GB`. **Percentages** end in `%`. A number without its unit is an error.
- **Unknown keys**, keys given twice and empty values are errors.
- **Paths** are absolute or start with `~/`.
- **Secrets** never stand in this file. Passwords of database roles belong in a passfile or a
  connection service, the others in files named by `password_file` and `secret_file`. A password in
  a connection string works and earns a warning.
- **Anchors and merges** (`&usual`, `<<: *usual`) work, so that similar targets are
  written once.
"""

NAMES_LISTED_MAX = 12

RULES_HEAD = """\
## `rules.<rule>`

In `rules`, in `tiers.<name>.rules` and in `targets.<name>.rules`, the last one on top. What is
left out stays as [declared](rules.md); a `clear` that nobody gives keeps its share of the `limit`.
The unit of `limit` and `clear` is the rule's own: this is `sessions_blocked`, one of the two rules
that have an `also`.

"""

EXAMPLE = """\
## The smallest useful file

```yaml
state_directory: /var/lib/stanch
people:
  asha:
    name: Asha Example
    contacts:
      - {channel: mail, address: asha@example.com}
ladder: [asha]
channels:
  mail: {type: smtp, host: localhost}
targets:
  orders:
    dsn: service=orders
```
"""


def reference() -> str:
    """The whole page as Markdown."""
    parts = [HEAD, EXAMPLE, _table("Top level", POLICY)]
    parts.append(_table("`people.<id>`", PERSON))
    parts.append(_table("`people.<id>.contacts[]`", CONTACT))
    for word, section in CHANNEL.by_type.items():
        note = "" if section.keys else "\nNothing more is set.\n"
        parts.append(_table(f"`channels.<name>` with `type: {word}`", section) + note)
    parts.append(_table("`targets.<name>`", TARGET))
    parts += [
        _table(f"`targets.<name>.{key.name}`", key.holds)
        for key in TARGET.keys
        if isinstance(key.holds, Section)
    ]
    parts += [
        _table(f"`targets.<name>.{key.name}.{word}`", section)
        for key in TARGET.keys
        if isinstance(key.holds, OneOf)
        for word, section in key.holds.by_key.items()
    ]
    for word, section in POOL_SOURCE.by_type.items():
        parts.append(_table(f"`targets.<name>.pools.<name>` with `type: {word}`", section))
    parts.append(_table("`targets.<name>.hooks.<name>`", HOOK))
    parts.append(_table("`targets.<name>.services.<name>`", HEALTH_CHECK))
    for word, section in SIGN_SOURCE.by_type.items():
        parts.append(_table(f"`targets.<name>.signs.<name>` with `type: {word}`", section))
    for word, section in LOG_STORE.by_type.items():
        parts.append(_table(f"`targets.<name>.log_errors.<name>` with `type: {word}`", section))
    parts.append(_table("`targets.<name>.backups.s3.<name>`", S3))
    parts.append(_table("`targets.<name>.links.<name>`", LINK))
    parts.append(_table("`tiers.<name>`", TIER))
    parts.append(RULES_HEAD + _rows(RULES.sections["sessions_blocked"]))
    parts.append(_table("`clusters.<name>`", CLUSTER))
    parts.append(_table("`levels.<name>`, also below a target", LEVEL))
    parts.append(_table("`break_glass`", BREAK_GLASS))
    parts.append(_table("`silences.<name>`", SILENCE))
    parts.append(_table("`severities.<rank>`", SEVERITY))
    parts.append(_table("`heartbeat`", HEARTBEAT))
    parts.append(_table("`signals`", SIGNALS))
    parts.append(_table("`signals.sources.<name>`", SOURCE))
    parts.append(_table("`signals.routes[]`", ROUTE))
    parts.append(_table("`signals.heartbeats.<name>`", EXPECTED_HEARTBEAT))
    parts.append(_table("`signals.mailbox`", MAILBOX))
    return "\n".join(parts)


def _table(title: str, section: Section) -> str:
    return f"## {title}\n\n" + _rows(section)


def _rows(section: Section) -> str:
    rows: list[str] = []
    if section.keys:
        rows += ["| Key | Value | Default | Meaning |", "| --- | --- | --- | --- |"]
    rows += [_row(section, key) for key in section.keys]
    return "\n".join(rows) + "\n"


def _row(section: Section, key: Key) -> str:
    return f"| `{key.name}` | {_value(key.holds)} | {_default(section, key)} | {key.doc} |"


def _value(shape: Shape) -> str:
    if isinstance(shape, Section):
        return "mapping, below"
    if isinstance(shape, OneOf):
        keys = ", ".join(f"`{key}`" for key in shape.by_key)
        return f"{_scalar(shape.words)}, or a mapping with one of {keys}, below"
    if isinstance(shape, Named):
        entry = shape.entry.title if isinstance(shape.entry, Variants) else shape.noun
        return f"mapping of {shape.name.word}s to {entry} entries"
    if isinstance(shape, ListOf):
        return f"list of {shape.noun}s"
    if isinstance(shape, ByName):
        return f"mapping of {shape.noun} names to mappings, below"
    if isinstance(shape, MapOf) and len(shape.names) > NAMES_LISTED_MAX:
        return f"mapping of {shape.noun} names to {_value(shape.value)}"
    if isinstance(shape, MapOf):
        return f"mapping of {shape.noun} ({', '.join(shape.names)}) to {_value(shape.value)}"
    return _scalar(shape)


def _scalar(kind: Kind) -> str:
    if isinstance(kind, Choice):
        return ", ".join(f"`{value}`" for value in kind.values)
    if isinstance(kind, Integer):
        return f"{kind.low} to {kind.high}"
    if isinstance(kind, Duration) and kind.min_s > 0:
        return f"duration, {kind.show(kind.min_s)} to {kind.show(kind.max_s)}"
    if isinstance(kind, Duration):
        return f"duration up to {kind.show(kind.max_s)}"
    return "size" if isinstance(kind, Size) else kind.word


def _default(section: Section, key: Key) -> str:
    default = section.default(key)
    if default is MISSING:
        return "required"
    if default is None or default in ("", ()) or default == {}:
        return "—"
    return " ".join(_shown(key.holds, default))


def _shown(shape: Shape, default: Any) -> Iterator[str]:
    if isinstance(shape, MapOf):
        known = cast("dict[str, object]", default)
        yield ", ".join(f"`{name}: {shape.value.show(value)}`" for name, value in known.items())
    elif isinstance(shape, Section | ListOf | ByName):
        yield "see below"
    elif isinstance(shape, Named):
        yield ", ".join(f"`{item.rank}: {item.label}`" for item in default)
    else:
        yield f"`{shape.show(default)}`"
