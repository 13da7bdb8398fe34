"""Whoever has to find out why a machine has no processor left must not wait in the same line."""

from __future__ import annotations

import contextlib
import os

FIRST = -10
"""As a nice value: before whatever was started as usual, behind what the kernel needs itself."""


def go_first() -> None:
    """Ask for the processor before others; where that is not allowed, it stays as it is.

    Call it before any thread is started: on Linux each has a priority of its own.
    """
    with contextlib.suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, 0) > FIRST:
            os.setpriority(os.PRIO_PROCESS, 0, FIRST)
