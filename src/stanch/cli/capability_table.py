"""The capability table as people and programs read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from stanch.policy.quoting import printable

if TYPE_CHECKING:
    from stanch.service.readiness.capability_rows import Capability

WORDS = {True: "yes", False: "no", None: "unknown"}
STYLES = {True: "green", False: "red", None: "yellow"}


def as_json(rows: Sequence[Capability]) -> list[dict[str, Any]]:
    return [
        {"feature": row.feature, "can": row.can, "why": row.why, "change": row.change}
        for row in rows
    ]


def print_table(target: str, rows: Sequence[Capability], out: TextIO) -> None:
    """A table on a terminal, plain lines anywhere else; nothing in it is taken for markup."""
    title = f"What Stanch can do for {printable(target)} tonight"
    if out.isatty():
        _print_rich(title, rows, out)
        return
    print(title, file=out)
    width = max(len(row.feature) for row in rows)
    for row in rows:
        print(f"  {row.feature:<{width}}  {WORDS[row.can]:<7}  {row.why}", file=out)
        if row.change:
            print(f"  {'':<{width}}  change:  {printable(row.change)}", file=out)


def _print_rich(title: str, rows: Sequence[Capability], out: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), show_lines=True)
    for heading in ("Stanch can", "", "why", "what would change that"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        word = Text(WORDS[row.can], style=STYLES[row.can])
        table.add_row(Text(row.feature), word, Text(row.why), Text(printable(row.change)))
    Console(file=out).print(table)
