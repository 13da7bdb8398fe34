"""Alerts from outside, through a running Stanch, a real Alertmanager, and a SIGKILL."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fix_responder import MakeResponder, Responder
from pages import Block, blocks, pages
from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.policy.parse import read_policy

pytestmark = [
    pytest.mark.story,
    # Nothing here depends on what the server is.
    pytest.mark.parametrize("pg_major", [15], indirect=True),
]

PAGE = pages()["docs/signals.md"]
ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
HEAD = """
state_directory: /var/lib/stanch
people: {asha: {name: Asha Example, contacts: []}}
ladder: [asha]
channels: {screen: {type: terminal}}
targets: {orders: {dsn: service=orders}}
"""


def page_blocks(flag: str) -> Iterator[Block]:
    return (b for b in blocks("docs/signals.md", PAGE) if flag in b.flags)


@pytest.mark.parametrize("block", list(page_blocks("policy")), ids=lambda b: f"line {b.line}")
def test_every_policy_of_the_page_is_accepted(block: Block, pg_major: int) -> None:
    known = "signals:\n  sources:\n    pagerduty: {format: pagerduty, secret_file: /s}\n"
    text = block.text if "source: pagerduty" not in block.text else known + block.text[9:]
    assert read_policy(HEAD + text, file="p").findings == ()


def signals_policy(stanch_folder: Path) -> dict[str, Any]:
    token = stanch_folder / "token"
    token.write_text("t0ken\n")
    return {
        "sources": {
            "prometheus": {"format": "alertmanager", "token_file": str(token)},
            "scripts": {"format": "stanch", "token_file": str(token), "target": "orders"},
        },
    }


def started(make_responder: MakeResponder, server: ScratchServer) -> Responder:
    stanch = make_responder(server, start=False)
    stanch.write_policy({**stanch.policy, "signals": signals_policy(stanch.folder)})
    stanch.start()
    return stanch


def post(stanch: Responder, path: str, plain: Any) -> int:
    try:
        return httpx.post(
            f"http://127.0.0.1:{stanch.port}{path}",
            json=plain,
            headers={"Authorization": "Bearer t0ken"},
            timeout=10,
        ).status_code
    except httpx.HTTPError:
        return 0


@pytest.mark.world
@pytest.mark.skipif(ALERTMANAGER is None, reason="needs Alertmanager")
def test_an_alert_of_a_real_alertmanager_opens_an_incident_and_its_end_lets_it_close(
    server: ScratchServer, make_responder: MakeResponder, tmp_path: Path
) -> None:
    stanch = started(make_responder, server)
    config = _alertmanager_config(stanch, tmp_path)
    check = subprocess.run(
        ["amtool", "check-config", str(config)], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stderr
    with ExitStack() as stack:
        url = _start_alertmanager(stack, config, tmp_path)
        _raise(url, ends_in_s=60)
        page = stanch.wait_for_mail(lambda m: "PostgresDown" in m.subject, "of the page")
        assert page.recipients == ("ann@example.com",)
        assert stanch.show()["symptoms"][0].startswith("outside_alert:prometheus:")
        _raise(url, ends_in_s=-1)
        seen = stanch.wait_for_status("resolved")
    assert [i["target"] for i in stanch.incidents()] == ["orders"]
    kinds = [k for k in stanch.kinds() if k.startswith("symptom")]
    assert kinds == ["symptom.cleared"]
    # Nobody's word but the database's own.
    assert stanch.events("incident.resolved")[-1]["verified"] is True
    assert seen["title"].startswith("PostgresDown")
    [listed] = stanch.json("signals", "--all")
    assert (listed["status"], listed["incident"]) == ("resolved", seen["id"])


def _alertmanager_config(stanch: Responder, tmp_path: Path) -> Path:
    """The page's own example, with the addresses of this test."""
    [block] = page_blocks("alertmanager")
    plain = yaml.safe_load(block.text)
    plain["route"]["group_interval"] = "1s"
    [receiver] = plain["receivers"]
    [hook] = receiver["webhook_configs"]
    hook["url"] = hook["url"].replace("8432", str(stanch.port))
    token = tmp_path / "stanch-token"
    token.write_text("t0ken")
    hook["http_config"]["authorization"]["credentials_file"] = str(token)
    config = tmp_path / "alertmanager.yml"
    config.write_text(yaml.safe_dump(plain))
    return config


