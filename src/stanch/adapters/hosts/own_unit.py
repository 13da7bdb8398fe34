"""Whether a server that we start would be stopped together with us.

systemd ends every process of a unit with it (KillMode=control-group), also one that left our
session: a `systemctl restart` of Stanch would take the database down.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from stanch.adapters.hosts.rivals import UNIT_FOLDERS, runs_systemd

_SPARES = re.compile(r"^\s*KillMode\s*=\s*(\S+)", re.MULTILINE)


def would_die_with_us(
    *,
    proc: Path = Path("/proc"),
    folders: Sequence[str] = UNIT_FOLDERS,
    systemd: bool | None = None,
) -> str:
    """Why nothing may be started from here as our own child; empty where it may.

    Source: our control group and the unit's files. `systemd`: whether it runs here, None to look.
    """
    here = runs_systemd() if systemd is None else systemd
    unit = _own_unit(proc) if here else ""
    if not unit or _kill_mode(unit, folders) in {"process", "none"}:
        return ""
    return (
        f"Stanch runs in {unit}, and systemd would stop the server together with it; "
        "`KillMode=process` in that unit keeps what Stanch starts alive"
    )


def _own_unit(proc: Path) -> str:
    """The service we belong to; empty in a login session, which ends nobody else's processes."""
    for line in _text(proc / "self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers not in ("", "name=systemd"):
            continue
        units = [part for part in path.split("/") if part.endswith((".service", ".scope"))]
        if units and units[-1].endswith(".service"):
            return units[-1]
    return ""


def _kill_mode(unit: str, folders: Sequence[str]) -> str:
    """As the last file that sets it says; systemd's default where none does."""
    found = [mode for text in _files(unit, folders) for mode in _SPARES.findall(text)]
    return found[-1] if found else "control-group"


def _files(unit: str, folders: Sequence[str]) -> Iterator[str]:
    """The unit's own file, then its drop-ins; a folder named earlier wins over later ones."""
    stem, at, _ = unit.partition("@")
    names = (f"{stem}@.service", unit) if at else (unit,)
    for name in names:
        for folder in reversed(folders):
            yield _text(Path(folder) / name)
    for name in names:
        for folder in reversed(folders):
            for file in sorted(Path(folder, f"{name}.d").glob("*.conf")):
                yield _text(file)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
