"""What a far machine tells of a data directory: lock file, control file, volumes and sizes."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from stanch.facts.control_file import as_printed
from stanch.facts.machines.far_processes import FarProcess, parse_processes
from stanch.facts.machines.far_scripts import bytes_of
from stanch.model.diagnosis import Missing
from stanch.model.host import DirectorySizes, LockFileRead, ProcessInfo
from stanch.model.ports.traces import StartFiles

FIRST_PID_NAMESPACE = "pid:[4026531836]"
NAME_CHARS_MAX = 200

_THREE = re.compile(r"(\d{1,20}) (\d{1,20}) (\d{1,20})")
_FOLDER = re.compile(r"(denied )?(\d{1,10}) (\d{1,20}) (\d{1,20}) ([0-7]{1,5})")
_AGED = re.compile(r"(\d{1,12}) (.{1,200})")
_SEGMENT = re.compile(r"(\d{1,12}) ([0-9A-F]{24})")
_SLOT = re.compile(r"slot ([a-z0-9_]{1,63})/state")
_CLOCK = re.compile(r"(\d{1,11}) (\d{1,12}(?:\.\d{1,4})?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class FarFiles:
    """The files of one data directory, each as it was read or why it was not."""

    owner_uid: int | Missing
    folder: tuple[int, int] | None
    """Device and inode of the data directory itself."""
    boot_id: str | Missing
    lock_file: LockFileRead | Missing | None
    holder: FarProcess | Missing | None
    """The process that has the PID in the lock file; None: nobody has."""
    controldata: str | Missing
    start: StartFiles | Missing
    segment: tuple[str, int] | None
    """The segment of WAL written last, and the size of one."""
    slots: Mapping[str, bytes]
    """The beginnings of their state files."""
    same_pids: bool
    """The kernel's log there names processes by the PIDs that are seen."""
    segments: Mapping[int, int] | Missing
    """Of shared memory of System V: by id, how many processes have it attached."""

    @property
    def process(self) -> ProcessInfo | Missing | None:
        return self.holder.info if isinstance(self.holder, FarProcess) else self.holder


def parse_files(
    parts: Mapping[str, str], data_directory: str, *, boot_at: datetime | None
) -> FarFiles | Missing:
    """The parts of the script's output; Missing where the folder itself may not be read."""
    said, whom = parts.get("folder", "").strip(), parts.get("user", "").strip() or "this OS user"
    # A number that was cut short would be another folder's.
    known = _FOLDER.fullmatch(said) if "namespace" in parts else None
    if known is None:
        absent = f"{data_directory} is not there, or {whom} may not look"
        reason = absent if said == "absent" else f"{data_directory} could not be looked at"
        return Missing(what="files", reason=reason)
    if known[1]:
        return _closed(known, f"{data_directory} may not be read by {whom}")
    boot = parts.get("boot", "").strip()
    return FarFiles(
        owner_uid=int(known[2]),
        folder=(int(known[3]), int(known[4])),
        boot_id=boot or Missing(what="boot id", reason="the machine does not tell"),
        lock_file=_lock_file(parts.get("lock"), data_directory),
        holder=_holder(parts, boot_at),
        controldata=_control(parts.get("control"), data_directory),
        start=_start(parts, owner_uid=int(known[2]), mode=int(known[5], 8)),
        segment=_segment(parts.get("wal", "")) if "end" in parts else None,
        slots=_slots(parts.get("slots", "")),
        same_pids=parts.get("namespace", "").strip() == FIRST_PID_NAMESPACE,
        segments=_segments(parts.get("segments", "")),
    )


def _closed(known: re.Match[str], reason: str) -> FarFiles:
    """A folder that may not be entered: whose it is, and who may, can be seen all the same."""
    gone = Missing(what="files", reason=reason)
    return FarFiles(
        owner_uid=int(known[2]),
        folder=(int(known[3]), int(known[4])),
        boot_id=gone,
        lock_file=gone,
        holder=gone,
        controldata=gone,
        start=StartFiles(
            version="",
            control_file=True,
            closed=True,
            owner_uid=int(known[2]),
            mode=int(known[5], 8),
        ),
        segment=None,
        slots={},
        same_pids=False,
        segments=gone,
    )


