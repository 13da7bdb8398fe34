"""`stanch changes`: what is not as it was at one target."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from stanch.cli.reaching import DEFAULT_CONFIG, ConfigOption, JsonOption, fetched, show_found


def register(app: typer.Typer) -> None:
    app.command()(changes)


def changes(
    target: Annotated[str, typer.Argument(help="The target's name in the policy.")],
    since: Annotated[str, typer.Option("--since", help="How far back, such as 30m or 2h.")] = "2h",
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Show what changed at a target: settings, roles, tables, extensions, version, and deploys.

    Out of the store, so also while `stanch run` is down; what changed while it was down shows
    at its first look.
    """
    from stanch.cli.asking import length_s

    seconds = length_s(since, "--since")
    found = fetched(config, f"/changes/{quote(target, safe='')}", since_s=str(seconds))
    show_found(found, _lines(found, since), as_json=as_json)


def _lines(found: dict[str, Any], since: str) -> list[str]:
    from stanch.cli.rendering import change_text

    lines = [change_text(change) for change in found["changes"]]
    if found["looked_at"] is None:
        lines.append(f"nobody has looked yet{': ' if found['skipped'] else ''}{found['skipped']}")
    elif not lines:
        lines.append(f"nothing changed in the last {since}, as of {found['looked_at'][:19]}Z")
    if found["looked_at"] is not None and found["skipped"]:
        lines.append(f"the last look was not a whole one: {found['skipped']}")
    return lines
