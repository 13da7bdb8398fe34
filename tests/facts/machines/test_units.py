"""What systemd's words about a unit mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from stanch.facts.machines.units import parse_unit
from stanch.model.diagnosis import Missing
from stanch.model.machine import ServiceState

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
RUNNING = """\
LoadState=loaded
ActiveState=active
SubState=running
Result=success
NRestarts=2
ExecMainCode=0
ExecMainStatus=0
ExecMainStartTimestampMonotonic=400000000
"""


def unit(text: str) -> ServiceState | Missing:
    return parse_unit("postgresql@16-main", text, at=AT, uptime_s=1000.0)


def service(**changed: str) -> ServiceState:
    text = RUNNING
    for name, value in changed.items():
        before = next(line for line in text.splitlines() if line.startswith(f"{name}="))
        text = text.replace(before, f"{name}={value}")
    found = unit(text)
    assert isinstance(found, ServiceState)
    return found


def test_a_running_unit_has_its_start_and_restarts_and_no_exit_code() -> None:
    found = service()
    assert (found.running, found.status) == (True, "active (running)")
    assert (found.restarts, found.exit_code, found.oom_killed) == (2, None, False)
    assert found.started_at == AT - timedelta(seconds=600)


def test_a_killed_unit_has_an_exit_code_as_a_shell_counts() -> None:
    found = service(
        ActiveState="failed",
        SubState="failed",
        Result="signal",
        ExecMainCode="2",
        ExecMainStatus="9",
    )
    assert (found.running, found.status, found.exit_code) == (False, "failed (signal)", 137)
    assert found.oom_killed is False


def test_a_unit_killed_for_memory_says_so() -> None:
    found = service(ActiveState="failed", Result="oom-kill", ExecMainCode="2", ExecMainStatus="9")
    assert (found.oom_killed, found.status) == (True, "failed (oom-kill)")


def test_a_unit_that_failed_by_itself_has_its_own_exit_code() -> None:
    found = service(ActiveState="failed", Result="exit-code", ExecMainCode="1", ExecMainStatus="1")
    assert found.exit_code == 1


def test_a_unit_between_restarts_does_not_run() -> None:
    assert not service(ActiveState="activating", SubState="auto-restart").running


def test_a_unit_that_only_starts_others_proves_nothing() -> None:
    found = unit(RUNNING.replace("SubState=running", "SubState=exited"))
    assert isinstance(found, Missing)
    assert "name the server's own unit" in found.reason


def test_a_unit_that_is_not_there_is_missing_and_not_stopped() -> None:
    found = unit(RUNNING.replace("LoadState=loaded", "LoadState=not-found"))
    assert found == Missing(what="service", reason="systemd knows no unit postgresql@16-main")


def test_a_machine_without_systemd_says_so_in_its_own_words() -> None:
    said = "System has not been booted with systemd as init system (PID 1). Can't operate."
    assert unit(f"{said}\n") == Missing(what="service", reason=said)
    assert unit("") == Missing(what="service", reason="systemctl said nothing")
