"""The page of all rules and symptoms: docs/rules.md."""

from __future__ import annotations

from collections.abc import Iterator

from stanch.detect.explain import when
from stanch.detect.prometheus import SINGLE_WITNESS_HOLD_S, expression
from stanch.detect.shown_only import SHOWN_ONLY
from stanch.model.rules import Rule, settings_of
from stanch.model.shown import span
from stanch.policy.rules import declared_rules

HEAD = """\
# Rules

Every symptom Stanch can observe, and when it is told; how symptoms begin and end is in
[symptoms](symptoms.md). This page is made from the rule files in `src/stanch/policy/rules`. Limits,
hold times and severities are changed by [`rules`](policy.md) of the whole policy, of a tier or of a
target; `stanch rules --explain RULE` prints what holds, and who said so.

`stanch rules --prometheus` prints the rules that metrics can express as a rule file for Prometheus.
A target that names its labels (`metrics: {instance: ["db1.example.com:*"]}`) gets the limits that
hold for it; whatever else Prometheus knows gets those of the whole policy. `signs` of services are
asked by their own queries.

| Rule | Severity | Told when |
| --- | --- | --- |
"""


SHOWN_HEAD = """
***

No rule judges these readings; they are kept in the [flight recorder](recorder.md), to be looked at
beside the rest:
"""


def rules_page() -> str:
    """The whole page as Markdown."""
    rules = declared_rules().values()
    rows = [f"| [{r.kind.value}](#{r.kind.value}) | {r.severity} | {_when(r)} |" for r in rules]
    sections = [line for rule in rules for line in _section(rule)]
    shown = [f"- `{name}`: {what}" for name, what in SHOWN_ONLY.items()]
    return HEAD + "\n".join([*rows, *sections, SHOWN_HEAD, *shown]) + "\n"


def _when(rule: Rule) -> str:
    return when(rule, settings_of(rule))


def _section(rule: Rule) -> Iterator[str]:
    settings = settings_of(rule)
    yield from ("", f"## {rule.kind.value}", "")
    yield f"{rule.title[0].upper()}{rule.title[1:]}. {_when(rule)}"
    yield from ("", f"From: {rule.source}.", "", f"Then: {rule.impact}")
    notes = [
        ("Data may be at risk until a diagnosis says otherwise.", rule.at_risk),
        ("Maintenance does not hold it.", not rule.held_in_maintenance),
        ("Told in whatever incident of its target is open.", rule.along),
        ("An incident of its own: nothing else joins it.", rule.apart),
        ("Shipped switched off.", rule.off),
    ]
    for note, holds in notes:
        if holds:
            yield from ("", note)
    yield from ("", "Stays quiet:", "", *(f"- {near_miss}" for near_miss in rule.quiet))
    if rule.promql:
        hold_s = settings.hold_s if rule.declared else SINGLE_WITNESS_HOLD_S
        hold = f", for {span(hold_s)}" if hold_s else ""
        yield from ("", f"For Prometheus{hold}:", "", "```promql")
        yield from (expression(rule, settings), "```")
