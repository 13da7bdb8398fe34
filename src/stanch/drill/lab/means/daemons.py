"""Programs that run beside a server until the end, and JSON spoken with them over HTTP."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import psutil

from stanch.adapters.postgres.os_user import OsUser, as_user
from stanch.adapters.postgres.scratch_folder import server_environment
from stanch.adapters.postgres.volumes import SizedVolume
from stanch.drill.lab.fault import NotMade

LEAVE_S = 15.0
ASK_S = 10.0

NAMES = ("patroni", "etcd", "dockerd", "containerd", "pgbouncer", "pgbackrest", "postgres")
"""Of processes that work in a folder of the lab and may be ended with it; those before the server,
which would start it again, come first."""


@dataclass(slots=True, kw_only=True)
class Daemon:
    """One program; started again after its end as often as somebody wants."""

    argv: Sequence[str]
    folder: Path
    """Where it works: by that it is found when whoever started it is gone."""
    log: Path
    user: OsUser | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin it, in a session of its own: Ctrl-C is not meant for it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=server_environment(),
                start_new_session=True,
                **as_user(self.user),
            )

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Nothing happens to one that does not run."""
        if self.process is not None and self.runs:
            self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL for it and for what works in its session, and its remains collected."""
        if self.process is None:
            return
        # Collected already, its number may be another's.
        if self.runs:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(LEAVE_S)

    def end(self) -> None:
        """In order; by force where that takes too long."""
        if self.process is None:
            return
        self.send(signal.SIGTERM)
        try:
            self.process.wait(LEAVE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def said(self) -> str:
        """The last words of its log."""
        return self.log.read_text("utf-8", "replace")[-800:].strip() if self.log.exists() else ""


def program(name: str) -> str:
    """Where a program is. Raises: NotMade."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise NotMade(f"not installed here: {name}")
    return found


def client(*, socket: str = "") -> httpx.Client:
    """Asks services of this machine, or one on a Unix socket; reads no certificates."""
    transport = httpx.HTTPTransport(uds=socket or None, verify=False)
    return httpx.Client(transport=transport, timeout=ASK_S, trust_env=False)


def asked(to: httpx.Client, method: str, url: str, body: object = None) -> Mapping[str, Any]:
    """What was answered, whatever the status; empty where nobody answers, or with no object."""
    try:
        value = to.request(method, url, json=body).json()
    except (httpx.HTTPError, ValueError):
        return {}
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def unmount_below(folder: Path) -> None:
    """Whatever was left mounted there."""
    for mounted in psutil.disk_partitions(all=True):
        at = Path(mounted.mountpoint)
        if not at.is_relative_to(folder):
            continue
        if at.is_mount():
            SizedVolume(mount_point=at, size_bytes=0).unmount()
        else:
            # A folder bound to itself, or a name for a namespace.
            subprocess.run(["umount", "-l", at], check=False, capture_output=True)
