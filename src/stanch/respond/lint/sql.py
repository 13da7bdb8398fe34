"""SQL as PostgreSQL's own parser reads it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import postgast

_META = re.compile(r"(?m)^[ \t]*\\.*$")
_COMMENT = re.compile(r"\s*(--[^\n]*(\n|$)|/\*.*?\*/)", re.DOTALL)
_TO_FILL_IN = re.compile(
    r"\{\{?\s*[\w.]*\s*\}\}?|\$\{\w+\}|\$[A-Za-z_]\w*|<[A-Za-z][\w .-]*>|%s"
    r"|(?<![:\w]):['\"]?\w+['\"]?"
)
FILLED_IN = "to_fill_in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement. `kind` is the parser's name for it, such as `vacuum_stmt`; empty: it could not
    be read."""

    line: int
    text: str
    kind: str
    node: Any = None
    """The protobuf message of that kind, or None."""

    @property
    def functions(self) -> frozenset[str]:
        """Names of the functions it calls, without their schema."""
        return frozenset(
            one.funcname[-1].string.sval.casefold()
            for one in self.parts("FuncCall")
            if one.funcname
        )

    @property
    def columns(self) -> frozenset[str]:
        """Names of the columns it mentions, without their table."""
        named = (one.fields[-1] for one in self.parts("ColumnRef") if one.fields)
        return frozenset(last.string.sval.casefold() for last in named if last.HasField("string"))

    @property
    def strings(self) -> tuple[str, ...]:
        """String constants in it."""
        return tuple(one.sval.sval for one in self.parts("A_Const") if one.HasField("sval"))

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables it names, with their schema where that is said."""
        return tuple(
            f"{one.schemaname}.{one.relname}".lstrip(".") for one in self.parts("RangeVar")
        )

    @property
    def dropped(self) -> tuple[str, ...]:
        """What a statement that drops or empties something names."""
        if self.kind == "dropdb_stmt":
            return (str(self.node.dbname),)
        objects = getattr(self.node, "objects", ())
        return (*(".".join(_names(one)) for one in objects), *self.tables)

    @property
    def drops_a_column(self) -> bool:
        return any(_word(one, "subtype") == "AT_DropColumn" for one in self.parts("AlterTableCmd"))

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """Parameters it sets, with their values."""
        return tuple(
            (str(one.name), " ".join(map(_constant, one.args)))
            for one in self.parts("VariableSetStmt")
        )

    def parts(self, kind: str) -> Iterator[Any]:
        """Every message of one type within it."""
        return (one for one in _walk(self.node) if one.DESCRIPTOR.name == kind)

    def word(self, field: str) -> str:
        """The name of an enumerated value, such as OBJECT_TABLE."""
        return _word(self.node, field)


def _word(node: Any, field: str) -> str:
    values = node.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return str(values[getattr(node, field)].name)


def _names(node: Any) -> tuple[str, ...]:
    """The parts of a name."""
    if node.HasField("list"):
        return tuple(str(part.string.sval) for part in node.list.items)
    return (str(node.string.sval),) if node.HasField("string") else ()


def _constant(node: Any) -> str:
    kind = node.a_const.WhichOneof("val")
    if kind == "sval":
        return str(node.a_const.sval.sval)
    return str(node.a_const.ival.ival) if kind == "ival" else ""


def _walk(message: Any) -> Iterator[Any]:
    if message is None:
        return
    yield message
    for _, value in message.ListFields():
        if hasattr(value, "ListFields"):
            yield from _walk(value)
        elif not isinstance(value, str | bytes) and hasattr(value, "__len__"):
            for one in value:
                if hasattr(one, "ListFields"):
                    yield from _walk(one)


def statements(text: str, *, line: int = 1) -> tuple[Statement, ...]:
    """The statements of a text, in order; psql's own commands are left out."""
    plain = _META.sub("", text)
    found = list[Statement]()
    position = 0
    for piece in _pieces(plain):
        begins = max(plain.find(piece, position), position)
        position = begins + len(piece)
        body = _after_comments(piece)
        if body.strip(" ;\n\t"):
            at = plain.index(body, begins) + len(body) - len(body.lstrip())
            found.append(_statement(body.strip(), line + plain.count("\n", 0, at)))
    return tuple(found)


def _after_comments(piece: str) -> str:
    while comment := _COMMENT.match(piece):
        piece = piece[comment.end() :]
    return piece


def _pieces(text: str) -> list[str]:
    try:
        return postgast.split(text, method="scanner")
    except postgast.PgQueryError:
        return text.split(";")  # a quote that is never closed


def _statement(text: str, line: int) -> Statement:
    for candidate in (text, _TO_FILL_IN.sub(FILLED_IN, text)):
        try:
            tree = postgast.parse(candidate)
        except postgast.PgQueryError:
            continue
        if tree.stmts:
            node = tree.stmts[0].stmt
            kind = node.WhichOneof("node") or ""
            return Statement(line=line, text=text, kind=kind, node=getattr(node, kind, None))
    return Statement(line=line, text=text, kind="")
