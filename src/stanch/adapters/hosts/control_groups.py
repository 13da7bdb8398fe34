"""Control groups, version 1 and 2: the memory limit that counts, and the kernel's kills."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_NO_LIMIT_BYTES = 1 << 60
"""Version 1 writes a huge number for "no limit"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryGroup:
    """The folder of one memory control group."""

    path: Path
    top: Path
    """The hierarchy's own folder, where looking upwards ends."""
    version: int


def memory_group(proc: Path, cgroups: Path, pid: int | str) -> MemoryGroup | None:
    """The memory control group of a process; None: there is none, or it may not be seen."""
    text = _text(proc / str(pid) / "cgroup")
    if text is None:
        return None
    entries = [line.split(":", 2) for line in text.splitlines() if line.count(":") >= 2]
    for _, controllers, path in entries:
        if "memory" in controllers.split(","):
            return _existing(cgroups / "memory", path, version=1)
    for number, controllers, path in entries:
        if number == "0" and not controllers:
            top = cgroups if (cgroups / "cgroup.controllers").exists() else cgroups / "unified"
            return _existing(top, path, version=2)
    return None


def _existing(top: Path, path: str, *, version: int) -> MemoryGroup | None:
    # Inside a container the path is the host's; what is mounted here begins at our own group.
    for folder in (top / path.lstrip("/"), top):
        if folder.is_dir():
            return MemoryGroup(path=folder, top=top, version=version)
    return None


def limit_bytes(group: MemoryGroup) -> int | None:
    """The tightest limit of the group and everything above it; None: no limit."""
    if group.version == 1:
        known = _keyed(group.path / "memory.stat", "hierarchical_memory_limit")
        own = known if known is not None else _number(group.path / "memory.limit_in_bytes")
        return own if own is not None and own < _NO_LIMIT_BYTES else None
    limits = [_number(folder / "memory.max") for folder in _upwards(group)]
    return min((limit for limit in limits if limit is not None), default=None)


def used_bytes(group: MemoryGroup) -> int | None:
    name = "memory.usage_in_bytes" if group.version == 1 else "memory.current"
    return _number(group.path / name)


def cache_bytes(group: MemoryGroup) -> int:
    """Page cache of files among the used memory; shared memory is not in it. 0: not told."""
    prefix = "total_" if group.version == 1 else ""
    names = (f"{prefix}active_file", f"{prefix}inactive_file")
    return sum(_keyed(group.path / "memory.stat", name) or 0 for name in names)


def oom_kills(group: MemoryGroup) -> int | None:
    """Processes of this group (version 2: and of those below) killed for want of memory."""
    name = "memory.oom_control" if group.version == 1 else "memory.events"
    return _keyed(group.path / name, "oom_kill")


def is_narrow(group: MemoryGroup) -> bool:
    """Whether the group holds less than the whole machine.

    The topmost folder may be a container's group, shown to it as the top: then it has what the
    machine's own lacks, a limit, or in version 2 any count at all.
    """
    if group.path != group.top or limit_bytes(group) is not None:
        return True
    return group.version == 2 and oom_kills(group) is not None


def host_oom_kills(proc: Path) -> int | None:
    """Processes of the whole machine killed for want of memory since it booted."""
    return _keyed(proc / "vmstat", "oom_kill")


def _upwards(group: MemoryGroup) -> list[Path]:
    folders = [group.path]
    while folders[-1] != group.top and folders[-1].parent != folders[-1]:
        folders.append(folders[-1].parent)
    return folders


def _keyed(path: Path, key: str) -> int | None:
    for line in (_text(path) or "").splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.strip().isdigit():
            return int(value)
    return None


def _number(path: Path) -> int | None:
    text = (_text(path) or "").strip()
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
