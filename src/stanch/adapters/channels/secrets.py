"""Secrets that the policy names by file: what stands on the first line."""

from __future__ import annotations

import stat
from pathlib import Path

SECRET_BYTES_MAX = 4_096


class Unreadable(Exception):
    """A file with a proof cannot be used; the message says which and why."""


def first_line(path: str) -> bytes:
    """Empty where no file is named. Raises Unreadable. Cost: reads it; not for the event loop."""
    if not path:
        return b""
    try:
        with Path(path).open("rb") as file:
            line = file.readline(SECRET_BYTES_MAX).strip()
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {(error.strerror or '').lower()}") from error
    if not line:
        raise Unreadable(f"{path} is empty")
    return line


def is_public(path: str) -> bool:
    """Whether every user of this machine may read it. Raises OSError."""
    return bool(stat.S_IMODE(Path(path).stat().st_mode) & stat.S_IROTH)
