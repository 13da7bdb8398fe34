"""Traces of a dead server on this machine: the kernel's log, slot files, the newest WAL."""

from __future__ import annotations

import os
import re
import stat
import struct
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from stanch.adapters.hosts.kernel_log import KMSG, new_records
from stanch.adapters.hosts.threads import OwnThreads
from stanch.model.diagnosis import Missing
from stanch.model.ports.traces import (
    KernelKill,
    KernelStall,
    SlotOnDisk,
    StartFiles,
    WalOnDisk,
)

PID_NAMESPACE = Path("/proc/self/ns/pid")
FIRST_PID_NAMESPACE = 0xEFFFFFFC
"""PROC_PID_INIT_INO of the kernel."""
SLOTS_MAX = 500
SEGMENTS_MAX = 100_000
UPGRADES_MAX = 1000

_KILLED = re.compile(r"[Oo]ut of memory: Kill(?:ed)? process (\d+) \(([^)]{1,64})\)")
_STALLED = re.compile(r"task (\S{1,64}):(\d{1,10}) blocked for more than \d+ seconds")
_SEGMENT = re.compile(r"[0-9A-F]{24}")
_SLOT_MAGIC = 0x1051CA1
_RESTART_LSN_OFFSET = 96
"""ReplicationSlotOnDisk: 16 bytes of head, the name (64), then database, persistency, xmin and
catalog_xmin (4 each), restart_lsn (8). The same from version 9.4 to 18."""


class LocalTraces:
    """Reads this machine for one data directory; a wrong path or right is `Missing`."""

    def __init__(self, data_directory: str, *, kernel_log: Path = KMSG) -> None:
        self._directory = Path(data_directory)
        self._kernel_log = kernel_log
        self._threads = OwnThreads()

    async def kernel_kills(self) -> tuple[KernelKill, ...] | Missing:
        """Source: /dev/kmsg, which needs root or a permissive kernel.dmesg_restrict."""
        return await self._threads.run(self._kernel_kills)

    async def kernel_stalls(self) -> tuple[KernelStall, ...]:
        """Source: as that of `kernel_kills`."""
        return await self._threads.run(self._kernel_stalls)

    async def kernel_pids_are_ours(self) -> bool:
        """Source: /proc/self/ns/pid; the first PID namespace has a fixed inode number."""
        return await self._threads.run(self._kernel_pids_are_ours)

    async def wal_on_disk(self, *, segment_bytes: int) -> WalOnDisk | Missing:
        return await self._threads.run(self._wal_on_disk, segment_bytes)

    async def start_files(self) -> StartFiles | Missing:
        return await self._threads.run(self._start_files)

    async def owner_uid(self) -> int | Missing:
        return await self._threads.run(self._owner_uid)

    def _start_files(self) -> StartFiles | Missing:
        try:
            seen = self._directory.stat()
            files = _start_files_in(self._directory)
        except OSError as error:
            return _unreadable("files that a start needs", error)
        return replace(files, owner_uid=seen.st_uid, mode=stat.S_IMODE(seen.st_mode))

    def _owner_uid(self) -> int | Missing:
        try:
            return self._directory.stat().st_uid
        except OSError as error:
            return _unreadable("owner of the data directory", error)

    def _kernel_kills(self) -> tuple[KernelKill, ...] | Missing:
        try:
            records = _kernel_records(self._kernel_log)
        except OSError as error:
            return _unreadable("kernel log", error)
        booted = datetime.now(UTC) - timedelta(seconds=time.monotonic())
        return tuple(kill for kill in (parse_kill(r, booted=booted) for r in records) if kill)

    def _kernel_stalls(self) -> tuple[KernelStall, ...]:
        try:
            records = _kernel_records(self._kernel_log)
        except OSError:
            return ()
        booted = datetime.now(UTC) - timedelta(seconds=time.monotonic())
        return tuple(one for r in records if (one := parse_stall(r, booted=booted)) is not None)

    def _kernel_pids_are_ours(self) -> bool:
        try:
            return PID_NAMESPACE.stat().st_ino == FIRST_PID_NAMESPACE
        except OSError:
            return False

    def _wal_on_disk(self, segment_bytes: int) -> WalOnDisk | Missing:
        try:
            newest = _newest_segment(self._directory / "pg_wal")
            slots = _slots(self._directory / "pg_replslot")
        except OSError as error:
            return _unreadable("WAL and slots", error)
        if newest is None:
            return Missing(what="WAL and slots", reason="pg_wal holds no segment")
        end = (segment_number(newest, segment_bytes) + 1) * segment_bytes
        return WalOnDisk(slots=slots, newest_lsn=end, segment_bytes=segment_bytes)


