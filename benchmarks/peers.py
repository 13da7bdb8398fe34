"""Prometheus, postgres_exporter and Alertmanager beside us, each rule with exporters of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from receiver import Arrival

from stanch.adapters.postgres.scratch import free_port

EXPORTERS = ("prometheus-postgres-exporter", "postgres_exporter")
ALERTMANAGERS = ("prometheus-alertmanager", "alertmanager")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One way to set the three programs up."""

    name: str
    scrape_s: int
    timeout_s: int
    evaluate_s: int
    hold_s: int
    group_wait_s: int
    also_silence: bool
    """Alert on a scrape that failed, too."""

    @property
    def expression(self) -> str:
        down = f'pg_up{{job="{self.name}"}} == 0'
        return f'({down}) or (up{{job="{self.name}"}} == 0)' if self.also_silence else down


USUAL = Rule(
    name="usual",
    scrape_s=15,
    timeout_s=10,
    evaluate_s=15,
    hold_s=30,
    group_wait_s=30,
    also_silence=False,
)
"""`pg_up == 0` for 30 s, on the intervals of the programs' own example files."""

TUNED = Rule(
    name="tuned",
    scrape_s=2,
    timeout_s=2,
    evaluate_s=1,
    hold_s=0,
    group_wait_s=0,
    also_silence=True,
)
"""The exporter answers after a second when the server is gone, and a scrape may not time out later
than the next one begins: two seconds is the shortest interval at which `pg_up` is ever 0."""

EAGER = Rule(
    name="eager",
    scrape_s=1,
    timeout_s=1,
    evaluate_s=1,
    hold_s=0,
    group_wait_s=0,
    also_silence=True,
)
"""As fast as whole seconds go: every scrape that fails for whatever reason pages."""

RULES = (USUAL, TUNED, EAGER)


def installed() -> bool:
    """Whether all three programs are on this machine."""
    programs = (("prometheus",), ALERTMANAGERS, EXPORTERS)
    return all(any(map(shutil.which, names)) for names in programs)


class Exporter:
    """One postgres_exporter on a free port."""

    def __init__(self, dsn: str, *, instance: str = "db", job: str = "") -> None:
        self.port = free_port()
        self.instance, self.job = instance, job
        self._dsn = dsn

    def start(self, stack: ExitStack) -> subprocess.Popen[bytes]:
        command = [_program(EXPORTERS), f"--web.listen-address=127.0.0.1:{self.port}"]
        return _started(stack, command, env={**os.environ, "DATA_SOURCE_NAME": self._dsn})

    def scrape(self) -> float:
        """Seconds until everything was there."""
        began = time.perf_counter()
        httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=10).raise_for_status()
        return time.perf_counter() - began


class PrometheusStack:
    """Watches `dsns` by every rule, and posts alerts to `url`."""

    def __init__(self, dsns: Mapping[str, str], url: str, rules: Sequence[Rule] = RULES) -> None:
        self._dsns, self._url, self._rules = dsns, url, rules
        self._stack = ExitStack()
        self._port, self._alert_port = free_port(), free_port()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _start(self) -> None:
        name = self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix="stanch-p-", dir="/tmp")
        )
        folder = Path(name)
        exporters = [
            Exporter(dsn, instance=instance, job=rule.name)
            for rule in self._rules
            for instance, dsn in self._dsns.items()
        ]
        for exporter in exporters:
            exporter.start(self._stack)
        _write(folder / "rules.yml", _rules_file(self._rules))
        _write(folder / "alertmanager.yml", _alertmanager_file(self._rules, self._url))
        scraped = _prometheus_file(self._rules, exporters, folder, self._alert_port)
        _write(folder / "prometheus.yml", scraped)
        _started(
            self._stack,
            [
                _program(ALERTMANAGERS),
                f"--config.file={folder}/alertmanager.yml",
                f"--storage.path={folder}/alerts",
                f"--web.listen-address=127.0.0.1:{self._alert_port}",
                "--cluster.listen-address=",
            ],
        )
        _started(
            self._stack,
            [
                _program(("prometheus",)),
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/samples",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
        )
        self._wait_until_up(len(exporters))

    def _wait_until_up(self, expected: int) -> None:
        url = f"http://127.0.0.1:{self._port}/api/v1/query"
        end = time.monotonic() + 90
        while time.monotonic() < end:
            try:
                answer = httpx.get(url, params={"query": "count(pg_up == 1)"}, timeout=5).json()
                counts = answer["data"]["result"]
                if counts and int(counts[0]["value"][1]) == expected:
                    return
            except (httpx.HTTPError, KeyError):
                pass
            time.sleep(0.5)
        raise RuntimeError("Prometheus does not see every server")


def alerted(arrival: Arrival, *, rule: str, instance: str) -> bool:
    """Whether a post says that this rule fires for this server."""
    for alert in arrival.body.get("alerts", []):
        labels = alert["labels"]
        if alert["status"] == "firing" and (labels["rule"], labels["server"]) == (rule, instance):
            return True
    return False


# --- files; JSON is YAML ------------------------------------------------------------------------


def _rules_file(rules: Sequence[Rule]) -> dict[str, Any]:
    groups = [
        {
            "name": rule.name,
            "interval": f"{rule.evaluate_s}s",
            "rules": [
                {
                    "alert": "PostgresDown",
                    "expr": rule.expression,
                    "for": f"{rule.hold_s}s",
                    "labels": {"rule": rule.name},
                }
            ],
        }
        for rule in rules
    ]
    return {"groups": groups}


def _alertmanager_file(rules: Sequence[Rule], url: str) -> dict[str, Any]:
    routes = [
        {
            "matchers": [f'rule="{rule.name}"'],
            "group_wait": f"{rule.group_wait_s}s",
            "group_by": ["server", "rule"],
            "receiver": "hook",
        }
        for rule in rules
    ]
    return {
        "route": {"receiver": "hook", "routes": routes},
        "receivers": [{"name": "hook", "webhook_configs": [{"url": url}]}],
    }


def _prometheus_file(
    rules: Sequence[Rule], exporters: Sequence[Exporter], folder: Path, alert_port: int
) -> dict[str, Any]:
    jobs = [
        {
            "job_name": rule.name,
            "scrape_interval": f"{rule.scrape_s}s",
            "scrape_timeout": f"{rule.timeout_s}s",
            "static_configs": [
                {"targets": [f"127.0.0.1:{one.port}"], "labels": {"server": one.instance}}
                for one in exporters
                if one.job == rule.name
            ],
        }
        for rule in rules
    ]
    alertmanager = {"static_configs": [{"targets": [f"127.0.0.1:{alert_port}"]}]}
    return {
        "rule_files": [str(folder / "rules.yml")],
        "alerting": {"alertmanagers": [alertmanager]},
        "scrape_configs": jobs,
    }


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _program(names: Sequence[str]) -> str:
    return next(found for name in names if (found := shutil.which(name)))


def _started(
    stack: ExitStack, command: Sequence[str], *, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
    )

    def end() -> None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    stack.callback(end)
    return process
