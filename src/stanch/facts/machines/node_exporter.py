"""What a Prometheus knows of a machine from its node_exporter: one query, and its answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from stanch.facts.machines.file_systems import each_once, worth_watching
from stanch.facts.machines.json_values import Object, as_object, objects, part, text
from stanch.model.diagnosis import Missing
from stanch.model.host import Memory, OomKills
from stanch.model.machine import CpuTimes, FileSystem, HostFacts, ServiceState

_PLAIN = (
    "up",
    "node_filesystem_size_bytes",
    "node_filesystem_avail_bytes",
    "node_filesystem_files",
    "node_filesystem_files_free",
    "node_filesystem_readonly",
    "node_memory_MemTotal_bytes",
    "node_memory_MemAvailable_bytes",
    "node_load1",
    "node_vmstat_oom_kill",
    "node_boot_time_seconds",
    "node_time_seconds",
    "node_timex_offset_seconds",
    "node_timex_sync_status",
)
_PART = "stanch_part"
"""The label that tells the computed parts of the one query from each other."""


def query(*, instance: str, service: str) -> str:
    """One instant query for a whole look.

    Cost there: some dozens of series; the processors are summed up on that side.
    """
    where = f"instance={promql_text(instance)}"
    cpu = f"node_cpu_seconds_total{{{where}}}"
    read_at = f"timestamp(node_time_seconds{{{where}}})"
    parts = [
        f'{{__name__=~"{"|".join(_PLAIN)}",{where}}}',
        _labelled("cpu", f"sum by (mode) ({cpu})"),
        _labelled("cpus", f"count(count by (cpu) ({cpu}))"),
        _labelled("ahead", f"max(node_time_seconds{{{where}}} - {read_at})"),
    ]
    if service:
        unit = promql_text(service if "." in service else f"{service}.service")
        parts.append(f"node_systemd_unit_state{{{where},name={unit}}} == 1")
    return " or ".join(parts)


def _labelled(word: str, expression: str) -> str:
    return f'label_replace({expression}, "{_PART}", "{word}", "", "")'


def promql_text(value: str) -> str:
    """A string of PromQL, whatever is in it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    labels: Mapping[str, object]
    value: float

    def label(self, name: str) -> str:
        return text(self.labels, name)


def parse_answer(answer: Object, *, source: str, at: datetime, service: str) -> HostFacts | Missing:
    """The answer of `/api/v1/query`."""
    if text(answer, "status") != "success":
        reason = text(answer, "error")[:200] or "the answer is not one of Prometheus"
        return Missing(what="host", reason=f"{source}: {reason}")
    series = [s for s in map(_series, objects(part(answer, "data"), "result")) if s is not None]
    named: dict[str, list[_Series]] = {}
    for one in series:
        named.setdefault(one.label(_PART) or one.label("__name__"), []).append(one)
    up = _value(named, "up")
    if up is None and not series:
        return Missing(what="host", reason=f"{source}: Prometheus knows no such instance")
    if up == 0:
        reason = f"{source}: Prometheus gets no answer from the exporter"
        return Missing(what="host", reason=reason)
    return _facts(named, source=source, at=at, service=service)


def _facts(
    named: Mapping[str, list[_Series]], *, source: str, at: datetime, service: str
) -> HostFacts:
    boot, now = _value(named, "node_boot_time_seconds"), _value(named, "node_time_seconds")
    kills, load = _value(named, "node_vmstat_oom_kill"), _value(named, "node_load1")
    return HostFacts(
        at=at,
        source=source,
        service=_unit(named.get("node_systemd_unit_state", []), service),
        file_systems=_file_systems(named) or _untold("file systems"),
        memory=_memory(named),
        cpu=_cpu(named),
        load_1min=_untold("load") if load is None else load,
        oom_kills=_untold("oom kills") if kills is None else OomKills(host=int(kills), cgroup=None),
        clock_offset_s=_clock(named),
        uptime_s=_untold("uptime") if boot is None or now is None else max(0.0, now - boot),
        kernel=Missing(what="kernel messages", reason="no exporter tells the kernel's messages"),
    )