def parse_kill(record: str, *, booted: datetime) -> KernelKill | None:
    """One line of /dev/kmsg (`6,12,1316514,-;text`); None where it tells of no kill."""
    since_boot, text = _record(record)
    found = _KILLED.search(text)
    if found is None or since_boot is None:
        return None
    return KernelKill(pid=int(found[1][:18]), name=found[2], at=booted + since_boot)


def parse_stall(record: str, *, booted: datetime) -> KernelStall | None:
    """One line of /dev/kmsg; None where it tells of no task that hangs."""
    since_boot, text = _record(record)
    found = _STALLED.search(text)
    if found is None or since_boot is None:
        return None
    return KernelStall(pid=int(found[2]), name=found[1], at=booted + since_boot)


def _record(record: str) -> tuple[timedelta | None, str]:
    head, _, text = record.partition(";")
    parts = head.split(",")
    if len(parts) < 3 or not parts[2].isascii() or not parts[2].isdigit():
        return None, text
    return timedelta(microseconds=int(parts[2][:18])), text


def segment_number(name: str, segment_bytes: int) -> int:
    """Which segment of the whole WAL a file name stands for."""
    high, low = int(name[8:16], 16), int(name[16:24], 16)
    return high * (0x1_0000_0000 // segment_bytes) + low


def parse_slot_file(name: str, content: bytes) -> SlotOnDisk | None:
    """The file pg_replslot/<name>/state; None where it is not such a file."""
    if len(content) < _RESTART_LSN_OFFSET + 8:
        return None
    # Both byte orders exist in the world, but a data directory only starts on its own.
    magic, restart_lsn = (
        struct.unpack_from("=I", content, 0)[0],
        struct.unpack_from("=Q", content, _RESTART_LSN_OFFSET)[0],
    )
    return SlotOnDisk(name=name, restart_lsn=restart_lsn) if magic == _SLOT_MAGIC else None


def _kernel_records(path: Path) -> list[str]:
    device = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return new_records(device)
    finally:
        os.close(device)


def _newest_segment(folder: Path) -> str | None:
    newest, newest_ns = None, -1
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count >= SEGMENTS_MAX:
                break
            if _SEGMENT.fullmatch(entry.name) is None:
                continue
            # Recycled segments carry names of the future but old times.
            modified_ns = entry.stat(follow_symlinks=False).st_mtime_ns
            if (modified_ns, entry.name) > (newest_ns, newest or ""):
                newest, newest_ns = entry.name, modified_ns
    return newest


def _newest_upgrade(folder: Path) -> tuple[str, datetime | None]:
    """Each run of pg_upgrade, from version 15 on, has a folder of its own, named by its time."""
    newest, newest_s = "", 0.0
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, UPGRADES_MAX):
                modified_s = entry.stat(follow_symlinks=False).st_mtime
                if (modified_s, entry.name) > (newest_s, newest):
                    newest, newest_s = entry.name, modified_s
    except FileNotFoundError:
        return "", None
    return newest, datetime.fromtimestamp(newest_s, UTC) if newest else None


def _first_line(path: Path) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline(80).strip()
    except FileNotFoundError:
        return ""


def _start_files_in(folder: Path) -> StartFiles:
    control = folder / "global" / "pg_control"
    try:
        output, at = _newest_upgrade(folder / "pg_upgrade_output.d")
        return StartFiles(
            version=_first_line(folder / "PG_VERSION"),
            control_file=control.exists(),
            control_set_aside=control.with_name("pg_control.old").exists(),
            upgrade_output=output,
            upgrade_at=at,
            backup_label=(folder / "backup_label").exists(),
            control_owner_uid=_owner(control),
        )
    except PermissionError:
        # Whose the folder is, and who may open it, can be seen all the same.
        return StartFiles(version="", control_file=True, closed=True)


def _owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except FileNotFoundError:
        return None


def _slots(folder: Path) -> tuple[SlotOnDisk, ...]:
    found: list[SlotOnDisk] = []
    with os.scandir(folder) as entries:
        names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
    for name in names[:SLOTS_MAX]:
        try:
            with open(folder / name / "state", "rb") as file:
                slot = parse_slot_file(name, file.read(4096))
        except FileNotFoundError:
            continue
        if slot is not None:
            found.append(slot)
    return tuple(found)


def _unreadable(what: str, error: OSError) -> Missing:
    return Missing(what=what, reason=(error.strerror or str(error)).lower())
