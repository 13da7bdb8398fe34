"""The lock beside a dead server's socket goes with its lock file, and nobody else's does."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fix_servers import MakeServer
from stanch.adapters.hosts.files import LOCK_FILE, LocalFiles
from stanch.adapters.hosts.socket_locks import set_aside_socket_locks, socket_directories
from stanch.model.diagnosis import Missing
from stanch.model.ports.acting import FileAnswer

PORT = 5433
SOCKET_LOCK = f".s.PGSQL.{PORT}.lock"
ENDING = "stale.20260314T090000Z"
PROVEN = "100\n/data\n1760000000\n{port}\n{sockets}\n127.0.0.1\n"


def lock_of(sockets: Path, *, pid: int = 100, data: str = "/data", start: int = 1760000000) -> str:
    return f"{pid}\n{data}\n{start}\n{PORT}\n{sockets}\n"


def proven(sockets: Path) -> bytes:
    return PROVEN.format(port=PORT, sockets=sockets).encode()


def test_the_dead_servers_own_lock_is_renamed_and_kept(tmp_path: Path) -> None:
    (tmp_path / SOCKET_LOCK).write_text(lock_of(tmp_path))
    moved = set_aside_socket_locks(proven(tmp_path), ending=ENDING)
    assert moved == (f"{tmp_path}/{SOCKET_LOCK}.{ENDING}",)
    assert not (tmp_path / SOCKET_LOCK).exists()
    assert (tmp_path / f"{SOCKET_LOCK}.{ENDING}").read_text() == lock_of(tmp_path)


@pytest.mark.parametrize(
    "other", [{"pid": 101}, {"data": "/other"}, {"start": 1760000001}], ids=lambda o: next(iter(o))
)
def test_the_lock_of_another_server_or_another_start_is_left_alone(
    tmp_path: Path, other: dict[str, int | str]
) -> None:
    text = lock_of(tmp_path, **other)  # type: ignore[arg-type]
    (tmp_path / SOCKET_LOCK).write_text(text)
    assert set_aside_socket_locks(proven(tmp_path), ending=ENDING) == ()
    assert (tmp_path / SOCKET_LOCK).read_text() == text
    assert len(list(tmp_path.iterdir())) == 1


def test_a_name_that_is_taken_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / SOCKET_LOCK).write_text(lock_of(tmp_path))
    (tmp_path / f"{SOCKET_LOCK}.{ENDING}").write_text("somebody's")
    assert set_aside_socket_locks(proven(tmp_path), ending=ENDING) == ()
    assert (tmp_path / SOCKET_LOCK).exists()
    assert (tmp_path / f"{SOCKET_LOCK}.{ENDING}").read_text() == "somebody's"


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(lock_of(tmp_path))
    (tmp_path / SOCKET_LOCK).symlink_to(tmp_path / "elsewhere")
    assert set_aside_socket_locks(proven(tmp_path), ending=ENDING) == ()
    assert (tmp_path / SOCKET_LOCK).is_symlink()


@pytest.mark.parametrize("content", [b"", b"100\n/data\n1760000000\n", b"\x00\xff" * 999])
def test_without_a_socket_there_is_nothing_to_move(content: bytes) -> None:
    assert set_aside_socket_locks(content, ending=ENDING) == ()


def test_a_folder_that_is_gone_is_nothing_to_move(tmp_path: Path) -> None:
    assert set_aside_socket_locks(proven(tmp_path / "gone"), ending=ENDING) == ()


def test_the_locks_of_every_socket_go_and_only_those_of_the_same_start(tmp_path: Path) -> None:
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
    folders = [str(tmp_path / name) for name in ("first", "second", "third", "gone")]
    (tmp_path / "first" / SOCKET_LOCK).write_text(lock_of(tmp_path / "first"))
    # The same start names the first folder in each of its socket locks.
    (tmp_path / "second" / SOCKET_LOCK).write_text(lock_of(tmp_path / "first"))
    (tmp_path / "third" / SOCKET_LOCK).write_text(lock_of(tmp_path / "third", pid=101))
    moved = set_aside_socket_locks(proven(tmp_path / "first"), ending=ENDING, directories=folders)
    assert moved == tuple(f"{folder}/{SOCKET_LOCK}.{ENDING}" for folder in folders[:2])
    assert (tmp_path / "third" / SOCKET_LOCK).exists()


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_a_dead_servers_socket_folders_are_those_of_its_last_start(
    make_server: MakeServer, public_folder: Path
) -> None:
    for name in ("a", "b"):
        (public_folder / name).mkdir()
        (public_folder / name).chmod(0o777)
    wanted = (f"{public_folder}/a", f"{public_folder}/b")
    server = make_server(conf={"unix_socket_directories": f"{wanted[0]}, {wanted[1]}, @abstract"})
    data, programs = str(server.data_directory), str(server.binaries.bin_dir)
    locks = [Path(folder) / f".s.PGSQL.{server.port}.lock" for folder in wanted]
    server.kill()
    assert await socket_directories(data, bin_directory=programs) == wanted
    lock_file = (server.data_directory / LOCK_FILE).read_bytes()
    assert all(lock.exists() for lock in locks)
    moved = set_aside_socket_locks(lock_file, ending=ENDING, directories=wanted)
    assert moved == tuple(f"{lock}.{ENDING}" for lock in locks)
    assert not any(lock.exists() for lock in locks)
    assert isinstance(await socket_directories(data, bin_directory=""), Missing)
    assert isinstance(await socket_directories(data, bin_directory="/nowhere"), Missing)
    assert isinstance(await socket_directories(f"{data}/no", bin_directory=programs), Missing)


async def test_setting_the_lock_file_aside_takes_the_sockets_lock_along(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_bytes(proven(tmp_path))
    (tmp_path / SOCKET_LOCK).write_text(lock_of(tmp_path))
    report = await LocalFiles().set_aside_lock_file(
        str(tmp_path),
        inode=(tmp_path / LOCK_FILE).stat().st_ino,
        sha256=hashlib.sha256(proven(tmp_path)).hexdigest(),
        new_name=f"{LOCK_FILE}.{ENDING}",
    )
    assert report.answer is FileAnswer.DONE
    assert SOCKET_LOCK in report.detail
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{LOCK_FILE}.{ENDING}",
        f"{SOCKET_LOCK}.{ENDING}",
    }


async def test_a_lock_file_that_changed_keeps_its_sockets_lock(tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).write_bytes(proven(tmp_path))
    (tmp_path / SOCKET_LOCK).write_text(lock_of(tmp_path))
    report = await LocalFiles().set_aside_lock_file(
        str(tmp_path), inode=1, sha256="0" * 64, new_name=f"{LOCK_FILE}.{ENDING}"
    )
    assert report.answer is FileAnswer.CHANGED
    assert (tmp_path / SOCKET_LOCK).exists()
