"""The control file itself, where `pg_controldata` cannot be run on it.

The state, the identifier and the last checkpoint have stood at its beginning since version 11, in
the byte order and alignment of the server's own machine.
"""

from __future__ import annotations

import struct
from typing import Final

from stanch.facts.controldata import ClusterState
from stanch.model.diagnosis import Missing

READ_BYTES: Final = 512
"""PostgreSQL keeps all of it in one sector, so that a write is whole or did not happen."""

_STATES: Final[tuple[ClusterState, ...]] = (
    ClusterState.STARTING_UP,
    ClusterState.SHUT_DOWN,
    ClusterState.SHUT_DOWN_IN_RECOVERY,
    ClusterState.SHUTTING_DOWN,
    ClusterState.IN_CRASH_RECOVERY,
    ClusterState.IN_ARCHIVE_RECOVERY,
    ClusterState.IN_PRODUCTION,
)
"""DBState of pg_control.h, by its numbers."""

_HEAD: Final = "QIIi4xqQQI"
"""system_identifier, pg_control_version, catalog_version_no, state, time, checkPoint, and of its
copy redo and ThisTimeLineID."""
_VERSIONS: Final = range(1100, 10_000)
_CRC_FROM: Final = 200
"""The checksum stands behind all it covers, which is more than this in every version."""
_POLYNOMIAL: Final = 0x82F63B78
"""CRC-32C, bits reversed."""


def as_printed(content: bytes) -> str | Missing:
    """The lines of `pg_controldata` that are read, made of the file.

    Never: a state out of a file that does not match its checksum; it says so as the tool does.
    """
    if len(content) < READ_BYTES:
        return Missing(what="controldata", reason=f"pg_control has {len(content)} bytes only")
    order = next((o for o in "<>" if _version(content, o) in _VERSIONS), None)
    if order is None:
        return Missing(what="controldata", reason="pg_control is of no version that is known")
    head: tuple[int, ...] = struct.unpack_from(f"{order}{_HEAD}", content)
    identifier, version, _, state, _, checkpoint, redo, timeline = head
    known = _STATES[state] if 0 <= state < len(_STATES) else ClusterState.UNRECOGNISED
    lines = [
        f"pg_control version number: {version}",
        f"Database system identifier: {identifier}",
        f"Database cluster state: {known.value}",
        f"Latest checkpoint location: {_lsn(checkpoint)}",
        f"Latest checkpoint's REDO location: {_lsn(redo)}",
        f"Latest checkpoint's TimeLineID: {timeline}",
    ]
    if not _has_its_checksum(content, order):
        lines.insert(0, "WARNING: Calculated CRC checksum does not match value stored in file.")
    return "\n".join(lines)


def _version(content: bytes, order: str) -> int:
    return int(struct.unpack_from(f"{order}I", content, 8)[0])


def _lsn(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def _has_its_checksum(content: bytes, order: str) -> bool:
    """Whether the checksum of everything before it stands anywhere behind the known part.

    Where exactly depends on the version; that one of eighty words fits by accident does not happen.
    """
    crc = 0xFFFFFFFF
    for place in range(0, READ_BYTES - 4, 4):
        stored = struct.unpack_from(f"{order}I", content, place)[0]
        if place >= _CRC_FROM and stored == crc ^ 0xFFFFFFFF:
            return True
        for byte in content[place : place + 4]:
            crc ^= byte
            for _ in range(8):
                crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
    return False
