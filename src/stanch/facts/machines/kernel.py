"""The few messages of a kernel that tell of trouble for a database server."""

from __future__ import annotations

import re
from collections.abc import Iterable

from stanch.model.machine import KernelMessage, KernelTrouble

MESSAGES_MAX = 50
TEXT_CHARS_MAX = 300
TROUBLE = (
    (KernelTrouble.OOM_KILL, "[Oo]ut of memory: Kill(ed)? process"),
    (
        KernelTrouble.FILE_SYSTEM,
        "EXT4-fs error|EXT4-fs .*[Rr]emounting filesystem read-only|XFS .*([Cc]orruption|"
        "[Ss]hutting down filesystem)|BTRFS (error|critical)|[Aa]borting journal",
    ),
    (
        KernelTrouble.IO_ERROR,
        "I/O error|critical (medium|target) error|lost (async )?page write|"
        "nvme.* (timeout|resetting controller)",
    ),
    (KernelTrouble.HUNG_TASK, "blocked for more than [0-9]+ seconds"),
    (KernelTrouble.HARDWARE, "Hardware Error|[Mm]achine check|EDAC .*(CE|UE) "),
)
"""What each is recognised by, as extended regular expressions that `grep -E` knows, too. The first
that fits counts: a file system's own message says more than the medium's below it."""

GREP = "|".join(pattern for _, pattern in TROUBLE)

_KNOWN = tuple((trouble, re.compile(pattern)) for trouble, pattern in TROUBLE)
_PRINTED = re.compile(r"\[ *(\d{1,12}\.\d{1,9})\] (.*)")
_RECORD = re.compile(r"\d+,\d+,(\d{1,18}),[^;]*;(.*)")


def recognised(since_boot_s: float, text: str) -> KernelMessage | None:
    """The message where it tells of trouble; None for everything else a kernel says."""
    for trouble, pattern in _KNOWN:
        if pattern.search(text):
            return KernelMessage(
                trouble=trouble, since_boot_s=since_boot_s, text=text[:TEXT_CHARS_MAX]
            )
    return None


def printed(text: str) -> tuple[KernelMessage, ...]:
    """Messages of trouble in what `dmesg` prints; lines without a time are passed over."""
    lines = (_PRINTED.match(line) for line in text.splitlines())
    return _newest(recognised(float(line[1]), line[2]) for line in lines if line is not None)


def recorded(records: Iterable[str]) -> tuple[KernelMessage, ...]:
    """Messages of trouble in records of /dev/kmsg (`6,12,1316514,-;text`)."""
    lines = (_RECORD.match(record) for record in records)
    return _newest(recognised(int(line[1]) / 1e6, line[2]) for line in lines if line is not None)


def _newest(found: Iterable[KernelMessage | None]) -> tuple[KernelMessage, ...]:
    return tuple(message for message in found if message is not None)[-MESSAGES_MAX:]
