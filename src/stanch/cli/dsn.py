"""The argument of every command that takes a server straight from the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from stanch.policy.dsn import read_conninfo

DsnArgument = Annotated[
    str,
    typer.Argument(
        metavar="DSN",
        help="service=orders, postgresql://user@host:5432/orders, or host=… dbname=… pairs.",
        show_default=False,
    ),
]


def warn_of_password(dsn: str) -> None:
    """Say so on standard error where the command line holds a password."""
    given = read_conninfo(dsn)
    if given is not None and given.has_secret:
        typer.echo(
            "warning: a password on the command line is shown to everybody by ps;"
            " use service=NAME or a passfile (~/.pgpass)",
            err=True,
        )
