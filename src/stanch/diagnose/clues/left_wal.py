"""What keeps WAL on the disk of a server that is down, as its files and its log tell it.

WAL from before the last checkpoint is needed by nobody but whoever keeps it: a slot, the archive.
WAL since then is the server's own, however much that is; no slot is to blame for it.
"""

from __future__ import annotations

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.clues.archive import newest_failure
from stanch.diagnose.evidence import (
    Evidence,
    is_lately,
    is_open,
    postmaster_lives,
    value_of,
)
from stanch.diagnose.inside import Retention, Slot
from stanch.model.shown import human_bytes

NEEDLESS_SHARE_MIN = 1 / 3
"""Of pg_wal: with less than this gone, the volume would have been full as well, a little later."""
NEEDLESS_SEGMENTS_MIN = 4


def lsn_bytes(lsn: str) -> int | None:
    """`1/4A000000` as a number of bytes; None where it is none."""
    high, _, low = lsn.partition("/")
    try:
        return (int(high, 16) << 32) + int(low, 16)
    except ValueError:
        return None


def left_slot(evidence: Evidence) -> Slot | None:
    """The slot that keeps most of the WAL that a server which is down needs no more.

    One that had a consumer when it was last seen is left out: that consumer was slow, or stuck.
    """
    kept = _on_disk(evidence)
    if kept is None or kept.wal_end_bytes is None:
        return None
    for slot in sorted(kept.slots, key=lambda s: (-s.retained_bytes, s.name)):
        begins = kept.wal_end_bytes - slot.retained_bytes
        if slot.active is not True and _is_much(_needless(evidence, begins), evidence, kept):
            return slot
    return None


def _on_disk(evidence: Evidence) -> Retention | None:
    """What files tell of it, of a server that is down and says nothing itself."""
    kept, reach = value_of(evidence.retention), value_of(evidence.reach)
    down = postmaster_lives(evidence) is False if reach is None else not is_open(reach)
    if kept is None or kept.wal_end_bytes is None or not down:
        return None
    return kept


def _needless(evidence: Evidence, begins: int) -> int | None:
    """How much WAL from there on the server needs no more; None: its checkpoint was not read."""
    control = value_of(evidence.control)
    checkpoint = lsn_bytes(control.checkpoint_lsn) if control else None
    return None if checkpoint is None else max(0, checkpoint - begins)


def _is_much(needless: int | None, evidence: Evidence, kept: Retention) -> bool:
    volumes = value_of(evidence.volumes)
    wal_bytes = (volumes.wal_bytes if volumes else None) or 0
    enough = max(NEEDLESS_SHARE_MIN * wal_bytes, NEEDLESS_SEGMENTS_MIN * kept.wal_segment_bytes)
    return needless is not None and needless >= enough


def _slot_left(_kept: Retention, evidence: Evidence) -> YES_NO:
    kept = _on_disk(evidence)
    if kept is None:
        return ""
    if _needless(evidence, 0) is None:
        return "where the last checkpoint was is not known"
    slot = left_slot(evidence)
    if slot is None:
        return False, "no slot keeps much WAL from before the last checkpoint"
    amount = human_bytes(slot.retained_bytes)
    return True, f'slot "{slot.name}" keeps {amount} of WAL, most from before the last checkpoint'


def _archive_left(_kept: Retention, evidence: Evidence) -> YES_NO:
    kept = _on_disk(evidence)
    if kept is None or kept.wal_end_bytes is None or not kept.ready_files:
        return ""
    # The file that is being written waits for nobody yet.
    waiting = kept.ready_files * kept.wal_segment_bytes
    needless = _needless(evidence, kept.wal_end_bytes - waiting - kept.wal_segment_bytes)
    if needless is None:
        return "where the last checkpoint was is not known"
    said = f"{kept.ready_files} WAL files ({human_bytes(waiting)}) wait for the archive"
    if not _is_much(needless, evidence, kept):
        return False, f"{said}, most of which the server needs itself"
    failed = newest_failure(evidence)
    if failed is not None and is_lately(evidence, failed.at):
        return True, f"{said}, and the log says: {failed.text}", failed.at
    if kept.archiver_failing:
        return True, f"{said}, and the last attempt that was seen had failed"
    return f"{said}; whether attempts failed or were slow is not known"


slot_left = clue_on(
    "slot_left",
    "Does a slot keep WAL that a server which is down needs no more?",
    lambda e: e.retention,
    _slot_left,
)
archive_left = clue_on(
    "archive_left",
    "Does a failing archive keep WAL that a server which is down needs no more?",
    lambda e: e.retention,
    _archive_left,
)
