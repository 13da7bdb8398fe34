"""Which statements in a server's log changed something, and what they were about.

Read are the records of `log_statement = ddl`, of `log_min_duration_statement`, and of pgaudit. The
server's words for them are English (`lc_messages`). A statement that is logged was begun; whether
it was undone later the log does not say.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from stanch.facts.log_records import LogRecord
from stanch.facts.redacting import LITERAL, redacted
from stanch.model.changes import ItemKind
from stanch.model.shown import shortened

STATEMENTS_MAX: Final = 20
"""Of one record: more in one message are a script."""
NAMES_MAX: Final = 10
HOW_CHARS_MAX: Final = 300
READ_CHARS_MAX: Final = 1000
"""Of one statement: what it is about stands at its beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement that changes something. Every text may be a client's own words."""

    kind: ItemKind
    name: str
    """As the statement has it, unquoted; with the schema where it says one."""
    how: str
    """The statement without its literals."""
    temporary: bool = False
    """It is about what only its session sees."""


_LOGGED: Final = re.compile(
    r"(?:duration: [\d.]+ ms  )?(?:statement|execute [^\n:]{1,80}): (?P<sql>.*)", re.DOTALL
)
_AUDIT: Final = "AUDIT: "
_PARAMETER: Final = re.compile(r'parameter "(?P<name>[\w.]{1,100})" (?:changed to "|removed from )')

_BEGINNINGS: Final = frozenset(
    {
        *("create", "alter", "drop", "truncate", "grant", "revoke", "reindex", "vacuum", "cluster"),
        *("reassign", "import", "security", "begin", "start", "set", "comment"),
    }
)
"""First words of what is looked at at all; a flood of SELECT costs one look each."""

_NAME: Final = r'(?:"(?:[^"]|"")*"|[^\W\d][\w$]*)'
_QUALIFIED: Final = rf"{_NAME}(?:\s*\.\s*{_NAME}){{0,2}}"
_OPTIONS: Final = r"(?:\s*(?:concurrently|if\s+not\s+exists|if\s+exists|only)\b)*"

_OBJECT: Final = re.compile(
    r"(?P<verb>create|alter|drop)\s+(?:or\s+replace\s+)?"
    r"(?P<more>(?:(?:global|local|temp|temporary|unlogged|unique|recursive|foreign|materialized"
    r"|trusted|default|event|constraint|procedural|text\s+search|operator)\s+)*)"
    rf"(?P<object>[a-z]+(?:\s+(?:mapping|method|class|family))?)\b{_OPTIONS}\s*"
    rf"(?P<names>{_QUALIFIED}(?:\s*,\s*{_QUALIFIED}){{0,{NAMES_MAX}}})?",
    re.IGNORECASE,
)
_INDEX_ON: Final = re.compile(
    rf"create\s+(?:unique\s+)?index\b{_OPTIONS}\s*(?:{_QUALIFIED}\s+)?on\s+(?:only\s+)?"
    rf"(?P<table>{_QUALIFIED})",
    re.IGNORECASE,
)
_TABLES: Final = re.compile(
    rf"(?:truncate(?:\s+table)?(?:\s+only)?"
    rf"|vacuum\s+full(?:\s+(?:freeze|verbose|analyze))*"
    rf"|vacuum\s*\([^)]*\bfull\b(?!\s+(?:false|off))[^)]*\)|cluster(?:\s+verbose)?"
    rf"|reindex\s*(?:\([^)]*\))?\s*(?:index|table|schema|database|system)(?:\s+concurrently)?)"
    rf"(?:\s+(?P<names>{_QUALIFIED}(?:\s*,\s*{_QUALIFIED}){{0,{NAMES_MAX}}}))?\s*(?:[;(]|$|\w)",
    re.IGNORECASE,
)
_SYSTEM: Final = re.compile(r"alter\s+system\s+(?:re)?set\s+(?P<name>[\w.]+)", re.IGNORECASE)
_MEMBER: Final = re.compile(
    rf"(?:grant|revoke)\s+(?P<what>.{{1,2000}}?)\s+(?:to|from)\s+(?P<names>{_QUALIFIED})",
    re.IGNORECASE | re.DOTALL,
)
_OTHER: Final = re.compile(
    r"(?:reassign\s+owned|import\s+foreign\s+schema|security\s+label)\b", re.IGNORECASE
)

