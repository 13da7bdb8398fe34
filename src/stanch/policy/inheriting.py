"""What a target takes over from its tier and from the whole policy."""

from __future__ import annotations

from dataclasses import replace

from stanch.model.rules import RuleChange
from stanch.policy.policy import Policy, TargetPolicy


def inherit(policy: Policy) -> Policy:
    """The policy with `inherited` of every target filled in. An undefined tier gives nothing."""
    targets = tuple(
        replace(
            target,
            inherited=_changes(policy, target),
            levels=target.levels or policy.levels,
        )
        for target in policy.targets
    )
    return replace(policy, targets=targets)


def _changes(policy: Policy, target: TargetPolicy) -> dict[str, tuple[RuleChange, ...]]:
    tier = policy.tier(target.tier)
    layers = [policy.rules] if tier is None else [policy.rules, tier.rules]
    found: dict[str, tuple[RuleChange, ...]] = {}
    for layer in layers:
        for name, change in layer.items():
            found[name] = (*found.get(name, ()), change)
    return found
