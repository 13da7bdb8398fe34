"""Whether anybody has a file of a data directory open, asked of the kernel instead of /proc.

/proc hides the open files of other users' processes, on some machines the first process's even
from root. The kernel itself knows: it grants a write lease on a file only while nobody else has it
open or mapped. So a lease on every file is a proof, and one refused lease names a file in use.

A lease makes whoever opens the file wait until it is given back, so it is given back in the very
next call, a few microseconds later; a server that starts meanwhile notices nothing. This runs in a
thread: nothing of the process is changed (the signal that tells of a waiting opener is set on the
descriptor alone), while a child process would cost longer than most walks and could be stopped
with a lease in its hands just as well.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from stanch.adapters.hosts.log_places import LogPlaces
from stanch.adapters.hosts.volumes import mounts, read_volume
from stanch.model.diagnosis import Missing
from stanch.model.host import FileHolds, Volume, VolumeUse

FILES_MAX = 500_000
HELD_SHOWN = 5
REFUSED_MAX = 100
"""From here on the data directory is plainly in use; nothing is gained by more names."""
TRIES = 4
"""A refused file is asked for this often in all: readers come and go, and we are one of them."""
PAUSE_S = 0.05

KINDS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs"})
"""File systems where every open of a file goes through one inode of this kernel. On overlays, FUSE
and shares a file may be open through another layer, or elsewhere, and a lease is granted still."""

_WHAT = "open files, asked by leases"
_WAITING_OPENER = signal.SIGURG
"""Does nothing unless asked for. The kernel's own choice, SIGIO, would end the process."""

_Answer = Literal["granted", "held", "gone"]


def read_holds(
    data_directory: str,
    expired: Callable[[], bool],
    *,
    proc: Path = Path("/proc"),
    logs: LogPlaces | None = None,
) -> FileHolds | Missing:
    """Ask for a lease on every ordinary file but the `logs`; `expired` says when to stop.

    Source: fcntl F_SETLEASE; needs the owner of the files, or root (CAP_LEASE).
    Cost: about 50 us a file. Opens every file for that long; reads none, so no access time changes.
    Never: keeps a lease, follows a link below the folders of the server, opens what is no file.
    """
    if sys.platform != "linux":
        return Missing(what=_WHAT, reason="this system has no leases that tell")
    try:
        real = os.path.realpath(data_directory, strict=True)
        roots = _roots(real)
    except OSError as error:
        return Missing(what=_WHAT, reason=error.strerror or str(error))
    known = mounts(proc)
    volumes = [read_volume(VolumeUse.DATA, root, known) for root in roots]
    for volume in volumes:
        if isinstance(volume, Missing):
            return Missing(what=_WHAT, reason=volume.reason)
        if volume.fs_type not in KINDS:
            reason = f"on {volume.fs_type} ({volume.mount_point}) leases do not tell of everybody"
            return Missing(what=_WHAT, reason=reason)
    walk = _Walk(expired=expired, devices=_devices(volumes), logs=logs or LogPlaces())
    for root in roots:
        walk.below(root)
    return walk.answer()


def _roots(real: str) -> list[str]:
    """The data directory, and what its links lead to: WAL and this version's tablespaces."""
    wal = os.path.realpath(f"{real}/pg_wal", strict=True)
    roots = [real] if wal == f"{real}/pg_wal" else [real, wal]
    version = Path(real, "PG_VERSION").read_text("ascii", "replace").strip()
    for name in sorted(os.listdir(f"{real}/pg_tblspc")):
        space = os.path.realpath(f"{real}/pg_tblspc/{name}", strict=True)
        # A tablespace's folder may hold the files of several versions, each of another server.
        roots += [f"{space}/{v}" for v in os.listdir(space) if v.startswith(f"PG_{version}_")]
    return roots


def _devices(volumes: list[Volume | Missing]) -> frozenset[int]:
    return frozenset(os.stat(v.path).st_dev for v in volumes if isinstance(v, Volume))


@dataclass(slots=True, kw_only=True)
class _Walk:
    """One walk over all files, and what the kernel answered."""

    expired: Callable[[], bool]
    devices: frozenset[int]
    logs: LogPlaces
    granted: int = 0
    refused: list[str] = field(default_factory=list[str])
    gap: str = ""
    """Why not every file was asked about; the first reason."""

    def below(self, root: str) -> None:
        for folder, _, names, handle in os.fwalk(root, onerror=self._unreadable):
            for name in names:
                if self._stop():
                    return
                if not self.logs.hold(f"{folder}/{name}"):
                    self._file(f"{folder}/{name}", name, handle)

    def answer(self) -> FileHolds:
        self._ask_again()
        return FileHolds(
            held=tuple(self.refused[:HELD_SHOWN]),
            files=self.granted,
            complete=not self.refused and not self.gap and self.granted > 0,
            gap=self.gap,
        )

    def _stop(self) -> bool:
        if len(self.refused) >= REFUSED_MAX:
            self.gap = self.gap or "enough files are in use"
        elif self.granted >= FILES_MAX:
            self.gap = self.gap or f"only the first {FILES_MAX} files were asked about"
        elif self.granted % 64 == 0 and self.expired():
            self.gap = self.gap or f"the time was over after {self.granted} files"
        else:
            return False
        return True

    def _unreadable(self, error: OSError) -> None:
        if error.errno != errno.ENOENT:
            self.gap = self.gap or f"{error.filename}: {error.strerror}"

    def _file(self, path: str, name: str, folder: int) -> None:
        try:
            answer = ask(name, folder=folder, devices=self.devices)
        except OSError as error:
            self.gap = self.gap or f"{path}: {_reason(error)}"
            return
        if answer == "granted":
            self.granted += 1
        elif answer == "held":
            self.refused.append(path)

    def _ask_again(self) -> None:
        """A file that somebody only reads for a moment is no file in use."""
        for _ in range(TRIES - 1):
            if not self.refused or len(self.refused) >= REFUSED_MAX or self.expired():
                return
            time.sleep(PAUSE_S)
            again, self.refused = self.refused, []
            for path in again:
                self._file(path, path, -1)


def ask(name: str, *, folder: int = -1, devices: frozenset[int] | None = None) -> _Answer:
    """Ask for a lease on one file and give it back at once. Raises: OSError where none may be had.

    Links, sockets and pipes are no files of a server and count as gone.
    """
    assert sys.platform == "linux", "only Linux has these leases"
    where = None if folder < 0 else folder
    try:
        known = os.stat(name, dir_fd=where, follow_symlinks=False)
        if not stat.S_ISREG(known.st_mode):
            return "gone"
        if devices is not None and known.st_dev not in devices:
            raise OSError(errno.EXDEV, "lies on a volume of its own", name)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        handle = os.open(name, flags, dir_fd=where)
    except FileNotFoundError:
        return "gone"  # Removed since it was listed.
    except BlockingIOError:
        return "held"  # Somebody else has a lease on it, so it is open.
    try:
        fcntl.fcntl(handle, fcntl.F_SETSIG, _WAITING_OPENER)
        try:
            fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except BlockingIOError:
            return "held"
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return "granted"
    finally:
        os.close(handle)  # Gives a lease back, too, should the call above not have come to it.


def _reason(error: OSError) -> str:
    if error.errno == errno.EACCES:
        return "only the owner of a file, or root, may ask who has it open"
    if error.errno == errno.EINVAL:
        return "the kernel gives no leases here"
    return error.strerror or str(error)
