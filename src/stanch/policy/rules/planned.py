"""What maintenance holds: symptoms that planned work may bring about."""

from __future__ import annotations

from stanch.model.symptoms import SymptomKind
from stanch.policy.rules import declared_rules


def held_in_maintenance(key: str) -> bool:
    """Whether nobody is woken for a symptom, by its key, while work goes on."""
    return declared_rules()[SymptomKind(key.partition(":")[0])].held_in_maintenance
