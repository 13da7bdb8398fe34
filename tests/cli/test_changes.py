"""`stanch changes` against a responder that runs, and out of the store of one that does not."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from fix_responder import MakeResponder
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.cli.rendering import incident_lines
from stanch.policy.quoting import printable

DEPLOY = {"service": "checkout", "version": "1.4.2", "by": "ann\x1b[2J", "target": "orders"}


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_a_deploy_is_listed_noted_when_an_incident_opens_and_there_when_nobody_runs(
    server: ScratchServer, make_responder: MakeResponder, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    source = {"format": "deploy", "token_file": str(tmp_path / "token")}
    stanch = make_responder(server, policy={"signals": {"sources": {"ci": source}}})
    assert "no target" in stanch.ask("/changes/nowhere")["text"]

    answer = httpx.post(
        f"http://127.0.0.1:{stanch.port}/signals/ci",
        json=DEPLOY,
        headers={"Authorization": "Bearer t0ken"},
    )
    assert answer.status_code == 200, answer.text
    assert stanch.call("declare", "checkout is slow", "--target", "orders").status == 0
    assert stanch.kinds()[:2] == ["incident.opened", "changes.noted"]
    shown = printable("\n".join(incident_lines(stanch.show())))
    assert "what changed in the two hours before, newest first:" in shown
    assert "deploy    checkout  version 1.4.2; by ann\\x1b[2J" in shown
    assert "## What changed before" in stanch.ask("/incidents/1/postmortem")["markdown"]
    stanch.stop()
    down = stanch.cli("changes", "orders")
    assert down.status == 0, down
    assert "deploy    checkout  version 1.4.2; by ann\\x1b[2J" in down.out
    assert "nobody has looked yet" in down.out
    assert stanch.ask("/changes/orders")["running"] is False
