"""pg_wal on a volume that reads slowly, as a network volume does that has no credits left."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from stanch.drill.lab.means.control_group import MB, control_group, run_in
from stanch.drill.lab.means.storage import must
from stanch.drill.lab.rig import Rig

PROGRAMS = ("mkfs.ext4", "mount", "umount")
IMAGE, DISK = "wal.img", "wal-disk"


def wal_on_slow_disk(rig: Rig, *, size_mb: int, read_mb_per_s: int) -> None:
    """Move it there, and let the server read with this speed alone; before anybody watches.

    What is in memory already is not read from the disk. Raises: NotMade.
    """
    folder, data = rig.server.folder, rig.server.data_directory
    disk = folder.path / DISK
    with (folder.path / IMAGE).open("wb") as file:
        file.truncate(size_mb * MB)
    must("mkfs.ext4", "-q", "-F", "-m", "0", str(folder.path / IMAGE))
    disk.mkdir(mode=0o755)
    _mount(rig)
    rig.undo(lambda: must("umount", "-l", str(disk)))
    rig.server.stop("fast")
    wal = disk / "pg_wal"
    wal.mkdir(mode=0o700)
    if folder.user is not None:
        folder.user.own(wal)
    folder.must_run(["cp", "-Rp", f"{data}/pg_wal/.", wal])
    folder.must_run(["rm", "-r", data / "pg_wal"])
    folder.must_run(["ln", "-s", wal, data / "pg_wal"])
    device = os.stat(disk).st_dev
    limit = f"{os.major(device)}:{os.minor(device)} {read_mb_per_s * MB}"
    run_in(rig, rig.enter(control_group("blkio", {"blkio.throttle.read_bps_device": limit})))


def forget_cached(rig: Rig) -> None:
    """As after a reset of the machine: nothing of the disk is in memory. The server is down."""
    # Whoever watches the server may look at a file there just now.
    rig.until(lambda: _is_let_go(rig.server.folder.path / DISK))
    _mount(rig)


def _is_let_go(disk: Path) -> bool:
    return subprocess.run(["umount", disk], capture_output=True, check=False).returncode == 0


def _mount(rig: Rig) -> None:
    folder = rig.server.folder.path
    must("mount", "-o", "loop", str(folder / IMAGE), str(folder / DISK))
