"""The file systems under a server: how full, of what kind, and whether others can reach them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from stanch.facts.machines.file_systems import takes_no_writes
from stanch.model.diagnosis import Missing
from stanch.model.host import Volume, VolumeUse

# Cluster file systems and shares of a virtual machine's host count: others can mount them too.
# fmt: off
_NETWORK = frozenset({
    "nfs", "nfs3", "nfs4", "cifs", "smb3", "smbfs", "smb2", "ceph", "fuse.ceph", "glusterfs",
    "fuse.glusterfs", "fuse.sshfs", "9p", "afs", "afpfs", "lustre", "beegfs", "gfs2", "ocfs2",
    "virtiofs", "vboxsf", "fuse.vmhgfs-fuse", "drvfs", "davfs", "fuse.s3fs", "fuse.juicefs",
    "fuse.rclone", "gpfs", "pvfs2", "orangefs", "webdav",
})
# fmt: on
# fmt: off
_LOCAL = frozenset({
    "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "ramfs", "f2fs", "jfs", "reiserfs",
    "bcachefs", "overlay", "apfs", "hfs", "ufs", "nilfs2", "aufs", "erofs", "squashfs", "exfat",
    "vfat",
})
# fmt: on


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system."""

    mount_point: str
    device: str
    fs_type: str
    device_number: str
    """`major:minor`; empty where the machine does not say."""
    options: str
    """The file system's own, which are the same wherever it is mounted."""


def mounts(proc: Path) -> tuple[Mount, ...]:
    """Everything mounted, later mounts last."""
    try:
        text = (proc / "self" / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return tuple(
            Mount(part.mountpoint, part.device, part.fstype, "", part.opts)
            for part in psutil.disk_partitions(all=True)
        )
    found: list[Mount] = []
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        fields, source = left.split(" "), right.split(" ")
        if separator and len(fields) >= 6 and len(source) >= 2:
            found.append(
                Mount(
                    _plain(fields[4]), _plain(source[1]), source[0], fields[2], "".join(source[2:3])
                )
            )
    return tuple(found)


def _plain(text: str) -> str:
    """Mountinfo writes blanks, tabs, line ends and backslashes in octal."""
    for code, char in (("040", " "), ("011", "\t"), ("012", "\n"), ("134", "\\")):
        text = text.replace(f"\\{code}", char)
    return text


def is_network(fs_type: str) -> bool | None:
    """Whether another machine could have this mounted too; None: a kind we do not know."""
    kind = fs_type.lower()
    if kind in _NETWORK:
        return True
    return False if kind in _LOCAL else None


def read_volume(
    use: VolumeUse, path: str, known: Sequence[Mount], *, label: str = ""
) -> Volume | Missing:
    """The volume under a folder. Never: a wait for a dead network mount to be cut short."""
    try:
        real = os.path.realpath(path, strict=True)
        room, number = os.statvfs(real), os.stat(real).st_dev
    except OSError as error:
        return Missing(what=f"volume of {path}", reason=error.strerror or str(error))
    mount = _mount_of(real, f"{os.major(number)}:{os.minor(number)}", known)
    for_nobody = takes_no_writes(mount.options)
    return Volume(
        use=use,
        path=real,
        mount_point=mount.mount_point,
        device=mount.device,
        fs_type=mount.fs_type,
        total_bytes=room.f_blocks * room.f_frsize,
        free_bytes=room.f_bavail * room.f_frsize,
        inodes_total=room.f_files or None,
        inodes_free=room.f_favail if room.f_files else None,
        network=is_network(mount.fs_type),
        read_only=for_nobody or bool(room.f_flag & os.ST_RDONLY),
        read_only_for_all=for_nobody,
        label=label,
    )


def _mount_of(real: str, device_number: str, known: Sequence[Mount]) -> Mount:
    """The innermost mount above a path, the latest where several lie on one another."""
    above = [
        mount
        for mount in known
        if real == mount.mount_point or real.startswith(mount.mount_point.rstrip("/") + "/")
    ]
    # Some file systems (btrfs) give each subvolume a number of its own, so it only breaks ties.
    best = max(
        enumerate(above),
        key=lambda pair: (
            len(pair[1].mount_point),
            pair[1].device_number == device_number,
            pair[0],
        ),
        default=(0, Mount("/", "unknown", "unknown", "", "")),
    )
    return best[1]


def server_folders(data_directory: str, log_directory: str | None) -> list[tuple[VolumeUse, str]]:
    """The folders of a server that may lie on volumes of their own."""
    folders = [(VolumeUse.DATA, data_directory), (VolumeUse.WAL, f"{data_directory}/pg_wal")]
    if log_directory is not None:
        folders.append((VolumeUse.LOG, log_directory))
    try:
        spaces = sorted(os.listdir(f"{data_directory}/pg_tblspc"))
    except OSError:
        spaces = []
    folders += [(VolumeUse.TABLESPACE, f"{data_directory}/pg_tblspc/{name}") for name in spaces]
    return folders
