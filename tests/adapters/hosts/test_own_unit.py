"""Under systemd a server lives in the unit of whoever started it."""

from __future__ import annotations

from pathlib import Path

import pytest

from stanch.adapters.hosts.own_unit import would_die_with_us

V2 = "0::/system.slice/stanch.service\n"
V1 = "12:memory:/system.slice/other.service\n1:name=systemd:/system.slice/stanch.service\n"
SESSION = "0::/user.slice/user-1000.slice/session-3.scope\n"
USER_SCOPE = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/shell.scope\n"


def asked(tmp_path: Path, group: str, *, unit: str = "", systemd: bool = True) -> str:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(group)
    (tmp_path / "units").mkdir(exist_ok=True)
    (tmp_path / "units/stanch.service").write_text(unit)
    folders = (str(tmp_path / "units"),)
    return would_die_with_us(proc=tmp_path / "proc", folders=folders, systemd=systemd)


@pytest.mark.parametrize("group", [V2, V1], ids=["v2", "v1"])
def test_in_a_unit_that_ends_all_its_processes_nothing_is_started(
    tmp_path: Path, group: str
) -> None:
    refusal = asked(tmp_path, group, unit="[Service]\nExecStart=stanch run\n")
    assert "stanch.service" in refusal
    assert "KillMode=process" in refusal


def test_a_unit_whose_file_is_not_found_is_taken_for_one_that_does(tmp_path: Path) -> None:
    assert asked(tmp_path, V2.replace("stanch", "elsewhere"))


def test_a_drop_in_that_spares_others_is_enough(tmp_path: Path) -> None:
    (tmp_path / "units/stanch.service.d").mkdir(parents=True)
    (tmp_path / "units/stanch.service.d/kill.conf").write_text("[Service]\nKillMode=process\n")
    assert asked(tmp_path, V2, unit="[Service]\nKillMode=mixed\n") == ""


@pytest.mark.parametrize("group", [SESSION, USER_SCOPE, ""], ids=["session", "scope", "nothing"])
def test_outside_of_a_unit_it_may_be_started(tmp_path: Path, group: str) -> None:
    assert asked(tmp_path, group) == ""


def test_without_systemd_it_may_be_started(tmp_path: Path) -> None:
    assert asked(tmp_path, V2, systemd=False) == ""
