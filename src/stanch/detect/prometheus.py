"""The rules that metrics can express, as a rule file for Prometheus.

Metric names are those of postgres_exporter, node_exporter, pgbouncer_exporter, blackbox_exporter
and kube-state-metrics. Reachability there needs a hold: one exporter is one witness.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from stanch.model.rules import Rule, RuleSettings, settings_of
from stanch.policy.policy import Policy
from stanch.policy.quantities import duration_text
from stanch.policy.rules import declared_rules

SINGLE_WITNESS_HOLD_S = 30.0
"""What a prober without other witnesses needs to be sure that a server is down."""

HEAD = """\
# Rules of Stanch for Prometheus; made by `stanch rules --prometheus`. Check with
# `promtool check rules`. Rules that need more than metrics are not in it.
"""


def expression(rule: Rule, settings: RuleSettings) -> str:
    """The PromQL of a rule with its limit filled in."""
    limit = settings.limit * rule.promql_scale
    text = str(int(limit)) if limit == int(limit) else repr(limit)
    return rule.promql.replace("{limit}", text)


def rule_file(policy: Policy | None) -> str:
    """The whole file: the limits of the policy as a whole, or as declared without one."""
    rules = [
        _rule(rule, _settings(rule, policy))
        for rule in declared_rules().values()
        if rule.promql and not _settings(rule, policy).off
    ]
    groups = {"groups": [{"name": "stanch", "rules": rules}]}
    return HEAD + yaml.safe_dump(groups, sort_keys=False, width=100, allow_unicode=True)


def _settings(rule: Rule, policy: Policy | None) -> RuleSettings:
    change = policy.rules.get(rule.kind.value) if policy is not None else None
    return settings_of(rule, change)


def _rule(rule: Rule, settings: RuleSettings) -> Mapping[str, Any]:
    hold_s = settings.hold_s if rule.declared else SINGLE_WITNESS_HOLD_S
    return {
        "alert": rule.kind.value,
        "expr": expression(rule, settings),
        "for": duration_text(hold_s),
        "labels": {"severity": str(settings.severity), "from": "stanch"},
        "annotations": {"summary": rule.title, "description": rule.impact},
    }
