"""Whoever has to find out why a machine has no processor left must not wait in the same line."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

FIRST = -10
"""As a nice value: before whatever was started as usual, behind what the kernel needs itself."""


def go_first() -> None:
    """Ask for the processor before others; where that is not allowed, it stays as it is.

    Call it before any thread is started: on Linux each has a priority of its own.
    """
    with contextlib.suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, 0) > FIRST:
            os.setpriority(os.PRIO_PROCESS, 0, FIRST)
        _session_first()


def _session_first() -> None:
    """Where the kernel shares processors among sessions, a process is ahead of its own alone.

    That holds without control groups. Only of a session that is ours: the shell of whoever typed
    a command stays as it was.
    """
    if os.getsid(0) == os.getpid():
        Path("/proc/self/autogroup").write_text(str(FIRST), encoding="ascii")
