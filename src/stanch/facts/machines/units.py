"""What systemd says about a unit."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from stanch.model.diagnosis import Missing
from stanch.model.machine import ServiceState

PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "NRestarts",
    "ExecMainCode",
    "ExecMainStatus",
    "ExecMainStartTimestampMonotonic",
)
"""Asked for by name; all of them are words or numbers, so that no line can hide another."""

_LINE = re.compile(r"([A-Za-z]+)=([\w.:@-]*)")
_EXITED, _KILLED, _DUMPED = "1", "2", "3"
"""ExecMainCode: CLD_EXITED, CLD_KILLED and CLD_DUMPED of waitid()."""


def parse_unit(
    unit: str, text: str, *, at: datetime, uptime_s: float | None
) -> ServiceState | Missing:
    """What `systemctl show` printed about a service."""
    lines = [_LINE.fullmatch(line) for line in text.splitlines()]
    said: dict[str, str] = {line[1]: line[2] for line in lines if line is not None}
    if "ActiveState" not in said:
        words = text.strip().splitlines()
        reason = words[-1][:200] if words else "systemctl said nothing"
        return Missing(what="service", reason=reason)
    if said.get("LoadState") == "not-found":
        return Missing(what="service", reason=f"systemd knows no unit {unit}")
    active, sub, result = said["ActiveState"], said.get("SubState", ""), said.get("Result", "")
    if (active, sub) == ("active", "exited"):
        # Debian's postgresql.service is one: always active, whatever became of the servers.
        reason = f"{unit} runs no process of its own; name the server's own unit"
        return Missing(what="service", reason=reason)
    return ServiceState(
        name=unit,
        running=active in ("active", "reloading", "deactivating"),
        status=f"{active} ({sub if result in ('', 'success') else result})",
        started_at=_started(said, at, uptime_s),
        exit_code=_exit_code(said),
        oom_killed=result == "oom-kill",
        restarts=_whole(said.get("NRestarts")),
    )


def _started(said: dict[str, str], at: datetime, uptime_s: float | None) -> datetime | None:
    """From the clock since boot, which nobody sets; the printed date has the far side's zone."""
    since_boot_us = _whole(said.get("ExecMainStartTimestampMonotonic"))
    if not since_boot_us or uptime_s is None:
        return None
    return at - timedelta(seconds=max(0.0, uptime_s - since_boot_us / 1e6))


def _exit_code(said: dict[str, str]) -> int | None:
    """As a shell counts: 128 and the signal for a process that was killed."""
    status = _whole(said.get("ExecMainStatus"))
    code = said.get("ExecMainCode")
    if status is None or code not in (_EXITED, _KILLED, _DUMPED):
        return None
    return status if code == _EXITED else 128 + status


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 18 else None
