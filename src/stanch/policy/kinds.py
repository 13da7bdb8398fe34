"""Kinds of values in stanch.yaml: each knows how it is written, read, shown and described."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from stanch.model.plans import Mode
from stanch.policy.dsn import read_conninfo
from stanch.policy.quoting import quoted

JsonSchema = dict[str, object]

TEXT_CHARS_MAX = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """This text is no such value: an answer of a parser, with how it is written right."""

    what: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One scalar as it stands in the file."""

    text: str
    is_text: bool
    """YAML takes it for text; otherwise for a number, a truth value or a date."""


class Kind(Protocol):
    """How one sort of value is read from a file and written into one."""

    @property
    def word(self) -> str:
        """The sort of value in one or two words, as documentation names it."""
        ...

    def read(self, written: Written) -> object: ...

    def show(self, value: object) -> str:
        """The value as YAML."""
        ...

    def schema(self) -> JsonSchema: ...


def yaml_text(text: str) -> str:
    """Text as YAML that reads back as the same text, in quotes only where they are needed."""
    plain = re.fullmatch(r"[A-Za-z_/~][A-Za-z0-9_./@=~ +-]*", text)
    ambiguous = text.lower() in {"yes", "no", "on", "off", "true", "false", "null", "y", "n", "~"}
    if plain and not ambiguous and text == text.strip():
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else _yaml_escape(c) for c in escaped) + '"'


def _yaml_escape(char: str) -> str:
    return f"\\U{ord(char):08x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Any text; `pattern` and `like` where only some texts will do."""

    word: str = "text"
    pattern: str = ""
    like: str = ""
    """An example, shown when the pattern does not match."""
    may_be_empty: bool = False
    may_be_repeated: bool = True
    """False: a finding does not quote the value, because a secret may be in it."""

    def read(self, written: Written) -> str | Wrong:
        if not written.is_text:
            return Wrong(
                what=f"{quoted(written.text)} is not text", hint="Write it in double quotes."
            )
        if len(written.text) > TEXT_CHARS_MAX:
            return Wrong(what=f"longer than {TEXT_CHARS_MAX} characters", hint="Shorten it.")
        if not written.text.strip() and not self.may_be_empty:
            return Wrong(what="is empty", hint="Give a value, or leave the key out.")
        if self.pattern and not re.fullmatch(self.pattern, written.text):
            subject = f"{quoted(written.text)} is" if self.may_be_repeated else "is"
            return Wrong(
                what=f"{subject} not {with_article(self.word)}", hint=f"Write it like {self.like}."
            )
        return written.text

    def show(self, value: object) -> str:
        return yaml_text(str(value))

    def schema(self) -> JsonSchema:
        schema: JsonSchema = {"type": "string", "maxLength": TEXT_CHARS_MAX}
        return schema | ({"pattern": f"^(?:{self.pattern})$"} if self.pattern else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of a closed set of words."""

    values: tuple[str, ...]
    word: str = "choice"
    make: Callable[[str], str] = str

    def read(self, written: Written) -> str | Wrong:
        if written.text in self.values:
            return self.make(written.text)
        return Wrong(
            what=f"{quoted(written.text)} is not a known value",
            hint=f"Use one of: {', '.join(self.values)}.",
        )

    def show(self, value: object) -> str:
        return str(value)

    def schema(self) -> JsonSchema:
        return {"enum": list(self.values)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Integer:
    """A whole number."""

    low: int
    high: int
    word: str = "whole number"

    def read(self, written: Written) -> int | Wrong:
        if not re.fullmatch(r"\d{1,15}", written.text, re.ASCII):
            return Wrong(
                what=f"{quoted(written.text)} is not a whole number",
                hint=f"Write a number from {self.low} to {self.high}.",
            )
        value = int(written.text)
        if self.low <= value <= self.high:
            return value
        return Wrong(what=f"{value} is out of range", hint=f"Between {self.low} and {self.high}.")

    def show(self, value: object) -> str:
        return str(value)

    def schema(self) -> JsonSchema:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True, kw_only=True)
class Boolean:
    """true or false."""

    word: str = "true or false"

    def read(self, written: Written) -> bool | Wrong:
        known = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
        value = known.get(written.text.lower())
        if value is None:
            return Wrong(
                what=f"{quoted(written.text)} is neither true nor false",
                hint="Write true or false.",
            )
        return value

    def show(self, value: object) -> str:
        return "true" if value else "false"

    def schema(self) -> JsonSchema:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """An absolute path on this machine; `~` is the home of the user who runs Stanch."""

    word: str = "path"

    def read(self, written: Written) -> str | Wrong:
        text = Text(word=self.word).read(written)
        if isinstance(text, Wrong):
            return text
        if any(not char.isprintable() for char in text):
            return Wrong(what="has control characters", hint="Write a plain path.")
        expanded = os.path.expanduser(text)
        if not expanded.startswith("/"):
            return Wrong(
                what=f"{quoted(text)} is not an absolute path",
                hint="Start it with / or ~/: a service has no stable working directory.",
            )
        return os.path.normpath(expanded)

    def show(self, value: object) -> str:
        return yaml_text(str(value))

    def schema(self) -> JsonSchema:
        return {"type": "string", "pattern": "^[/~]"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dsn:
    """A libpq connection string to one server."""

    word: str = "connection string"

    def read(self, written: Written) -> str | Wrong:
        text = Text(word=self.word).read(written)
        if isinstance(text, Wrong):
            return text
        example = 'Write it like "service=orders" or "host=db.example.com dbname=postgres".'
        known = read_conninfo(text)
        if known is None:
            # The text itself is not repeated: it may hold a password.
            return Wrong(what="is not a connection string", hint=example)
        if len(known.hosts) > 1:
            return Wrong(
                what=f"names {len(known.hosts)} hosts, and a target is one server",
                hint="Write one target for each host.",
            )
        return text

    def show(self, value: object) -> str:
        return yaml_text(str(value))

    def schema(self) -> JsonSchema:
        return {"type": "string", "minLength": 1}


def with_article(noun: str) -> str:
    """The noun with a or an."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


NAME = Text(word="name", pattern=r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", like="orders-db")
LABEL = Text(word="label", pattern=r"[^\s\x00-\x1f\x7f]{1,16}", like="P1")
WORDS = Text(word="text", pattern=r"[^\x00-\x1f\x7f]{1,200}", like="Asha Example")
MAIL_ADDRESS = Text(
    word="mail address",
    pattern=r"[^\s@<>\"\\(),:;\[\]\x00-\x1f\x7f]{1,64}@[A-Za-z0-9._:\[\]-]{1,255}",
    like="oncall@example.com",
)
HOST = Text(word="host name", pattern=r"[A-Za-z0-9._:-]{1,255}", like="mail.example.com")
HTTP_URL = Text(
    word="web address without a login",
    pattern=r"https?://[^\s/@?#\x00-\x1f]+(?:[/?][^\s\x00-\x1f]*)?",
    like="https://hooks.example.com/stanch",
    may_be_repeated=False,
)
HOST_PORT = Text(
    word="address with port",
    pattern=r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):\d{1,5}",
    like="127.0.0.1:8432",
)
MODE = Choice(values=tuple(mode.value for mode in Mode), make=Mode, word="mode")
