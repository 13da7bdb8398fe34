"""The rule file for Prometheus: the policy's limits, as promtool and a real exporter judge it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.cli.app import command_line
from stanch.policy.rules import declared_rules

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)

POLICY = """\
state_directory: /var/lib/stanch
people: {asha: {name: Asha Example, contacts: [{channel: mail, address: asha@example.com}]}}
ladder: [asha]
channels: {mail: {type: smtp, host: localhost}}
rules: {long_transaction: {limit: 5m}, standby_gone: {off: true}, mxid_wraparound: {off: true}}
tiers: {oltp: {rules: {long_transaction: {limit: 30s}, oom_kill: {limit: 20m}}}}
targets:
  orders:
    dsn: service=orders
    tier: oltp
    metrics: {instance: ["db1.example.com:*", "bouncer1:9127"], datname: ["orders*"]}
    severity_of: {disk_low: 4}
  carts: {dsn: service=carts, tier: oltp, metrics: {instance: ["db2.example.com:*"]}}
  reports:
    dsn: service=reports
    metrics: {instance: ["db3.example.com:*"]}
    rules: {disk_short: {also: 50%}, deadlocks: {off: true}}
  bare: {dsn: service=bare, rules: {pool_high: {limit: 60%}}}
"""


UNLABELLED = re.sub(r",? *metrics: \{.*\](?=\})\}?", "", POLICY)


def printed(tmp_path: Path, policy: str = POLICY) -> tuple[str, str]:
    file = tmp_path / "stanch.yaml"
    file.write_text(policy)
    words = ["rules", "--prometheus", "--config", str(file)]
    done = CliRunner().invoke(command_line(), words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


def alerts(text: str) -> Mapping[str, list[Any]]:
    [group] = yaml.safe_load(text)["groups"]
    found: dict[str, list[Any]] = {}
    for rule in group["rules"]:
        found.setdefault(rule["alert"], []).append(rule)
    return found


def promtool(*words: str, cwd: Path) -> None:
    done = subprocess.run(
        ["promtool", *words], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_target_gets_the_limits_that_hold_for_it(tmp_path: Path) -> None:
    text, warned = printed(tmp_path)
    rules = alerts(text)
    base, orders, carts, reports = rules["long_transaction"]
    assert base["expr"].endswith(">= 300")
    assert 'instance!~"db1\\\\.example\\\\.com:.*|bouncer1:9127|db2' in base["expr"]
    assert orders["expr"].endswith(">= 30")
    assert 'bouncer1:9127", datname=~"orders.*", state!=' in orders["expr"]
    assert orders["labels"]["target"] == "orders"
    assert (carts["labels"]["target"], carts["expr"][-5:]) == ("carts", ">= 30")
    assert (reports["labels"]["target"], reports["expr"][-6:]) == ("reports", ">= 300")
    assert [rule["labels"]["severity"] for rule in rules["disk_low"]] == ["2", "4", "2"]
    assert rules["disk_short"][-1]["expr"].endswith("<= 50)")
    assert len(rules["deadlocks"]) == 3, "for reports it is off"
    assert "[20m]" in rules["oom_kill"][1]["expr"]
    assert "target" not in rules["oom_kill"][1]["labels"], "it is one rule for two targets"
    assert rules["oom_kill"][1]["labels"]["targets"] == "orders and 1 more"
    assert "bare" in warned


SIGNS = """\
  shop:
    dsn: service=shop
    rules: {error_rate_high: {limit: 7%, hold: 2m}, error_rate_raised: {off: true}}
    signs:
      web:
        type: prometheus
        url: http://prometheus.example.com:9090
        error_rate: "100 * sum(rate(errors_total[1m])) / sum(rate(requests_total[1m])) # all"
        request_rate: sum(rate(requests_total[1m]))
