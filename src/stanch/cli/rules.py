"""`stanch rules`: every rule, what holds for which target, and the same for Prometheus."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stanch.model.errors import SetupError
from stanch.policy.quoting import printable

if TYPE_CHECKING:
    from stanch.model.rules import Rule, RuleSettings
    from stanch.model.symptoms import SymptomKind
    from stanch.policy.policy import Policy

DEFAULT_FILE = Path("stanch.yaml")
EPILOG = "Exit codes: 0 printed, 1 no such rule, or a policy file that cannot be used."


def register(app: typer.Typer) -> None:
    app.command("rules", epilog=EPILOG)(rules)


def rules(
    explain: Annotated[str, typer.Option(help="One rule in full, by its name.")] = "",
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print a rule file for Prometheus.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The policy file.", envvar="STANCH_CONFIG")
    ] = DEFAULT_FILE,
) -> None:
    """Print the rules, and what holds for each target of the policy.

    Without a policy file it prints what is declared. --prometheus gives each target the limits that
    hold for it where `metrics` of the target tells its labels, else those of the whole policy.
    """
    if prometheus and (explain or as_json):
        raise typer.BadParameter("it prints every rule, as YAML", param_hint="--prometheus")
    policy = _policy(config)
    if prometheus:
        _print_for_prometheus(policy)
        return
    kinds = [_kind(explain)] if explain else _all_kinds()
    if as_json:
        body = {"schema": "stanch.rules/1", "rules": [_as_json(k, policy) for k in kinds]}
        print(json.dumps(body, ensure_ascii=True, indent=1))
    elif explain:
        print("\n".join(_explained(kinds[0], policy)))
    else:
        _table(kinds, policy)


def _print_for_prometheus(policy: Policy | None) -> None:
    from stanch.detect.prometheus import left_out, rule_file

    typer.echo(rule_file(policy), nl=False)
    if policy is not None and (names := left_out(policy)):
        said = ", ".join(printable(name) for name in names)
        print(f"not in it, as no `metrics` are given: limits of {said}", file=sys.stderr)


def _policy(config: Path) -> Policy | None:
    """The policy; None where none was named and none lies here."""
    from stanch.service.house import read_policy_file

    if config == DEFAULT_FILE and not config.exists():
        return None
    return read_policy_file(config).current


def _all_kinds() -> list[SymptomKind]:
    from stanch.policy.rules import declared_rules

    return list(declared_rules())


def _kind(name: str) -> SymptomKind:
    from stanch.policy.reading import nearest

    kinds = {kind.value: kind for kind in _all_kinds()}
    if name not in kinds:
        hint = nearest(name, tuple(kinds)) or "`stanch rules` lists every rule."
        raise SetupError("no such rule", on=printable(name), hint=hint)
    return kinds[name]


def _rule(kind: SymptomKind) -> Rule:
    from stanch.policy.rules import declared_rules

    return declared_rules()[kind]


def _table(kinds: list[SymptomKind], policy: Policy | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from stanch.detect.explain import when
    from stanch.detect.in_force import in_force
    from stanch.model.rules import settings_of

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("rule", "severity", "told when"):
        table.add_column(title, overflow="fold")
    for kind in kinds:
        rule = _rule(kind)
        sentence = when(rule, settings_of(rule))
        table.add_row(kind.value, str(rule.severity), sentence.replace("`", ""))
        for held in in_force(policy, kind) if policy is not None else ():
            if held.settings != settings_of(rule) or held.rank != rule.severity:
                said = "off" if held.settings.off else when(rule, held.settings)
                table.add_row(f"  {held.target}", str(held.rank), said.replace("`", ""))
    Console(highlight=False, markup=False, emoji=False).print(table)
    if policy is None:
        print("no policy file here: these are the declared limits", file=sys.stderr)


def _explained(kind: SymptomKind, policy: Policy | None) -> Iterator[str]:
    from stanch.detect.explain import when
    from stanch.detect.in_force import in_force
    from stanch.detect.prometheus import expression
    from stanch.model.rules import settings_of

    rule = _rule(kind)
    declared = settings_of(rule)
    yield f"{kind.value}: {rule.title}"
    yield f"  told when  {when(rule, declared)}"
    yield f"  then       {rule.impact}"
    yield f"  from       {rule.source}"
    yield f"  severity   {rule.severity}" + (", data may be at risk" if rule.at_risk else "")
    for near_miss in rule.quiet:
        yield f"  quiet      {near_miss}"
    if rule.promql:
        yield f"  promql     {expression(rule, declared)}"
    for held in in_force(policy, kind) if policy is not None else ():
        yield f"  {held.target}: " + ", ".join(_settings(rule, held.settings, held))


def _settings(rule: Rule, settings: RuleSettings, held: Any) -> Iterator[str]:
    """Each setting with who said it, where it was not the rule itself."""
    for name, text in _shown(rule, settings, held.rank):
        origin = held.origin(name)
        yield f"{name} {text}" + ("" if origin == "declared" else f" ({origin})")


def _shown(rule: Rule, settings: RuleSettings, rank: int) -> Iterator[tuple[str, str]]:
    from stanch.detect.explain import limit_text
    from stanch.model.readings import unit_of
    from stanch.model.shown import span
    from stanch.policy.limits import limit_kind

    if rule.declared:
        yield "limit", limit_text(rule, settings.limit)
        yield "clear", limit_text(rule, settings.clear)
        if rule.also is not None and settings.also is not None:
            yield "also", limit_kind(unit_of(rule.also.reading)).show(settings.also)
        yield "hold", span(settings.hold_s)
    yield "severity", str(rank)
    if settings.off:
        yield "off", "yes"


def _as_json(kind: SymptomKind, policy: Policy | None) -> dict[str, Any]:
    from stanch.detect.explain import when
    from stanch.detect.in_force import in_force
    from stanch.model.rules import settings_of

    rule = _rule(kind)
    declared = settings_of(rule)
    return {
        "rule": kind.value,
        "title": rule.title,
        "judge": rule.judgement.value,
        "reading": rule.reading or None,
        "unit": rule.limit_unit.value if rule.declared else None,
        "when": when(rule, declared),
        "source": rule.source,
        "quiet": list(rule.quiet),
        "data_at_risk": rule.at_risk,
        "promql": rule.promql or None,
        "declared": _numbers(rule, declared, rule.severity),
        "targets": {
            held.target: {
                **_numbers(rule, held.settings, held.rank),
                "from": {n: o for n, o in held.origins if o != "declared"},
            }
            for held in (in_force(policy, kind) if policy is not None else ())
        },
    }


def _numbers(rule: Rule, settings: RuleSettings, rank: int) -> dict[str, Any]:
    return {
        "limit": settings.limit if rule.declared else None,
        "clear": settings.clear if rule.declared else None,
        "also": settings.also,
        "hold_s": settings.hold_s,
        "severity": rank,
        "off": settings.off,
    }
