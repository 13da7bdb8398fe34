"""The rules that metrics can express, as a rule file for Prometheus.

Metric names are those of postgres_exporter, node_exporter, pgbouncer_exporter, blackbox_exporter
and kube-state-metrics. Reachability there needs a hold: one exporter is one witness. Targets whose
labels the policy tells get the limits that hold for them, all else those of the whole policy. What
services say of themselves is asked by the queries that the policy has for them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from stanch.model.rules import Judgement, Rule, RuleSettings, settings_of
from stanch.policy.policy import Policy, TargetPolicy
from stanch.policy.quantities import duration_text
from stanch.policy.rules import declared_rules
from stanch.policy.signs import PrometheusSigns

SINGLE_WITNESS_HOLD_S = 30.0
"""What a prober without other witnesses needs to be sure that a server is down."""

SERVER, DATABASE = "$server", "$database"

HEAD = """\
# Rules of Stanch for Prometheus; made by `stanch rules --prometheus`. Check with
# `promtool check rules`. Rules that need more than metrics are not in it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """Which series a rule is about; all of them where nothing is said."""

    targets: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    others: bool = False
    """Every instance but those."""

    @property
    def server(self) -> str:
        """The matchers in a selector of what is counted a server."""
        return _matcher("instance", "!~" if self.others else "=~", self.instances)

    @property
    def database(self) -> str:
        both = (self.server, _matcher("datname", "=~", self.databases))
        return ", ".join(part for part in both if part)


EVERYTHING = Whose()


class _Held(NamedTuple):
    """What one alert is made of."""

    whose: Whose
    settings: RuleSettings
    rank: int


def expression(rule: Rule, settings: RuleSettings, whose: Whose = EVERYTHING) -> str:
    """The PromQL of a rule with its numbers filled in."""
    also = "" if settings.also is None else _number(settings.also)
    text = rule.promql
    for name, value in (
        ("{limit}", _number(settings.limit * rule.promql_scale)),
        ("{limit_time}", duration_text(settings.limit)),
        ("{also}", also),
        ("{window}", duration_text(rule.window_s)),
        (SERVER, whose.server),
        (DATABASE, whose.database),
    ):
        text = text.replace(name, value)
    # Without matchers of ours their comma is left over, or braces with nothing in them.
    return re.sub(r"\{, |, \}", lambda m: m[0].strip(" ,"), text).replace("{}", "")


def rule_file(policy: Policy | None) -> str:
    """The whole file, as declared where there is no policy."""
    rules = [
        _alert(rule, held)
        for rule in declared_rules().values()
        if rule.promql
        for held in _held(rule, policy)
        if not held.settings.off
    ]
    rules += _of_signs(policy) if policy is not None else ()
    groups = {"groups": [{"name": "stanch", "rules": rules}]}
    return HEAD + yaml.safe_dump(groups, sort_keys=False, width=100, allow_unicode=True)


def left_out(policy: Policy) -> tuple[str, ...]:
    """Targets with limits of their own that Prometheus cannot be told, as no label is known."""
    unknown = [target for target in policy.targets if not target.metrics.instance]
    rules = [rule for rule in declared_rules().values() if rule.promql]
    return tuple(
        target.name
        for target in unknown
        if any(
            target.settings(r.kind) != settings_of(r, policy.rules.get(r.kind.value)) for r in rules
        )
    )


def _held(rule: Rule, policy: Policy | None) -> Iterator[_Held]:
    """Who gets which numbers: targets with the same ones together, and everybody else."""
    if policy is None:
        declared = settings_of(rule)
        yield _Held(EVERYTHING, declared, declared.severity)
        return
    known = [target for target in policy.targets if target.metrics.instance]
    if SERVER not in rule.promql and DATABASE not in rule.promql:
        known = []
    alike: dict[tuple[RuleSettings, int, tuple[str, ...]], list[TargetPolicy]] = {}
    for target in known:
        databases = target.metrics.datname if DATABASE in rule.promql else ()
        key = (target.settings(rule.kind), target.rank(rule.kind), databases)
        alike.setdefault(key, []).append(target)
    settings = settings_of(rule, policy.rules.get(rule.kind.value))
    if set(alike) <= {(settings, settings.severity, ())}:
        yield _Held(EVERYTHING, settings, settings.severity)
        return
    listed = tuple(dict.fromkeys(i for target in known for i in target.metrics.instance))
    yield _Held(Whose(instances=listed, others=True), settings, settings.severity)
    for (held, rank, databases), targets in alike.items():
        instances = tuple(dict.fromkeys(i for target in targets for i in target.metrics.instance))
        names = tuple(target.name for target in targets)
        yield _Held(Whose(targets=names, instances=instances, databases=databases), held, rank)


def _alert(rule: Rule, held: _Held, said: str = "", *, service: str = "") -> Mapping[str, Any]:
    hold_s = held.settings.hold_s if rule.declared else SINGLE_WITNESS_HOLD_S
    labels = {"severity": str(held.rank), "from": "stanch"}
    if len(targets := held.whose.targets) == 1:
        # So that an alert that comes back to Stanch needs no route.
        labels["target"] = targets[0]
    elif targets:
        # Rules of one name have to differ in their labels.
        labels["targets"] = f"{targets[0]} and {len(targets) - 1} more"
    if service:
        labels["service"] = service
    return {
        "alert": rule.kind.value,
        "expr": said or expression(rule, held.settings, held.whose),
        "for": duration_text(hold_s),
        "labels": labels,
        "annotations": {"summary": rule.title, "description": rule.impact},
    }


def _of_signs(policy: Policy) -> Iterator[Mapping[str, Any]]:
    """What services say of themselves, by the policy's own queries: they name their series."""
    for rule in declared_rules().values():
        for target in policy.targets:
            settings = target.settings(rule.kind)
            for signs in target.signs:
                query = (
                    signs.queries.get(rule.reading) if isinstance(signs, PrometheusSigns) else None
                )
                said = _judged(rule, settings, query) if query and not settings.off else ""
                if said:
                    held = _Held(Whose(targets=(target.name,)), settings, target.rank(rule.kind))
                    yield _alert(rule, held, said, service=signs.name)


def _judged(rule: Rule, settings: RuleSettings, query: str) -> str:
    """A rule over the number of a query; empty for judgements that need a memory of their own."""
    limit = _number(settings.limit)
    # A comment at its end would take the rest along.
    query = f"{query}\n" if "#" in query else query
    match rule.judgement:
        case Judgement.ABOVE:
            return f"({query}) >= {limit}"
        case Judgement.BELOW:
            return f"({query}) <= {limit}"
        case Judgement.BURN:
            spans = (duration_text(rule.short_window_s), duration_text(rule.window_s))
            means = (f"avg_over_time(({query})[{span}:1m]) >= {limit}" for span in spans)
            return " and ".join(means)
        case _:
            return ""


def _matcher(label: str, operator: str, values: Sequence[str]) -> str:
    """Nothing where there are no values. `*` stands for any text, all else for itself."""
    if not values:
        return ""
    patterns = (".*".join(re.escape(part) for part in value.split("*")) for value in values)
    return f"{label}{operator}{json.dumps('|'.join(patterns), ensure_ascii=False)}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
