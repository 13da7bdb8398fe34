"""A diagnosis for a terminal, and as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import typer

from stanch.model.changes import NotedChange
from stanch.model.codec import to_iso
from stanch.model.diagnosis import CauseFinding, Diagnosis, Finding, Verdict
from stanch.model.shown import moment, never, percent, shortened, span
from stanch.policy.quoting import printable

SCHEMA = "stanch.diagnosis/1"
BAR_CELLS = 10
TEXT_CHARS_MAX = 400
MISSING_MAX = 4
"""Questions without an answer shown for the first cause; all of them are in the JSON."""

# --- JSON ---------------------------------------------------------------------------------------


def as_json_text(found: Diagnosis) -> str:
    """One JSON object on one line; its shape is docs/schemas/diagnosis-1.json."""
    return json.dumps(as_json_value(found), ensure_ascii=True, sort_keys=False)


def as_json_value(found: Diagnosis) -> dict[str, Any]:
    """The diagnosis as plain values."""
    return {
        "schema": SCHEMA,
        "verdict": found.verdict.value,
        "summary": found.summary,
        "causes": [_cause_value(cause) for cause in found.causes],
        "separator": found.separator,
        "absent": [_finding_value(finding) for finding in found.absent],
        "by_nature": [_finding_value(finding) for finding in found.by_nature],
        "at": to_iso(found.at),
        "elapsed_ms": found.elapsed_ms,
    }


def _cause_value(cause: CauseFinding) -> dict[str, Any]:
    return {
        "id": cause.id,
        "summary": cause.summary,
        "probability": cause.probability,
        "for": [_finding_value(f) for f in cause.evidence_for],
        "against": [_finding_value(f) for f in cause.evidence_against],
        "missing": [_finding_value(f) for f in cause.missing],
        "safe_first": cause.safe_first,
        "never": list(cause.never),
        "forbids": list(cause.forbids),
        "follows": cause.follows,
        "runbook": cause.runbook,
        "subject": cause.subject,
        "since": to_iso(cause.since) if cause.since else None,
        "impact_in_s": cause.impact_in_s,
        "after_change": _change_value(cause.after_change),
        "facts": dict(cause.facts),
    }


def _change_value(change: NotedChange | None) -> dict[str, Any] | None:
    if change is None:
        return None
    return {"at": to_iso(change.at), "kind": change.kind, "what": change.what, "told": change.told}


def _finding_value(finding: Finding) -> dict[str, Any]:
    return {
        "evidence": finding.evidence,
        "text": finding.text,
        "weight": finding.weight,
        "at": to_iso(finding.at) if finding.at else None,
    }


# --- text ---------------------------------------------------------------------------------------

_COLOURS = {
    Verdict.CAUSE: "red",
    Verdict.RECOVERED: "yellow",
    Verdict.UNKNOWN: "yellow",
    Verdict.HEALTHY: "green",
}


def text_lines(found: Diagnosis, *, colour: bool) -> Iterator[str]:
    """For a tired person: the answer first, then each cause with its evidence, then the gaps."""
    verdict = found.verdict.value.upper()
    if colour:
        verdict = typer.style(verdict, fg=_COLOURS[found.verdict], bold=True)
    yield f"{verdict}  {_shown(found.summary)}"
    for place, cause in enumerate(found.causes):
        yield ""
        yield from _cause_lines(cause, colour=colour, missing_max=MISSING_MAX if not place else 0)
    if found.separator:
        yield ""
        yield f"To tell the first two apart: {_shown(found.separator)}"
    if found.by_nature:
        yield ""
        yield "Not there by nature:"
        for finding in found.by_nature:
            yield f"  · {finding.evidence}: {_shown(finding.text)}"
    if found.absent:
        yield ""
        yield "Not read:"
        yield from _absent_lines(found.absent)
    yield ""
    where = found.first.fact("data_directory") if found.first else None
    place = f" at {_shown(str(where))}" if where else ""
    yield f"Looked for {found.elapsed_ms:.0f} ms{place}."


def _absent_lines(absent: tuple[Finding, ...]) -> Iterator[str]:
    """One line a reason: a host that cannot be looked at is one gap, not ten."""
    for reason in dict.fromkeys(finding.text for finding in absent):
        what = ", ".join(finding.evidence for finding in absent if finding.text == reason)
        yield f"  ? {what.replace('_', ' ')}: {_shown(reason)}"


def _cause_lines(cause: CauseFinding, *, colour: bool, missing_max: int) -> Iterator[str]:
    filled = round(cause.probability * BAR_CELLS)
    bar = "█" * filled + "░" * (BAR_CELLS - filled)
    name = typer.style(cause.id, bold=True) if colour else str(cause.id)
    yield f"{bar} {percent(cause.probability):>4}  {name}"
    if cause.follows:
        yield f"  follows from {cause.follows}"
    yield f"  {_shown(cause.summary)}"
    if cause.since is not None:
        yield f"  Since {moment(cause.since)}."
    if cause.impact_in_s is not None:
        yield f"  It hurts in about {span(cause.impact_in_s)}."
    for finding in cause.evidence_for:
        yield f"    + {_shown(finding.text)}"
    for finding in cause.evidence_against:
        yield f"    - {_shown(finding.text)}"
    for finding in cause.missing[:missing_max]:
        yield f"    ? {_shown(finding.text)}"
    if len(cause.missing) > missing_max:
        more = "more " if missing_max else ""
        yield f"    ? {len(cause.missing) - missing_max} {more}questions without an answer"
    yield f"  First: {_shown(cause.safe_first)}"
    for warning in cause.never:
        yield f"  {_shown(never(warning))}"


def _shown(text: str) -> str:
    return printable(shortened(text, TEXT_CHARS_MAX))
