"""`stanch causes`: every cause that can be named, and one of them in full."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stanch.model.errors import SetupError
from stanch.model.shown import never
from stanch.policy.quoting import printable

if TYPE_CHECKING:
    from stanch.diagnose.cause import Cause

SCHEMA = "stanch.causes/1"
EPILOG = "Exit codes: 0 printed, 1 no such cause."
LABEL_CHARS = 13


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("causes", epilog=EPILOG)(causes)


def causes(
    cause: Annotated[
        str, typer.Argument(metavar="CAUSE", help="One cause in full, by its name.")
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help=f"Print one JSON object ({SCHEMA}).")
    ] = False,
) -> None:
    """Print what a diagnosis can name, and for one cause what speaks for and against it."""
    from stanch.diagnose.catalogue import CAUSES

    chosen = (_cause(cause),) if cause else CAUSES
    if as_json:
        body = {"schema": SCHEMA, "causes": [_as_json(one) for one in chosen]}
        print(json.dumps(body, ensure_ascii=True, indent=1))
    elif cause:
        print("\n".join(_page(chosen[0])))
    else:
        _table(chosen)


def _cause(name: str) -> Cause:
    from stanch.diagnose.catalogue import CAUSES
    from stanch.policy.reading import nearest

    by_name = {str(one.id): one for one in CAUSES}
    if name not in by_name:
        hint = nearest(name, tuple(by_name)) or "`stanch causes` lists every cause."
        raise SetupError("no such cause", on=printable(name), hint=hint)
    return by_name[name]


def _table(chosen: tuple[Cause, ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    from stanch.diagnose.cause import Section

    console = Console(highlight=False, markup=False, emoji=False)
    width = max(len(one.id) for one in chosen)
    for number, section in enumerate(Section):
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(min_width=width + 2, no_wrap=True)
        table.add_column(overflow="fold")
        for one in chosen:
            if one.section is section:
                table.add_row(f"  {one.id}", one.sentence)
        console.print(f"\n{section}" if number else str(section), style="bold")
        console.print(table)


def _page(cause: Cause) -> Iterator[str]:
    from stanch.diagnose.catalogue import follows_from, look_alikes, separator

    yield f"{cause.id}: {cause.sentence}"
    yield _row("where", str(cause.section))
    yield _row("begins", f"{cause.onset}")
    yield _row("hurts", cause.impact)
    yield _row("seen as", ", ".join(kind.value for kind in cause.symptoms))
    yield f"  speaks for it (+) and against it (-), from {cause.prior:+g} on, in log-odds:"
    yield "       yes     no"
    for question, yes, no, marks in _weighed(cause):
        yield f"    {yes:>+6g} {no:>+6g}  {question}" + (f" ({', '.join(marks)})" if marks else "")
    for other in look_alikes(cause):
        yield _row("looks like", f"{other}: {separator(cause.id, other)}")
    if above := follows_from(cause):
        yield _row("follows from", ", ".join(above))
    if cause.brings_about:
        yield _row("brings about", ", ".join(cause.brings_about))
    if cause.follows_change:
        yield _row("after", f"a change of {', '.join(cause.follows_change)}")
    yield _row("first", cause.safe_first)
    for warning in cause.never:
        yield f"  {never(warning)}"
    if cause.forbids:
        yield _row("refused", ", ".join(cause.forbids))
    yield _row("runbook", cause.runbook or "none; people decide")
    yield _row("read", cause.source)


def _row(label: str, text: str) -> str:
    return f"  {label:<{LABEL_CHARS}} {text}"


def _weighed(cause: Cause) -> Iterator[tuple[str, float, float, list[str]]]:
    """Each question with its weights; of those that are needed at least one has to be answered."""
    needed = {clue.id for clue, _ in cause.shown_by}
    for weigh in cause.weighs:
        marks = ["needed"] if weigh.clue.id in needed else []
        marks += ["now"] if weigh.now else []
        yield weigh.clue.question, weigh.yes, weigh.no, marks


def _as_json(cause: Cause) -> dict[str, Any]:
    from stanch.diagnose.catalogue import follows_from, look_alikes, separator

    needed = {clue.id for clue, _ in cause.shown_by}
    return {
        "cause": cause.id,
        "section": cause.section.value,
        "sentence": cause.sentence,
        "onset": cause.onset.value,
        "impact": cause.impact,
        "symptoms": [kind.value for kind in cause.symptoms],
        "family": cause.kin,
        "prior": cause.prior,
        "weighs": [
            {
                "evidence": weigh.clue.id,
                "question": weigh.clue.question,
                "yes": weigh.yes,
                "no": weigh.no,
                "now": weigh.now,
                "needed": weigh.clue.id in needed,
                "reads": list(weigh.clue.reads),
            }
            for weigh in cause.weighs
        ],
        "look_alikes": {other: separator(cause.id, other) for other in look_alikes(cause)},
        "follows_from": list(follows_from(cause)),
        "brings_about": list(cause.brings_about),
        "follows_change": [kind.value for kind in cause.follows_change],
        "safe_first": cause.safe_first,
        "never": list(cause.never),
        "forbids": list(cause.forbids),
        "runbook": cause.runbook or None,
        "source": cause.source,
    }
