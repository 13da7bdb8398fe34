"""Breaks a server and holds it broken: a throw-away one, or one that its owner allowed it on."""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from stanch.adapters.postgres import scratch_processes
from stanch.adapters.postgres.binaries import Binaries
from stanch.adapters.postgres.conninfo import resolve
from stanch.adapters.postgres.load import LoadOptions
from stanch.adapters.postgres.os_user import server_user
from stanch.drill.lab.allowed import Allowed, permit, who_answers
from stanch.drill.lab.broken import Brokens, begun
from stanch.drill.lab.fault import Fault, NotMade
from stanch.drill.lab.means import daemons
from stanch.drill.lab.rig import Hand, Rig
from stanch.drill.lab.rigs import Rigs
from stanch.model.errors import SetupError

PREFIX = "stanch-lab-"
GONE_S = 5.0
LOAD = LoadOptions(writers=2, pause_s=0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What whoever is to find out is told."""

    dsn: str
    data_directory: str = ""
    log: str = ""
    standby_dsn: str = ""
    patroni: str = ""
    """Where Patroni is asked about the server that somebody looks at."""
    container: str = ""
    """The server's, and the socket of its daemon."""


@contextmanager
def throw_away(fault: Fault, binaries: Binaries, brokens: Brokens, *, seed: int) -> Generator[Told]:
    """A new server with an application on it, broken until the block ends.

    Raises: SetupError, NotMade.
    """
    # Sockets lie in it: the path has to be short.
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))
    folder.chmod(0o711)
    standing = begun(fault.id, "a throw-away server", folder=str(folder))
    brokens.put(standing)
    try:
        rng = random.Random(seed)
        with (
            Rigs(binaries, parent=folder) as rigs,
            rigs.rig(fault.needs, rng, load=LOAD) as rig,
        ):
            fault.make(rig)
            time.sleep(fault.shows_after_s)
            yield _told(rig, fault)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        brokens.forget(standing)


def _told(rig: Rig, fault: Fault) -> Told:
    policy = rig.standby_policy if fault.seen_on == "standby" else rig.policy
    docker = rig.policy.get("host", {}).get("docker", {})
    return Told(
        dsn=make_conninfo(rig.server.dsn("stanch_watch", "app"), **rig.way),
        data_directory=str(rig.server.data_directory),
        log=str(rig.server.log_path) if rig.has_log_file else "",
        standby_dsn=rig.standby.dsn("stanch_watch", "app") if rig.standby else "",
        patroni=policy.get("patroni", {}).get("url", ""),
        container=f"{docker['container']} of {docker['socket']}" if docker else "",
    )


@contextmanager
def on_staging(
    fault: Fault, dsn: str, allowed: Sequence[Allowed], brokens: Brokens, *, seed: int
) -> Generator[Allowed]:
    """A server of the list, broken until the block ends. Raises: SetupError, NotMade."""
    entry = permit(fault, who_answers(dsn), allowed, at=datetime.now(UTC))
    standing = begun(fault.id, f"{entry.name} ({resolve(dsn).label})")
    brokens.put(standing)
    hand = Hand(
        dsn=dsn,
        rng=random.Random(seed),
        on_undo=lambda undo: brokens.put(replace(standing, undo=undo)),
    )
    try:
        with hand:
            try:
                # What may be made there uses nothing but sessions, as its test shows.
                cast("Callable[[Hand], None]", fault.make)(hand)
            except psycopg.Error as error:
                words = " ".join(str(error).split())
                raise NotMade(f"the server did not let it be made: {words}") from error
            time.sleep(fault.shows_after_s)
            yield entry
    finally:
        brokens.forget(standing)


def remove_left(folder: Path) -> None:
    """Remove a throw-away server whose process is gone. Raises: SetupError for another folder."""
    if not folder.name.startswith(PREFIX) or folder.is_symlink():
        raise SetupError("this is no folder of the lab", on=str(folder))
    _end_programs(folder)
    user = server_user()
    for data in (*folder.glob("*/data"), *folder.glob("*/volume/data")):
        left = scratch_processes.server_processes(data, user)
        scratch_processes.signal_all(left, signal.SIGCONT)
        scratch_processes.signal_all(left, signal.SIGKILL)
        scratch_processes.wait_until_gone(data, user, timeout_s=10)
    daemons.unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _end_programs(folder: Path) -> None:
    """What works in the folder: first what would start the rest again."""
    for name in daemons.NAMES:
        found = [
            process
            for process in psutil.process_iter(["name"])
            if (process.info["name"] or "").startswith(name) and _works_in(process, folder)
        ]
        scratch_processes.signal_all([process.pid for process in found], signal.SIGKILL)
        psutil.wait_procs(found, timeout=GONE_S)


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(folder)
    except psutil.Error:
        return False
