"""Buries dead scratch servers, as a machine's init does.

pg_ctl leaves the postmaster an orphan. Where PID 1 is not a real init (many containers), a killed
postmaster stays a zombie, for seconds or for ever, and PostgreSQL takes the PID in its lock file
for alive as long: the server could not be started again. On Linux the process that makes scratch
servers therefore adopts them and collects their remains.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from functools import cache
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36
PAUSE_S = 0.02


@cache
def adopt_orphans() -> bool:
    """Make this process the adoptive parent of servers orphaned below it; done once.

    Answers False where the system has no such thing (macOS, whose launchd does the work).
    Never: collects a child of `subprocess`, which is of this process's own session or not named
    postgres.
    """
    if not sys.platform.startswith("linux"):
        return False
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        return False
    threading.Thread(target=_bury_for_ever, name="orphaned-servers", daemon=True).start()
    return True


def _bury_for_ever() -> None:
    own_session = os.getsid(0)
    while True:
        try:
            # Only looks (WNOWAIT): whose child it is decides who collects it.
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            time.sleep(PAUSE_S)
            continue
        for pid in _children():
            if _is_dead_server(pid, own_session):
                _collect(pid)
        time.sleep(PAUSE_S)


def _children() -> list[int]:
    """Source: /proc/self/task/*/children: the threads' own lists, without a walk over /proc."""
    lists = list(Path("/proc/self/task").glob("*/children"))
    if not lists:  # a kernel built without these lists
        return [child.pid for child in psutil.Process().children()]
    pids: list[int] = []
    for listed in lists:
        try:
            pids += map(int, listed.read_text().split())
        except OSError:  # that thread has just ended
            continue
    return pids


def _is_dead_server(pid: int, own_session: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    name = stat[stat.index("(") + 1 : stat.rindex(")")]
    state, _parent, _group, session = stat[stat.rindex(")") + 2 :].split()[:4]
    return state == "Z" and name == "postgres" and int(session) != own_session


def _collect(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
