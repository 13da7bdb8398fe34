"""The kernel's log of this machine, followed for messages of trouble."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

from stanch.facts.machines.kernel import MESSAGES_MAX, recorded
from stanch.model.diagnosis import Missing
from stanch.model.machine import KernelMessage

KMSG = Path("/dev/kmsg")
RECORDS_MAX = 20_000
RECORD_BYTES_MAX = 8192


class KernelLog:
    """Follows the log with one open file: each record is read once, however often it is asked.

    Source: /dev/kmsg, which needs root or a permissive kernel.dmesg_restrict.
    """

    def __init__(self, path: Path = KMSG) -> None:
        self._path = path
        self._device: int | None = None
        self._kept: deque[KernelMessage] = deque(maxlen=MESSAGES_MAX)

    def read(self) -> tuple[KernelMessage, ...] | Missing:
        """The newest messages of trouble since the log began, oldest first."""
        try:
            if self._device is None:
                self._device = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._kept.clear()
            records = new_records(self._device)
            self._kept.extend(recorded(line for one in records for line in one.splitlines()))
        except OSError as error:
            self.close()
            reason = (error.strerror or str(error)).lower()
            return Missing(what="kernel messages", reason=f"{self._path}: {reason}")
        return tuple(self._kept)

    def close(self) -> None:
        if self._device is not None:
            os.close(self._device)
            self._device = None


def new_records(device: int) -> list[str]:
    """What is there to be read: one record a read of the device; a plain file comes in pieces."""
    found: list[str] = []
    for _ in range(RECORDS_MAX):
        try:
            record = os.read(device, RECORD_BYTES_MAX)
        except BlockingIOError:
            break
        except BrokenPipeError:
            continue  # This record was overwritten while we read; the next one is there.
        if not record:
            break
        found.append(record.decode("utf-8", "replace"))
    return found
