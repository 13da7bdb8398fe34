"""Storage that is slow, fails or is small: a volume on a loop device, calls tampered with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

from stanch.adapters.postgres.scratch_folder import move_wal_to_its_volume
from stanch.drill.lab.fault import NotMade
from stanch.drill.lab.rig import Rig

THROTTLE = Path("/sys/fs/cgroup/blkio")
"""Limits of the root group hold for everybody, as a slow device does."""


def must(*command: str | Path) -> None:
    """Run a program as root. Raises: NotMade with its words."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise NotMade(f"{command[0]}: {done.stderr.strip()[-500:]}")


def wal_on_loop_device(rig: Rig, *, size_mb: int) -> None:
    """Move pg_wal to an ext4 volume on a block device of its own; the server is restarted."""
    folder = rig.server.folder
    at, image = folder.path / "wal-volume", folder.path / "wal.img"
    if at.exists():
        raise NotMade("the WAL has a volume already")
    with image.open("wb") as file:
        file.truncate(size_mb * 1024 * 1024)
    must("mkfs.ext4", "-q", "-m", "0", image)
    at.mkdir()
    must("mount", "-o", "loop", image, at)
    # Lazily: whatever still has it open lets go of it by and by, and the device goes with it.
    rig.undo(lambda: must("umount", "-l", at))
    rig.undo(lambda: rig.server.stop("immediate"))
    if folder.user is not None:
        folder.user.own(at)
    rig.server.stop()
    move_wal_to_its_volume(folder)
    rig.server.start()
    # It has been so for years: the log of that day was rotated away.
    os.truncate(folder.log, 0)


def throttle(rig: Rig, at: Path, what: str, limit: int) -> None:
    """Limit a device: `write_iops` or `write_bps`, so many a second. Raises: NotMade."""
    number = os.stat(at).st_dev
    device, file = f"{os.major(number)}:{os.minor(number)}", f"blkio.throttle.{what}_device"
    path = THROTTLE / file
    if not path.exists():
        raise NotMade("this machine has no blkio controller")
    rig.undo(lambda: path.write_text(f"{device} 0"))
    path.write_text(f"{device} {limit}")


def tamper(rig: Rig, pids: Collection[int], *, calls: str, how: str, follow: bool = False) -> None:
    """Tamper with system calls of processes by strace, and of their children where it follows.

    Raises: NotMade.
    """
    command: Sequence[str] = [
        *("strace", "-qq", "-o", "/dev/null", *(["-f"] if follow else [])),
        *("-e", f"trace={calls}", "-e", f"inject={calls}:{how}"),
        *(word for pid in pids for word in ("-p", str(pid))),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rig.undo(process.wait)
    rig.undo(process.terminate)
    rig.until(lambda: all(map(_is_traced, pids)))


def _is_traced(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:  # it has ended meanwhile, as sessions do
        return True
    return "TracerPid:\t0\n" not in status
