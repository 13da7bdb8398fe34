"""The second lock of a dead server: the one beside its Unix socket.

It holds the same PID as `postmaster.pid`, and PostgreSQL believes it the same way: with a stranger
under that PID a server refuses to start until both are out of the way.
"""

from __future__ import annotations

import os
from contextlib import suppress

from stanch.facts.lock_file import LockFile, parse_lock_file

BYTES_MAX = 64 * 1024


def set_aside_socket_lock(proven: bytes, *, ending: str) -> str:
    """Rename the socket's lock of the server that wrote the proven lock file.

    Only one that names the same PID, data directory and start is touched: a socket that another
    server has taken over meanwhile is that server's. Answers the new name; empty where there is
    nothing of it to move. What cannot be moved is left, and the start says so.
    """
    server = parse_lock_file(proven)
    if server.socket_directory is None or server.port is None:
        return ""
    name = f".s.PGSQL.{server.port}.lock"
    try:
        folder = os.open(server.socket_directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return ""
    try:
        return _moved(folder, name, f"{name}.{ending}", server)
    except OSError:
        return ""
    finally:
        os.close(folder)


def _moved(folder: int, name: str, new_name: str, server: LockFile) -> str:
    if not _is_of(folder, name, server):
        return ""
    # Nobody's file is overwritten: the name carries the moment, and a rename would not ask.
    with suppress(FileNotFoundError):
        os.stat(new_name, dir_fd=folder, follow_symlinks=False)
        return ""
    os.rename(name, new_name, src_dir_fd=folder, dst_dir_fd=folder)
    if _is_of(folder, new_name, server):
        return new_name
    # Exchanged between the look and the rename: back at once, unless a newer one stands there.
    with suppress(FileExistsError):
        os.link(new_name, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.unlink(new_name, dir_fd=folder)
    return ""


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
