"""One script that a far machine or a container runs for a look, and what its output means.

It is the same text every time: names and paths reach it as arguments. Each part begins with a word
that only the asker knows, so that nothing in a file can pass itself off as another part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from stanch.facts.machines import kernel
from stanch.facts.machines.file_systems import parse_file_systems
from stanch.facts.machines.units import PROPERTIES, parse_unit
from stanch.model.diagnosis import Missing
from stanch.model.host import Memory, OomKills
from stanch.model.machine import CpuTimes, FileSystem, HostFacts, KernelMessage, ServiceState

T = TypeVar("T")

OUTPUT_BYTES_MAX = 512 * 1024
USER_HZ = 100
STEAL = 7
"""The eighth figure of a line of /proc/stat; what follows is counted in earlier ones, too."""
NO_LIMIT_BYTES = 1 << 60
SERVER_PROGRAMS = ("postgres", "postmaster", "edb-postgres")

_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,9})?")

_COMMON = r"""
word=$1
export LC_ALL=C
part() { printf '\n%s %s\n' "$word" "$1"; }
part time; date +%s.%N
part uptime; cat /proc/uptime
part load; cat /proc/loadavg
part memory; grep -E '^Mem(Total|Available):' /proc/meminfo
part cpu; grep '^cpu' /proc/stat
part kills; grep '^oom_kill ' /proc/vmstat
"""
_DISKS = r"""
part mounts; cat /proc/mounts
part df; df -klP 2>/dev/null || df -kP
part inodes; df -ilP 2>/dev/null || df -iP
part end
"""
_MACHINE = rf"""
part unit; [ -z "$2" ] || systemctl show --property={",".join(PROPERTIES)} -- "$2" 2>&1
part server
if [ -n "$3" ]; then
  if [ ! -d "$3" ]; then echo absent
  elif [ ! -x "$3" ]; then echo denied
  elif [ ! -e "$3/postmaster.pid" ]; then echo stopped
  elif read -r pid <"$3/postmaster.pid"; then
    case $pid in ''|*[!0-9]*) echo unreadable ;; *)
      if [ -r "/proc/$pid/comm" ]; then echo "pid $pid"; cat "/proc/$pid/comm"
      else echo stale; fi ;; esac
  else echo denied; fi
fi 2>/dev/null
part kernel; dmesg 2>&1 | grep -E 'dmesg: |{kernel.GREP}' | tail -n {kernel.MESSAGES_MAX}
"""
_CONTAINER = r"""
part v2
(cd /sys/fs/cgroup && head -n 40 memory.max memory.current memory.events memory.stat) 2>/dev/null
part v1
(cd /sys/fs/cgroup/memory && head -n 60 memory.limit_in_bytes memory.usage_in_bytes \
  memory.oom_control memory.stat) 2>/dev/null