def _series(said: Object) -> _Series | None:
    value = said.get("value")
    if not isinstance(value, list):
        return None
    sample: list[object] = [*value]
    try:
        number = float(str(sample[1]))
    except (IndexError, ValueError):
        return None
    if not math.isfinite(number):
        return None
    return _Series(labels=as_object(said.get("metric")), value=number)


def _value(named: Mapping[str, list[_Series]], name: str) -> float | None:
    """Where two jobs scrape one exporter, both tell the same."""
    return next((one.value for one in named.get(name, [])), None)


def _untold(what: str) -> Missing:
    return Missing(what=what, reason="the exporter does not tell")


def _unit(states: Iterable[_Series], service: str) -> ServiceState | Missing:
    if not service:
        return Missing(what="service", reason="the policy names no unit")
    active = next((one.label("state") for one in states), "")
    if not active:
        reason = f"the exporter tells nothing about {service}; it needs --collector.systemd"
        return Missing(what="service", reason=reason)
    return ServiceState(name=service, running=active in ("active", "reloading"), status=active)


def _file_systems(named: Mapping[str, list[_Series]]) -> tuple[FileSystem, ...]:
    by_mount: dict[str, dict[str, float]] = {}
    devices: dict[str, tuple[str, str]] = {}
    for name, every in named.items():
        if not name.startswith("node_filesystem_"):
            continue
        for one in every:
            mount = one.label("mountpoint")
            by_mount.setdefault(mount, {})[name.removeprefix("node_filesystem_")] = one.value
            devices[mount] = (one.label("device"), one.label("fstype"))
    found: list[tuple[str, FileSystem]] = []
    for mount, seen in by_mount.items():
        device, kind = devices[mount]
        total, free = seen.get("size_bytes"), seen.get("avail_bytes")
        if not total or free is None or not worth_watching(mount, kind):
            continue
        one = FileSystem(mount=mount, total_bytes=int(total), free_bytes=int(free))
        found.append((device, _detailed(one, seen)))
    return each_once(found)


def _detailed(one: FileSystem, seen: Mapping[str, float]) -> FileSystem:
    inodes, inodes_free = seen.get("files"), seen.get("files_free")
    read_only = seen.get("readonly")
    return replace(
        one,
        inodes_total=int(inodes) if inodes else None,
        inodes_free=int(inodes_free) if inodes and inodes_free is not None else None,
        read_only=None if read_only is None else read_only > 0,
    )


def _memory(named: Mapping[str, list[_Series]]) -> Memory | Missing:
    total = _value(named, "node_memory_MemTotal_bytes")
    available = _value(named, "node_memory_MemAvailable_bytes")
    if not total or available is None:
        return _untold("memory")
    return Memory(total_bytes=int(total), available_bytes=int(available))


def _cpu(named: Mapping[str, list[_Series]]) -> CpuTimes | Missing:
    count = _value(named, "cpus")
    # Time of guests is counted as the time of their users already.
    modes = {
        one.label("mode"): one.value
        for one in named.get("cpu", [])
        if not one.label("mode").startswith("guest")
    }
    if not count or "steal" not in modes:
        return _untold("cpu")
    return CpuTimes(total_s=sum(modes.values()), steal_s=modes["steal"], count=int(count))


def _clock(named: Mapping[str, list[_Series]]) -> float | Missing:
    """What its own time server says, else how far it is from Prometheus' clock."""
    offset, synchronised = (
        _value(named, f"node_timex_{name}") for name in ("offset_seconds", "sync_status")
    )
    if offset is not None and synchronised:
        return -offset
    ahead = _value(named, "ahead")
    return _untold("clock") if ahead is None else ahead
