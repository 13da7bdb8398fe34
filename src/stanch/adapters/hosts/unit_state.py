"""What systemd says about the unit of a server, and whether it would treat the server well. Pure.

Source: `systemctl show -p …` and systemd.exec(5), systemd.kill(5), systemd.service(5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from stanch.adapters.hosts.restarts import seconds_of
from stanch.model.diagnosis import Missing
from stanch.model.ports.acting import Job, Verb

PROPERTIES = (
    "LoadState",
    "UnitFileState",
    "ActiveState",
    "SubState",
    "Result",
    "NRestarts",
    "Restart",
    "MainPID",
    "Job",
    "CanStart",
    "CanStop",
    "ExecStop",
    "KillSignal",
    "SendSIGKILL",
    "TimeoutStopUSec",
)
UNIT_CHARS_MAX = 255
PATIENCE_S_MIN = 300.0
"""A shutdown writes everything out first; who is killed before that starts with crash recovery."""

SIGNALS = {"2": "SIGINT", "3": "SIGQUIT", "6": "SIGABRT", "9": "SIGKILL", "15": "SIGTERM"}
FAST_SIGNAL = "2"
"""SIGINT to a postmaster is a fast shutdown; SIGTERM waits until every session has left."""

SYSTEMD = 1
"""Its process id."""

_NAME = re.compile(r"[A-Za-z0-9:_.\\-][A-Za-z0-9:_.\\-]*(?:@[A-Za-z0-9:_.\\@-]+)?\.service")
_LINE = re.compile(r"([A-Za-z]+)=(.*)")
_MODE = re.compile(r"(?:^|\s)(?:-m|--mode)[\s=]*(\w+)")
_FORCE = re.compile(r"\s(?:-f|--force)\b")
_PG_CTL = re.compile(r"(?:^|[/\s=])pg_ctl(?:cluster)?\b")


def is_unit_name(name: str) -> bool:
    """Whether systemd would take this for the name of one service; a template is none."""
    return len(name) <= UNIT_CHARS_MAX and _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitState:
    """One unit, as systemd tells it."""

    name: str
    said: Mapping[str, str]

    @property
    def active(self) -> str:
        return self.said["ActiveState"]

    @property
    def main_pid(self) -> int | None:
        pid = _whole(self.said.get("MainPID"))
        return pid or None

    @property
    def restarts_by_itself(self) -> bool:
        return self.said.get("Restart", "no") != "no"

    @property
    def gave_up(self) -> bool:
        """It was started too often within a short time, and systemd starts it no more."""
        return self.active == "failed" and self.said.get("Result") == "start-limit-hit"

    @property
    def job(self) -> Job | None:
        """What systemd is doing with it just now, or is about to."""
        sub, number = self.said.get("SubState", ""), _whole(self.said.get("Job"))
        if number:
            return Job(pid=SYSTEMD, command=f"systemd has job {number} waiting for {self.name}")
        if self.active in ("activating", "deactivating", "reloading"):
            return Job(pid=SYSTEMD, command=f"systemd: {self.name} is {self.active} ({sub})")
        return None


def parse_state(unit: str, text: str) -> UnitState | Missing:
    """What `systemctl show` printed. Missing: there is no such unit, or it runs no server."""
    lines = (_LINE.fullmatch(line) for line in text.splitlines())
    said: dict[str, str] = {}
    for line in lines:
        if line is not None:
            said.setdefault(line[1], line[2])
    if "ActiveState" not in said:
        words = text.strip().splitlines()
        return Missing(what=unit, reason=words[-1][:200] if words else "systemctl said nothing")
    load = said.get("LoadState", "")
    if load != "loaded":
        return Missing(what=unit, reason=f"its unit file is {load or 'in no known state'}")
    if (said["ActiveState"], said.get("SubState")) == ("active", "exited"):
        return Missing(what=unit, reason="it runs no process of its own")
    return UnitState(name=unit, said=said)


def declined(unit: UnitState) -> tuple[tuple[Verb, str], ...]:
    """What it is not asked for, with the reason."""
    starts = "" if unit.said.get("CanStart", "yes") == "yes" else "its unit refuses to be started"
    stops = "" if unit.said.get("CanStop", "yes") == "yes" else "its unit refuses to be stopped"
    stops = stops or _harsh(unit)
    told: tuple[tuple[Verb, str], ...] = (
        ("start", starts),
        ("stop", stops),
        ("restart", starts or stops),
    )
    return tuple((verb, f"{unit.name}: {why}") for verb, why in told if why)


def _harsh(unit: UnitState) -> str:
    """Why its way to stop is no fast shutdown that may take its time; empty: it is one."""
    said = unit.said
    how = said.get("ExecStop", "")
    if how:
        mode = _MODE.search(how)
        if _PG_CTL.search(how) is None or _FORCE.search(how) is not None:
            return "its ExecStop is no plain pg_ctl"
        if mode is not None and mode[1] not in ("f", "fast"):
            return f"its ExecStop asks for a shutdown of mode {mode[1][:20]}"
    elif said.get("KillSignal") != FAST_SIGNAL:
        number = said.get("KillSignal", "")
        signal = SIGNALS.get(number, f"signal {number}"[:20])
        return f"it stops the server with {signal} and not with SIGINT, a fast shutdown"
    if said.get("SendSIGKILL") == "no":
        return ""
    span = said.get("TimeoutStopUSec", "")
    patience_s = float("inf") if span == "infinity" else seconds_of(span)
    if patience_s is None or patience_s < PATIENCE_S_MIN:
        return f"it kills a server that takes longer than {span[:20] or 'nobody knows'} to stop"
    return ""


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 18 else None
