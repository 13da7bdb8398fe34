"""Is a path on a file system that keeps its promises about locks and fsync?"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

_SHARED = """
9p acfs afpfs afs autofs beegfs ceph cifs coda cvfs davfs exafs fhgfs gfs gfs2 glusterfs gpfs
ibrix lustre mmfs ncp ncpfs nfs nfs3 nfs4 ocfs2 orangefs panfs prl_fs pvfs2 quobyte smb2 smb3
smbfs vboxsf virtiofs vmhgfs webdav xtreemfs
"""
NETWORK = frozenset(_SHARED.split())
"""File system types shared between machines, or passed through from another one."""

_FUSE_LOCAL = frozenset({"fuse", "fuseblk", "fuse.ntfs-3g", "fuse.ext4", "fuse.fuse-overlayfs"})
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mounted file system."""

    point: str
    fstype: str


def parse_mounts(lines: Iterable[str]) -> list[Mount]:
    """The mounts a `/proc/self/mounts` lists, in order; lines of another shape are skipped."""
    mounts: list[Mount] = []
    for line in lines:
        fields = line.split(" ")
        if len(fields) >= 3 and fields[1].startswith("/"):
            mounts.append(Mount(point=_unescaped(fields[1]), fstype=fields[2]))
    return mounts


def mount_of(path: str, mounts: Iterable[Mount]) -> Mount | None:
    """The mount a resolved absolute path lies on: the deepest, of several the newest."""
    found: Mount | None = None
    for mount in mounts:
        inside = mount.point == "/" or path == mount.point or path.startswith(mount.point + "/")
        if inside and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def network_fstype(path: str, mounts: Iterable[Mount]) -> str | None:
    """The type of the network file system a path lies on; None where it is local."""
    mount = mount_of(path, mounts)
    if mount is None:
        return None
    fstype = mount.fstype.lower()
    remote_fuse = fstype.startswith("fuse.") and fstype not in _FUSE_LOCAL
    return mount.fstype if fstype in NETWORK or remote_fuse else None


def mounts_here() -> list[Mount]:
    """What is mounted on this machine now. Source: /proc/self/mounts, elsewhere psutil."""
    listed = Path("/proc/self/mounts")
    if listed.exists():
        text = listed.read_bytes().decode("utf-8", "surrogateescape")
        return parse_mounts(text.split("\n"))
    partitions = psutil.disk_partitions(all=True)
    return [Mount(point=p.mountpoint, fstype=p.fstype) for p in partitions]


def resolved(path: Path) -> str:
    """The path as the mounts table names it: links followed, where it exists already."""
    return os.path.realpath(path)


def _unescaped(field: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match.group(1), 8)), field)