"""
# Counting free space comes last: only there can a dead disk keep the script from its end.
MACHINE_SCRIPT = _COMMON + _MACHINE + _DISKS
"""Arguments: word, unit, data directory; both may be empty. Cost there: a dozen short processes."""
CONTAINER_SCRIPT = _COMMON + _CONTAINER + _DISKS
"""Argument: word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the answer is measured against."""

    source: str
    at: datetime
    """By our clock, in the middle between question and first answer."""
    word: str
    in_container: bool = False
    unit: str = ""
    data_directory: str = ""


def machine_facts(asked: Asked, output: bytes, *, ended: str = "") -> HostFacts:
    """What the script's output says; `ended` is why it is incomplete, where it is.

    Never raises, whatever the output is.
    """
    parts = _parts(asked.word, output)
    answer = _Answer(parts=parts, reason="" if "end" in parts else ended or "it ended early")
    uptime_s = answer.read("uptime", "uptime", _first_number)
    return HostFacts(
        at=asked.at,
        source=asked.source,
        service=_service(asked, answer, None if isinstance(uptime_s, Missing) else uptime_s),
        file_systems=_file_systems(answer),
        memory=_memory(asked, answer),
        cpu=answer.read("cpu", "cpu", parse_cpu),
        load_1min=answer.read("load", "load", _first_number),
        oom_kills=_oom_kills(asked, answer),
        clock_offset_s=answer.read("clock", "time", lambda text: _ahead_s(text, asked.at)),
        uptime_s=uptime_s,
        kernel=_kernel(asked, answer),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """The parts of one output, and why some may be missing."""

    parts: Mapping[str, str]
    reason: str

    def read(self, what: str, part: str, parse: Callable[[str], T | None]) -> T | Missing:
        text = self.parts.get(part)
        if text is None:
            return Missing(what=what, reason=self.reason or "not asked")
        found = parse(text)
        if found is None:
            return Missing(what=what, reason="it does not tell, or not in a form that is known")
        return found


def _parts(word: str, output: bytes) -> dict[str, str]:
    text = output.decode("utf-8", "replace")
    pieces = re.split(rf"(?m)^{re.escape(word)} ([a-z0-9]+)\n", text)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def _first_number(text: str) -> float | None:
    match = _NUMBER.match(text)
    return float(match[0]) if match else None


def _ahead_s(text: str, at: datetime) -> float | None:
    theirs_s = _first_number(text)
    return None if theirs_s is None else theirs_s - at.timestamp()


def parse_cpu(text: str) -> CpuTimes | None:
    """The lines of /proc/stat that begin with `cpu`."""
    lines = [line.split() for line in text.splitlines() if line.startswith("cpu")]
    none: list[str] = []
    every = next((line[1:] for line in lines if line[0] == "cpu"), none)
    count = sum(len(line[0]) > len("cpu") for line in lines)
    if len(every) < STEAL + 1 or not count or not all(f.isdigit() for f in every[: STEAL + 1]):
        return None
    ticks = [int(field) for field in every[: STEAL + 1]]
    return CpuTimes(total_s=sum(ticks) / USER_HZ, steal_s=ticks[STEAL] / USER_HZ, count=count)


def _file_systems(answer: _Answer) -> tuple[FileSystem, ...] | Missing:
    # The script goes on past what it cannot read, so only its end says that df came to one.
    if "end" not in answer.parts:
        return Missing(what="file systems", reason=answer.reason)
    found = parse_file_systems(
        answer.parts.get("df", ""), answer.parts.get("inodes", ""), answer.parts.get("mounts", "")
    )
    return found or Missing(what="file systems", reason="df names none")


def _memory(asked: Asked, answer: _Answer) -> Memory | Missing:
    known = _keyed(answer.parts.get("memory", ""))
    total_kib, available_kib = known.get("MemTotal:"), known.get("MemAvailable:")
    if total_kib is None or available_kib is None:
        return Missing(what="memory", reason=answer.reason or "/proc/meminfo does not tell")
    group = parse_memory_group(answer.parts) if asked.in_container else MemoryUse()
    return Memory(
        total_bytes=total_kib * 1024,
        available_bytes=available_kib * 1024,
        cgroup_limit_bytes=group.limit_bytes,
        cgroup_used_bytes=group.used_bytes,
        cgroup_cache_bytes=group.cache_bytes,
    )


def _oom_kills(asked: Asked, answer: _Answer) -> OomKills | Missing:
    host = _keyed(answer.parts.get("kills", "")).get("oom_kill")
    group = parse_memory_group(answer.parts).oom_kills if asked.in_container else None
    if host is None and group is None:
        return Missing(what="oom kills", reason=answer.reason or "the kernel shows no count")
    return OomKills(host=host, cgroup=group, own_group=group is not None)


def _kernel(asked: Asked, answer: _Answer) -> tuple[KernelMessage, ...] | Missing:
    if asked.in_container:
        return Missing(what="kernel messages", reason="a container does not see the kernel's log")
    text = answer.parts.get("kernel")
    if text is None:
        return Missing(what="kernel messages", reason=answer.reason)
    if text.startswith("dmesg: "):
        return Missing(what="kernel messages", reason=text.splitlines()[0][:200])
    return kernel.printed(text)


def _service(asked: Asked, answer: _Answer, uptime_s: float | None) -> ServiceState | Missing:
    if asked.in_container:
        return Missing(what="service", reason="whoever keeps the container tells")
    if asked.unit:
        text = answer.parts.get("unit")
        if text is None:
            return Missing(what="service", reason=answer.reason)
        return parse_unit(asked.unit, text, at=asked.at, uptime_s=uptime_s)
    if not asked.data_directory:
        reason = "the policy names neither the service's unit nor the data directory"
        return Missing(what="service", reason=reason)
    said, _, program = answer.parts.get("server", "").strip().partition("\n")
    return _of_lock_file(asked.data_directory, said, program, answer.reason)


def _of_lock_file(folder: str, said: str, program: str, reason: str) -> ServiceState | Missing:
    """What the lock file in the data directory says, where no keeper can be asked."""
    if said.startswith("pid "):
        alive = program in SERVER_PROGRAMS
        status = f"process {said[4:]}" if alive else f"{said} is another program, {program[:40]}"
        return ServiceState(name=folder, running=alive, status=status)
    down = {"stopped": "no lock file", "stale": "the lock file's process is gone"}
    if said in down:
        return ServiceState(name=folder, running=False, status=down[said])
    known = {
        "absent": f"{folder} is not there",
        "denied": f"{folder} may not be read by this OS user",
        "unreadable": f"{folder}/postmaster.pid begins with no number",
    }
    return Missing(what="service", reason=known.get(said) or reason or "it does not tell")


def _keyed(text: str) -> dict[str, int]:
    """Lines of a word and a number, as the kernel writes them."""
    lines = (line.split() for line in text.splitlines())
    return {
        line[0]: int(line[1])
        for line in lines
        if len(line) >= 2 and line[1].isascii() and line[1].isdigit() and len(line[1]) <= 20
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """What a container's own control group says."""

    limit_bytes: int | None = None
    used_bytes: int | None = None
    cache_bytes: int = 0
    oom_kills: int | None = None


def parse_memory_group(parts: Mapping[str, str]) -> MemoryUse:
    """Control groups of either version, as `head` prints several files."""
    v2, v1 = (_files(parts.get(name, "")) for name in ("v2", "v1"))
    if "memory.current" in v2:
        files, names = v2, ("memory.max", "memory.current", "memory.events", "")
    else:
        files = v1
        names = (
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "memory.oom_control",
            "total_",
        )
    limit, used, kills, prefix = names
    limit_bytes, used_bytes = (_first_whole(files.get(name, "")) for name in (limit, used))
    stat = _keyed(files.get("memory.stat", ""))
    return MemoryUse(
        # Version 1 writes a huge number for "no limit", version 2 the word max.
        limit_bytes=limit_bytes if limit_bytes and limit_bytes < NO_LIMIT_BYTES else None,
        used_bytes=used_bytes,
        cache_bytes=sum(stat.get(f"{prefix}{half}active_file", 0) for half in ("", "in")),
        oom_kills=_keyed(files.get(kills, "")).get("oom_kill"),
    )


def _files(text: str) -> dict[str, str]:
    pieces = re.split(r"(?m)^==> ([\w.]+) <==\n", text)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def _first_whole(text: str) -> int | None:
    word = text.split(maxsplit=1)[0] if text.strip() else ""
    return int(word) if word.isascii() and word.isdigit() and len(word) <= 20 else None
