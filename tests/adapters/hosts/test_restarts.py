"""Who restarts a dead server, from what its manager is set to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from stanch.adapters.hosts.restarts import LOOP_WAIT_S, RESTART_S, read_restarts, seconds_of
from stanch.model.diagnosis import Missing
from stanch.model.host import Found, LocalServer, ServerManager
from stanch.model.restarts import Restarts

UNIT = "postgresql@15-main.service"
NOWHERE = Missing(what="x", reason="not needed")


def server(manager: ServerManager, name: str = "", data: str = "/data") -> LocalServer:
    return LocalServer(
        data_directory=Found(value=data, source="named"),
        bin_dir=NOWHERE,
        log_path=NOWHERE,
        manager=manager,
        manager_source="no sign of any manager",
        manager_name=name,
    )


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, ...]:
    """Where systemd looks, the one that counts most first."""
    found = tuple(str(tmp_path / name) for name in ("etc", "run", "lib"))
    for folder in found:
        Path(folder).mkdir()
    return found


def unit(folder: str, name: str, *lines: str) -> None:
    path = Path(folder) / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(("[Service]", *lines)) + "\n")


def of_unit(folders: Sequence[str], name: str = UNIT) -> Restarts | Missing:
    return read_restarts(server(ServerManager.SYSTEMD, name), folders=folders, systemd=True)


@pytest.mark.parametrize("manager", [ServerManager.PG_CTL, ServerManager.PG_CTLCLUSTER])
def test_pg_ctl_and_pg_ctlcluster_restart_nothing_by_themselves(
    manager: ServerManager, folders: tuple[str, ...]
) -> None:
    found = read_restarts(server(manager, "15/main"), folders=folders, systemd=False)
    assert isinstance(found, Restarts)
    assert found.after_s is None
    assert manager.value in found.source


@pytest.mark.parametrize("manager", [ServerManager.DOCKER, ServerManager.UNKNOWN])
def test_of_other_managers_nothing_is_guessed(
    manager: ServerManager, folders: tuple[str, ...]
) -> None:
    assert isinstance(read_restarts(server(manager), folders=folders, systemd=True), Missing)


@pytest.mark.parametrize(
    ("lines", "after_s"),
    [
        ((), None),
        (("Restart=no",), None),
        (("Restart=on-success",), None),
        (("#Restart=always",), None),
        (("Restart=on-watchdog", "RestartSec=5"), None),
        (("Restart=always",), RESTART_S),
        (("Restart=on-failure", "RestartSec=5s"), 5.0),
        (("Restart=on-abnormal", "RestartSec=1min 30s"), 90.0),
        (("Restart = on-abort", "RestartSec = 250ms"), 0.25),
        (("Restart=always", "Restart=no"), None),
        (("Restart=always", "Restart="), None),
    ],
)
def test_a_unit_restarts_after_a_crash_as_it_says(
    folders: tuple[str, ...], lines: tuple[str, ...], after_s: float | None
) -> None:
    unit(folders[2], "postgresql@.service", *lines)
    found = of_unit(folders)
    assert isinstance(found, Restarts)
    assert found.after_s == after_s
    assert UNIT in found.source


def test_a_debian_cluster_under_systemd_is_restarted_as_its_unit_says(
    folders: tuple[str, ...],
) -> None:
    unit(folders[2], "postgresql@.service", "Restart=on-failure", "RestartSec=2")
    debian = server(ServerManager.PG_CTLCLUSTER, "15/main")
    found = read_restarts(debian, folders=folders, systemd=True)
    assert found == Restarts(after_s=2.0, source=f"systemd ({UNIT}, Restart=on-failure)")


def test_a_drop_in_and_an_administrators_own_unit_win_over_the_packages(
    folders: tuple[str, ...],
) -> None:
    etc, run, lib = folders
    unit(lib, "postgresql@.service", "Restart=always", "RestartSec=9")
    unit(etc, "postgresql@.service", "Restart=on-failure", "RestartSec=8")
    unit(lib, "postgresql@.service.d/10-wait.conf", "RestartSec=7")
    unit(run, "postgresql@15-main.service.d/20-wait.conf", "RestartSec=6")
    found = of_unit(folders)
    assert isinstance(found, Restarts)
    assert (found.after_s, "on-failure" in found.source) == (6.0, True)
    unit(etc, "postgresql@16-main.service.d/90-other.conf", "RestartSec=1")
    assert of_unit(folders) == found, "another cluster's drop-in is not this one's"


@pytest.mark.parametrize("name", ["postgresql.service", "../../etc/passwd", ""])
def test_a_unit_that_is_not_found_is_not_known(folders: tuple[str, ...], name: str) -> None:
    assert isinstance(of_unit(folders, name), Missing)


def test_a_wait_without_end_is_nothing_to_wait_for(folders: tuple[str, ...]) -> None:
    unit(folders[0], UNIT, "Restart=always", "RestartSec=infinity")
    assert isinstance(of_unit(folders), Missing)


@pytest.mark.parametrize(
    ("text", "loop_wait_s"),
    [
        ('{"loop_wait": 4}', 4.0),
        ("{}", LOOP_WAIT_S),
        ("[", LOOP_WAIT_S),
        ("[7]", LOOP_WAIT_S),
        ('{"loop_wait": true}', LOOP_WAIT_S),
        ('{"loop_wait": -1}', LOOP_WAIT_S),
        ('{"loop_wait": 1e99}', LOOP_WAIT_S),
        ("[" * 100_000, LOOP_WAIT_S),
    ],
)
def test_patroni_restarts_it_in_its_next_round(
    tmp_path: Path, folders: tuple[str, ...], text: str, loop_wait_s: float
) -> None:
    (tmp_path / "patroni.dynamic.json").write_text(text)
    patroni = server(ServerManager.PATRONI, data=str(tmp_path))
    found = read_restarts(patroni, folders=folders, systemd=False)
    assert isinstance(found, Restarts)
    assert found.after_s == loop_wait_s
    assert "Patroni" in found.source


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5.0),
        ("5s", 5.0),
        ("1min 30s", 90.0),
        ("2h", 7200.0),
        ("100ms", 0.1),
        ("", None),
        ("soon", None),
        ("5 parsecs", None),
        ("-5", None),
        ("9" * 400, None),
    ],
)
def test_lengths_of_time_are_read_as_systemd_writes_them(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == pytest.approx(seconds)
