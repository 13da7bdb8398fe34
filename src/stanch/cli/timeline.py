"""`stanch timeline verify`: is the record what was written?"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from stanch.cli.reaching import DEFAULT_CONFIG, ConfigOption, JsonOption, fetched
from stanch.policy.quoting import printable


def register(app: typer.Typer) -> None:
    timeline = typer.Typer(help="The record of everything that happened.", no_args_is_help=True)
    timeline.command("verify")(verify)
    app.add_typer(timeline, name="timeline")


def verify(
    anchor: Annotated[
        list[str] | None,
        typer.Option(
            "--anchor",
            help="WRITER:N:HASH as an earlier page, report or heartbeat had it; may be repeated."
            " Without one, removed newest entries cannot be told from entries never made.",
        ),
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Recompute every hash of every chain. Exit status 1 if anything does not verify."""
    report = fetched(config, "/verify", anchor=",".join(anchor or []))
    if as_json:
        print(json.dumps(report, sort_keys=True))
    else:
        print(f"{report['entries']} entries, {'all verify' if report['ok'] else 'NOT intact'}")
        for writer, head in sorted(report["heads"].items()):
            print(printable(f"anchor: {writer}:{head}"))
        for problem in report["problems"]:
            print(printable(f"problem: {problem}"))
    if not report["ok"]:
        raise typer.Exit(1)
