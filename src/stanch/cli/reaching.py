"""What every command that talks to a responder needs: the policy file, who asks, and the answer."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from stanch.cli.asking import os_user
from stanch.model.errors import StanchError
from stanch.policy.quoting import printable
from stanch.service.people.client import Reply

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", help="The policy file.", envvar="STANCH_CONFIG"),
]
DEFAULT_CONFIG = Path("stanch.yaml")
AsOption = Annotated[
    str,
    typer.Option("--as", help="Who you are (a person of the policy). Default: your OS user."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
IncidentArgument = Annotated[
    str, typer.Argument(help="The incident: its id, or just its number, such as 7 or 007.")
]

NOTICES = {
    "store": "stanch run is not running: nothing is watched, paged or acted on until it is started;"
    " this went directly to the store",
    "held_store": "stanch run holds the store but does not answer: read beside it",
    "inbox": "stanch run holds the store but does not answer: left in its inbox,"
    " done as soon as it reads it",
}


def me(given: str) -> str:
    """The person a command is from."""
    return given or os.environ.get("STANCH_PERSON", "") or os_user()


def command(config: Path, request: dict[str, Any], *, as_json: bool = False) -> None:
    """Send one command, show its answer, and end with the matching exit code."""
    from stanch.service.people.reaching import execute

    reply = asyncio.run(execute(config, request))
    show(reply, as_json=as_json)


def show(reply: Reply, *, as_json: bool) -> None:
    """Print an answer; refusals and errors go to standard error with what would lift them."""
    _notice(reply)
    if as_json:
        print(json.dumps({"via": reply.via, **reply.body}, ensure_ascii=False, sort_keys=True))
    elif reply.ok:
        print(printable(reply.body["text"]))
    else:
        print(f"refused: {printable(reply.body['text'])}", file=sys.stderr)
        hint = reply.body.get("lifts") or reply.body.get("hint")
        if hint:
            print(f"hint: {printable(hint)}", file=sys.stderr)
    if not reply.ok:
        raise typer.Exit(1)


def _notice(reply: Reply) -> None:
    notice = NOTICES.get(reply.via)
    if notice:
        print(f"note: {notice}", file=sys.stderr)


def fetched(config: Path, path: str, **params: str) -> dict[str, Any]:
    """What a responder, or failing that its store, answers to a question.

    Raises StanchError where the answer is an error.
    """
    from stanch.service.people.reaching import ask

    reply = asyncio.run(ask(config, path, params))
    _notice(reply)
    if not reply.ok:
        raise StanchError(reply.body["text"], hint=reply.body.get("hint") or "")
    return reply.body


def show_found(found: Any, lines: Iterable[str], *, as_json: bool) -> None:
    """Print an answer: as it came, or as lines, each escaped."""
    if as_json:
        print(json.dumps(found, ensure_ascii=False, sort_keys=True))
        return
    for line in lines:
        print(printable(line))


def path_of(incident: str) -> str:
    """Where a responder answers about one incident. Raises StanchError for what is no id."""
    if not re.fullmatch(r"[0-9A-Za-z-]+", incident):
        raise StanchError(
            f"there is no incident {printable(incident)!r}",
            hint="`stanch incidents --all` lists them.",
        )
    return f"/incidents/{incident}"
