"""The page of all causes, made from the catalogue: docs/causes.md."""

from __future__ import annotations

from collections.abc import Iterator

from stanch.diagnose.catalogue import CAUSES, look_alikes, separator
from stanch.diagnose.cause import Cause
from stanch.diagnose.rank import SHOWN_FROM, STANDS_FROM
from stanch.model.shown import never

HEAD = f"""# Causes

What Stanch can name, and why it would. Each question that the evidence answers moves a cause by
its weight in log-odds (natural logarithm): +3 makes it about twenty times likelier. A question
that cannot be answered weighs nothing and is shown as missing. Causes of one family exclude each
other; from {STANDS_FROM:.0%} on a cause is named, candidates below {SHOWN_FROM:.0%} are left out.

A weight marked *now* speaks of this moment; for a failure that is over it is left out.

| Cause | Where | What it is |
| --- | --- | --- |
"""


def causes_page() -> str:
    """The whole page as Markdown."""
    rows = [f"| [{c.id}](#{c.id}) | {c.section} | {c.sentence} |" for c in CAUSES]
    return HEAD + "\n".join([*rows, *(line for c in CAUSES for line in _cause(c))]) + "\n"


def _cause(cause: Cause) -> Iterator[str]:
    yield ""
    yield f"## {cause.id}"
    yield ""
    yield cause.sentence
    yield ""
    yield "| Question | Yes | No | |"
    yield "| --- | --: | --: | --- |"
    for weigh in cause.weighs:
        now = "now" if weigh.now else ""
        yield f"| {weigh.clue.question} | {weigh.yes:+g} | {weigh.no:+g} | {now} |"
    yield ""
    yield f"- Before any evidence: {cause.prior:+g}"
    yield f"- Begins {cause.onset}. {cause.impact}"
    yield f"- Seen as: {', '.join(s.value for s in cause.symptoms)}"
    if cause.brings_about:
        yield f"- Brings about: {_links(cause.brings_about)}"
    if cause.follows_change:
        yield f"- Named with the change before it: {', '.join(cause.follows_change)}"
    yield f"- Safe first move: {cause.safe_first}"
    for warning in cause.never:
        yield f"- {never(warning)}"
    if cause.forbids:
        yield f"- Actions refused while it stands: {', '.join(cause.forbids)}"
    yield f"- Runbook: {cause.runbook or 'none; people decide'}"
    yield f"- Documentation: <{cause.source}>"
    for other in look_alikes(cause):
        yield f"- Looks like [{other}](#{other}). {separator(cause.id, other)}"


def _links(ids: tuple[str, ...]) -> str:
    return ", ".join(f"[{i}](#{i})" for i in ids)
