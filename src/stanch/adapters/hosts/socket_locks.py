"""The other locks of a dead server: one beside each of its Unix sockets.

Each holds the same PID as `postmaster.pid`, and PostgreSQL believes it the same way: with a
stranger under that PID a server refuses to start until all of them are out of the way.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from stanch.adapters.hosts.printed import printed
from stanch.adapters.hosts.start_options import last_options
from stanch.facts.lock_file import LockFile, parse_lock_file
from stanch.model.diagnosis import Missing

BYTES_MAX = 64 * 1024
DEADLINE_S = 3.0


async def socket_directories(
    data_directory: str, *, bin_directory: str
) -> tuple[str, ...] | Missing:
    """Every folder in which the next start wants a socket; the lock file names the first only.

    Source: `postgres -C unix_socket_directories` with the options of the last start, asked as the
    owner of the data directory. Cost: one short process.
    """
    what = "socket directories"
    if not bin_directory:
        return Missing(what=what, reason="the server's programs were not found")
    try:
        owner = os.stat(data_directory)
    except OSError as error:
        return Missing(what=what, reason=f"{data_directory}: {error.strerror}")
    options = shlex.split(last_options(Path(data_directory) / "postmaster.opts"))
    command = (f"{bin_directory}/postgres", "-D", data_directory, *options)
    said = await printed((*command, "-C", "unix_socket_directories"), owner, deadline_s=DEADLINE_S)
    if isinstance(said, Missing):
        return Missing(what=what, reason=said.reason)
    # Warnings come before; the value is the last line.
    value = said.rstrip("\n").rpartition("\n")[2]
    names = [name.strip().strip('"') for name in value.split(",")]
    # An abstract socket (@name) has no lock file, and an empty value means none at all.
    return tuple(name for name in names if name.startswith("/"))


def set_aside_socket_locks(
    proven: bytes, *, ending: str, directories: Sequence[str] = ()
) -> tuple[str, ...]:
    """Rename the socket locks of the server that wrote the proven lock file, in all these folders.

    Only one that names the same PID, data directory and start is touched: a socket that another
    server has taken over meanwhile is that server's. Answers the new paths. What cannot be moved
    is left, and the start says so.
    """
    server = parse_lock_file(proven)
    if server.port is None:
        return ()
    name = f".s.PGSQL.{server.port}.lock"
    first = () if server.socket_directory is None else (server.socket_directory,)
    moved: list[str] = []
    for directory in dict.fromkeys((*first, *directories)):
        with suppress(OSError):
            folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if _moved(folder, name, f"{name}.{ending}", server):
                    moved.append(f"{directory}/{name}.{ending}")
            finally:
                os.close(folder)
    return tuple(moved)


def _moved(folder: int, name: str, new_name: str, server: LockFile) -> bool:
    if not _is_of(folder, name, server):
        return False
    # Nobody's file is overwritten: the name carries the moment, and a rename would not ask.
    with suppress(FileNotFoundError):
        os.stat(new_name, dir_fd=folder, follow_symlinks=False)
        return False
    os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=folder)
    if _is_of(folder, new_name, server):
        return True
    # Exchanged between the look and the rename: back at once, unless a newer one stands there.
    with suppress(FileExistsError):
        os.link(new_name, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.unlink(new_name, dir_fd=folder)
    return False


def _is_of(folder: int, name: str, server: LockFile) -> bool:
    """Whether the file says that it belongs to exactly this start of this server."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        found = parse_lock_file(os.read(fd, BYTES_MAX))
    finally:
        os.close(fd)
    return found.pid is not None and _start_of(found) == _start_of(server)


def _start_of(lock: LockFile) -> tuple[int | None, str | None, int | None]:
    return lock.pid, lock.data_directory, lock.started_at_epoch_s
