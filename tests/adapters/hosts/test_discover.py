"""Finding servers of this machine, and saying from what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stanch.adapters.hosts.discover import (
    Places,
    describe_local_server,
    discover_local_server,
)
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.diagnosis import Missing
from stanch.model.host import Found, ServerManager

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to see other users' processes")

on_15 = pytest.mark.parametrize("pg_major", [15], indirect=True)
on_18 = pytest.mark.parametrize("pg_major", [18], indirect=True)
"""For what no version does differently; tests without either run on both."""


def _places(tmp_path: Path) -> Places:
    return Places(
        debian_etc=tmp_path / "etc",
        debian_lib=tmp_path / "lib",
        debian_log=tmp_path / "log",
        socket_directories=(str(tmp_path),),
    )


def _value(found: Found | Missing) -> str:
    assert isinstance(found, Found), found
    return found.value


@as_root
def test_a_running_server_is_found_by_its_port(server: ScratchServer) -> None:
    found = discover_local_server(server.port)
    assert _value(found.data_directory) == os.path.realpath(server.data_directory)
    assert isinstance(found.data_directory, Found)
    assert f"port {server.port}" in found.data_directory.source
    assert Path(_value(found.bin_dir), "pg_controldata").exists()
    assert found.running
    assert found.manager is ServerManager.PG_CTL


@as_root
@on_15
def test_a_killed_server_is_found_by_the_lock_of_its_socket(server: ScratchServer) -> None:
    port, sockets = server.port, str(server.folder.sockets)
    server.kill()
    found = discover_local_server(port, socket_directory=sockets)
    assert _value(found.data_directory) == str(server.data_directory)
    assert not found.running
    assert Path(_value(found.bin_dir), "postgres").exists()


@on_18
def test_another_port_or_socket_finds_nothing(server: ScratchServer, tmp_path: Path) -> None:
    for port, sockets in ((1, None), (server.port, str(tmp_path))):
        found = discover_local_server(port, socket_directory=sockets, places=_places(tmp_path))
        assert isinstance(found.data_directory, Missing)
        assert found.manager is ServerManager.UNKNOWN
        assert found.running is None


@as_root
def test_a_socket_lock_planted_by_another_user_is_not_believed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text("15\n")
    lock = tmp_path / ".s.PGSQL.4711.lock"
    lock.write_text(f"1\n{data}\n1\n4711\n")
    places = _places(tmp_path)
    assert _value(discover_local_server(4711, places=places).data_directory) == str(data)
    os.chown(lock, 65534, 65534)
    assert isinstance(discover_local_server(4711, places=places).data_directory, Missing)


def _debian(tmp_path: Path) -> Path:
    data, etc = tmp_path / "data", tmp_path / "etc/15/main"
    for folder in (data, etc, tmp_path / "lib/15/bin", tmp_path / "log"):
        folder.mkdir(parents=True)
    (tmp_path / "lib/15/bin/postgres").touch()
    (tmp_path / "log/postgresql-15-main.log").touch()
    (etc / "postgresql.conf").write_text(
        f"# port = 1\ndata_directory = '{data}'\t# where\nport = 4712 # comment\n"
    )
    return data


def test_a_stopped_debian_cluster_is_found_by_its_configuration(tmp_path: Path) -> None:
    data = _debian(tmp_path)
    found = discover_local_server(4712, places=_places(tmp_path))
    assert _value(found.data_directory) == str(data)
    assert _value(found.bin_dir) == str(tmp_path / "lib/15/bin")
    assert _value(found.log_path).endswith("postgresql-15-main.log")
    assert (found.manager, found.manager_name) == (ServerManager.PG_CTLCLUSTER, "15/main")
    assert isinstance(discover_local_server(1, places=_places(tmp_path)).data_directory, Missing)


def test_a_stopped_debian_cluster_with_another_socket_folder_is_not_meant(tmp_path: Path) -> None:
    _debian(tmp_path)
    found = discover_local_server(4712, socket_directory="/elsewhere", places=_places(tmp_path))
    assert isinstance(found.data_directory, Missing)


def test_a_data_directory_that_is_named_needs_no_port(tmp_path: Path) -> None:
    data = _debian(tmp_path)
    found = describe_local_server(str(data), places=_places(tmp_path))
    assert found.data_directory == Found(value=str(data), source="named")
    assert found.running is False


def test_alter_system_moves_a_debian_clusters_port(tmp_path: Path) -> None:
    data = _debian(tmp_path)
    (data / "postgresql.auto.conf").write_text("port = '4713'\n")
    places = _places(tmp_path)
    assert _value(discover_local_server(4713, places=places).data_directory) == str(data)
    assert isinstance(discover_local_server(4712, places=places).data_directory, Missing)


def test_patronis_file_makes_it_patronis_even_in_debians_layout(tmp_path: Path) -> None:
    data = _debian(tmp_path)
    (data / "patroni.dynamic.json").write_text("{}")
    found = discover_local_server(4712, places=_places(tmp_path))
    assert found.manager is ServerManager.PATRONI


@as_root
def test_a_folder_that_this_os_user_may_not_read_is_an_answer_and_no_error(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    (folder / "PG_VERSION").write_text("15\n")
    os.seteuid(65534)
    try:
        found = describe_local_server(str(folder), places=_places(tmp_path))
    finally:
        os.seteuid(0)
    assert found.manager is ServerManager.UNKNOWN
    assert isinstance(found.log_path, Missing)
