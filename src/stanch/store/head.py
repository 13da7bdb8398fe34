"""The `head` file: how far the journal had come, kept outside the database.

A chain alone cannot show that its newest entries were taken away; this file can. It is written
in place after every commit and forced to disk about once a second. It proves that nothing was
lost up to the entry it names: exactly, after the process died; up to a second less, after the
machine did. Somebody who may write in the directory can change both, which is what heads
anchored outside (in pages, heartbeats and reports) are for.
"""

from __future__ import annotations

import os
import time
import zlib
from contextlib import suppress
from pathlib import Path

from stanch.store.chain import Head

_SYNC_EVERY_S = 1.0
_SIZE = 128


class HeadFile:
    """Written by the one writing process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._synced_at = 0.0

    def write(self, head: Head) -> None:
        """Note a new head. Never raises: the entries are durable already, this only proves less."""
        with suppress(OSError):
            if self._fd < 0:
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
                self._fd = os.open(self._path, flags, 0o600)
            os.pwrite(self._fd, _line(head), 0)
            now = time.monotonic()
            if now - self._synced_at >= _SYNC_EVERY_S:
                self._synced_at = now
                os.fdatasync(self._fd)

    def close(self) -> None:
        """Force what was written to disk. May be called twice."""
        if self._fd >= 0:
            with suppress(OSError):
                os.fdatasync(self._fd)
            os.close(self._fd)
            self._fd = -1


def read_head(path: Path) -> Head | None:
    """The head last noted; None where there is no file, or none that can be read whole."""
    try:
        text = path.read_bytes()[:_SIZE].decode("ascii")
        n, digest, check = text.split()
        head = Head(n=int(n), hash=bytes.fromhex(digest))
    except (OSError, ValueError):
        return None
    return head if _line(head).split()[2] == check.encode() else None


def _line(head: Head) -> bytes:
    said = f"{head.n} {head.hash.hex()}"
    line = f"{said} {zlib.crc32(said.encode()):08x}"
    return line.ljust(_SIZE - 1).encode() + b"\n"
