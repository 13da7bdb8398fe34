"""What an incident is called: by the worst of what stands, in a few words."""

from __future__ import annotations

from stanch.incident.state import Incident
from stanch.model.symptoms import SymptomKind
from stanch.policy.rules import declared_rules

UNTITLED = frozenset({SymptomKind.REPORTED})
"""Has the words of whoever said it."""

TITLES = {
    kind: rule.title
    for kind, rule in sorted(declared_rules().items(), key=lambda pair: pair[1].severity)
    if kind not in UNTITLED
}
"""Worst first; among the equally severe in the order in which rules are judged."""


def title_now(incident: Incident) -> str:
    """What it was opened as, what is worse since then, and who of its cluster is down with it."""
    down = sorted(s.target for s in incident.attached.values() if s.kind is SymptomKind.SERVER_DOWN)
    also = f", and so is {', '.join(down)}" if down else ""
    return f"{_own_title(incident)}{also}"


def _own_title(incident: Incident) -> str:
    standing = {symptom.kind for symptom in incident.symptoms.values()}
    worst = next((title for kind, title in TITLES.items() if kind in standing), "")
    if not worst or worst == incident.title:
        return incident.title
    return f"{worst} (began as: {incident.title})"
