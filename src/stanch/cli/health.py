"""`stanch health DSN`: the one-page check-up of a server."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stanch.cli.dsn import DsnArgument, warn_of_password
from stanch.cli.files import write_file
from stanch.model.errors import PolicyInvalid, ProbeFailed, SetupError
from stanch.policy.quoting import printable

if TYPE_CHECKING:
    from stanch.watch.health.report import Report

ALL_WELL = 0
LOOK = 3
DANGER = 4
NOT_REACHED = 5
EPILOG = """\b
Exit codes:
  0  ok           Nothing looked at is wrong; what has no answer is shown as such.
  2  usage        The command line is wrong, or the DSN cannot be used.
  3  look         At least one line is worth a look this week.
  4  danger       At least one line puts data or service at risk.
  5  not reached  No session was had; `stanch ping` and `stanch diagnose` say more."""
COLUMNS_MAX = 120


def register(app: typer.Typer) -> None:
    app.command("health", epilog=EPILOG)(health)


def health(
    dsn: DsnArgument,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object (stanch.health/1).")
    ] = False,
    html: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Write one HTML file that needs nothing beside it.",
            show_default=False,
        ),
    ] = "",
    backups: Annotated[
        str,
        typer.Option(
            metavar="FOLDER", help="A folder of dumps on this machine.", show_default=False
        ),
    ] = "",
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="A policy that has this server: the places of its backups are looked at, too.",
            show_default=False,
        ),
    ] = None,
    timeout_s: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0.5,
            max=60.0,
            help="For all of it; what is late is shown as missing.",
        ),
    ] = 10.0,
) -> None:
    """Check a server on one page: size, sessions, replication, headroom, settings, statements.

    Looks at the database that the DSN names, through one session that only reads and waits for no
    lock longer than 100 ms.
    """
    warn_of_password(dsn)
    report = _report(dsn, timeout_s, backups, config)
    if html:
        _write(report, html)
    _print(report, as_json=as_json)
    codes = {"ok": ALL_WELL, "look": LOOK, "danger": DANGER}
    raise typer.Exit(codes[report.judgement.value])


def _report(dsn: str, timeout_s: float, backups: str, config: Path | None) -> Report:
    # Here and not above: `stanch --help` need not load the driver.
    from stanch.adapters.hosts.threads import LeavableThreads
    from stanch.service.house import read_policy_file
    from stanch.service.readiness.checkup import check_up

    async def look() -> Report:
        asyncio.get_running_loop().set_default_executor(LeavableThreads())
        return await check_up(dsn, deadline_s=timeout_s, backups=backups, policy=policy)

    try:
        policy = read_policy_file(config).current if config is not None else None
        return asyncio.run(look())
    except (SetupError, ProbeFailed, PolicyInvalid) as error:
        typer.echo(f"stanch: {printable(str(error))}", err=True)
        if error.hint:
            typer.echo(f"hint: {printable(error.hint)}", err=True)
        code = NOT_REACHED if isinstance(error, ProbeFailed) else 2
        raise typer.Exit(code) from error


def _print(report: Report, *, as_json: bool) -> None:
    from stanch.cli.health_text import health_lines, health_value

    if as_json:
        print(json.dumps(health_value(report), ensure_ascii=True))
        return
    columns = min(COLUMNS_MAX, shutil.get_terminal_size((100, 24)).columns)
    for line in health_lines(report, columns=columns, colour=sys.stdout.isatty()):
        typer.echo(line, color=True)


def _write(report: Report, file: str) -> None:
    from stanch.cli.health_page import health_page

    write_file(file, health_page(report), option="--html")
    typer.echo(f"written: {file}", err=True)
