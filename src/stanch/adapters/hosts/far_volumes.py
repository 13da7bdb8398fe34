"""The volumes of a server on a far machine: asked for by its folders, or taken from a look."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from stanch.adapters.hosts.volumes import is_network
from stanch.facts.machines.file_systems import mount_lines, takes_no_writes
from stanch.model.diagnosis import Missing
from stanch.model.host import Volume, VolumeUse
from stanch.model.machine import FileSystem

NODE = "node"
"""So the file system of a Kubernetes node is called."""
SMALL_BYTES = 256 * 1024 * 1024
USES = {use.value: use for use in VolumeUse}
_DF = re.compile(r"(.*?) +(\d{1,18}) +(\d{1,18}) +(-?\d{1,18}) +(?:\d+%|-) +(/.*)")


def parse_volumes(parts: Mapping[str, str]) -> tuple[Volume | Missing, ...]:
    """Three lines a folder: what it is, and what df says of its bytes and of its inodes."""
    kinds = {mount: (kind, options) for _, mount, kind, options in mount_lines(parts["mounts"])}
    lines = parts.get("volumes", "").splitlines()
    found = list(_volumes(lines, kinds))
    if "end" not in parts:
        reason = "a file system does not answer; perhaps a dead network mount"
        found.append(Missing(what="volumes", reason=reason))
    return tuple(found)


def _volumes(
    lines: Sequence[str], kinds: Mapping[str, tuple[str, str]]
) -> Iterator[Volume | Missing]:
    for head, room, inodes in zip(lines[::3], lines[1::3], lines[2::3], strict=False):
        word, _, path = head.partition(" ")
        size, files = _DF.fullmatch(room), _DF.fullmatch(inodes)
        if word not in USES or size is None:
            yield Missing(what=f"volume of {path}", reason="df does not tell")
            continue
        kind, options = kinds.get(size[5], ("", ""))
        inodes_total = int(files[2]) if files else 0
        for_nobody = takes_no_writes(options)
        yield Volume(
            use=USES[word],
            path=path,
            mount_point=size[5],
            device=size[1],
            fs_type=kind,
            total_bytes=int(size[2]) * 1024,
            free_bytes=max(0, int(size[4])) * 1024,
            inodes_total=inodes_total or None,
            inodes_free=max(0, int(files[4])) if files and inodes_total else None,
            network=is_network(kind),
            read_only=for_nobody,
            read_only_for_all=for_nobody,
        )


def volumes_of_look(
    found: Sequence[FileSystem], data_directory: str, *, own: bool
) -> tuple[Volume | Missing, ...]:
    """Which file systems hold data and WAL, where only mounts are seen and no links.

    Never: a guess. WAL that a link leads elsewhere cannot be seen, so it is only said to lie with
    the data where the server has one volume in all.
    """
    theirs = [one for one in found if one.mount != NODE and one.total_bytes >= SMALL_BYTES]
    data = _above(theirs, data_directory) if data_directory else None
    if data is None and own and len(theirs) == 1:
        data = theirs[0]
    if data is None:
        reason = "which of its volumes holds the data is not known; --data-directory tells"
        return (Missing(what="volumes", reason=reason),)
    uses = [VolumeUse.DATA]
    if own and len(theirs) == 1:
        uses.append(VolumeUse.WAL)
    elif (wal := _above(theirs, f"{data_directory}/pg_wal")) is not None and wal != data:
        return (_volume(VolumeUse.DATA, data), _volume(VolumeUse.WAL, wal))
    return tuple(_volume(use, data) for use in uses)


def _above(found: Sequence[FileSystem], folder: str) -> FileSystem | None:
    """The innermost mount above a folder."""
    below = folder.rstrip("/") + "/"
    above = [one for one in found if below.startswith(one.mount.rstrip("/") + "/")]
    return max(above, key=lambda one: len(one.mount), default=None)


def _volume(use: VolumeUse, one: FileSystem) -> Volume:
    return Volume(
        use=use,
        path=one.mount,
        mount_point=one.mount,
        device="",
        fs_type="",
        total_bytes=one.total_bytes,
        free_bytes=one.free_bytes,
        inodes_total=one.inodes_total,
        inodes_free=one.inodes_free,
        network=None,
        read_only=bool(one.read_only),
    )
