"""`stanch runbook`: the runbooks in force, following them, and what is risky about any other."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stanch.cli import runbook_lint, runbook_run
from stanch.model.errors import SetupError
from stanch.model.shown import span
from stanch.policy.quoting import printable

if TYPE_CHECKING:
    from stanch.respond.runbook import Runbook, RunbookStep

SCHEMA = "stanch.runbooks/1"
COLUMNS = 80
DEFAULT_FILE = Path("stanch.yaml")
EPILOG = "Exit codes: 0 printed, 1 no such runbook, or one that cannot be used."

ConfigOption = Annotated[
    Path,
    typer.Option(
        "--config",
        "-c",
        help="The policy file, whose runbook_directory has your own.",
        envvar="STANCH_CONFIG",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    runbook = typer.Typer(
        help="Runbooks: those in force, following one, and what is risky about any other.",
        no_args_is_help=True,
    )
    runbook.command("list", epilog=EPILOG)(list_all)
    runbook.command("show", epilog=EPILOG)(show)
    runbook.command("lint", epilog=runbook_lint.EPILOG)(runbook_lint.lint)
    runbook.command("run", epilog=runbook_run.EPILOG)(runbook_run.run)
    app.add_typer(runbook, name="runbook")


def list_all(
    as_json: Annotated[
        bool, typer.Option("--json", help=f"Print one JSON object ({SCHEMA}).")
    ] = False,
    config: ConfigOption = DEFAULT_FILE,
) -> None:
    """Print the runbooks in force: the shipped ones, and yours over them."""
    runbooks = _in_force(config)
    if as_json:
        _print([_as_json(one) for one in runbooks])
        return
    for one in runbooks:
        print("\n".join(_listed(one)))


def _listed(one: Runbook) -> Iterator[str]:
    drilled = printable(one.last_drilled) or "never"
    yield (
        f"{one.id}: {printable(one.severity)}, within {span(one.time_target_s)}, "
        f"{printable(one.owner)}, last drilled: {drilled}"
    )
    yield from textwrap.wrap(
        ", ".join(map(printable, one.causes)),
        COLUMNS,
        initial_indent="  answers ",
        subsequent_indent=" " * 10,
        break_long_words=False,
    )


def show(
    runbook: Annotated[str, typer.Argument(metavar="RUNBOOK", help="Its id.")],
    as_json: Annotated[
        bool, typer.Option("--json", help=f"Print one JSON object ({SCHEMA}).")
    ] = False,
    config: ConfigOption = DEFAULT_FILE,
) -> None:
    """Print one runbook, as a person follows it by hand."""
    from stanch.policy.reading import nearest

    by_id = {one.id: one for one in _in_force(config)}
    if runbook not in by_id:
        hint = nearest(runbook, tuple(by_id)) or "`stanch runbook list` has all of them."
        raise SetupError("no such runbook", on=printable(runbook), hint=hint)
    if as_json:
        _print([_as_json(by_id[runbook])])
    else:
        print("\n".join(map(printable, by_id[runbook].text.splitlines())))


def _in_force(config: Path) -> tuple[Runbook, ...]:
    from stanch.respond.library import load_runbooks
    from stanch.service.house import read_policy_file

    if config == DEFAULT_FILE and not config.exists():
        return load_runbooks()
    return load_runbooks(read_policy_file(config).current.runbook_directory)


def _print(runbooks: list[Mapping[str, Any]]) -> None:
    print(json.dumps({"schema": SCHEMA, "runbooks": runbooks}, ensure_ascii=True, indent=1))


def _as_json(one: Runbook) -> Mapping[str, Any]:
    return {
        "id": one.id,
        "title": one.title,
        "causes": one.causes,
        "severity": one.severity,
        "time_target_s": one.time_target_s,
        "owner": one.owner,
        "last_drilled": one.last_drilled,
        "file": one.file,
        "steps": [_step(step) for step in one.steps],
    }


def _step(step: RunbookStep) -> Mapping[str, Any]:
    return {
        "line": step.line,
        "do": step.do,
        "when": None if step.when is None else {step.when.fact: step.when.value},
        "params": dict(step.params),
        "guards": step.guards,
        "approval": step.approval,
        "verify": step.verify,
        "deadline_s": step.deadline_s,
        "undo": step.undo,
        "no_undo": step.no_undo,
        "on_failure": step.on_failure,
        "expect": step.expect,
    }
