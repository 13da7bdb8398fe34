"""Volumes, and what keeps WAL on them."""

from __future__ import annotations

from dataclasses import dataclass

from stanch.diagnose.ask import YES_NO, clue_on
from stanch.diagnose.clues.ending import fell_for_space
from stanch.diagnose.evidence import Evidence, is_open, value_of
from stanch.diagnose.inside import Retention
from stanch.diagnose.outside import Log, LogEvent, Volume, Volumes
from stanch.model.shown import human_bytes

RECENT_S = 900.0
"""A refusal to write older than this says little about now."""
RETAINED_SHARE_MIN = 0.25
"""A retainer is named when it keeps at least this share of pg_wal."""
RETAINED_SEGMENTS_MIN = 4
WAL_SHARE_MIN = 0.5
"""On a shared volume WAL is what fills it from this share of the used bytes on."""


def volume(evidence: Evidence, holds: str) -> Volume | None:
    """The volume that holds `data`, `wal` or `log`."""
    volumes = value_of(evidence.volumes)
    return next((v for v in volumes.volumes if holds in v.holds), None) if volumes else None


def is_full(seen: Volume, evidence: Evidence) -> bool:
    return seen.free_bytes <= evidence.disk_full_free_bytes or seen.free_inodes == 0


def _describe(seen: Volume) -> str:
    inodes = ", no free inodes" if seen.free_inodes == 0 else ""
    return (
        f"{seen.mount_point} has {human_bytes(seen.free_bytes)} of "
        f"{human_bytes(seen.total_bytes)} free{inodes}"
    )


def shares_volume(evidence: Evidence) -> bool:
    """WAL lies on the data directory's volume."""
    data = volume(evidence, "data")
    return data is not None and "wal" in data.holds


def wal_fills_it(evidence: Evidence) -> bool | None:
    """WAL takes most of the used bytes of its volume; None where that cannot be said."""
    volumes, wal = value_of(evidence.volumes), volume(evidence, "wal")
    if volumes is None or wal is None or volumes.wal_bytes is None:
        return None
    used = max(1, wal.total_bytes - wal.free_bytes)
    return volumes.wal_bytes / used >= WAL_SHARE_MIN and retainer(evidence).is_named


@dataclass(frozen=True, slots=True, kw_only=True)
class Retainer:
    """Who keeps WAL: `slot:<name>`, `archiver`, `wal_keep`, `none` or `unknown`."""

    name: str
    retained_bytes: int | None = None

    @property
    def is_named(self) -> bool:
        return self.name not in {"none", "unknown"}


def retainer(evidence: Evidence) -> Retainer:
    """The one that keeps the most WAL, of those that keep a share worth naming."""
    retention, volumes = value_of(evidence.retention), value_of(evidence.volumes)
    if retention is None:
        return Retainer(name="unknown")
    wal_bytes = volumes.wal_bytes if volumes else None
    enough = max(
        RETAINED_SHARE_MIN * (wal_bytes or 0), RETAINED_SEGMENTS_MIN * retention.wal_segment_bytes
    )
    found = [r for r in _candidates(retention) if (r.retained_bytes or 0) >= enough]
    # Equal amounts keep the order of _candidates, so the answer is the same every time.
    best = max(found, key=lambda r: r.retained_bytes or 0, default=None)
    return best or Retainer(name="none")


def _candidates(retention: Retention) -> list[Retainer]:
    slots = sorted(retention.slots, key=lambda s: (-s.retained_bytes, s.name))
    found = [Retainer(name=f"slot:{s.name}", retained_bytes=s.retained_bytes) for s in slots]
    if retention.ready_files and retention.archiver_failing is not False:
        waiting = retention.ready_files * retention.wal_segment_bytes
        found.append(Retainer(name="archiver", retained_bytes=waiting))
    if retention.wal_keep_bytes:
        found.append(Retainer(name="wal_keep", retained_bytes=retention.wal_keep_bytes))
    return found


def fell_on(evidence: Evidence, holds: str) -> LogEvent | None:
    """The line that tells that the server went down because this volume was full."""
    event = fell_for_space(evidence)
    if event is None:
        return None
    named = "wal" if event.kind == "no_space_wal" else "data"
    return event if holds == named or shares_volume(evidence) else None


