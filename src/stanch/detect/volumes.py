"""Readings of the volumes a server lives on: free space for an ordinary user, inodes, writable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stanch.model.host import Volume
from stanch.model.readings import Reading


def volume_readings(volumes: Sequence[Volume]) -> Iterator[Reading]:
    """Each volume once, with everything it holds, whatever parts of a server lie on it."""
    by_mount: dict[str, list[Volume]] = {}
    for volume in volumes:
        by_mount.setdefault(volume.mount_point, []).append(volume)
    for mount, same in by_mount.items():
        yield from _readings(mount, same)


def _readings(mount: str, same: Sequence[Volume]) -> Iterator[Reading]:
    volume = same[0]
    free_pct = 100.0 * volume.free_bytes / volume.total_bytes if volume.total_bytes else 0.0
    holds = ", ".join(sorted({v.use.value for v in same}))
    detail = (
        f"{mount} ({holds}) has {volume.free_bytes / 2**20:.0f} MiB free"
        f" of {volume.total_bytes / 2**20:.0f} MiB"
    )
    free = {"volume_free_bytes": float(volume.free_bytes), "volume_free_pct": free_pct}
    for name, value in free.items():
        yield Reading(name=name, value=value, subject=mount, detail=detail)
    yield Reading(
        name="inodes_free_pct",
        value=_inodes_free_pct(volume),
        subject=mount,
        detail="no inodes left" if volume.inodes_free == 0 else "",
    )

    yield Reading(
        name="volume_read_only", value=float(volume.read_only_for_all), subject=mount, detail=detail
    )


def _inodes_free_pct(volume: Volume) -> float | None:
    """None where the file system makes inodes as it needs them, or does not tell."""
    if volume.inodes_free is None:
        return None
    if volume.inodes_free == 0:
        return 0.0
    return 100.0 * volume.inodes_free / volume.inodes_total if volume.inodes_total else None
