"""Readings of one look at a machine, by the names that rules read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field, replace

from stanch.model.diagnosis import Missing
from stanch.model.host import Memory, OomKills
from stanch.model.machine import (
    CpuTimes,
    FileSystem,
    HostFacts,
    KernelMessage,
    KernelTrouble,
    ServiceState,
)
from stanch.model.readings import Reading
from stanch.model.shown import span

ROOT = "/"
NODE = "node"
"""So is called the file system of a Kubernetes node, which evicts pods when it is full."""
SMALL_BYTES = 256 * 1024 * 1024
"""Smaller ones are made small on purpose, and nothing that grows lies there."""
REBOOTED_S = 60.0

NAMES = (
    "service_running",
    "container_restarts_total",
    "memory_available_pct",
    "cpu_steal_pct",
    "load_per_cpu",
    "oom_kills_total",
    "clock_offset_s",
    "uptime_s",
    "kernel_messages_total",
)
VOLUME_NAMES = ("volume_free_bytes", "volume_free_pct", "inodes_free_pct", "volume_read_only")


@dataclass(slots=True, kw_only=True)
class MachineReadings:
    """Makes readings of looks, one after the other; keeps what two looks together tell."""

    volumes: bool
    """False: the server's own volumes are read elsewhere, and better."""
    own: bool = False
    """The machine is the server's alone, a container: whatever is mounted there is its own."""
    _writable: set[str] = field(default_factory=set[str])
    """Mounts that were seen to take writes."""
    _cpu: CpuTimes | None = None
    _since_boot_s: float = 0.0
    _uptime_s: float = 0.0
    _first: bool = True
    _messages: Counter[KernelTrouble] = field(default_factory=Counter[KernelTrouble])

    def of(self, facts: HostFacts, *, places: Sequence[str]) -> tuple[Reading, ...]:
        """`places`: folders of the server, as far as they are known; their file systems count."""
        return (
            *_service(facts.service),
            _memory(facts.memory),
            self._steal(facts.cpu),
            _load(facts.load_1min, facts.cpu),
            *_kills(facts.oom_kills),
            _clock(facts.clock_offset_s),
            _number("uptime_s", facts.uptime_s),
            *self._kernel(facts.kernel, facts.uptime_s),
            *(self._volumes(facts.file_systems, places) if self.volumes else ()),
        )

    def _volumes(
        self, found: tuple[FileSystem, ...] | Missing, places: Sequence[str]
    ) -> Iterator[Reading]:
        reason = found.reason if isinstance(found, Missing) else ""
        if not isinstance(found, Missing):
            holding = {_mount_of(place, found) for place in places} - {""}
            for one in relevant(found, places, own=self.own):
                yield from _volume(self._meant_for_writing(one, holding))
            if not self.own and not holding:
                reason = "where the server's data lies is not known; `data_directory` tells"
        if reason:
            for name in VOLUME_NAMES:
                yield _unknown(name, reason)

    def _meant_for_writing(self, one: FileSystem, holding: Set[str]) -> FileSystem:
        """Programs and settings are often mounted read-only: where nothing of the server is known
        to lie, only what took writes before can have lost it."""
        if one.read_only is False:
            self._writable.add(one.mount)
        known = one.mount in self._writable or one.mount in holding
        return one if known else replace(one, read_only=None)

    def none(self, reason: str) -> tuple[Reading, ...]:
        """The readings of a look that saw nothing."""
        self._cpu = None
        names = (*NAMES, *(VOLUME_NAMES if self.volumes else ()))
        return tuple(_unknown(name, reason) for name in names)

    def _steal(self, cpu: CpuTimes | Missing) -> Reading:
        before, self._cpu = self._cpu, None if isinstance(cpu, Missing) else cpu
        if isinstance(cpu, Missing):
            return _unknown("cpu_steal_pct", cpu.reason)
        if before is None or cpu.total_s <= before.total_s or cpu.steal_s < before.steal_s:
            return _unknown("cpu_steal_pct", "two looks are needed")
        stolen = (cpu.steal_s - before.steal_s) / (cpu.total_s - before.total_s)
        return Reading(name="cpu_steal_pct", value=min(100.0, 100.0 * stolen))

    def _kernel(
        self, messages: tuple[KernelMessage, ...] | Missing, uptime_s: float | Missing
    ) -> Iterator[Reading]:
        """Counts those that came since the first look; what was there before is history."""
        if isinstance(messages, Missing):
            yield _unknown("kernel_messages_total", messages.reason)
            return
        if not isinstance(uptime_s, Missing):
            if uptime_s + REBOOTED_S < self._uptime_s:
                self._since_boot_s = 0.0
            self._uptime_s = uptime_s
        new = [m for m in messages if m.since_boot_s > self._since_boot_s]
        self._since_boot_s = max((m.since_boot_s for m in new), default=self._since_boot_s)
        if not self._first:
            self._messages.update(m.trouble for m in new)
        self._first = False
        last = {m.trouble: m.text for m in messages}
        for trouble in KernelTrouble:
            yield Reading(
                name="kernel_messages_total",
                value=float(self._messages[trouble]),
                subject=trouble.value,
                detail=last.get(trouble, ""),
            )