def answers_again(evidence: Evidence) -> bool:
    """Whether what the server went down of is behind it."""
    reach = value_of(evidence.reach)
    return reach is not None and is_open(reach)


def _full(seen: Volume, evidence: Evidence, *, fell: LogEvent | None) -> YES_NO:
    """Room that was made after the server fell does not make the volume innocent of the fall."""
    if is_full(seen, evidence):
        return True, _describe(seen)
    if fell is not None and not answers_again(evidence):
        return f"{_describe(seen)}; that is room made since the server went down"
    return False, _describe(seen)


def _fell(log: Log, evidence: Evidence, holds: str) -> YES_NO:
    if not log.events:
        return f"nothing of use in {log.path}"
    event = fell_on(evidence, holds)
    if event is None:
        return False, "the server did not go down because of this volume"
    return True, f"the log says: {event.text}", event.at


def _data_full(_volumes: Volumes, evidence: Evidence) -> YES_NO:
    data = volume(evidence, "data")
    if data is None:
        return "the volume of the data directory was not read"
    return _full(data, evidence, fell=fell_on(evidence, "data"))


def _wal_full(_volumes: Volumes, evidence: Evidence) -> YES_NO:
    wal = volume(evidence, "wal")
    if wal is None:
        return "the volume of pg_wal was not read"
    return _full(wal, evidence, fell=fell_on(evidence, "wal"))


def _wal_own_or_filling(_volumes: Volumes, evidence: Evidence) -> YES_NO:
    if volume(evidence, "wal") is None:
        return "the volume of pg_wal was not read"
    if not shares_volume(evidence):
        return True, "pg_wal has a volume of its own"
    filling = wal_fills_it(evidence)
    if filling is None:
        return "how much of the volume is WAL is not known"
    if filling:
        return True, "WAL that something retains takes most of the used space of the volume"
    return False, "pg_wal lies on the data volume and does not fill it"


def _wal_fills_shared(_volumes: Volumes, evidence: Evidence) -> YES_NO:
    if not shares_volume(evidence):
        return False, "pg_wal does not lie on the data volume"
    return _wal_own_or_filling(_volumes, evidence)


def _refused_write(log: Log, evidence: Evidence, kind: str, what: str) -> YES_NO:
    if not log.events:
        return f"nothing of use in {log.path}"
    event = log.newest(kind)
    if event is None:
        return False, f"no {what} refused for want of space in the log"
    age_s = (evidence.at - event.at).total_seconds() if event.at else 0.0
    if age_s > RECENT_S:
        return False, f"the newest {what} refused for want of space was {age_s:.0f} s ago"
    return True, f"the log says: {event.text}", event.at


data_full = clue_on(
    "data_full", "Is the data directory's volume full?", lambda e: e.volumes, _data_full
)
wal_full = clue_on("wal_full", "Is the volume of pg_wal full?", lambda e: e.volumes, _wal_full)
wal_own_or_filling = clue_on(
    "wal_own_or_filling",
    "Has WAL a volume of its own, or does retained WAL fill the shared one?",
    lambda e: e.volumes,
    _wal_own_or_filling,
)
wal_fills_shared = clue_on(
    "wal_fills_shared",
    "Is it retained WAL that fills the data volume?",
    lambda e: e.volumes,
    _wal_fills_shared,
)
data_write_refused = clue_on(
    "data_write_refused",
    "Does the log show data files that could not grow (53100)?",
    lambda e: e.log,
    lambda log, e: _refused_write(log, e, "no_space_data", "data write"),
)
wal_write_refused = clue_on(
    "wal_write_refused",
    "Does the log show WAL that could not be written (53100)?",
    lambda e: e.log,
    lambda log, e: _refused_write(log, e, "no_space_wal", "WAL write"),
)
fell_for_data = clue_on(
    "fell_for_data",
    "Did the server go down because the data volume was full?",
    lambda e: e.log,
    lambda log, e: _fell(log, e, "data"),
)
fell_for_wal = clue_on(
    "fell_for_wal",
    "Did the server go down because the volume of pg_wal was full?",
    lambda e: e.log,
    lambda log, e: _fell(log, e, "wal"),
)