"""


@needs_promtool
def test_what_services_say_of_themselves_is_asked_by_the_policys_own_query(tmp_path: Path) -> None:
    text = printed(tmp_path, POLICY + SIGNS)[0]
    (tmp_path / "rules.yml").write_text(text)
    rules = alerts(text)
    [high] = rules["error_rate_high"]
    assert (high["for"], high["labels"]["service"]) == ("2m", "web")
    assert "error_rate_raised" not in rules, "it is off"
    assert "requests_silent" not in rules, "another Prometheus may know them"
    [burn] = rules["error_budget_burn"]
    expected = [
        {
            "eval_time": "39m",
            "alertname": name,
            "exp_alerts": [
                {
                    "exp_labels": {
                        "from": "stanch",
                        "target": "shop",
                        "service": "web",
                        "severity": rule["labels"]["severity"],
                    },
                    "exp_annotations": rule["annotations"],
                }
            ]
            * fires,
        }
        # Five in a hundred fail: a budget burns, and seven percent are not reached.
        for name, rule, fires in (("error_rate_high", high, 0), ("error_budget_burn", burn, 1))
    ]
    series = [
        {"series": "errors_total", "values": "0+5x80"},
        {"series": "requests_total", "values": "0+100x80"},
    ]
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "30s", "input_series": series, "alert_rule_test": expected}],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", "test.yml", cwd=tmp_path)


def test_what_is_the_same_for_all_is_one_rule_without_labels(tmp_path: Path) -> None:
    rules = alerts(printed(tmp_path)[0])
    [down] = rules["server_down"]
    assert (down["for"], "instance" in down["expr"]) == ("30s", False)
    [certificate] = rules["certificate_expiring"]
    assert certificate["expr"].endswith(f"<= {14 * 86400}")
    written = {kind.value for kind, rule in declared_rules().items() if rule.promql}
    assert set(rules) == written - {"mxid_wraparound"}


def test_no_placeholder_and_no_empty_selector_is_left(tmp_path: Path) -> None:
    for text in (printed(tmp_path)[0], printed(tmp_path, UNLABELLED)[0]):
        for rules in alerts(text).values():
            for rule in rules:
                assert not re.search(r"\$|\{limit|\{also|\{window|\{\}|\{,|, *\}", rule["expr"])


def test_labels_stand_for_themselves_whatever_is_in_them(tmp_path: Path) -> None:
    policy = POLICY.replace("bouncer1:9127", "a|b.*(c)[d]+{e}$f'g:é")
    (tmp_path / "rules.yml").write_text(printed(tmp_path, policy)[0])
    promtool("check", "rules", "rules.yml", cwd=tmp_path)
    rule = alerts((tmp_path / "rules.yml").read_text())["long_transaction"][1]
    assert "a\\\\|b\\\\..*\\\\(c\\\\)\\\\[d\\\\]\\\\+" in rule["expr"]


SERIES = {
    'pg_up{instance="db1.example.com:9187"}': "1 1 0x40",
    'pg_up{instance="db2.example.com:9187"}': "1x40",
    # Forty-five seconds: too long for the tier, short for everybody else.
    'pg_stat_activity_max_tx_duration{instance="db1.example.com:9187",datname="orders",'
    'state="active"}': "45x40",
    'pg_stat_activity_max_tx_duration{instance="db1.example.com:9187",datname="other",'
    'state="active"}': "900x40",
    'pg_stat_activity_max_tx_duration{instance="db2.example.com:9187",datname="carts",'
    'state="active",application_name="pg_dump"}': "9000x40",
    'pg_stat_activity_max_tx_duration{instance="db3.example.com:9187",datname="r",'
    'state="active"}': "45x40",
    'pg_stat_activity_max_tx_duration{instance="db9.example.com:9187",datname="r",'
    'state="active"}': "301x40",
    'node_filesystem_avail_bytes{instance="db3.example.com:9100",fstype="ext4"}': "9e9x40",
    'node_filesystem_size_bytes{instance="db3.example.com:9100",fstype="ext4"}': "30e9x40",
    'node_filesystem_avail_bytes{instance="db2.example.com:9100",fstype="ext4"}': "9e9x40",
    'node_filesystem_size_bytes{instance="db2.example.com:9100",fstype="ext4"}': "30e9x40",
    'pg_replication_slot_wal_status{instance="db9:1",slot_name="s",wal_status="lost"}': "1x40",
    'pg_replication_slot_wal_status{instance="db9:1",slot_name="t",wal_status="extended"}': "1x40",
    # A consumer that comes back now and then, and one that never does.
    'pg_replication_slots_active{instance="db9:1",slot_name="t"}': "0x30 1 0x10",
    'pg_replication_slots_pg_wal_lsn_diff{instance="db9:1",slot_name="t"}': "5x140",
    'pg_replication_slots_active{instance="db9:1",slot_name="s"}': "0x140",
    'pg_replication_slots_pg_wal_lsn_diff{instance="db9:1",slot_name="s"}': "5x140",
    # Two reserved for superusers, eight for roles with pg_use_reserved_connections: 81 of 90.
    'pg_settings_max_connections{instance="db9:1"}': "100x40",
    'pg_settings_superuser_reserved_connections{instance="db9:1"}': "2x40",
    'pg_settings_reserved_connections{instance="db9:1"}': "8x40",
    'pg_stat_activity_count{instance="db9:1",state="idle"}': "81x40",
    # Before version 16 there are none of those: 81 of 98.
    'pg_settings_max_connections{instance="db8:1"}': "100x40",
    'pg_settings_superuser_reserved_connections{instance="db8:1"}': "2x40",
    'pg_stat_activity_count{instance="db8:1",state="idle"}': "81x40",
    'pg_replication_lag_seconds{instance="db9:1"}': "31x40",
    'pg_replication_is_replica{instance="db9:1"}': "1x40",
    'pg_replication_lag_seconds{instance="db8:1"}': "31x40",
    'pg_replication_is_replica{instance="db8:1"}': "0x40",
    'pg_database_wraparound_age_datfrozenxid_seconds{instance="db9:1",datname="a"}': "1e9x40",
    'pg_database_wraparound_age_datfrozenxid_seconds{instance="db8:1",datname="a"}': "2e8x40",
    'pg_stat_database_deadlocks{instance="db3.example.com:9187",datname="r"}': "0+9x40",
    'pg_stat_database_deadlocks{instance="db2.example.com:9187",datname="r"}': "0+9x40",
}

FIRING: Mapping[str, list[dict[str, str]]] = {
    "server_down": [{"severity": "1", "instance": "db1.example.com:9187"}],
    "long_transaction": [
        {"severity": "4", "instance": "db1.example.com:9187", "target": "orders"},
        {"severity": "4", "instance": "db9.example.com:9187"},
    ],
    "disk_short": [
        {
            "severity": "3",
            "instance": "db3.example.com:9100",
            "fstype": "ext4",
            "target": "reports",
        }
    ],
    "slot_lost": [
        {"severity": "2", "instance": "db9:1", "slot_name": "s", "wal_status": "lost"},
    ],
    "slot_inactive": [{"severity": "3", "instance": "db9:1", "slot_name": "s"}],
    "connections_exhausted": [{"severity": "1", "instance": "db9:1"}],
    "connections_high": [
        {"severity": "2", "instance": "db9:1"},
        {"severity": "2", "instance": "db8:1"},
    ],
    "replication_delay": [{"severity": "3", "instance": "db9:1"}],
    "xid_wraparound": [{"severity": "2", "instance": "db9:1"}],
    "deadlocks": [{"severity": "3", "instance": "db2.example.com:9187", "target": "carts"}],
    "pool_high": [],
    "archive_failing": [],
}


@needs_promtool
def test_the_rules_fire_in_prometheus_for_those_they_should_and_for_no_others(
    tmp_path: Path,
) -> None:
    text = printed(tmp_path)[0]
    (tmp_path / "rules.yml").write_text(text)
    words = {
        name: (rules[0]["annotations"], rules[0]["labels"]) for name, rules in alerts(text).items()
    }
    expected = [
        {
            "eval_time": "32m" if name == "slot_inactive" else "10m",
            "alertname": name,
            "exp_alerts": [
                {"exp_labels": {"from": "stanch", **labels}, "exp_annotations": words[name][0]}
                for labels in firing
            ],
        }
        for name, firing in FIRING.items()
    ]
    quiet = {"eval_time": "45s", "alertname": "server_down", "exp_alerts": []}
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "input_series": [{"series": s, "values": v} for s, v in SERIES.items()],
                "alert_rule_test": [*expected, quiet],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump(test))
    promtool("check", "rules", "--lint=all", "--lint-fatal", "rules.yml", cwd=tmp_path)
    promtool("test", "rules", "test.yml", cwd=tmp_path)


EXPORTER = shutil.which("prometheus-postgres-exporter") or shutil.which("postgres_exporter")

LATER_THAN_0_11 = frozenset(
    {
        "pg_replication_slot_wal_status",
        "pg_replication_is_replica",
        "pg_database_wraparound_age_datfrozenxid_seconds",
        "pg_database_wraparound_age_datminmxid_seconds",
        "pg_settings_reserved_connections",
    }
)
"""Collectors of newer exporters, and a setting of newer servers."""


@pytest.fixture
def exposed(shared_server: ScratchServer) -> Iterator[str]:
    """What a real exporter tells of a server with a slot."""
    assert EXPORTER is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    name = f"exported_{os.getpid()}"
    shared_server.query(f"SELECT pg_create_physical_replication_slot('{name}', true)")
    process = subprocess.Popen(
        [EXPORTER, f"--web.listen-address=127.0.0.1:{port}"],
        env={"DATA_SOURCE_NAME": shared_server.dsn("postgres") + " sslmode=disable"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield _scraped(f"http://127.0.0.1:{port}/metrics")
    finally:
        process.terminate()
        process.wait(10)
        shared_server.query(f"SELECT pg_drop_replication_slot('{name}')")


def _scraped(url: str) -> str:
    for _ in range(200):
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read().decode()
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise AssertionError("the exporter does not answer")


@pytest.mark.parametrize("pg_major", [15], indirect=True)
@pytest.mark.skipif(EXPORTER is None, reason="postgres_exporter is not installed")
def test_the_metrics_of_the_rules_are_those_of_a_real_exporter(exposed: str) -> None:
    """A rule over a name that nobody exports can never fire."""
    told = set(re.findall(r"^(pg_\w+)", exposed, re.MULTILINE))
    for kind, rule in declared_rules().items():
        wanted = set(re.findall(r"\bpg_\w+(?=[{\s\[)])", rule.promql)) - LATER_THAN_0_11
        # Nobody streams from this server.
        wanted -= {"pg_stat_replication_pg_wal_lsn_diff"}
        assert wanted <= told, f"{kind}: {wanted - told}"
