"""Control groups of cgroup v1, as a service manager or a container puts around a server."""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stanch.drill.lab.fault import NotMade
from stanch.drill.lab.means import starting
from stanch.drill.lab.rig import Rig

Controller = Literal["memory", "blkio"]

ROOT = Path("/sys/fs/cgroup")
MB = 1024 * 1024
REMOVE_S = 5.0


def limit_memory(rig: Rig, limit_mb: int) -> None:
    """Let the server and its sessions have so much memory together; before anybody watches."""
    limits = {"memory.limit_in_bytes": str(limit_mb * MB)}
    run_in(rig, rig.enter(control_group("memory", limits)))


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The group of a server that is under a limit."""

    group: Path

    def bytes(self, name: str) -> int:
        """A figure such as `limit_in_bytes`, `usage_in_bytes`, `max_usage_in_bytes`."""
        return int((self.group / f"memory.{name}").read_text(encoding="ascii"))


def limit_running(rig: Rig, limit_mb: int) -> MemoryLimit:
    """Put the running server's processes under a limit, until the end; what they had before is not
    counted. Raises: NotMade."""
    limits = {"memory.limit_in_bytes": str(limit_mb * MB)}
    group = rig.enter(control_group("memory", limits))
    for pid in rig.server.processes():
        # It may have ended meanwhile.
        with suppress(OSError):
            (group / "cgroup.procs").write_text(str(pid))
    return MemoryLimit(group)


def memory_group(rig: Rig) -> Path:
    """The folder of the group whose memory limit the running server is under."""
    lines = Path(f"/proc/{rig.server.postmaster_pid()}/cgroup").read_text().splitlines()
    [path] = [line.split(":", 2)[2] for line in lines if line.split(":")[1] == "memory"]
    return ROOT / "memory" / path.lstrip("/")


def run_in(rig: Rig, group: Path) -> None:
    """Run the server in this group, from a restart on."""
    script = f'echo $$ > {group}/cgroup.procs; exec "$@"'
    starting.enclose(rig, "/bin/sh", "-c", script, "-")


@contextmanager
def control_group(controller: Controller, limits: Mapping[str, str]) -> Generator[Path]:
    """A new group with these limits, gone in the end. Raises: NotMade."""
    group = ROOT / controller / f"postgresql-{secrets.token_hex(4)}"
    try:
        group.mkdir()
    except OSError as error:
        raise NotMade(f"no control group can be made here: {error}") from error
    try:
        _set(group, limits)
        yield group
    finally:
        _remove(group)


def _set(group: Path, limits: Mapping[str, str]) -> None:
    try:
        for name, value in limits.items():
            (group / name).write_text(value)
    except OSError as error:
        raise NotMade(f"the control group takes no such limit: {error}") from error


def _remove(group: Path) -> None:
    """Whoever is left in it moves to the group above: only an empty one can be removed."""
    end = time.monotonic() + REMOVE_S
    while group.exists() and time.monotonic() < end:
        with suppress(OSError):
            for pid in (group / "cgroup.procs").read_text().split():
                with suppress(OSError):
                    (group.parent / "cgroup.procs").write_text(pid)
            group.rmdir()
            return
        time.sleep(0.05)
