"""What a policy may say about each declared rule: made of the rules, with each one's own unit."""

from __future__ import annotations

from stanch.model.readings import unit_of
from stanch.model.rules import Rule, RuleChange
from stanch.policy.kinds import Boolean, Integer
from stanch.policy.limits import limit_kind
from stanch.policy.quantities import Duration
from stanch.policy.rules import declared_rules
from stanch.policy.shapes import ByName, Key, Section

HOLD = Duration(max_s=7 * 86_400)


def _section(rule: Rule) -> Section:
    severity = Key(
        name="severity",
        field="severity",
        holds=Integer(low=1, high=4),
        doc="Its rank, 1 is worst; `severity_of` of a target still goes before.",
    )
    keys = (*_limits(rule), severity) if rule.declared else (severity,)
    return Section(title=f"rule {rule.kind.value}", make=RuleChange, keys=keys)


def _limits(rule: Rule) -> tuple[Key, ...]:
    limit = limit_kind(rule.limit_unit)
    keys = [
        Key(name="limit", field="limit", holds=limit, doc="Where it becomes bad."),
        Key(name="clear", field="clear", holds=limit, doc="Where it is good again."),
        Key(name="hold", field="hold_s", holds=HOLD, doc="How long it must be bad first."),
        Key(name="off", field="off", holds=Boolean(), doc="true: it is not judged at all."),
    ]
    if rule.also is not None:
        also = limit_kind(unit_of(rule.also.reading))
        doc = f"The second limit: {rule.also.reading} must be at or {rule.also.judgement} it, too."
        keys.insert(2, Key(name="also", field="also", holds=also, doc=doc))
    return tuple(keys)


RULES = ByName(
    sections={kind.value: _section(rule) for kind, rule in declared_rules().items()},
    field="kind",
    noun="rule",
)
