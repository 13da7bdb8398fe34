"""The rules that hold for a target, and where each of their settings comes from."""

from __future__ import annotations

from stanch.detect.plan import Plan, plan_of
from stanch.policy.policy import TargetPolicy
from stanch.policy.rules import declared_rules


def plan_for(target: TargetPolicy) -> Plan:
    """The plan of a target's rules, ready to judge; shared where the settings are the same."""
    return plan_of(tuple((kind, target.settings(kind)) for kind in declared_rules()))
