"""Evidence of disks, WAL, storage and backups on which each cause has to be named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import evidences as w
from stanch.diagnose.evidence import Evidence, Reading
from stanch.diagnose.figures import Figures
from stanch.diagnose.history import Course, History
from stanch.diagnose.inside import Retention
from stanch.diagnose.outside import LogEvent, ServerProcesses, Volumes
from stanch.model.ids import TargetName
from stanch.model.readings import Reading as Figure
from stanch.model.symptoms import Symptom, SymptomKind

MIB, GIB = w.MIB, w.GIB


def stands(
    kind: SymptomKind, seconds_ago: float = 60, subject: str = "", detail: str = ""
) -> Symptom:
    return Symptom(
        kind=kind,
        target=TargetName("orders"),
        since=w.ago(seconds_ago),
        subject=subject,
        detail=detail,
    )


def figures(*more: Figure, **settings: str) -> Reading[Figures]:
    """A healthy server's, and more."""
    usual = {**w.SETTINGS, "max_wal_size": "1GB", "max_slot_wal_keep_size": "-1"}
    return w.figures(*w.HEALTHY_FIGURES, *more, **{**usual, **settings})


def courses(*more: Course) -> Reading[History]:
    """A healthy server's, where not told otherwise."""
    told = {(c.name, c.subject) for c in more}
    return w.history(
        *(c for c in w.HEALTHY_COURSES if (c.name, c.subject) not in told),
        *more,
    )


def slot(
    name: str, retained: float, *, active: bool, kind: str = "logical", status: str = "extended"
) -> tuple[Figure, Figure]:
    return (
        w.figure("slot_retained_bytes", retained, name, status),
        w.figure("slot_active", float(active), name, kind),
    )


def wal_room(free: int, total: int = 100 * GIB, wal_bytes: int = GIB) -> Reading[Volumes]:
    """WAL on a volume of its own."""
    data, wal = w.volume("data", "log"), w.volume("wal", free=free, total=total, mount="/wal")
    return w.volumes(data, wal, wal_bytes=wal_bytes)


def failures(
    n: int, text: str = "archive command failed with exit code 1", **more: Any
) -> list[LogEvent]:
    return [w.line("archive_failed", 60 - s, text, severity="LOG", **more) for s in range(n)]


UNARCHIVED = {
    "figures": figures(w.figure("archive_failing", 1, detail="000000010000000000000007")),
    "retention": w.read(Retention(archive_mode=True, archiver_failing=True, ready_files=400)),
    "volumes": wal_room(60 * GIB),
}
OLD_SLOT = {
    "figures": figures(*slot("old_standby", 30 * GIB, active=False, kind="physical")),
    "volumes": wal_room(60 * GIB),
    "symptoms": (stands(SymptomKind.SLOT_INACTIVE, 1800, "old_standby"),),
}
STUCK_SLOT = {
    "figures": figures(*slot("warehouse", 30 * GIB, active=True)),
    "volumes": wal_room(60 * GIB),
    "symptoms": (stands(SymptomKind.SLOT_STUCK, 1800, "warehouse"),),
}
BURST = {
    "history": courses(w.course("wal_bytes_total", 1e6, 80e6)),
    "volumes": wal_room(4 * GIB),
    "figures": figures(w.figure("progress", 3, "copy", "COPY FROM")),
}
OFTEN = [
    w.line("checkpoints_too_often", 100 - 12 * n, "checkpoints are occurring too frequently")
    for n in range(8)
]
SPILL = {
    "volumes": w.read(
        Volumes(
            volumes=(w.volume("data", "wal", "log", free=4 * GIB),),
            wal_bytes=GIB,
            temp_bytes=60 * GIB,
        )
    ),
    "figures": figures(w.figure("temp_files_bytes", 60.0 * GIB, "100", "pg_default")),
}
LOG_FULL = {
    "volumes": w.read(
        Volumes(
            volumes=(w.volume("data", "wal"), w.volume("log", free=0, total=GIB, mount="/log")),
            wal_bytes=GIB,
            log_bytes=GIB,
        )
    ),
    "figures": figures(log_statement="all"),
}
NO_INODES = {
    "volumes": w.volumes(replace(w.volume("data", "wal", "log"), free_inodes=0)),
}
STALLED = {
    "activity": w.activity(w.doing(20, "IO:WalSync"), w.doing(15, "LWLock:WALWrite"), w.doing(1)),
    "history": courses(w.course("commits_total", 100, 4), w.course("active_sessions", 4, 36)),
    "processes": w.read(ServerProcesses(postmaster_pid=w.PID, children=40, waiting_for_storage=12)),
}
FSYNC = w.line(
    "panic_fsync",
    40,
    'could not fsync file "base/5/16384": Input/output error',
    severity="PANIC",
)

CASES: dict[str, Evidence] = {
    "archiver_failing": w.healthy(**UNARCHIVED, log=w.log(*failures(6))),
    "slot_inactive": w.healthy(**OLD_SLOT),
    "slot_stuck": w.healthy(**STUCK_SLOT),
    "wal_burst": w.healthy(**BURST),
    "checkpoint_storm": w.healthy(
        log=w.log(*OFTEN), activity=w.activity(w.doing(4, "IO:DataFileSync"), w.doing(4))
    ),
    "temp_file_spill": w.healthy(**SPILL),
    "log_volume_full": w.healthy(**LOG_FULL),
    "inodes_exhausted": w.healthy(**NO_INODES),
    "storage_stalled": w.healthy(**STALLED),
    "fsync_failed": w.down(log=w.log(FSYNC), lock_file=w.lock()),
    "backup_failed": w.healthy(
        history=courses(
            w.course("backup_failed", 0, 1, "s3 nightly"),
            w.course("backup_age_s", 3e4, 2e5, "s3 nightly"),
        ),
        symptoms=(stands(SymptomKind.BACKUP_FAILED, 7200, "s3 nightly", "exit code 82"),),
    ),
    "backup_unrestorable": w.healthy(
        history=courses(
            w.course("backup_verification_failed", 0, 1, "s3 nightly"),
            w.course("backup_failed", 0, 1, "s3 nightly"),
            w.course("backup_age_s", 3e4, 3e4, "s3 nightly"),
        ),
        symptoms=(
            stands(SymptomKind.BACKUP_VERIFICATION_FAILED, 7200, "s3 nightly", "page 7 is wrong"),
        ),
    ),
    "archive_gap": w.healthy(
        history=courses(
            w.course("archive_holes", 0, 3, "s3 repo1"),
            w.course("archive_gap_segments", 0, 0, "s3"),
        ),
        symptoms=(stands(SymptomKind.ARCHIVE_HOLES, 7200, "s3 repo1"),),
    ),
}
