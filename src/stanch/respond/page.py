"""The page of all actions and of what is never done: docs/actions.md."""

from __future__ import annotations

from collections.abc import Iterator

from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.library import shipped_runbooks
from stanch.steps.action import Action
from stanch.steps.never import FORBIDDEN

HEAD = """\
# Actions

Everything Stanch can do to a server. Each action is off until `stanch.yaml` says otherwise, per
target and per action: `observe` names the runbook, `advise` waits for `stanch approve`, `act` goes
ahead by itself. In every mode the same things happen in the same order: the intent is made durable,
the guards read the facts again, the effect, a look at the target whether it is there, the outcome.
A guard that cannot be answered counts as no.

A fact marked *identity* is bound: when it has changed since the plan was made, the plan is void.
"""

FORBIDDEN_HEAD = """
## Forbidden

No code path does any of these, and a runbook that asks for one is refused with the safe equivalent.

| What | Why not | Instead |
| --- | --- | --- |
"""

GUARDED_HEAD = """
## Guarded

Refused with a reason unless the guards named here say yes.

| What | Action | Guards |
| --- | --- | --- |
"""


def actions_page() -> str:
    """The whole page as Markdown."""
    lines = [line for action in CATALOGUE.values() for line in _action(action)]
    forbidden = [f"| {f.what} | {f.why} | {f.instead} |" for f in FORBIDDEN]
    guarded = [
        f"| {risk.what} | [{action.name}](#{action.name}) | {', '.join(risk.guards)} |"
        for action in CATALOGUE.values()
        for risk in action.risks
    ]
    return (
        HEAD
        + "\n".join(lines)
        + "\n"
        + FORBIDDEN_HEAD
        + "\n".join(forbidden)
        + "\n"
        + GUARDED_HEAD
        + "\n".join(guarded)
        + "\n"
    )


def _action(action: Action) -> Iterator[str]:
    yield ""
    yield f"## {action.name}"
    yield ""
    yield action.sentence
    yield ""
    books = [
        book.id for book in shipped_runbooks() if any(step.do == action.name for step in book.steps)
    ]
    links = ", ".join(f"[{b}](../src/stanch/respond/runbooks/{b}.md)" for b in books)
    yield f"Runbooks: {links or 'none'}."
    yield ""
    yield "| Fact | Identity | What it is |"
    yield "| --- | --- | --- |"
    for param in action.params:
        yield f"| `{param.name}` | {'yes' if param.identity else 'no'} | {param.doc} |"
    yield ""
    yield "| Guard | Right before acting |"
    yield "| --- | --- |"
    for guard in action.guards:
        yield f"| `{guard.name}` | {guard.asks} |"