def _lock_file(text: str | None, data_directory: str) -> LockFileRead | Missing | None:
    if text is None:
        return Missing(what="lock file", reason="there was no time to read it")
    head, _, dump = text.strip().partition("\n")
    if head == "none":
        return None
    known, content = _THREE.fullmatch(head), bytes_of(dump)
    if known is None or content is None:
        return Missing(what="lock file", reason="postmaster.pid may not be read, or is just gone")
    return LockFileRead(
        path=posixpath.join(data_directory, "postmaster.pid"),
        content=content,
        device=int(known[1]),
        inode=int(known[2]),
        modified_at=datetime.fromtimestamp(int(known[3][:11]), UTC),
    )


def _holder(parts: Mapping[str, str], boot_at: datetime | None) -> FarProcess | Missing | None:
    text = parts.get("holder")
    if text is not None and text.strip() == "none":
        return None
    found = parse_processes(text or "", parts.get("links", ""), boot_at=boot_at)
    return found[0] if found else Missing(what="process", reason="it could not be inspected")


def _control(dump: str | None, data_directory: str) -> str | Missing:
    if dump is None:
        return Missing(what="controldata", reason="there was no time to read it")
    content = bytes_of(dump)
    if content is None:
        path = f"{data_directory}/global/pg_control"
        return Missing(what="controldata", reason=f"{path} is not there, or may not be read")
    return as_printed(content)


def _start(parts: Mapping[str, str], *, owner_uid: int, mode: int) -> StartFiles | Missing:
    if "upgrade" not in parts:
        # What was not reached would look like what is not there.
        return Missing(what="files", reason="there was no time to look at all of them")
    marks = frozenset(parts.get("marks", "").split())
    owner = parts.get("owner", "").strip()
    upgrade = _AGED.fullmatch(parts.get("upgrade", "").strip())
    return StartFiles(
        version=parts.get("version", "").strip()[:80],
        control_file="global/pg_control" in marks,
        control_set_aside="global/pg_control.old" in marks,
        backup_label="backup_label" in marks,
        owner_uid=owner_uid,
        control_owner_uid=int(owner) if owner.isdecimal() else None,
        mode=mode,
        upgrade_output=upgrade[2] if upgrade else "",
        upgrade_at=datetime.fromtimestamp(int(upgrade[1][:11]), UTC) if upgrade else None,
    )


def _segment(text: str) -> tuple[str, int] | None:
    match = _SEGMENT.fullmatch(text.strip())
    return (match[2], int(match[1])) if match and int(match[1]) else None


def _slots(text: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    name, dump = "", list[str]()
    for line in (*text.splitlines(), "slot /state"):
        if line.startswith("slot "):
            content = bytes_of(" ".join(dump))
            if name and content is not None:
                found[name] = content
            match = _SLOT.fullmatch(line)
            name, dump = match[1] if match else "", []
        else:
            dump.append(line)
    return found


def _segments(text: str) -> dict[int, int] | Missing:
    """/proc/sysvipc/shm: key, id, permissions, size, two processes, and how many are attached."""
    rows = [line.split() for line in text.splitlines()]
    if not rows or "nattch" not in rows[0]:
        return Missing(what="shared memory", reason="the machine does not tell its segments")
    known = [
        row for row in rows[1:] if len(row) > 6 and all(n.isdecimal() for n in (row[1], row[6]))
    ]
    return {int(row[1]): int(row[6]) for row in known}


def boot_time(parts: Mapping[str, str]) -> datetime | None:
    """When the machine was started, by its own clock."""
    match = _CLOCK.fullmatch(parts.get("clock", "").strip())
    if match is None:
        return None
    return datetime.fromtimestamp(int(match[1]) - float(match[2]), UTC)


def parse_sizes(parts: Mapping[str, str], data_directory: str) -> DirectorySizes | Missing:
    """What takes the space; a count that ended early is a lower bound, and says so."""
    text = parts.get("sizes")
    if text is None or text.strip() == "denied":
        reason = "nothing was counted in time" if text is None else "may not be read"
        return Missing(what="directory sizes", reason=f"{data_directory}: {reason}")
    pairs = (line.split(" ") for line in text.splitlines())
    known = {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1][:18].isdecimal()}
    if "wal" not in known:
        return Missing(what="directory sizes", reason="nothing was counted in time")
    return DirectorySizes(
        wal_bytes=known["wal"] * 1024,
        wal_segments=known.get("segments", 0),
        archive_ready=known.get("ready", 0),
        base_bytes=known.get("base", 0) * 1024,
        temp_bytes=known.get("temp", 0) * 1024,
        log_bytes=known["log"] * 1024 if "log" in known else None,
        complete="end" in parts,
    )
