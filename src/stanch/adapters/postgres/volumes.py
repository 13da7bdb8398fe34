"""Small volumes of a fixed size, so that a scratch server can really run out of space.

Linux as root: tmpfs. macOS: a sparse disk image. Anywhere else none can be made, and the answer
is None.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from stanch.adapters.postgres.os_user import OsUser

UNMOUNT_TRIES = 20
UNMOUNT_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class SizedVolume:
    """A mounted volume of a fixed size."""

    mount_point: Path
    size_bytes: int

    def free_bytes(self) -> int:
        """Room left for an ordinary user."""
        room = os.statvfs(self.mount_point)
        return room.f_bavail * room.f_frsize

    def unmount(self) -> None:
        """Take the volume away with everything on it; nothing happens when it is already gone.

        A process that still has a file open delays this; on Linux the volume is then detached
        and vanishes with the last user.
        """
        for _ in range(UNMOUNT_TRIES):
            if not self.mount_point.is_mount() or _quiet(_unmount_command(self.mount_point)):
                return
            time.sleep(UNMOUNT_PAUSE_S)
        _quiet(_unmount_command(self.mount_point, detach=True))


def mount_sized_volume(at: Path, *, size_mb: int, owner: OsUser | None) -> SizedVolume | None:
    """A new volume of the given size, or None where this machine does not let us make one.

    `at` must be a folder of our own; it ends up belonging to `owner`.
    """
    at.mkdir(mode=0o700, exist_ok=True)
    made = _mount_disk_image(at, size_mb) if sys.platform == "darwin" else _mount_tmpfs(at, size_mb)
    if not made:
        return None
    at.chmod(0o700)
    if owner is not None:
        owner.own(at)
    return SizedVolume(mount_point=at, size_bytes=size_mb * 1024 * 1024)


def sized_volumes_possible() -> bool:
    """Whether this machine lets us make a volume; tried with a very small one."""
    with tempfile.TemporaryDirectory(prefix="stanch-volume-") as folder:
        volume = mount_sized_volume(Path(folder, "volume"), size_mb=1, owner=None)
        if volume is None:
            return False
        volume.unmount()
        return True


def _mount_tmpfs(at: Path, size_mb: int) -> bool:
    # Without root a mount needs a user namespace of its own, which the server's clients and the
    # responder would not share: such a volume would prove nothing.
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    options = f"size={size_mb}m,mode=700,nosuid,nodev"
    return _quiet(["mount", "-t", "tmpfs", "-o", options, "stanch-scratch", str(at)])


def _mount_disk_image(at: Path, size_mb: int) -> bool:
    image = at.with_name(f"{at.name}.sparseimage")
    create = ["hdiutil", "create", "-size", f"{size_mb}m", "-type", "SPARSE", "-fs", "HFS+"]
    return _quiet([*create, "-volname", "stanch-scratch", str(image)]) and _quiet(
        ["hdiutil", "attach", "-nobrowse", "-owners", "on", "-mountpoint", str(at), str(image)]
    )


def _unmount_command(at: Path, *, detach: bool = False) -> list[str]:
    if sys.platform == "darwin":
        return ["hdiutil", "detach", *(["-force"] if detach else []), str(at)]
    return ["umount", *(["-l"] if detach else []), str(at)]


def _quiet(command: list[str]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except OSError:
        return False
    return done.returncode == 0
