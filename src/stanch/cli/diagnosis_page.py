"""A diagnosis as one HTML file: nothing outside it is loaded, nothing in it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from stanch.cli.one_page import page
from stanch.diagnose.evidence import Evidence, value_of
from stanch.diagnose.history import History, Track
from stanch.model.diagnosis import CauseFinding, Diagnosis, Verdict
from stanch.model.readings import Unit, unit_of
from stanch.model.shown import human_bytes, moment, never, percent, span
from stanch.policy.quoting import printable

TEMPLATE = "diagnosis.html.jinja"
WIDTH, HEIGHT = 600, 90
CLASSES = {
    Verdict.HEALTHY: "ok",
    Verdict.CAUSE: "danger",
    Verdict.RECOVERED: "look",
    Verdict.UNKNOWN: "look",
}
TITLES = {
    "client_backends": "Sessions",
    "active_sessions": "Sessions at work",
    "sessions_waiting_on_lock": "Sessions that wait for a lock",
    "commits_total": "Commits a second",
    "rollbacks_total": "Rollbacks a second",
    "wal_bytes_total": "WAL written a second",
    "volume_free_bytes": "Free on a volume",
    "replay_lag_bytes_max": "Behind on the slowest standby",
    "slot_retained_bytes_max": "WAL kept by the worst slot",
    "oldest_xact_age_s": "Oldest transaction",
}


def diagnosis_page(evidence: Evidence, found: Diagnosis) -> str:
    """The whole file. Names and statements in it are other people's words, and escaped.

    Raises: SetupError where the extra `reports` is not installed.
    """
    text: str = page(TEMPLATE).render(**_values(evidence, found))
    return text


def _values(evidence: Evidence, found: Diagnosis) -> dict[str, Any]:
    return {
        "title": f"Diagnosis of {printable(evidence.target)}",
        "label": printable(evidence.target),
        "verdict": found.verdict.value,
        "judgement": CLASSES[found.verdict],
        "summary": printable(found.summary),
        "about": [
            ("Looked", moment(evidence.at)),
            ("Wrong since", moment(evidence.onset) if evidence.onset else "not known"),
            ("Took", f"{evidence.elapsed_ms:.0f} ms"),
        ],
        **found_values(found, evidence),
    }


def found_values(found: Diagnosis | None, evidence: Evidence | None) -> dict[str, Any]:
    """What the template of causes, plots and changes needs; without either it stays empty."""
    history = None if evidence is None else value_of(evidence.history)
    changes = None if evidence is None else value_of(evidence.changes)
    absent = () if found is None else found.absent
    return {
        "causes": [] if found is None else [_cause(cause) for cause in found.causes],
        "separator": "" if found is None else printable(found.separator),
        "plots": [] if history is None else [*_plots(history)],
        "changes": []
        if changes is None
        else [(moment(c.at), printable(c.told or c.what)) for c in changes.changes],
        "absent": [(printable(f.evidence).replace("_", " "), printable(f.text)) for f in absent],
        "by_nature": [(f.evidence, printable(f.text)) for f in found.by_nature] if found else [],
    }


def _cause(cause: CauseFinding) -> dict[str, Any]:
    return {
        "id": cause.id,
        "probability": percent(cause.probability),
        "share": round(100 * cause.probability),
        "follows": cause.follows or "",
        "summary": printable(cause.summary),
        "since": moment(cause.since) if cause.since else "",
        "hurts_in": span(cause.impact_in_s) if cause.impact_in_s is not None else "",
        "pro": [(f"{f.weight:+g}", printable(f.text)) for f in cause.evidence_for],
        "con": [(f"{f.weight:+g}", printable(f.text)) for f in cause.evidence_against],
        "missing": [printable(f.text) for f in cause.missing],
        "first": printable(cause.safe_first),
        "never": [printable(never(text)) for text in cause.never],
        "runbook": cause.runbook,
    }


# --- plots --------------------------------------------------------------------------------------


def _plots(history: History) -> Iterator[dict[str, Any]]:
    for track in history.tracks:
        known = [value for value in track.values if value is not None]
        if not known or (max(known) == min(known) == 0):
            continue
        top = max(known) or 1.0
        subject = f": {printable(track.subject)}" if track.subject else ""
        yield {
            "title": f"{TITLES.get(track.name, track.name)}{subject}",
            "top": _number(track.name, top),
            "last": _number(track.name, known[-1]),
            "lines": [*_lines(track, top)],
            "onset": _x(track, history.onset),
            "begins": moment(track.begins_at),
            "ends": moment(history.ends_at),
        }


def _lines(track: Track, top: float) -> Iterator[str]:
    """One polyline for each stretch without a gap."""
    points: list[str] = []
    for n, value in enumerate(track.values):
        if value is None:
            if points:
                yield _closed(points)
            points = []
            continue
        x = WIDTH * (n + 0.5) / len(track.values)
        points.append(f"{x:.1f},{HEIGHT - (HEIGHT - 4) * value / top:.1f}")
    if points:
        yield _closed(points)


def _closed(points: Sequence[str]) -> str:
    """A lone point would not be seen: it becomes a short line."""
    if len(points) > 1:
        return " ".join(points)
    x, _, y = points[0].partition(",")
    return f"{float(x) - 1:.1f},{y} {float(x) + 1:.1f},{y}"


def _x(track: Track, at: datetime) -> float | None:
    """Where a moment lies; None outside the picture."""
    share = (at - track.begins_at).total_seconds() / (track.step_s * len(track.values))
    return round(WIDTH * share, 1) if 0 <= share <= 1 else None


def _number(name: str, value: float) -> str:
    unit = unit_of(name.removesuffix("_max").removesuffix("_total"))
    if unit is Unit.BYTES:
        return human_bytes(value)
    if unit is Unit.SECONDS:
        return span(value)
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
