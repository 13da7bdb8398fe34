"""The proofs that sources and heartbeats have to show are read once, before they are needed."""

from __future__ import annotations

from pathlib import Path

from stanch.policy.signals import ExpectedHeartbeat, Signals, SignalSource
from stanch.service.readiness.inbound import try_inbound


def written(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


async def test_each_source_and_heartbeat_is_told_and_no_secret_shown(tmp_path: Path) -> None:
    token = written(tmp_path / "token", "hunter2\n")
    open_to_all = written(tmp_path / "open", "hunter3\n", 0o644)
    empty = written(tmp_path / "empty", "\nsecond line\n")
    signals = Signals(
        sources=(
            SignalSource(name="prom", format="alertmanager", token_file=token),
            SignalSource(name="pd", format="pagerduty", secret_file=open_to_all),
            SignalSource(name="bare", format="json"),
            SignalSource(name="lost", format="grafana", token_file=token, secret_file="/nowhere/s"),
        ),
        heartbeats=(ExpectedHeartbeat(name="nightly", every_s=60, token_file=empty),),
    )
    told = dict(await try_inbound(signals))
    assert {name: tried.ok for name, tried in told.items()} == {
        "signals source prom": True,
        "signals source pd": True,
        "signals source bare": True,
        "signals source lost": False,
        "signals heartbeat nightly": False,
    }
    details = {name: tried.detail for name, tried in told.items()}
    assert "every user of this machine can read" in details["signals source pd"]
    assert "every user" not in details["signals source prom"]
    assert details["signals source bare"] == "asks for no proof"
    assert "/nowhere/s" in details["signals source lost"]
    assert "is empty" in details["signals heartbeat nightly"]
    assert not any("hunter" in detail for detail in details.values())


async def test_a_policy_without_signals_has_nothing_to_try() -> None:
    assert await try_inbound(Signals()) == ()
