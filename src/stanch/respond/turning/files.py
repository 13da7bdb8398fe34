"""Whether the files of a server let it start. Pure: from readings taken right before."""

from __future__ import annotations

from stanch.facts.controldata import ControlData
from stanch.model.diagnosis import Missing
from stanch.model.host import Volume, VolumeUse
from stanch.model.plans import Refusal
from stanch.model.symptoms import SymptomKind
from stanch.policy.policy import TargetPolicy
from stanch.respond.guarding import no, unknown

WAL_SEGMENTS_MIN = 2
"""Crash recovery and the first checkpoint need at least this many WAL segments of room."""

WAL_SEGMENT_BYTES = 16 * 1024 * 1024
"""PostgreSQL's default, where the control file does not say."""


def no_corruption(
    corruption: tuple[str, ...] | Missing, control: ControlData | Missing
) -> Refusal | None:
    guard = "no_corruption_signs"
    if isinstance(corruption, Missing):
        lifts = "`log` in stanch.yaml where it is not found."
        return unknown(guard, corruption, lifts=lifts)
    if isinstance(control, Missing):
        return unknown(guard, control)
    if control.crc_wrong:
        # Which cluster this is stands in that file: nothing in it can be believed.
        return no(guard, "the control file does not match its checksum", firm=True)
    if corruption:
        return no(
            guard,
            f"the log speaks of damage: {corruption[0][:200]}",
            about=corruption[0][:200],
            lifts="A cold copy of the data directory, and a person who decides.",
        )
    return None


def room_for_wal(
    volumes: tuple[Volume | Missing, ...], control: ControlData | Missing, target: TargetPolicy
) -> Refusal | None:
    guard = "room_for_wal"
    needed = max(_wal_room_bytes(control), int(target.limit(SymptomKind.DISK_FULL)))
    looked = 0
    for volume in volumes:
        if isinstance(volume, Missing):
            return unknown(guard, volume)
        if volume.use not in (VolumeUse.DATA, VolumeUse.WAL):
            continue
        looked += 1
        if volume.read_only:
            return no(guard, f"{volume.mount_point} is mounted read-only")
        if volume.free_bytes < needed:
            reason = f"{volume.free_bytes} bytes are free on {volume.mount_point}, {needed} needed"
            return no(guard, reason, lifts="Space freed, or a larger volume.")
    if not looked:
        return no(guard, "the volume of the data directory was not looked at")
    return None


def _wal_room_bytes(control: ControlData | Missing) -> int:
    known = None if isinstance(control, Missing) else control.wal_segment_bytes
    return WAL_SEGMENTS_MIN * (known or WAL_SEGMENT_BYTES)
