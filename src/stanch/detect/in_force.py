"""The rules that hold for a target, and where each of their settings comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stanch.detect.plan import Plan, plan_of
from stanch.model.rules import Rule, RuleChange, RuleSettings
from stanch.model.symptoms import SymptomKind
from stanch.policy.policy import Policy, TargetPolicy
from stanch.policy.rules import declared_rules

DECLARED = "declared"


def plan_for(target: TargetPolicy) -> Plan:
    """The plan of a target's rules, ready to judge; shared where the settings are the same."""
    return plan_of(tuple((kind, target.settings(kind)) for kind in declared_rules()))


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """One rule on one target."""

    target: str
    settings: RuleSettings
    rank: int
    origins: tuple[tuple[str, str], ...]
    """Setting and where it comes from: `declared`, `rules`, `tiers.oltp`, `targets.orders`."""

    def origin(self, setting: str) -> str:
        return dict(self.origins)[setting]


def in_force(policy: Policy, kind: SymptomKind) -> Iterator[InForce]:
    """What holds for a rule on each target of a policy, and who said so."""
    rule = declared_rules()[kind]
    for target in policy.targets:
        yield InForce(
            target=target.name,
            settings=target.settings(kind),
            rank=target.rank(kind),
            origins=tuple(_origins(rule, policy, target)),
        )


def _origins(rule: Rule, policy: Policy, target: TargetPolicy) -> Iterator[tuple[str, str]]:
    layers = _layers(policy, target, rule.kind.value)
    for setting in ("limit", "clear", "also", "hold", "severity", "off"):
        name = "hold_s" if setting == "hold" else setting
        said = [where for where, change in layers if getattr(change, name) is not None]
        if setting == "clear" and rule.clear is None and not said:
            # Without a clear limit of its own a rule is good again at its limit.
            said = [where for where, change in layers if change.limit is not None]
        origin = said[-1] if said else DECLARED
        if setting == "severity" and rule.kind.value in target.severity_of:
            origin = f"targets.{target.name}.severity_of"
        yield setting, origin


def _layers(policy: Policy, target: TargetPolicy, name: str) -> list[tuple[str, RuleChange]]:
    tier = policy.tier(target.tier)
    found = [
        ("rules", policy.rules.get(name)),
        (f"tiers.{target.tier}", tier.rules.get(name) if tier is not None else None),
        (f"targets.{target.name}", target.rules.get(name)),
    ]
    return [(where, change) for where, change in found if change is not None]
