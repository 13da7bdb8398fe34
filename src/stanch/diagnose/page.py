"""The pages of all causes, made from the catalogue: docs/causes.md and one below docs/causes/ each.

In: nothing but the catalogue. Out: Markdown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from stanch.diagnose.catalogue import CAUSES, follows_from, look_alikes, separator
from stanch.diagnose.cause import Cause, Section, Weigh
from stanch.diagnose.rank import SHOWN_FROM, STANDS_FROM
from stanch.model.ids import CauseId
from stanch.model.shown import never

HEAD = f"""# Causes

What Stanch can name, and why it would; `stanch causes` lists the same. Each question that the
evidence answers moves a cause by its weight in log-odds (natural logarithm): +3 makes it about
twenty times likelier. A question that cannot be answered weighs nothing and is shown as missing.
Causes of one family exclude each other; from {STANDS_FROM:.0%} on a cause is named, candidates
below {SHOWN_FROM:.0%} are left out.

A weight marked *now* speaks of this moment; for a failure that is over it is left out. Where signs
are marked *needed*, at least one of them has to be there: a healthy server shows the others, too.
"""


def causes_page() -> str:
    """The index: every cause by its section."""
    return HEAD + "\n".join(line for section in Section for line in _section(section)) + "\n"


def cause_pages() -> Mapping[CauseId, str]:
    """One page a cause, by its id."""
    return {cause.id: "\n".join(_cause(cause)) + "\n" for cause in CAUSES}


def _section(section: Section) -> Iterator[str]:
    yield ""
    yield f"## {section[0].upper()}{section[1:]}"
    yield ""
    yield "| Cause | What it is |"
    yield "| --- | --- |"
    for cause in CAUSES:
        if cause.section is section:
            yield f"| [{cause.id}](causes/{cause.id}.md) | {cause.sentence} |"


def _cause(cause: Cause) -> Iterator[str]:
    yield f"# {cause.id}"
    yield ""
    yield cause.sentence
    yield ""
    yield f"- Where: {cause.section}; [all causes](../causes.md)"
    yield f"- Begins {cause.onset}. {cause.impact}"
    yield f"- Seen as: {', '.join(_rule(kind.value) for kind in cause.symptoms)}"
    yield ""
    yield "## What to do"
    yield ""
    yield f"- Safe first move: {cause.safe_first}"
    for warning in cause.never:
        yield f"- {never(warning)}"
    if cause.forbids:
        yield f"- Actions refused while it stands: {', '.join(map(_action, cause.forbids))}"
    yield f"- Runbook: {_runbook(cause.runbook)}"
    yield f"- Documentation: <{cause.source}>"
    yield ""
    yield "## What speaks for it and against it"
    yield ""
    yield "| Question | Yes | No | |"
    yield "| --- | --: | --: | --- |"
    for weigh in cause.weighs:
        marks = ", ".join(_marks(cause, weigh))
        yield f"| {weigh.clue.question} | {weigh.yes:+g} | {weigh.no:+g} | {marks} |"
    yield f"| Before any evidence | {cause.prior:+g} | | |"
    yield ""
    yield "## What it is mistaken for"
    yield ""
    for other in look_alikes(cause):
        yield f"- {_link(other)}: {separator(cause.id, other)}"
    yield from _story(cause)


def _story(cause: Cause) -> Iterator[str]:
    above = follows_from(cause)
    if not (above or cause.brings_about or cause.follows_change):
        return
    yield ""
    yield "## Its place in a story"
    yield ""
    if above:
        yield f"- Follows from: {_links(above)}"
    if cause.brings_about:
        yield f"- Brings about: {_links(cause.brings_about)}"
    if cause.follows_change:
        yield f"- Named with the change before it: {', '.join(cause.follows_change)}"


def _marks(cause: Cause, weigh: Weigh) -> Iterator[str]:
    if any(clue.id == weigh.clue.id for clue, _ in cause.shown_by):
        yield "needed"
    if weigh.now:
        yield "now"


def _rule(symptom: str) -> str:
    return f"[{symptom}](../rules.md#{symptom})"


def _action(action: str) -> str:
    return f"[{action}](../actions.md#{action})"


def _runbook(runbook: str) -> str:
    path = f"../../src/stanch/respond/runbooks/{runbook}.md"
    return f"[{runbook}]({path})" if runbook else "none; people decide"


def _links(ids: Iterable[CauseId]) -> str:
    return ", ".join(map(_link, ids))


def _link(cause_id: CauseId) -> str:
    return f"[{cause_id}]({cause_id}.md)"
