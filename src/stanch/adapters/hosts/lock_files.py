"""Reading `postmaster.pid` and the machine's shared memory, as raw as they are."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

from stanch.model.diagnosis import Missing
from stanch.model.host import LockFileRead, SharedMemory

_BYTES_MAX = 8193
"""One more than any lock file can have, so that a longer file is seen to be longer."""


def read_lock_file(data_directory: str) -> LockFileRead | Missing | None:
    """The lock file through one descriptor, so content and inode are of the same file."""
    path = f"{data_directory}/postmaster.pid"
    if not os.path.isdir(data_directory):
        return Missing(what="lock file", reason=f"{data_directory} is not a folder we may see")
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Missing(what="lock file", reason=f"{path}: {error.strerror}")
    try:
        known = os.fstat(handle)
        if not stat.S_ISREG(known.st_mode):
            return Missing(what="lock file", reason=f"{path} is not a regular file")
        return LockFileRead(
            path=path,
            content=os.pread(handle, _BYTES_MAX, 0),
            device=known.st_dev,
            inode=known.st_ino,
            modified_at=datetime.fromtimestamp(known.st_mtime, UTC),
        )
    except OSError as error:
        return Missing(what="lock file", reason=f"{path}: {error.strerror}")
    finally:
        os.close(handle)


def read_shared_memory(shm_id: int, proc: Path) -> SharedMemory | Missing:
    """How many have a System V segment attached, in our own IPC namespace."""
    what = f"shared memory {shm_id}"
    try:
        lines = (proc / "sysvipc" / "shm").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        return Missing(what=what, reason=f"the list of segments: {error.strerror}")
    heads = lines[0].split() if lines else []
    if "shmid" not in heads or "nattch" not in heads:
        return Missing(what=what, reason="the list of segments has no known form")
    at_id, at_count = heads.index("shmid"), heads.index("nattch")
    for line in lines[1:]:
        fields = line.split()
        if len(fields) > max(at_id, at_count) and fields[at_id] == str(shm_id):
            return SharedMemory(shm_id=shm_id, exists=True, attached=int(fields[at_count]))
    return SharedMemory(shm_id=shm_id, exists=False, attached=0)
