"""The section about backups: the archive as the server sees it, and a folder of dumps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from statistics import median
from typing import Final

from stanch.facts.health.server import BackupsRead, ServerRead
from stanch.model.backups import Backup, BackupsSeen
from stanch.model.diagnosis import Missing
from stanch.model.shown import moment, shortened, span
from stanch.watch.health.report import Judgement, Line, Section, part, size

ARCHIVE_LOOK_S = 24 * 3600.0
DISCARDING: Final = frozenset({"/bin/true", "/usr/bin/true", "true", ":", "exit", "echo"})
"""First words of archive commands that keep nothing and report success."""
BACKUP_LOOK_S, BACKUP_DANGER_S = 24 * 3600.0, 7 * 24 * 3600.0
SIZE_LOOK = 0.5
"""A backup of less than half the usual size has probably lost something."""
NAME_CHARS_MAX = 60
NOT_TOLD = (
    "When a backup was last taken, and whether it can be restored, only the backup tool knows: the"
    " server keeps no record of it. --backups names a folder of dumps, --config a policy that says"
    " where they lie."
)


def backups_section(
    read: BackupsRead,
    server: ServerRead,
    places: Sequence[tuple[str, BackupsSeen | Missing]] = (),
) -> Section:
    """The newest good backup of each place that was named, the archive, a backup under way."""
    lines = [_archive(read, server)]
    if read.running:
        lines.append(Line(what="base backup", value=f"{read.running} being taken right now"))
    found = [_newest(seen, at=server.at) for _, seen in places]
    if len(places) > 1:
        found = [_named(line, place) for line, (place, _) in zip(found, places, strict=True)]
    lines = [*found, *lines]
    note = "That a backup is whole does not prove that it restores." if places else NOT_TOLD
    return Section(id="backups", title="Last backup", lines=tuple(lines), note=note)


def _named(line: Line, place: str) -> Line:
    return replace(line, what=f"{line.what} in {shortened(place, NAME_CHARS_MAX)}")


def _newest(seen: BackupsSeen | Missing, *, at: datetime) -> Line:
    if isinstance(seen, Missing):
        return _none("the place cannot be seen", shortened(seen.reason, 200))
    newest_first = sorted(seen.backups, key=lambda backup: backup.at, reverse=True)
    good = [backup for backup in newest_first if backup.is_good]
    if not good:
        faults = [backup.fault for backup in newest_first if backup.fault]
        return _none("no good one there", faults[0] if faults else "It holds no backup.")
    line = _judged(good[0], good[1:], at=at)
    bad = next((b for b in newest_first if b.fault and b.at > good[0].at), None)
    if bad is None and not seen.latest_fault and not seen.problem:
        return line
    return Line(
        what=line.what,
        value=line.value,
        judgement=max(line.judgement, Judgement.LOOK, key=list(Judgement).index),
        why=line.why or _doubt(seen, bad),
        do=line.do or "Read what the backup job wrote, and run it again.",
        detail=bad.fault if bad is not None else seen.problem or seen.latest_fault,
        figures=line.figures,
    )


def _doubt(seen: BackupsSeen, bad: Backup | None) -> str:
    if bad is not None:
        return "A newer one is not whole."
    return "A repository is not well." if seen.problem else "`latest` does not lead to it."


def _none(value: str, why: str) -> Line:
    return Line(
        what="newest backup",
        value=value,
        judgement=Judgement.DANGER,
        why=f"{why.rstrip('.')}.",
        do="Take one now, and find out why the job does not.",
    )


def _judged(newest: Backup, older: list[Backup], *, at: datetime) -> Line:
    age_s = (at - newest.at).total_seconds()
    usual = (
        median(b.size_bytes for b in older if b.kind == newest.kind)
        if any(b.kind == newest.kind for b in older)
        else None
    )
    ratio = newest.size_bytes / usual if usual else None
    judgement, why, do = Judgement.OK, "", ""
    if age_s >= BACKUP_LOOK_S:
        judgement = Judgement.DANGER if age_s >= BACKUP_DANGER_S else Judgement.LOOK
        why = f"Everything since {moment(newest.at)} would be lost with the server."
        do = "See why the backup job did not run, and take one now."
    elif ratio is not None and ratio < SIZE_LOOK:
        judgement = Judgement.LOOK
        why = f"It has only {part(ratio)} of the usual size."
        do = "Compare what it holds with the one before, before that one expires."
    return Line(
        what=f"newest backup {shortened(newest.name, NAME_CHARS_MAX)}",
        value=f"{span(age_s)} old, {size(newest.size_bytes)}",
        judgement=judgement,
        why=why,
        do=do,
        figures={
            "age_s": round(age_s, 1),
            "size_bytes": newest.size_bytes,
            "size_ratio": None if ratio is None else round(ratio, 3),
        },
    )


def _discards(command: str) -> bool:
    words = command.split("#")[0].split()
    return bool(words) and words[0] in DISCARDING


def _archive(read: BackupsRead, server: ServerRead) -> Line:
    mode = server.value("archive_mode") or "unknown"
    command = (server.value("archive_command") or "").strip()
    figures = {
        "archive_mode": mode,
        "archived_count": read.archived_count,
        "failed_count": read.failed_count,
        "last_age_s": read.last_age_s,
    }
    last = "never" if read.last_age_s is None else f"{span(read.last_age_s)} ago ({read.last_wal})"
    value, judgement, why, do = f"last archived {last}", Judgement.OK, "", ""
    if mode == "off":
        value = "off"
        judgement = Judgement.LOOK
        why = "Without an archive everything since the last backup is lost with the disk."
        do = "Archive WAL with the backup tool, or accept in writing what may be lost."
    elif not (command or server.value("archive_library")):
        value = "on, without a command or library"
        judgement = Judgement.DANGER
        why = "WAL is kept for an archive that nobody fills, until the volume is full."
        do = "Set the archive command of the backup tool."
    elif _discards(command):
        value = f"discarded by archive_command: {command}"
        judgement = Judgement.DANGER
        why = "WAL is thrown away and counts as archived: no backup can be rolled forward."
        do = "Set the archive command of the backup tool, then take a full backup."
    elif read.failing:
        ago = span(read.last_failed_age_s or 0.0)
        value = f"failing: {read.last_failed_wal} {ago} ago; last archived {last}"
        judgement = Judgement.DANGER
        why = "WAL piles up until the volume is full, and what is not archived cannot be restored."
        do = "Read the server's log for what the archive command says."
    elif (read.last_age_s or 0.0) >= ARCHIVE_LOOK_S:
        judgement = Judgement.LOOK
        why = "Nothing was archived for a day: no writes, or an archiver that is stuck."
        do = "Set archive_timeout, so that silence is always a fault."
    return Line(
        what="WAL archive", value=value, judgement=judgement, why=why, do=do, figures=figures
    )
