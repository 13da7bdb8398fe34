"""The pages of all actions and all runbooks: docs/actions.md and docs/runbooks.md."""

from __future__ import annotations

from collections.abc import Iterator

from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.gathering.run import GATHERABLE
from stanch.respond.library import shipped_runbooks
from stanch.respond.runbook import GATHER, Runbook
from stanch.steps.action import Action
from stanch.steps.never import FORBIDDEN

HEAD = """\
# Actions

Everything Stanch can do to a server. Each action is off until `stanch.yaml` says otherwise, per
target and per action: `observe` names the runbook, `advise` waits for `stanch approve`, `act` goes
ahead by itself. In every mode the same things happen in the same order: the intent is made durable,
the guards read the facts again, the effect, a look at the target whether it is there, the outcome.
A guard that cannot be answered counts as no. [What could go wrong](safety.md), and the tests that
show what keeps it from happening.

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

Refused with a reason unless the guards named here say yes. Beside the guards marked so, only two
yield to [break-glass](running.md#breaking-the-glass): `policy`, where it merely observes, and
`diagnosis`, what a standing cause forbids. A guard that has no answer yields to nobody, nor does a
cause about which server this is, or whether it is alive.

| What | Action | Guards |
| --- | --- | --- |
"""

RUNBOOKS_HEAD = """\
# Runbooks

A runbook is a Markdown file: prose and commands that a person can follow by hand, and beside them
what the machine does. `stanch runbook list` has those in force, `stanch runbook show ID` prints
one, and `stanch runbook lint FILE` finds what is dangerous in anybody's ([how](runbook-lint.md)).
A file in your own `runbook_directory` takes the place of the shipped one with the same id.

## The head

YAML between two `---` lines: `id`, `title`, `causes` (which of [these](causes.md) it answers),
`severity`, `time_target`, `owner`, and `last_drilled`, which may be missing.

## What the machine does

A fenced block of the kind `stanch` after the paragraph it belongs to. There are no expressions,
no loops and no shell in it. What is not known is an error with its line, when the policy is
loaded.

To read and keep something before anything is done:

    gather: [volumes, slots]
    expect: It is told which volume is full.

`when` and `deadline` (three seconds unless said otherwise) may be there, too. What cannot be read
is told as missing, and the next step goes on.

To do something:

| Key | What it says |
| --- | --- |
| `do` | One of the [actions](actions.md) |
| `when` | One `fact: value`; the step is left out while the fact of the cause is another |
| `params` | Its facts; `$name` is the fact of that name in the diagnosis, to which it is bound |
| `guards` | Every guard that is answered right before; those of the action hold, listed or not |
| `approval` | `policy`, or `always`: a person is asked whatever policy allows |
| `verify` | What has to be seen afterwards, on the target itself |
| `deadline` | How long it may take |
| `undo`, `no_undo` | How it is undone, or why it cannot be; exactly one of them |
| `on_failure` | `stop` ends the plan, `continue` goes on with the next step |
| `expect` | What a person sees when it went well |

A runbook that has only things to gather is for people: Stanch names it and does nothing by
itself.

## What can be gathered

| Name | What is read |
| --- | --- |
"""

SHIPPED_HEAD = """
## Shipped

| Runbook | Answers | Does |
| --- | --- | --- |
"""


def runbooks_page() -> str:
    """The whole page as Markdown."""
    gathered = [f"| `{name}` | {one.what} |" for name, one in GATHERABLE.items()]
    shipped = [_shipped(book) for book in shipped_runbooks()]
    return RUNBOOKS_HEAD + "\n".join(gathered) + "\n" + SHIPPED_HEAD + "\n".join(shipped) + "\n"


def _shipped(book: Runbook) -> str:
    causes = ", ".join(f"[{cause}](causes/{cause}.md)" for cause in book.causes)
    does = [f"[{s.do}](actions.md#{s.do})" for s in book.steps if s.do != GATHER]
    link = f"[{book.title}](../src/stanch/respond/runbooks/{book.id}.md)"
    return f"| {link} | {causes} | {', '.join(does) or 'nothing by itself'} |"


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
    if action.reads_only:
        yield "It touches nothing, so no policy decides on it and nobody is asked."
        return
    yield "| Guard | Right before acting |"
    yield "| --- | --- |"
    for guard in action.guards:
        yields = " Yields to break-glass." if guard.yields else ""
        yield f"| `{guard.name}` | {guard.asks}{yields} |"
