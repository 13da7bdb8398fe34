"""`stanch recorder`: what was going on in the minutes before, also when everything else is gone."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Annotated, Literal

import typer

from stanch.cli.files import write_file
from stanch.cli.reaching import DEFAULT_CONFIG, ConfigOption, JsonOption
from stanch.policy.quoting import printable

WhatArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE|TARGET|INCIDENT",
        help="A recording's file, a target of the policy, or an incident that kept one.",
    ),
]
WhenOption = Annotated[
    str,
    typer.Option(
        metavar="opening|ending",
        help="Of an incident: the minutes before it opened, or those around its end.",
    ),
]


def register(app: typer.Typer) -> None:
    recorder = typer.Typer(help="The last minutes of a target, from disk.", no_args_is_help=True)
    recorder.command("show")(show)
    recorder.command("export")(export)
    app.add_typer(recorder, name="recorder")


def show(
    what: WhatArgument,
    since: Annotated[
        str, typer.Option(help="Only the last so many, such as 5m; counted from its end.")
    ] = "15m",
    when: WhenOption = "opening",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Draw the last minutes of a target: sessions, waiting, transactions, WAL, lag, free space.

    Reads a file and nothing else: works while the database, `stanch run`, or both are gone.
    """
    # Here and not above: `stanch --help` need not load the store.
    from stanch.cli.asking import length_s
    from stanch.cli.recording_text import recording_lines, recording_value
    from stanch.store.recorder.reading import parse_recording

    seconds = length_s(since, "--since")
    recording = parse_recording(_bytes(config, what, when), on=what).since(seconds)
    if as_json:
        print(json.dumps(recording_value(recording), ensure_ascii=True))
        return
    for line in recording_lines(recording, columns=shutil.get_terminal_size((100, 24)).columns):
        print(printable(line))


def export(
    what: WhatArgument,
    output: Annotated[str, typer.Option("--output", "-o", help="The file to write.")],
    when: WhenOption = "opening",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Copy a recording out of the state directory or an incident, to be read elsewhere."""
    write_file(output, _bytes(config, what, when), option="--output")
    print(output)


def _bytes(config: Path, what: str, when: str) -> bytes:
    from stanch.service.people.recordings import recording_bytes
    from stanch.store.recorder.frozen import AFTER_ENDING, AT_OPENING

    names: dict[Literal["opening", "ending"] | str, str] = {
        "opening": AT_OPENING,
        "ending": AFTER_ENDING,
    }
    if when not in names:
        raise typer.BadParameter(f"{when!r} is none of opening, ending", param_hint="--when")
    return asyncio.run(recording_bytes(config, what, name=names[when]))
