"""`stanch rules` as a person calls it; what holds for whom, and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stanch.cli.app import command_line
from stanch.model.errors import SetupError
from stanch.model.symptoms import SymptomKind
from stanch.policy.rules import declared_rules

POLICY = """\
state_directory: /var/lib/stanch
people: {asha: {name: Asha Example, contacts: [{channel: mail, address: asha@example.com}]}}
ladder: [asha]
channels: {mail: {type: smtp, host: localhost}}
rules: {long_transaction: {limit: 5m}, deadlocks: {off: true}}
tiers: {oltp: {rules: {sessions_blocked: {also: 5s}}}}
targets:
  orders: {dsn: service=orders, tier: oltp, rules: {connections_high: {limit: 70%}}}
  reports: {dsn: service=reports, severity_of: {disk_low: 4}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "stanch.yaml"
    path.write_text(POLICY)
    return path


def run(*words: str) -> str:
    done = CliRunner().invoke(command_line(), ["rules", *words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_rule_is_listed_and_what_differs_is_told_per_target(config: Path) -> None:
    printed = run("--config", str(config))
    for kind in SymptomKind:
        assert kind.value in printed
    assert "70%" in printed
    assert printed.count("  reports") == 3


def test_without_a_policy_file_the_declared_limits_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "80%" in run()


def test_a_rule_is_explained_with_its_near_misses_and_who_said_what(config: Path) -> None:
    printed = run("--explain", "sessions_blocked", "--config", str(config))
    for near_miss in declared_rules()[SymptomKind.SESSIONS_BLOCKED].quiet:
        assert near_miss in printed
    assert "orders: limit 3, clear 3, also 5s (tiers.oltp), hold 0 s, severity 2" in printed
    assert "reports: limit 3, clear 3, also 10s, hold 0 s, severity 2" in printed
    printed = run("--explain", "disk_low", "--config", str(config))
    assert "severity 4 (targets.reports.severity_of)" in printed


def test_an_unknown_rule_is_refused_with_the_nearest(config: Path) -> None:
    with pytest.raises(SetupError, match="no such rule") as refused:
        run("--explain", "disk_ful", "--config", str(config))
    assert "disk_full" in refused.value.hint


def test_json_has_every_rule_with_what_holds_and_where_from(config: Path) -> None:
    body = json.loads(run("--json", "--config", str(config)))
    assert body["schema"] == "stanch.rules/1"
    rules = {rule["rule"]: rule for rule in body["rules"]}
    assert set(rules) == {kind.value for kind in SymptomKind}
    orders = rules["connections_high"]["targets"]["orders"]
    assert (orders["limit"], orders["from"]["limit"]) == (70.0, "targets.orders")
    assert rules["server_down"]["declared"]["limit"] is None
