"""The command `stanch`: every subcommand in one place, each loaded only when it is called."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Annotated

import typer

from stanch.cli.priority import go_first
from stanch.model.errors import StanchError


def _version(asked: bool) -> None:
    if asked:
        print(f"stanch {version('stanch')}")
        raise typer.Exit


MODULES: Mapping[str, tuple[str, ...]] = {
    "init": ("init",),
    "check": ("check",),
    "grants": ("grants",),
    "rules": ("rules",),
    "ping": ("ping",),
    "diagnose": ("diagnose",),
    "causes": ("causes",),
    "health": ("health",),
    "running": ("run",),
    "incidents": (
        "declare",
        "incidents",
        "show",
        "ack",
        "note",
        "severity",
        "resolve",
        "reopen",
        "approve",
        "halt",
        "maintenance",
        "silence",
        "silences",
        "clusters",
        "postmortem",
    ),
    "changes": ("changes",),
    "signals": ("signals",),
    "timeline": ("timeline",),
    "recorder": ("recorder",),
    "runbook": ("runbook",),
    "lab": ("lab",),
}
"""In the order of the help: which module of this folder has which commands."""
AHEAD = ("run", "ping", "diagnose", "declare", "incidents", "show", "ack", "approve", "halt")
"""These are for machines on which everything else waits for a processor."""


def command_line(word: str = "") -> typer.Typer:
    """The program. With the `word` of a command only what that one needs: to load everything takes
    half a second of processor time, which is five on a machine that has none left.
    """
    app = typer.Typer(
        name="stanch",
        help="The first responder for PostgreSQL.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_program)
    asked = [name for name, words in MODULES.items() if word in words]
    for name in asked or MODULES:
        import_module(f"stanch.cli.{name}").register(app)
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
    words = sys.argv[1:] if arguments is None else arguments
    word = words[0] if words else ""
    if word in AHEAD:
        go_first()
    try:
        command_line(word)(arguments)
    except StanchError as error:
        hint = f"\nhint: {error.hint}" if error.hint else ""
        print(f"stanch: {error}{hint}", file=sys.stderr)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
