"""`stanch signals`: what other monitors and people said, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from stanch.cli.reaching import DEFAULT_CONFIG, ConfigOption, JsonOption, fetched, show_found


def register(app: typer.Typer) -> None:
    app.command()(signals)


def signals(
    config: ConfigOption = DEFAULT_CONFIG,
    every: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List alerts and reports from outside: first those that match no target, then the newest.

    `listed only` means that no incident was opened for it: it matches no target, and its rank does
    not page, or the policy says `unmatched: list`.
    """
    found = fetched(config, "/signals", all="1" if every else "0")["signals"]
    none = ["no alerts from outside" if every else "no alert from outside fires"]
    show_found(found, _lines(found) if found else none, as_json=as_json)


def _lines(found: list[Mapping[str, Any]]) -> Iterator[str]:
    for one in found:
        times = f"  {one['count']} times" if one["count"] > 1 else ""
        target = one["target"] or "NO TARGET"
        yield (
            f"{one['heard_at'][:19].replace('T', ' ')}  {one['status']:<8}  {target}: "
            f"{one['title']}  [{one['source']}]{times}  {_told(one)}"
        )


def _told(one: Mapping[str, Any]) -> str:
    if one["incident"]:
        return str(one["incident"])
    return "listed only" if one["told"] or one["status"] == "resolved" else "not told yet"
