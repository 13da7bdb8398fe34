"""How far the kernel believes its clock to be from the right time."""

from __future__ import annotations

import ctypes
import sys

from stanch.model.diagnosis import Missing

_UNSYNCHRONISED = 0x0040
_IN_NANOSECONDS = 0x2000


class _Timex(ctypes.Structure):
    """struct timex of Linux, the same on every architecture with 64 bits, without its tail."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def clock_offset() -> float | Missing:
    """Seconds that this machine's clock is ahead of what its time servers say.

    Source: adjtimex(2) with no mode, which reads and needs no right. Linux only.
    """
    if sys.platform != "linux":
        return Missing(what="clock", reason="only Linux tells how far its clock is off")
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return Missing(what="clock", reason="this C library has no adjtimex")
    seen = _Timex()
    if adjtimex(ctypes.byref(seen)) < 0:
        return Missing(what="clock", reason="the kernel does not tell")
    status, offset = int(seen.status), int(seen.offset)
    if status & _UNSYNCHRONISED:
        return Missing(what="clock", reason="no time server keeps this machine's clock")
    # The kernel counts what is still to be added; a clock that is ahead has that below zero.
    return -offset / (1e9 if status & _IN_NANOSECONDS else 1e6)
