"""A memory limit around a running server, as a container has one: a control group of version 1."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from stanch.drill.lab.fault import NotMade
from stanch.drill.lab.rig import Rig

CGROUPS = Path("/sys/fs/cgroup/memory")
LEFT_WITHIN_S = 5.0


class MemoryLimit:
    """The control group of one server."""

    def __init__(self, group: Path) -> None:
        self._group = group

    def bytes(self, name: str) -> int:
        """A figure such as `limit_in_bytes`, `usage_in_bytes`, `max_usage_in_bytes`."""
        return int((self._group / f"memory.{name}").read_text(encoding="ascii"))


def limit_memory(rig: Rig, limit_mb: int) -> MemoryLimit:
    """Put the server's processes under a limit, until the end; what they had before is not counted.

    Raises: NotMade where there is no such thing.
    """
    if not (CGROUPS / "memory.limit_in_bytes").exists():
        raise NotMade("there are no memory control groups of version 1 here")
    group = CGROUPS / f"database-{rig.server.port}"
    group.mkdir()
    rig.undo(lambda: _leave(rig, group))
    (group / "memory.limit_in_bytes").write_text(f"{limit_mb}M")
    for pid in rig.server.processes():
        _move(pid, group)
    return MemoryLimit(group)


def _move(pid: int, group: Path) -> None:
    # It may have ended meanwhile.
    with suppress(OSError):
        (group / "cgroup.procs").write_text(str(pid))


def _leave(rig: Rig, group: Path) -> None:
    """Give the processes back to where they came from, and remove the group."""
    lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    path = next(line.split(":", 2)[2] for line in lines if line.split(":")[1] == "memory")

    def removed() -> bool:
        for pid in (group / "cgroup.procs").read_text(encoding="ascii").split():
            _move(int(pid), CGROUPS / path.lstrip("/"))
        group.rmdir()
        return True

    rig.until(removed, seconds=LEFT_WITHIN_S)
