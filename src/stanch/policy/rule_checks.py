"""What `rules`, `tiers` and `tier` say that contradicts itself."""

from __future__ import annotations

from collections.abc import Iterator

from stanch.model.rules import Judgement, Rule, RuleSettings
from stanch.model.symptoms import SymptomKind
from stanch.policy.limits import limit_kind
from stanch.policy.places import PathTo, Places
from stanch.policy.policy import Policy, TargetPolicy
from stanch.policy.quoting import quoted
from stanch.policy.reading import nearest
from stanch.policy.rules import declared_rules

Contradiction = tuple[PathTo, str, str]
"""Where, what, hint; all of them are errors."""

LESSER_AND_WORSE = (
    (SymptomKind.CONNECTIONS_HIGH, SymptomKind.CONNECTIONS_EXHAUSTED),
    (SymptomKind.POOL_HIGH, SymptomKind.POOL_EXHAUSTED),
    (SymptomKind.ERROR_RATE_RAISED, SymptomKind.ERROR_RATE_HIGH),
)
"""Pairs over one reading: the lesser one has to come first."""

CLEAR_ABOVE = frozenset({Judgement.BELOW, Judgement.FORECAST})
"""Here a larger value is the better one."""


def rule_contradictions(draft: Policy, places: Places) -> Iterator[Contradiction]:
    """Everything about rules that cannot work on some target."""
    names = tuple(tier.name for tier in draft.tiers)
    told: set[PathTo] = set()
    for target in draft.targets:
        path = ("targets", target.name, "tier")
        if target.tier and target.tier not in names and not places.given(("tiers", target.tier)):
            hint = nearest(target.tier, names) or "Define it under `tiers`."
            yield path, f"unknown tier {quoted(target.tier)}", hint
        for contradiction in (*_clear_limits(draft, target), *_pairs(draft, target)):
            # One line of a tier may be wrong for every target of it.
            if contradiction[0] not in told:
                told.add(contradiction[0])
                yield contradiction


def _clear_limits(draft: Policy, target: TargetPolicy) -> Iterator[Contradiction]:
    for name in {*target.inherited, *target.rules}:
        kind = SymptomKind(name)
        rule, settings = declared_rules()[kind], target.settings(kind)
        if rule.declared and _turned_around(rule, settings):
            shown = limit_kind(rule.limit_unit).show(settings.limit)
            side = "below" if rule.judgement in CLEAR_ABOVE else "above"
            hint = "It is good again on the other side of the limit."
            path = (*given_at(draft, target, name), "clear")
            yield path, f"is {side} the limit of {shown}", hint


def _turned_around(rule: Rule, settings: RuleSettings) -> bool:
    if rule.judgement in CLEAR_ABOVE:
        return settings.clear < settings.limit
    return settings.clear > settings.limit


def _pairs(draft: Policy, target: TargetPolicy) -> Iterator[Contradiction]:
    for lesser, worse in LESSER_AND_WORSE:
        if not {lesser, worse} & {*target.inherited, *target.rules}:
            continue
        low, high = target.settings(lesser), target.settings(worse)
        if not low.off and not high.off and low.limit >= high.limit:
            changed = lesser if lesser in target.rules or lesser in target.inherited else worse
            path = (*given_at(draft, target, changed), "limit")
            yield path, f"{lesser} is not below {worse}", "The lesser one comes first."


def given_at(policy: Policy, target: TargetPolicy, name: str) -> PathTo:
    """Where the last word about a rule of a target is said; empty where the rule's own holds."""
    if name in target.rules:
        return ("targets", target.name, "rules", name)
    tier = policy.tier(target.tier)
    if tier is not None and name in tier.rules:
        return ("tiers", tier.name, "rules", name)
    return ("rules", name) if name in policy.rules else ()
