"""The command `stanch`: every subcommand in one place, each loaded only when it is called."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from stanch.model.errors import StanchError


def _version(asked: bool) -> None:
    if asked:
        print(f"stanch {version('stanch')}")
        raise typer.Exit


def command_line() -> typer.Typer:
    """The program with every subcommand."""
    from stanch.cli import (
        causes,
        changes,
        check,
        diagnose,
        grants,
        health,
        incidents,
        init,
        lab,
        ping,
        recorder,
        rules,
        running,
        signals,
        timeline,
    )

    app = typer.Typer(
        name="stanch",
        help="The first responder for PostgreSQL.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_program)
    readying = (init, check, grants, rules)
    for module in (
        *readying,
        ping,
        diagnose,
        causes,
        health,
        running,
        incidents,
        changes,
        signals,
        timeline,
        recorder,
        lab,
    ):
        module.register(app)
    return app


def _program(
    shown: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_version, help="Print the version."),
    ] = False,
) -> None:
    """The first responder for PostgreSQL."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Operational failures end in one clear line with a hint, not in a traceback.

    `arguments`: what follows the program's name; without them, those of this process.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows no such character shows "?"; it may not cost the answer.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        command_line()(arguments)
    except StanchError as error:
        hint = f"\nhint: {error.hint}" if error.hint else ""
        print(f"stanch: {error}{hint}", file=sys.stderr)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
