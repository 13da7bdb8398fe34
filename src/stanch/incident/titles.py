"""What an incident is called: by the worst of what stands, in a few words."""

from __future__ import annotations

from stanch.incident.state import Incident
from stanch.model.symptoms import SymptomKind

TITLES = {
    SymptomKind.SERVER_DOWN: "server down",
    SymptomKind.DISK_FULL: "disk full",
    SymptomKind.CONNECTIONS_EXHAUSTED: "connections at the limit",
    SymptomKind.BLIND: "Stanch is blind",
    SymptomKind.SESSIONS_BLOCKED: "sessions blocked",
    SymptomKind.CONNECTIONS_HIGH: "connections near the limit",
    SymptomKind.DISK_LOW: "disk low",
    SymptomKind.UNWATCHED: "watch not let in",
}
"""Worst first."""


def title_now(incident: Incident) -> str:
    """What it was opened as, and what is worse since then."""
    standing = {symptom.kind for symptom in incident.symptoms.values()}
    worst = next((title for kind, title in TITLES.items() if kind in standing), "")
    if not worst or worst == incident.title:
        return incident.title
    return f"{worst} (began as: {incident.title})"