_KINDS: Final = {
    **dict.fromkeys(("table", "index", "view", "sequence"), ItemKind.RELATION),
    **dict.fromkeys(("role", "user", "group"), ItemKind.ROLE),
    "database": ItemKind.DATABASE,
    "extension": ItemKind.EXTENSION,
}
_ROLES: Final = ("role", "user", "group")


def statements_in(record: LogRecord) -> tuple[Statement, ...]:
    """What a record of the log says was run. Cost: a look at the first words of most records."""
    if record.severity != "LOG":
        return ()
    if record.message.startswith(_AUDIT):
        return tuple(_audited(record.message.removeprefix(_AUDIT)))
    match = _LOGGED.match(record.message)
    if match is not None:
        return tuple(_changing(match["sql"]))
    match = _PARAMETER.match(record.message)
    if match is not None:
        name = match["name"]
        how = "read from the settings files"
        return (Statement(kind=ItemKind.SETTING, name=name, how=how),)
    return ()


def refused_in(record: LogRecord) -> tuple[Statement, ...]:
    """The changing statements that the server says it refused."""
    if record.severity not in ("ERROR", "FATAL") or not record.statement:
        return ()
    return tuple(_changing(record.statement))


def who(record: LogRecord) -> str:
    """Such as `app@shop (psql)`; empty where the log does not say."""
    place = f"{record.user}@{record.database}" if record.user else record.database
    application = f" ({record.application_name})" if record.application_name else ""
    return shortened(f"{place}{application}".strip(), 120)


def _changing(sql: str) -> Iterator[Statement]:
    first = _FIRST.match(sql)
    if first is None or first["word"].casefold() not in _BEGINNINGS:
        return
    for one in _ONE.findall(redacted(sql))[:STATEMENTS_MAX]:
        yield from _read(one.strip()[:READ_CHARS_MAX])


_ONE: Final = re.compile(r'(?:[^;"]|"(?:[^"]|"")*"?)+')
"""Without literals and comments, a semicolon outside of a name ends a statement."""
_FIRST: Final = re.compile(r"(?:\s|--[^\n]*\n|/\*.{0,2000}?\*/)*(?P<word>[A-Za-z]{3,10})\b", re.S)


def _read(sql: str) -> Iterator[Statement]:
    how = shortened(sql, HOW_CHARS_MAX)
    if (system := _SYSTEM.match(sql)) is not None:
        name = system["name"].casefold()
        yield Statement(kind=ItemKind.SETTING, name=name, how=_without_own_values(how))
    elif (tables := _TABLES.match(sql)) is not None:
        yield from _each(ItemKind.RELATION, tables["names"], how)
    elif (member := _MEMBER.match(sql)) is not None:
        rights = re.search(r"\bon\b", member["what"], re.IGNORECASE) is not None
        kind = ItemKind.OBJECT if rights else ItemKind.ROLE
        yield from _each(kind, member["names"], how)
    elif _OTHER.match(sql) is not None:
        yield Statement(kind=ItemKind.OBJECT, name="", how=how)
    elif (found := _OBJECT.match(sql)) is not None:
        yield from _object(sql, found, how)


