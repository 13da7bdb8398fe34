"""Free space as `df` prints it, and which mounts are worth watching at all."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from stanch.model.machine import FileSystem

FILE_SYSTEMS_MAX = 32
MOUNT_CHARS_MAX = 300

_LINE = re.compile(r"(.*?) +(\d+|-) +(\d+|-) +(-?\d+|-) +(?:\d+%|-) +(/.*)")
_OF_THE_KERNEL = frozenset(
    {"proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "securityfs", "debugfs", "tracefs"}
    | {"mqueue", "hugetlbfs", "pstore", "bpf", "autofs", "binfmt_misc", "configfs", "efivarfs"}
    | {"fusectl", "nsfs", "ramfs", "rpc_pipefs", "fuse.lxcfs", "fuse.gvfsd-fuse", "fuse.portal"}
)
_ALWAYS_FULL = frozenset({"squashfs", "iso9660", "erofs", "udf"})
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 -- parallel queries put their memory there
_ELSEWHERE = ("/dev", "/etc", "/proc", "/run", "/sys", "/snap", "/boot/efi")
_NO_WRITES = frozenset({"ro", "emergency_ro", "shutdown"})
_OCTAL = re.compile(r"\\(0[0-7]{2}|1[0-7]{2})")


def worth_watching(mount: str, fs_type: str) -> bool:
    """Whether a full file system there could hurt a server."""
    if mount == _SHARED_MEMORY:
        return True
    if fs_type in _OF_THE_KERNEL or fs_type in _ALWAYS_FULL:
        return False
    return not any(mount == top or mount.startswith(f"{top}/") for top in _ELSEWHERE)


def takes_no_writes(options: str) -> bool:
    """Whether the options of a mount say so.

    Since Linux 6.15 an ext4 that found itself damaged stays `rw`, for statvfs as well, and shows
    `emergency_ro` beside it.
    """
    return not _NO_WRITES.isdisjoint(options.split(","))


def parse_file_systems(df: str, inodes: str, mounts: str) -> tuple[FileSystem, ...]:
    """From `df -kP`, `df -iP` and /proc/mounts; what df counts once is counted once here."""
    kinds = {mount: (kind, options) for _, mount, kind, options in mount_lines(mounts)}
    free_inodes = {mount: (total, free) for _, total, free, mount in _lines(inodes)}
    found: list[tuple[str, FileSystem]] = []
    for device, total_kib, free_kib, mount in _lines(df):
        kind, options = kinds.get(mount, ("", ""))
        if not worth_watching(mount, kind) or not total_kib or free_kib is None:
            continue
        inodes_total, inodes_free = free_inodes.get(mount, (None, None))
        one = FileSystem(
            mount=mount,
            total_bytes=total_kib * 1024,
            free_bytes=max(0, free_kib) * 1024,
            inodes_total=inodes_total or None,
            inodes_free=inodes_free if inodes_total else None,
            read_only=takes_no_writes(options) if options else None,
        )
        found.append((device, one))
    return each_once(found)


def each_once(found: Iterable[tuple[str, FileSystem]]) -> tuple[FileSystem, ...]:
    """One entry a device, at its shortest mount point: the others are views of the same space."""
    kept: dict[str, FileSystem] = {}
    for device, one in found:
        # What lies in memory or over other file systems has any word in place of a device.
        key = device if device.startswith("/") or ":" in device else one.mount
        before = kept.get(key)
        if before is None or len(one.mount) < len(before.mount):
            kept[key] = one
    shortest_first = sorted(kept.values(), key=lambda one: (len(one.mount), one.mount))
    cut = (replace(one, mount=one.mount[:MOUNT_CHARS_MAX]) for one in shortest_first)
    return tuple(cut)[:FILE_SYSTEMS_MAX]


def mount_lines(text: str) -> list[tuple[str, str, str, str]]:
    """Device, mount point, kind and options of each line of /proc/mounts."""
    fields = (line.split(" ") for line in text.splitlines())
    return [(_plain(f[0]), _plain(f[1]), f[2], f[3]) for f in fields if len(f) >= 4]


def _lines(text: str) -> list[tuple[str, int | None, int | None, str]]:
    """Device, total, available and mount point of each line that is no heading."""
    matches = (_LINE.fullmatch(line) for line in text.splitlines())
    return [(m[1], _whole(m[2]), _whole(m[4]), m[5]) for m in matches if m is not None]


def _whole(text: str) -> int | None:
    return None if text == "-" or len(text) > 18 else int(text)


def _plain(text: str) -> str:
    """Blanks, tabs, line ends and backslashes are written in octal there."""
    return _OCTAL.sub(lambda code: chr(int(code[1], 8)), text)
