"""`stanch ping DSN`: in one line, how far a fresh session gets at one server."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from stanch.cli.dsn import DsnArgument, warn_of_password
from stanch.model.errors import SetupError
from stanch.model.reach import STATE_MEANINGS, Reach
from stanch.policy.quoting import printable

TIMEOUT_S_MAX = 3600.0

EPILOG = "\b\nExit codes:\n" + "\n".join(
    f"  {meaning.exit_code:>2}  {state.value:<17} {meaning.sentence}"
    for state, meaning in STATE_MEANINGS.items()
)


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("ping", epilog=EPILOG)(ping)


def ping(
    dsn: DsnArgument,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print state, layers and elapsed_ms as one JSON object.")
    ] = False,
    timeout_s: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0.001,
            max=TIMEOUT_S_MAX,
            help="For the whole ping. Default: the DSN's connect_timeout, or 5.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say which it is: up, refused, hung, too_many_clients, … and what to check next."""
    # Here and not above: `stanch --help` need not load the driver.
    from stanch.adapters.postgres.conninfo import resolve
    from stanch.adapters.postgres.probe import probe

    try:
        label = resolve(dsn).label
    except SetupError as error:
        typer.echo(f"stanch: {error}", err=True)
        if error.hint:
            typer.echo(f"hint: {error.hint}", err=True)
        raise typer.Exit(2) from error
    warn_of_password(dsn)
    reach = asyncio.run(probe(dsn, deadline_s=timeout_s))
    typer.echo(as_json_text(reach) if as_json else as_text(reach, label))
    raise typer.Exit(STATE_MEANINGS[reach.state].exit_code)


def as_json_text(reach: Reach) -> str:
    """One JSON object on one line."""
    layers = [
        {"name": layer.name, "ok": layer.ok, "ms": layer.ms, "detail": layer.detail}
        for layer in reach.layers
    ]
    return json.dumps(
        {"state": reach.state.value, "layers": layers, "elapsed_ms": reach.elapsed_ms}
    )


def as_text(reach: Reach, label: str) -> str:
    """One line; below it, unless the server is up, what it means and what to check next."""
    lines = [f"{reach.state.value}  {printable(label)} · {_ms(reach.elapsed_ms)}"]
    meaning = STATE_MEANINGS[reach.state]
    if meaning.check_next:
        lines.append(f"  {meaning.sentence}")
        if reach.failed_layer is not None:
            lines.append(f"  {reach.failed_layer.name}: {printable(reach.failed_layer.detail)}")
        lines.append(f"  Check next: {meaning.check_next}")
    if reach.through_pooler:
        lines.append("  A pooler answers here; name the server itself as the target.")
    return "\n".join(lines)


def _ms(elapsed_ms: float) -> str:
    return f"{elapsed_ms:.0f} ms" if elapsed_ms >= 10 else f"{elapsed_ms:.1f} ms"
