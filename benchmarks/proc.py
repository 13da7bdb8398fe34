"""What the kernel says a process has used."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def run_s(pid: int) -> float:
    """CPU time of a process with one thread, to the nanosecond where the kernel counts so."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except (OSError, IndexError):
        user, system, _, _ = _ticks(pid)
        return (user + system) * TICK_S


def tree_s(postmaster: int, children: Iterable[int]) -> float:
    """CPU time of a server: its postmaster, its processes now, and those that have ended."""
    _, _, ended_user, ended_system = _ticks(postmaster)
    living = sum(run_s(pid) for pid in {postmaster, *children})
    return living + (ended_user + ended_system) * TICK_S


def _ticks(pid: int) -> tuple[int, int, int, int]:
    """User, system, and both of the children that were waited for."""
    columns = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    user, system, ended_user, ended_system = (int(text) for text in columns[11:15])
    return user, system, ended_user, ended_system
