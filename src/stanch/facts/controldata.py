"""What `pg_controldata` says about a data directory, whether its server runs or not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ClusterState(StrEnum):
    """The last thing a server wrote about itself; a killed server leaves `in production`."""

    STARTING_UP = "starting up"
    SHUT_DOWN = "shut down"
    SHUT_DOWN_IN_RECOVERY = "shut down in recovery"
    SHUTTING_DOWN = "shutting down"
    IN_CRASH_RECOVERY = "in crash recovery"
    IN_ARCHIVE_RECOVERY = "in archive recovery"
    IN_PRODUCTION = "in production"
    UNRECOGNISED = "unrecognized status code"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlData:
    """The control file's facts; None where the tool did not say.

    The state is the last one written: it tells how the server ended only when none is running.
    """

    state: ClusterState | None
    system_identifier: str | None
    timeline_id: int | None
    """WAL's timeline, of the latest checkpoint."""
    checkpoint_lsn: str | None
    redo_lsn: str | None
    redo_wal_file: str | None
    checkpoint_at: str | None
    """As printed: local time without a zone."""
    last_modified_at: str | None
    next_xid: int | None
    oldest_xid: int | None
    minimum_recovery_end_lsn: str | None
    """None also where no recovery is under way (printed as 0/0)."""
    backup_start_lsn: str | None
    """Set while a restored backup has not reached its end: the data is not consistent yet."""
    end_of_backup_required: bool | None
    wal_level: str | None
    max_connections: int | None
    wal_segment_bytes: int | None
    data_checksums: bool | None
    pg_control_version: int | None
    crc_wrong: bool = False
    """The file does not match its checksum: damaged, or of another version than the tool."""

    @property
    def ended_cleanly(self) -> bool | None:
        """Whether the last server of this data directory shut down in order, if none runs now."""
        if self.state is None or self.state is ClusterState.UNRECOGNISED or self.crc_wrong:
            return None
        return self.state in {ClusterState.SHUT_DOWN, ClusterState.SHUT_DOWN_IN_RECOVERY}


_LABELLED: Final = re.compile(r"^([^:\n]{1,60}):[ \t]*(.*?)\s*$", re.MULTILINE)
_CRC_WRONG: Final = re.compile(r"CRC (?:checksum )?does not match|CRC mismatch", re.IGNORECASE)
_TEXT_MAX: Final = 65536


def parse_controldata(text: str) -> ControlData:
    """Read what `LC_ALL=C pg_controldata` of version 13 to 18 prints; never raises.

    Give it both output streams: newer tools warn of a damaged file on standard error alone, exit
    with 0, and print figures as if nothing were wrong.
    """
    head = text[:_TEXT_MAX]
    found = {match[1].strip(): match[2] for match in _LABELLED.finditer(head)}
    checksums = _whole(found.get("Data page checksum version"))
    return ControlData(
        state=_state(found.get("Database cluster state")),
        system_identifier=found.get("Database system identifier"),
        timeline_id=_whole(found.get("Latest checkpoint's TimeLineID")),
        checkpoint_lsn=_lsn(found.get("Latest checkpoint location")),
        redo_lsn=_lsn(found.get("Latest checkpoint's REDO location")),
        redo_wal_file=found.get("Latest checkpoint's REDO WAL file"),
        checkpoint_at=found.get("Time of latest checkpoint"),
        last_modified_at=found.get("pg_control last modified"),
        next_xid=_xid(found.get("Latest checkpoint's NextXID")),
        oldest_xid=_whole(found.get("Latest checkpoint's oldestXID")),
        minimum_recovery_end_lsn=_lsn(found.get("Minimum recovery ending location")),
        backup_start_lsn=_lsn(found.get("Backup start location")),
        end_of_backup_required=_yes(found.get("End-of-backup record required")),
        wal_level=found.get("wal_level setting"),
        max_connections=_whole(found.get("max_connections setting")),
        wal_segment_bytes=_whole(found.get("Bytes per WAL segment")),
        data_checksums=None if checksums is None else checksums > 0,
        pg_control_version=_whole(found.get("pg_control version number")),
        crc_wrong=_CRC_WRONG.search(head) is not None,
    )


def _state(text: str | None) -> ClusterState | None:
    if text is None:
        return None
    try:
        return ClusterState(text)
    except ValueError:
        return ClusterState.UNRECOGNISED


def _whole(text: str | None) -> int | None:
    if text is None or not re.fullmatch(r"[0-9]{1,20}", text):
        return None
    return int(text)


def _xid(text: str | None) -> int | None:
    """`epoch:xid`, of which the xid is what people compare."""
    return None if text is None else _whole(text.rpartition(":")[2])


def _lsn(text: str | None) -> str | None:
    if text is None or not re.fullmatch(r"[0-9A-F]{1,8}/[0-9A-F]{1,8}", text):
        return None
    return None if re.fullmatch(r"0+/0+", text) else text


def _yes(text: str | None) -> bool | None:
    return {"yes": True, "no": False}.get(text or "")
