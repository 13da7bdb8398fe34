"""`stanch runbook lint`: what is risky about a runbook that anybody wrote."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from stanch.model.errors import SetupError
from stanch.policy.quoting import printable

if TYPE_CHECKING:
    from stanch.respond.lint.hazards import Risky
    from stanch.respond.lint.read import Read

SCHEMA = "stanch.runbook-lint/1"
KINDS = {".md": "runbook", ".markdown": "runbook", ".sh": "shell", ".bash": "shell", ".sql": "sql"}
BYTES_MAX = 4 * 2**20
TOO_LARGE = f"is larger than {BYTES_MAX // 2**20} MiB"
COLUMNS = 100
EPILOG = "Exit codes: 0 nothing as bad as --fail-on, 1 something is, 2 a file could not be read."


class Format(StrEnum):
    """How findings are printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"


class FailOn(StrEnum):
    """What makes the command fail."""

    DANGER = "danger"
    CARE = "care"
    NEVER = "never"


def lint(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Markdown with blocks of shell and SQL, a script, a file of SQL, or a folder of "
            "them; - reads Markdown from standard input.",
        ),
    ],
    form: Annotated[
        Format, typer.Option("--format", help="SARIF 2.1.0 is what code reviews show.")
    ] = Format.TEXT,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="The least finding that makes the command fail.")
    ] = FailOn.DANGER,
) -> None:
    """Explain the dangerous steps of runbooks: the line, why, and what to do instead.

    Nothing is run. What looks harmless is found, too: a restart before anybody looked, a count
    taken for integrity, the first container of a list.
    """
    read = {name: _read(name, text) for name, text in _texts(files)}
    if form is Format.SARIF:
        from stanch.respond.lint.sarif import sarif

        body = sarif({name: one.risky for name, one in read.items()}, version=version("stanch"))
        print(json.dumps(body, ensure_ascii=True, indent=1))
    elif form is Format.JSON:
        print(json.dumps(_as_json(read), ensure_ascii=True, indent=1))
    else:
        print("\n".join(_as_text(read)))
    worst = {risky.hazard.danger for one in read.values() for risky in one.risky}
    if fail_on is not FailOn.NEVER and (
        "danger" in worst or (fail_on is FailOn.CARE and "care" in worst)
    ):
        raise typer.Exit(1)


# --- reading ------------------------------------------------------------------------------------


def _texts(files: Sequence[str]) -> Iterator[tuple[str, str]]:
    for name in files:
        if name == "-":
            text = sys.stdin.read(BYTES_MAX + 1)
            if len(text) > BYTES_MAX:
                _cannot("standard input", TOO_LARGE)
            yield "standard input", text
            continue
        path = Path(name)
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix in KINDS and p.is_file())
            if not inside:
                _cannot(name, f"holds none of {', '.join(f'*{kind}' for kind in KINDS)}")
            for one in inside:
                yield str(one), _text(one)
        else:
            yield name, _text(path)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > BYTES_MAX:
            _cannot(str(path), TOO_LARGE)
        return path.read_text("utf-8", errors="replace")
    except OSError as error:
        _cannot(str(path), error.strerror or str(error))


def _cannot(name: str, why: str) -> NoReturn:
    print(f"stanch: {printable(name)}: {why}", file=sys.stderr)
    raise typer.Exit(2)


def _read(name: str, text: str) -> Read:
    try:
        from stanch.respond.lint.read import read_runbook, read_shell, read_sql
    except ModuleNotFoundError as error:
        raise SetupError(
            f"`stanch runbook lint` needs {error.name}", hint="pip install 'stanch[lint]'"
        ) from error
    kind = KINDS.get(Path(name).suffix, "runbook")
    return {"runbook": read_runbook, "shell": read_shell, "sql": read_sql}[kind](text)


# --- telling ------------------------------------------------------------------------------------


def _as_text(read: Mapping[str, Read]) -> Iterator[str]:
    explained: dict[str, str] = {}
    for name, one in read.items():
        for risky in one.risky:
            yield from _finding(printable(name), risky, explained)
            yield ""
    yield _sum(read)


def _finding(name: str, risky: Risky, explained: dict[str, str]) -> Iterator[str]:
    hazard = risky.hazard
    note = f" ({printable(risky.note)})" if risky.note else ""
    place = f"{name}:{risky.line}"
    yield f"{place}: {hazard.danger}: {hazard.what}{note} [{hazard.id}]"
    yield f"    {printable(risky.step)}"
    if hazard.id in explained:
        yield f"  see {explained[hazard.id]}"
        return
    explained[hazard.id] = place
    yield from _row("why", hazard.why)
    yield from _row("instead", hazard.instead)
    yield from _row("read", hazard.source)


def _row(label: str, text: str) -> Iterator[str]:
    head = f"  {label:<8}"
    yield from textwrap.wrap(
        text,
        COLUMNS,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _sum(read: Mapping[str, Read]) -> str:
    every = [risky.hazard.danger for one in read.values() for risky in one.risky]
    looked = (
        f"{sum(one.blocks for one in read.values())} blocks, "
        f"{sum(one.commands for one in read.values())} commands and "
        f"{sum(one.statements for one in read.values())} statements"
    )
    if not every:
        return f"Nothing risky was found in {looked}."
    danger = every.count("danger")
    return f"{danger} dangerous, {len(every) - danger} to take care with, in {looked}."


def _as_json(read: Mapping[str, Read]) -> Mapping[str, Any]:
    return {
        "schema": SCHEMA,
        "files": [
            {
                "file": name,
                "blocks": one.blocks,
                "commands": one.commands,
                "statements": one.statements,
                "findings": [_finding_json(risky) for risky in one.risky],
            }
            for name, one in read.items()
        ],
    }


def _finding_json(risky: Risky) -> Mapping[str, Any]:
    hazard = risky.hazard
    return {
        "line": risky.line,
        "id": hazard.id,
        "danger": hazard.danger,
        "what": hazard.what,
        "why": hazard.why,
        "instead": hazard.instead,
        "source": hazard.source,
        "step": risky.step,
        "section": risky.section,
        "note": risky.note,
    }
