"""The declared rules, one YAML file a field of trouble; `reachability.yaml` explains the keys.

They lie on this floor because a policy changes them, and because what acts needs their limits as
much as what detects. Judging is the matter of `detect`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from stanch.model.rules import Rule
from stanch.model.symptoms import SymptomKind
from stanch.policy.rules.loading import RuleInvalid, read_rules

FILES = (
    "reachability",
    "volumes",
    "sessions",
    "wal",
    "pools",
    "applications",
    "machines",
    "backups",
    "silent",
    "logs",
    "network",
)
"""In this order they are judged and told: what is worse, or causes the rest, comes first."""


@cache
def declared_rules() -> Mapping[SymptomKind, Rule]:
    """Every rule by the kind of its symptom, in the order in which they are judged."""
    found: dict[SymptomKind, Rule] = {}
    for name in FILES:
        text = (files(__name__) / f"{name}.yaml").read_text("utf-8")
        for rule in read_rules(text, file=f"{name}.yaml"):
            if rule.kind in found:
                raise RuleInvalid(f"{name}.yaml", rule.kind, "is declared twice")
            found[rule.kind] = rule
    for rule in found.values():
        if rule.unless is not None and rule.unless not in found:
            raise RuleInvalid("", rule.kind, f"unless: no rule {rule.unless}")
    return MappingProxyType(found)