def _unknown(name: str, reason: str) -> Reading:
    return Reading(name=name, value=None, detail=reason)


def _number(name: str, value: float | Missing) -> Reading:
    if isinstance(value, Missing):
        return _unknown(name, value.reason)
    return Reading(name=name, value=value)


def _service(state: ServiceState | Missing) -> Iterator[Reading]:
    if isinstance(state, Missing):
        yield _unknown("service_running", state.reason)
        yield _unknown("container_restarts_total", state.reason)
        return
    yield Reading(
        name="service_running",
        value=1.0 if state.running else 0.0,
        subject=state.name,
        detail=_ending(state),
        since=state.started_at if state.running else None,
    )
    if state.restarts is None:
        yield _unknown("container_restarts_total", "whoever keeps it does not count")
    else:
        yield Reading(name="container_restarts_total", value=float(state.restarts))


def _ending(state: ServiceState) -> str:
    """Its state in words, with how it ended last."""
    last = [state.status]
    if state.exit_code is not None:
        last.append(f"exit code {state.exit_code}")
    if state.oom_killed:
        last.append("killed for want of memory")
    return ", ".join(last)


def _memory(memory: Memory | Missing) -> Reading:
    if isinstance(memory, Missing) or not memory.total_bytes:
        reason = memory.reason if isinstance(memory, Missing) else "the machine tells no memory"
        return _unknown("memory_available_pct", reason)
    pct = 100.0 * memory.available_bytes / memory.total_bytes
    detail = f"{memory.available_bytes / 2**20:.0f} MiB of the machine available"
    limit, used = memory.cgroup_limit_bytes, memory.cgroup_used_bytes
    if limit and used is not None:
        left = limit - max(0, used - memory.cgroup_cache_bytes)
        if 100.0 * left / limit < pct:
            pct = max(0.0, 100.0 * left / limit)
            detail = f"{max(0, left) / 2**20:.0f} MiB below the limit of {limit / 2**20:.0f} MiB"
    return Reading(name="memory_available_pct", value=pct, detail=detail)


def _load(load: float | Missing, cpu: CpuTimes | Missing) -> Reading:
    for lacking in (load, cpu):
        if isinstance(lacking, Missing):
            return _unknown("load_per_cpu", lacking.reason)
    assert not isinstance(load, Missing)
    assert not isinstance(cpu, Missing)
    return Reading(name="load_per_cpu", value=load / max(1, cpu.count))


def _kills(kills: OomKills | Missing) -> Iterator[Reading]:
    if isinstance(kills, Missing):
        yield _unknown("oom_kills_total", kills.reason)
        return
    # The two counts never mix: a group that is gone must not look like a leap to the machine's.
    own = kills.own_group and kills.cgroup is not None
    count = kills.cgroup if own else kills.host
    yield Reading(
        name="oom_kills_total",
        value=None if count is None else float(count),
        subject="" if own or count is None else "machine",
    )


def _clock(offset_s: float | Missing) -> Reading:
    if isinstance(offset_s, Missing):
        return _unknown("clock_offset_s", offset_s.reason)
    words = "ahead" if offset_s > 0 else "behind"
    return Reading(
        name="clock_offset_s", value=abs(offset_s), detail=f"{span(abs(offset_s))} {words}"
    )


def _volume(one: FileSystem) -> Iterator[Reading]:
    detail = f"{one.mount} has {one.free_bytes / 2**20:.0f} MiB of {one.total_bytes / 2**20:.0f}"
    inodes_pct = None
    if one.inodes_total and one.inodes_free is not None:
        inodes_pct = 100.0 * one.inodes_free / one.inodes_total
    read_only = None if one.read_only is None else float(one.read_only)
    values = (
        float(one.free_bytes),
        100.0 * one.free_bytes / one.total_bytes,
        inodes_pct,
        read_only,
    )
    for name, value in zip(VOLUME_NAMES, values, strict=True):
        yield Reading(name=name, value=value, subject=one.mount, detail=f"{detail} free")


def relevant(found: Sequence[FileSystem], places: Sequence[str], *, own: bool) -> list[FileSystem]:
    """The file systems that a server can fill, or whose filling stops it.

    Those that hold one of its folders, and the machine's root; in a container of its own, all but
    the small ones. Never somebody else's: a full disk for backups is not the server's emergency.
    """
    holding = {mount for place in places if (mount := _mount_of(place, found))}
    large = {one.mount for one in found if one.total_bytes >= SMALL_BYTES}
    counted = holding | (large if own else large & {ROOT, NODE})
    return [one for one in found if one.mount in counted]


def _mount_of(place: str, found: Sequence[FileSystem]) -> str:
    """The innermost mount above a folder; empty where none is."""
    folder = place.rstrip("/") + "/"
    above = [one.mount for one in found if folder.startswith(one.mount.rstrip("/") + "/")]
    return max(above, key=len, default="")
