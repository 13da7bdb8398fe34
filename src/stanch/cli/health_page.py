"""A check-up as one HTML file: nothing outside it is loaded, nothing in it runs."""

from __future__ import annotations

from typing import Any

from stanch.cli.health_text import verdict
from stanch.cli.one_page import page
from stanch.model.shown import moment, span
from stanch.policy.quoting import printable
from stanch.watch.health.report import Judgement, Line, Report, Section

TEMPLATE = "health.html.jinja"
BAR_MIN = 0.004
"""What is there at all is seen: half a pixel of a bar."""
WORDS = {Judgement.OK: "ok", Judgement.LOOK: "look", Judgement.DANGER: "danger"}


def health_page(report: Report) -> str:
    """The whole file. Names and statements in it are the server's words, and escaped.

    Raises: SetupError where the extra `reports` is not installed.
    """
    text: str = page(TEMPLATE).render(**_values(report))
    return text


def _values(report: Report) -> dict[str, Any]:
    up = ""
    if report.started_at is not None:
        up = f"up for {span((report.at - report.started_at).total_seconds())}"
    return {
        "title": f"Check-up of {_shown(report.label)}",
        "label": _shown(report.label),
        "verdict": verdict(report).removeprefix(f"{_shown(report.label)}: "),
        "judgement": report.judgement.value,
        "counts": [(WORDS[j], report.count(j)) for j in Judgement],
        "about": [
            ("Server", f"PostgreSQL {_shown(report.version)}"),
            ("Role", "standby" if report.in_recovery else "primary"),
            ("Running", up or "unknown"),
            ("Database", _shown(report.database)),
            ("Asked as", _shown(report.role)),
            ("Taken", moment(report.at)),
        ],
        "sections": [_section(section) for section in report.sections],
        "elapsed": f"{report.elapsed_ms:.0f} ms",
    }


def _section(section: Section) -> dict[str, Any]:
    return {
        "id": section.id,
        "title": _shown(section.title),
        "judgement": "missing" if section.missing else section.judgement.value,
        "word": "not known" if section.missing else WORDS[section.judgement],
        "missing": _shown(section.missing),
        "note": _shown(section.note),
        "lines": [_line(line) for line in section.lines],
    }


def _line(line: Line) -> dict[str, Any]:
    share = None if line.share is None else min(1.0, max(0.0, line.share))
    return {
        "what": _shown(line.what),
        "value": _shown(line.value),
        "judgement": line.judgement.value,
        "word": WORDS[line.judgement],
        "why": _shown(line.why),
        "do": _shown(line.do),
        "detail": _shown(line.detail),
        "bar": None if share is None else f"{max(share, BAR_MIN if share else 0) * 100:.2f}",
        "percent": None if share is None else f"{share * 100:.0f} percent",
    }


def _shown(text: str) -> str:
    """One line without control characters; the template escapes the rest."""
    return printable(" ".join(text.split()))
