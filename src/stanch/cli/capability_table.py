"""The capability table as people and programs read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from stanch.policy.quoting import printable

if TYPE_CHECKING:
    from rich.console import Console

    from stanch.service.readiness.capability_rows import Capability

WORDS = {True: "yes", False: "no", None: "unknown"}
COLUMNS_MIN = 72
"""A narrower terminal gets a list instead of a table."""
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
        from rich.console import Console

        console = Console(file=out)
        if console.width >= COLUMNS_MIN:
            _print_rich(title, rows, console)
        else:
            _print_narrow(title, rows, console)
        return
    print(title, file=out)
    width = max(len(row.feature) for row in rows)
    for row in rows:
        print(f"  {row.feature:<{width}}  {WORDS[row.can]:<7}  {row.why}", file=out)
        if row.change:
            print(f"  {'':<{width}}  change:  {printable(row.change)}", file=out)


def _print_narrow(title: str, rows: Sequence[Capability], console: Console) -> None:
    """Below one another: four columns of a dozen letters each cannot be read."""
    from rich.padding import Padding
    from rich.text import Text

    console.print(Text(title))
    for row in rows:
        word = Text(f"{WORDS[row.can]:<7} ", style=STYLES[row.can])
        console.print(word + Text(row.feature, style="bold"))
        console.print(Padding(Text(row.why), (0, 0, 0, 2)))
        if row.change:
            console.print(Padding(Text(f"change: {printable(row.change)}"), (0, 0, 0, 2)))


def _print_rich(title: str, rows: Sequence[Capability], console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), show_lines=True)
    for heading in ("Stanch can", "", "why", "what would change that"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        word = Text(WORDS[row.can], style=STYLES[row.can])
        table.add_row(Text(row.feature), word, Text(row.why), Text(printable(row.change)))
    console.print(table)