def _start_alertmanager(stack: ExitStack, config: Path, tmp_path: Path) -> str:
    assert ALERTMANAGER is not None
    port = free_port()
    process = subprocess.Popen(
        [
            ALERTMANAGER,
            f"--config.file={config}",
            f"--storage.path={tmp_path}/alerts",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    stack.callback(process.wait, timeout=10)
    stack.callback(process.terminate)
    url = f"http://127.0.0.1:{port}"
    end = time.monotonic() + 20
    while True:
        try:
            httpx.get(f"{url}/-/ready", timeout=2).raise_for_status()
            return url
        except httpx.HTTPError:
            assert time.monotonic() < end, "Alertmanager did not start"
            time.sleep(0.1)


def _raise(url: str, *, ends_in_s: float) -> None:
    now = datetime.now(UTC)
    alert = {
        "labels": {"alertname": "PostgresDown", "severity": "critical", "target": "orders"},
        "annotations": {"summary": "pg_up is 0"},
        "startsAt": (now - timedelta(seconds=5)).isoformat(),
        "endsAt": (now + timedelta(seconds=ends_in_s)).isoformat(),
    }
    httpx.post(f"{url}/api/v2/alerts", json=[alert], timeout=5).raise_for_status()


class Storm(threading.Thread):
    """Posts alerts, each with a key of its own, and keeps those that were answered with 200."""

    def __init__(self, stanch: Responder, name: str) -> None:
        super().__init__(daemon=True)
        self.taken: list[str] = []
        self.enough = threading.Event()
        self._stanch = stanch
        self._name = name

    def run(self) -> None:
        number = 0
        while not self.enough.is_set():
            number += 1
            keys = [f"{self._name}-{number}-{i}" for i in range(5)]
            alerts = [{"title": "down", "key": key, "severity": "P3"} for key in keys]
            if post(self._stanch, "/signals", {"signals": alerts}) == 200:
                self.taken += keys
            else:
                time.sleep(0.02)


def test_what_was_answered_survives_a_kill_in_a_burst_and_becomes_one_incident(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = started(make_responder, server)
    storms = [Storm(stanch, f"s{n}") for n in range(3)]
    for storm in storms:
        storm.start()
    stanch.wait_for(lambda: sum(len(s.taken) for s in storms) > 100, what="a burst")
    stanch.kill()
    stanch.start()
    for storm in storms:
        storm.enough.set()
    for storm in storms:
        storm.join(15)
    taken = {key for storm in storms for key in storm.taken}
    assert len(taken) > 100
    kept = _stored_keys(stanch)
    assert taken <= kept, f"{len(taken - kept)} of {len(taken)} are lost"

    stanch.wait_for(lambda: _owed(stanch) == 0, what="every alert is told")
    [incident] = stanch.incidents()
    assert incident["target"] == "orders"
    assert len(stanch.show()["symptoms"]) == 21
    over = [{"title": "down", "key": key, "status": "resolved"} for key in sorted(kept)]
    for start in range(0, len(over), 1000):
        assert post(stanch, "/signals", {"signals": over[start : start + 1000]}) == 200
    stanch.wait_for_status("resolved")
    assert len([k for k in stanch.kinds() if k.startswith("symptom")]) == 20 + 21


def _rows(stanch: Responder, statement: str) -> list[tuple[Any, ...]]:
    import sqlite3

    with sqlite3.connect(f"file:{stanch.state}/stanch.db?mode=ro", uri=True) as db:
        return db.execute(statement).fetchall()


def _stored_keys(stanch: Responder) -> set[str]:
    return {key for (key,) in _rows(stanch, "SELECT key FROM signal")}


def _owed(stanch: Responder) -> int:
    [(count,)] = _rows(stanch, "SELECT count(*) FROM signal WHERE owed_us IS NOT NULL")
    return count
