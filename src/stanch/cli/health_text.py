"""A check-up as lines for a terminal, and as one JSON value."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import typer

from stanch.model.codec import to_iso
from stanch.model.shown import moment, shortened, span
from stanch.policy.quoting import printable
from stanch.watch.health.report import Judgement, Line, Report, Section

SCHEMA = "stanch.health/1"
BAR_CELLS = 10
WHAT_CELLS_MAX = 46
DETAIL_CHARS_MAX = 160
SIGNS = {Judgement.OK: " ", Judgement.LOOK: "!", Judgement.DANGER: "✗"}
WORDS = {Judgement.OK: "all well", Judgement.LOOK: "to look at", Judgement.DANGER: "in danger"}
_COLOURS = {Judgement.LOOK: "yellow", Judgement.DANGER: "red"}


def health_lines(report: Report, *, columns: int, colour: bool) -> Iterator[str]:
    """The verdict first, then a section each, the worst ones first."""
    yield verdict(report)
    role = "standby" if report.in_recovery else "primary"
    up = ""
    if report.started_at is not None:
        up = f", up for {span((report.at - report.started_at).total_seconds())}"
    yield _shown(
        f"PostgreSQL {report.version}, {role}, database {report.database}{up};"
        f" asked as {report.role} at {moment(report.at)}"
    )
    for section in report.sections:
        yield ""
        yield from _section(section, columns=columns, colour=colour)
    yield ""
    told = f"Looked for {report.elapsed_ms:.0f} ms with one session; nothing was changed."
    yield from _wrapped(told, columns, indent=0)


def verdict(report: Report) -> str:
    """One line: whose check-up, and how it came out."""
    danger, look = report.count(Judgement.DANGER), report.count(Judgement.LOOK)
    told = [f"{danger} {WORDS[Judgement.DANGER]}"] if danger else []
    told += [f"{look} {WORDS[Judgement.LOOK]}"] if look else []
    told += [f"{len(report.missing)} without an answer"] if report.missing else []
    return _shown(f"{report.label}: {', '.join(told) or 'all well'}")


def _section(section: Section, *, columns: int, colour: bool) -> Iterator[str]:
    yield typer.style(_shown(section.title), bold=True) if colour else _shown(section.title)
    if section.missing:
        yield from _wrapped(f"? not known: {section.missing}", columns, indent=2)
        return
    width = min(WHAT_CELLS_MAX, columns // 2, max(len(_shown(line.what)) for line in section.lines))
    for line in section.lines:
        yield from _line(line, width=width, columns=columns, colour=colour)
    if section.note:
        yield from _wrapped(section.note, columns, indent=4)


def _line(line: Line, *, width: int, columns: int, colour: bool) -> Iterator[str]:
    what = shortened(_shown(line.what), width)
    bar = f"{_bar(line.share)}  " if line.share is not None else ""
    first = f"{SIGNS[line.judgement]} {what:<{width}}  {bar}{_shown(line.value)}".rstrip()
    wrapped = textwrap.wrap(first, columns, subsequent_indent=" " * 4, drop_whitespace=True) or [""]
    # A sign that is a space marks a line that is well, and belongs to the margin.
    lead = " " * (len(first) - len(first.lstrip()))
    for n, text in enumerate(wrapped):
        shown = lead + text if n == 0 and not text.startswith(lead or "\0") else text
        painted = colour and line.judgement in _COLOURS
        yield typer.style(shown, fg=_COLOURS[line.judgement]) if painted else shown
    for text in (line.why, line.do and f"→ {line.do}"):
        if text:
            yield from _wrapped(text, columns, indent=4)
    if line.detail:
        yield from _wrapped(shortened(line.detail, DETAIL_CHARS_MAX), columns, indent=6)


def _bar(share: float) -> str:
    filled = round(min(1.0, max(0.0, share)) * BAR_CELLS)
    return "█" * filled + "░" * (BAR_CELLS - filled)


def _wrapped(text: str, columns: int, *, indent: int) -> Iterator[str]:
    margin = " " * indent
    yield from textwrap.wrap(
        _shown(text), columns, initial_indent=margin, subsequent_indent=margin + "  "
    )


def _shown(text: str) -> str:
    return printable(" ".join(text.split()))


# --- JSON ---------------------------------------------------------------------------------------


def health_value(report: Report) -> dict[str, Any]:
    """The check-up as plain values; its shape is docs/schemas/health-1.json."""
    return {
        "schema": SCHEMA,
        "judgement": report.judgement.value,
        "target": report.label,
        "at": to_iso(report.at),
        "elapsed_ms": report.elapsed_ms,
        "server": {
            "version": report.version,
            "database": report.database,
            "role": report.role,
            "started_at": to_iso(report.started_at) if report.started_at else None,
            "in_recovery": report.in_recovery,
        },
        "sections": [_section_value(section) for section in report.sections],
    }


def _section_value(section: Section) -> dict[str, Any]:
    return {
        "id": section.id,
        "title": section.title,
        "judgement": None if section.missing else section.judgement.value,
        "missing": section.missing or None,
        "note": section.note or None,
        "lines": [
            {
                "what": line.what,
                "value": line.value,
                "judgement": line.judgement.value,
                "why": line.why or None,
                "do": line.do or None,
                "share": None if line.share is None else round(line.share, 4),
                "detail": line.detail or None,
                "figures": dict(line.figures),
            }
            for line in section.lines
        ],
    }
