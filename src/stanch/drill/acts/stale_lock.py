"""The postmaster dies, and another process gets its PID before anybody could start it again.

This happens for real after a crash on a busy machine and after reboots. PostgreSQL then takes the
stranger for the old server and refuses to start. Linux lets root choose the next PID, which makes
it happen within milliseconds instead of once in a month.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from stanch.adapters.hosts.containers import read_signs
from stanch.adapters.postgres.os_user import OsUser, as_user
from stanch.drill.acts.act import Act, Broken, NotStaged
from stanch.drill.judging import Expectation
from stanch.drill.scene import ORDERS, Place

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")
"""The kernel gives the next process the number after this one, if it is free."""

TAKE_WITHIN_S = 2.0
LIVED_S_MIN = 5.0
"""A process started within 3 s of the file's server proves nothing: that server must be older."""
STRANGER = ("sleep", "600")


def _cannot() -> str:
    if not sys.platform.startswith("linux"):
        return "only Linux lets a process be given a chosen PID"
    if os.geteuid() != 0:
        return "giving a process a chosen PID takes root"
    if not os.access(LAST_PID, os.W_OK):
        return f"{LAST_PID} cannot be written here"
    if read_signs("/tmp", Path("/proc"), root=Path("/"), server_pid=None).in_container:  # noqa: S108
        return "in a container a lock file proves nothing, and Stanch never touches one"
    return ""


@contextmanager
def _take_its_pid(place: Place) -> Generator[Broken]:
    server = place.server
    pid = server.postmaster_pid()
    assert pid is not None, "the server is not running"
    assert server.folder.user is not None, "as root a server has a user of its own"
    _let_it_live(place)
    server.remember_shared_memory()
    at = datetime.now(UTC)
    os.kill(pid, signal.SIGKILL)
    stranger = take_pid(pid, server.folder.user)
    if stranger is None:
        raise NotStaged(f"PID {pid} could not be had within {TAKE_WITHIN_S:g} s")
    try:
        words = " ".join(STRANGER)
        user = server.folder.user.name
        yield Broken(at=at, what=f'kill -9 {pid}; PID {pid} is now "{words}" of user {user}.')
    finally:
        stranger.kill()
        stranger.wait()


def take_pid(pid: int, user: OsUser) -> subprocess.Popen[bytes] | None:
    """A harmless process of that user under exactly this PID; None where others were quicker."""
    end = time.monotonic() + TAKE_WITHIN_S
    while time.monotonic() < end:
        # Ours to bury where the launcher adopted it; else its parent does that.
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        if Path(f"/proc/{pid}").exists():
            continue
        LAST_PID.write_text(str(pid - 1))
        process = subprocess.Popen(
            STRANGER,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **as_user(user),
        )
        if process.pid == pid:
            return process
        process.kill()
        process.wait()
    return None


def _let_it_live(place: Place) -> None:
    sql = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8"
    [(lived_s,)] = place.server.query(sql)
    time.sleep(max(0.0, LIVED_S_MIN - lived_s))


STALE_LOCK = Act(
    name="stale-lock",
    title="A lock file whose PID belongs to a stranger",
    target=ORDERS,
    expected=Expectation(
        cause="stale_lock_file",
        actions=("set_aside_lock_file", "start_server"),
        noticed_within_s=5,
        rescued_within_s=30,
    ),
    cannot=_cannot,
    breaks=_take_its_pid,
)