def _object(sql: str, found: re.Match[str], how: str) -> Iterator[Statement]:
    word = " ".join(found["object"].casefold().split())
    kind = _KINDS.get(word, ItemKind.OBJECT)
    if word in _ROLES and kind is ItemKind.ROLE:
        how = _without_words_of_passwords(how)
    how = _without_own_values(how)
    names = found["names"]
    on = _INDEX_ON.match(sql)
    if on is not None and (names is None or names.casefold() == "on"):
        # An index that the server names itself.
        names = on["table"]
    temporary = re.search(r"\b(temp|temporary)\b", found["more"], re.IGNORECASE) is not None
    yield from _each(kind, names, how, temporary=temporary)


def _without_words_of_passwords(how: str) -> str:
    """Of a role everything after PASSWORD is left out, whatever it looks like."""
    found = _HAS.search(how)
    if found is None:
        return how
    nothing = how[found.end() :].strip().casefold() == "null"
    return how[: found.end()] + (" NULL" if nothing else f" {LITERAL}")


_HAS: Final = re.compile(r"(?i)\b(?:password|identified\s+by)\b")
"""The other one is another database's: refused here, and yet it stands in the log."""


def _without_own_values(how: str) -> str:
    """Of a parameter that an application made up, such as `app.token`, nobody knows what it is."""
    return _OWN_VALUE.sub(rf"\1 {LITERAL}", how)


_OWN_VALUE: Final = re.compile(
    rf'(?i)(\bset\s+(?:"[^"]*\.[^"]*"|{_NAME}(?:\s*\.\s*{_NAME})+)\s*(?:=|to\b)).*'
)


def _each(
    kind: ItemKind, names: str | None, how: str, *, temporary: bool = False
) -> Iterator[Statement]:
    if not names:
        yield Statement(kind=kind, name="", how=how, temporary=temporary)
        return
    for name in re.findall(_QUALIFIED, names)[:NAMES_MAX]:
        plain = "" if name.casefold() in _NO_NAMES else _plain(name)
        gone = temporary or plain.startswith("pg_temp")
        yield Statement(kind=kind, name=plain, how=how, temporary=gone)


_NO_NAMES: Final = frozenset({"by", "for", "in", "on"})
"""Keywords that stand where most statements have a name."""


def _plain(name: str) -> str:
    """As the catalogs have it: folded where it is not quoted."""
    parts = re.findall(_NAME, name)
    return ".".join(
        part[1:-1].replace('""', '"') if part.startswith('"') else part.casefold() for part in parts
    )


# --- pgaudit ------------------------------------------------------------------------------------

_CLASS, _COMMAND, _TYPE, _OBJECT_NAME, _SQL = 3, 4, 5, 6, 7
_AUDITED: Final = frozenset({"DDL", "ROLE"})
_COMMANDS: Final = ("TRUNCATE", "REINDEX", "VACUUM", "CLUSTER", "ALTER SYSTEM")


def _audited(text: str) -> Iterator[Statement]:
    """`SESSION,1,1,DDL,CREATE TABLE,TABLE,public.account,"CREATE TABLE …",<not logged>`."""
    row: list[str] = []
    with suppress(csv.Error, StopIteration):
        row = next(csv.reader([text.replace("\0", "")]))
    if len(row) <= _SQL or row[0] not in ("SESSION", "OBJECT"):
        return
    if row[_CLASS] not in _AUDITED and not row[_COMMAND].startswith(_COMMANDS):
        return
    found = list(_changing(row[_SQL]))
    if not found and row[_SQL].startswith("<") and row[_CLASS] in _AUDITED:
        # A part of a statement that was logged with its first part.
        kind = _KINDS.get(row[_TYPE].casefold(), ItemKind.OBJECT)
        name = row[_OBJECT_NAME]
        found = [Statement(kind=kind, name=name, how=row[_COMMAND][:HOW_CHARS_MAX])]
    named = row[_OBJECT_NAME]
    if len(found) == 1 and named and found[0].kind is ItemKind.RELATION:
        one = found[0]
        gone = one.temporary or named.startswith("pg_temp")
        found = [Statement(kind=one.kind, name=named, how=one.how, temporary=gone)]
    yield from found
