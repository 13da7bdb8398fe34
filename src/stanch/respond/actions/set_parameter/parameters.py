"""Which parameters a machine may change, to what, and in which direction. Pure.

Only what a reload brings into force and what costs no data. Not here, and so never changed: fsync,
full_page_writes, synchronous_commit, archive_command, archive_library, session_replication_role,
zero_damaged_pages, ignore_checksum_failure, data_sync_retry, and whatever takes a restart. Nor the
timeouts of statements, locks and idle sessions: Stanch's own sessions have their own and cannot see
what holds for the others; `set_role_timeout` sets those for one role.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

MIB_IN_KIB = 1024
GIB_IN_KIB = 1024 * MIB_IN_KIB
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

Direction = Literal["any", "up", "down"]

_FACTORS: Mapping[str, Mapping[str, float]] = {
    "ms": {"us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": HOUR_MS, "d": DAY_MS},
    "s": {"us": 1e-6, "ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86_400},
    "min": {"ms": 1 / 60_000, "s": 1 / 60, "min": 1, "h": 60, "d": 1440},
    "B": {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4},
}
_ON = frozenset({"on", "true", "yes", "1"})
_OFF = frozenset({"off", "false", "no", "0"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Changeable:
    """One parameter with the values that are safe in any hour."""

    words: tuple[str, ...] = ()
    """The values it may have; empty: it is a number."""
    unit: str = ""
    """The unit in which pg_settings shows it; `low` and `high` are in it."""
    low: float = 0
    high: float = 0
    off: float | None = None
    """A value outside the range that means none; it may be set where the direction is any."""
    direction: Direction = "any"
    """`down`: only to less than it is, or from none; `up`: only to more."""
    factor_max: float = 0
    """At most this many times what it is; 0: as much as the range allows."""


def _words(*words: str) -> Changeable:
    return Changeable(words=words)


PARAMETERS: Mapping[str, Changeable] = MappingProxyType(
    {
        "autovacuum": _words("on"),
        "autovacuum_vacuum_cost_limit": Changeable(low=200, high=10_000, direction="up"),
        "checkpoint_timeout": Changeable(unit="s", low=300, high=3600, direction="up"),
        "log_autovacuum_min_duration": Changeable(unit="ms", low=0, high=DAY_MS, off=-1),
        "log_checkpoints": _words("on", "off"),
        "log_duration": _words("off"),
        "log_lock_waits": _words("on", "off"),
        # Every statement in the log fills disks, and shows what people wrote into statements.
        "log_min_duration_statement": Changeable(unit="ms", low=100, high=DAY_MS, off=-1),
        "log_statement": _words("none", "ddl"),
        "log_temp_files": Changeable(unit="kB", low=MIB_IN_KIB, high=1024 * GIB_IN_KIB, off=-1),
        "maintenance_work_mem": Changeable(
            unit="kB", low=16 * MIB_IN_KIB, high=64 * GIB_IN_KIB, direction="down"
        ),
        # Upwards takes room on the volume of the WAL: not more than doubled twice at a time.
        "max_wal_size": Changeable(unit="MB", low=256, high=262_144, direction="up", factor_max=4),
        "temp_file_limit": Changeable(
            unit="kB", low=GIB_IN_KIB, high=16_384 * GIB_IN_KIB, off=-1, direction="down"
        ),
        "track_counts": _words("on"),
        "wal_keep_size": Changeable(unit="MB", low=16, high=65_536, direction="up"),
        "work_mem": Changeable(unit="kB", low=MIB_IN_KIB, high=64 * GIB_IN_KIB, direction="down"),
    }
)


def number_of(text: str, unit: str) -> float | None:
    """A number as it stands in a settings file, in the unit of pg_settings; None: it is none.

    Units as PostgreSQL reads them: exactly so written (kB, not KB); none means `unit` itself.
    """
    found = re.fullmatch(r"\s*([-+]?\d{1,18}(?:\.\d{1,18})?)\s*([A-Za-z]*)\s*", text)
    if found is None:
        return None
    value, said = float(found[1]), found[2]
    if not said or said == unit:
        return value
    sized = re.fullmatch(r"(\d*)(B|kB|MB|GB|TB)", unit)
    base, many = ("B", float(sized[1] or 1)) if sized is not None else (unit, 1.0)
    factors = _FACTORS.get(base, {})
    if said not in factors:
        return None
    own = factors[sized[2]] * many if sized is not None else 1.0
    return value * factors[said] / own


def same_value(one: str, other: str, *, unit: str) -> bool:
    """Whether two writings mean the same: `on` and `true`, 1GB and 1024 of the unit MB."""
    left, right = one.strip().casefold(), other.strip().casefold()
    if left == right or {left, right} <= _ON or {left, right} <= _OFF:
        return True
    numbers = (number_of(one, unit), number_of(other, unit))
    return None not in numbers and numbers[0] == numbers[1]


def unfit(name: str, value: str, now: str, *, unit: str) -> str:
    """Why a parameter is not changed from `now` to `value`; empty where it may be.

    `now` as pg_settings shows it, `unit` with it.
    """
    allowed = PARAMETERS.get(name)
    if allowed is None:
        return f"{name} is not among the parameters that a machine may change"
    if allowed.words:
        said = ", ".join(allowed.words)
        return "" if value in allowed.words else f"{name} may only become {said}"
    if unit != allowed.unit:
        return f"{name} is counted in {unit or 'no unit'} here, and not in {allowed.unit or 'none'}"
    wanted, present = number_of(value, unit), number_of(now, unit)
    if wanted is None or present is None:
        return f"{name} cannot be compared: {value!r} and {now!r}"
    return _outside(name, allowed, wanted) or _against(name, allowed, wanted, present)


def _outside(name: str, allowed: Changeable, wanted: float) -> str:
    if allowed.low <= wanted <= allowed.high:
        return ""
    if wanted == allowed.off and allowed.direction == "any":
        return ""
    unit = allowed.unit and f" {allowed.unit}"
    return f"{name} may only be set between {allowed.low:.0f} and {allowed.high:.0f}{unit}"


def _against(name: str, allowed: Changeable, wanted: float, present: float) -> str:
    none = allowed.off is not None and present == allowed.off
    if allowed.direction == "down" and not none and wanted >= present:
        return f"{name} is only lowered by a machine, and is {present:g} already"
    if allowed.direction == "up" and wanted <= present:
        return f"{name} is only raised by a machine, and is {present:g} already"
    if allowed.factor_max and wanted > present * allowed.factor_max:
        return f"{name} is raised at most {allowed.factor_max:g}-fold at a time, from {present:g}"
    return ""
