"""The rules of a target, made ready once per policy: what is asked, in order, and what is bad.

A plan holds no memory and is shared by all targets with the same settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from stanch.detect.vitals import MANY, ONE, Many, One
from stanch.model.rules import Judgement, Rule, RuleSettings
from stanch.model.symptoms import SymptomKind
from stanch.policy.rules import declared_rules

PLANS_MAX = 64
"""So many different sets of settings are kept ready."""

READ_FROM_VITALS = frozenset({*ONE, *MANY})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ready:
    """One rule with its settings."""

    rule: Rule
    settings: RuleSettings
    key: str
    """Key of its symptom where that has no subject."""
    order: int
    one: One | None = None
    many: Many | None = None
    above: float | None = None
    """Below this a value is certainly good: nothing more needs to be asked. None: ask."""
    below: float | None = None
    """The same for the rules that are bad below their limit."""

    @property
    def remembers(self) -> bool:
        return self.rule.judgement not in (Judgement.ABOVE, Judgement.BELOW)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What to ask of each sample."""

    vitals: tuple[Ready, ...]
    """Rules over the vitals, in the order in which they are told."""
    by_reading: Mapping[str, tuple[Ready, ...]]
    absent: tuple[Ready, ...]
    by_kind: Mapping[SymptomKind, Ready]


@lru_cache(maxsize=PLANS_MAX)
def plan_of(settings: tuple[tuple[SymptomKind, RuleSettings], ...]) -> Plan:
    """The plan for these settings; what is switched off is not in it."""
    return build_plan(declared_rules(), dict(settings))


def build_plan(
    rules: Mapping[SymptomKind, Rule], settings: Mapping[SymptomKind, RuleSettings]
) -> Plan:
    """The plan for any set of rules."""
    ready = [
        _ready(rule, settings[kind], order)
        for order, (kind, rule) in enumerate(rules.items())
        if rule.declared and not settings[kind].off
    ]
    by_reading: dict[str, list[Ready]] = {}
    for one in ready:
        by_reading.setdefault(one.rule.reading, []).append(one)
    return Plan(
        vitals=tuple(r for r in ready if r.rule.reading in READ_FROM_VITALS),
        by_reading={name: tuple(found) for name, found in by_reading.items()},
        absent=tuple(r for r in ready if r.rule.judgement is Judgement.ABSENT),
        by_kind={r.rule.kind: r for r in ready},
    )


def _ready(rule: Rule, settings: RuleSettings, order: int) -> Ready:
    simple = rule.either is None
    edges: Iterable[float] = (settings.limit, settings.clear)
    return Ready(
        rule=rule,
        settings=settings,
        key=rule.kind.value,
        order=order,
        one=ONE.get(rule.reading),
        many=MANY.get(rule.reading),
        above=min(edges) if rule.judgement is Judgement.ABOVE and simple else None,
        below=max(edges) if rule.judgement is Judgement.BELOW and simple else None,
    )
