"""A server whose manager is systemd, asked through a stand-in that runs it for real."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from postmasters_at import postmaster
from stanch.adapters.hosts.rivals import units_naming
from stanch.adapters.hosts.systemd import Systemd
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed, ProbeFailed
from stanch.model.ports.acting import ManagerStatus

UNIT = "orders-db.service"
"""Without the word by which others notice that somebody is at work on a server."""
STANDIN = Path(__file__).parents[2] / "programs" / "systemctl"

one_version = pytest.mark.parametrize("pg_major", [18], indirect=True)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="a unit runs its server as another user")


class Units:
    """The units of the stand-in, one of them a server's."""

    def __init__(self, folder: Path, server: ScratchServer | None = None) -> None:
        self.folder = folder
        shutil.copy(STANDIN, folder / "systemctl")
        self.program = str(folder / "systemctl")
        self._data = str(server.data_directory) if server else "/data"
        known = {UNIT: self._unit(server)} if server else {}
        self._write(known)

    def _unit(self, server: ScratchServer) -> dict[str, Any]:
        owner = server.data_directory.stat()
        pg_ctl, log = str(server.binaries.program("pg_ctl")), str(server.log_path)
        return {
            "pid_file": f"{self._data}/postmaster.pid",
            "uid": owner.st_uid,
            "gid": owner.st_gid,
            "start": [pg_ctl, "start", "-w", "-D", self._data, "-l", log],
            "properties": {
                "LoadState": "loaded",
                "UnitFileState": "enabled",
                "ActiveState": "active",
                "SubState": "running",
                "Result": "success",
                "NRestarts": "0",
                "Restart": "no",
                "CanStart": "yes",
                "CanStop": "yes",
                "KillSignal": "2",
                "SendSIGKILL": "yes",
                "TimeoutStopUSec": "infinity",
            },
        }

    def _read(self) -> dict[str, Any]:
        return json.loads((self.folder / "units.json").read_text())

    def _write(self, known: dict[str, Any]) -> None:
        (self.folder / "units.json").write_text(json.dumps(known))

    def say(self, **properties: str) -> None:
        known = self._read()
        known[UNIT]["properties"].update(properties)
        self._write(known)

    def put(self, **values: Any) -> None:
        known = self._read()
        known[UNIT].update(values)
        self._write(known)

    def calls(self, verb: str) -> list[str]:
        lines = (self.folder / "calls").read_text().splitlines()
        return [line for line in lines if f" {verb} " in f" {line} "]

    def manager(self, unit: str = UNIT) -> Systemd:
        return Systemd(unit=unit, data_directory=self._data, program=self.program)


@one_version
@as_root
async def test_a_unit_s_server_is_restarted_stopped_and_started_by_systemd_alone(
    server: ScratchServer, tmp_path: Path
) -> None:
    units = Units(tmp_path, server)
    manager, first = units.manager(), postmaster(server)
    status = await manager.status()
    assert isinstance(status, ManagerStatus), status
    assert (status.may_act, status.jobs, status.declines, status.other_manager) == (
        True,
        (),
        (),
        "",
    )
    assert (status.restarts_by_itself, status.programs_major, status.data_major) == (False, 18, 18)

    assert (await manager.restart(first, deadline_s=30)).ok
    second = postmaster(server)
    assert second.since > first.since
    assert units.calls("restart") == [f"--job-mode=fail --no-ask-password restart -- {UNIT}"]

    late = await manager.stop(first, deadline_s=10)
    assert (late.ok, late.another) == (False, True)
    assert units.calls("stop") == []

    assert (await manager.stop(second, deadline_s=30)).ok
    assert server.postmaster_pid() is None
    assert (await manager.start(deadline_s=30)).ok
    assert server.query("SELECT 1") == [(1,)]


@one_version
@as_root
async def test_a_unit_that_runs_another_process_is_not_asked_to_stop_this_one(
    server: ScratchServer, tmp_path: Path
) -> None:
    units, meant = Units(tmp_path, server), postmaster(server)
    other = tmp_path / "other.pid"
    other.write_text(f"{os.getpid()}\n")
    units.put(pid_file=str(other))
    for answer in (
        await units.manager().stop(meant, deadline_s=5),
        await units.manager().restart(meant, deadline_s=5),
    ):
        assert answer.another
        assert str(os.getpid()) in answer.detail
    assert units.calls("stop") + units.calls("restart") == []
    assert server.postmaster_pid() == meant.pid

    units.put(pid_file=str(server.data_directory / "postmaster.pid"))
    units.put(denied=True)
    denied = await units.manager().stop(meant, deadline_s=5)
    assert (denied.ok, "Access denied" in denied.detail) == (False, True)
    units.put(denied=False)
    units.say(Job="77")
    waiting = await units.manager().status()
    assert isinstance(waiting, ManagerStatus)
    assert "job 77" in waiting.jobs[0].command
    with pytest.raises(ProbeFailed, match="destructive"):
        await units.manager().stop(meant, deadline_s=5)
    assert server.postmaster_pid() == meant.pid


@one_version
@as_root
async def test_a_start_that_systemd_has_given_up_on_is_begun_anew_and_told(
    server: ScratchServer, tmp_path: Path
) -> None:
    units = Units(tmp_path, server)
    server.stop()
    units.say(ActiveState="failed", SubState="failed", Result="start-limit-hit")
    answer = await units.manager().start(deadline_s=30)
    assert answer.ok, answer.detail
    assert "had given up" in answer.detail
    assert len(units.calls("reset-failed")) == 1


async def test_a_unit_that_systemd_does_not_know_is_no_manager(tmp_path: Path) -> None:
    units = Units(tmp_path)
    assert isinstance(await units.manager().status(), Missing)
    with pytest.raises(ActionFailed):
        await units.manager().start(deadline_s=5)
    assert units.calls("start") == []
    nobody = Systemd(unit=UNIT, data_directory="/data", program=str(tmp_path / "none"))
    assert isinstance(await nobody.status(), Missing)


def test_what_is_no_name_of_a_service_reaches_no_command_line() -> None:
    with pytest.raises(ValueError, match="not the name"):
        Systemd(unit="--force.service;reboot", data_directory="/data")


def test_a_unit_is_found_by_exactly_its_data_directory(tmp_path: Path) -> None:
    texts = {
        "a.service": "[Service]\nEnvironment=PGDATA=/srv/pg/16/data/\n",
        "b.service": "[Service]\nExecStart=/pg/bin/postgres -D '/srv/pg/16/data2'\n",
        "c.service": "[Service]\n# PGDATA=/srv/pg/16/data\nEnvironment=P=/mnt/srv/pg/16/data\n",
        "d.service": '[Service]\nExecStart=/pg/bin/postgres -D "/srv/pg/17/data"\n',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    folders = (str(tmp_path),)
    assert units_naming("/srv/pg/16/data", folders=folders, systemd=True) == ("a.service",)
    assert units_naming("/srv/pg/17/data", folders=folders, systemd=True) == ("d.service",)
    assert units_naming("/srv/pg/16", folders=folders, systemd=True) == ()
    assert units_naming("/srv/pg/16/data", folders=folders, systemd=False) == ()
