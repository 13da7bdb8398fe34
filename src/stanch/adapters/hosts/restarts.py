"""Who restarts a server of this machine without being asked: what its manager is set to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from stanch.adapters.hosts.rivals import UNIT_FOLDERS, runs_systemd
from stanch.model.diagnosis import Missing
from stanch.model.host import Found, LocalServer, ServerManager
from stanch.model.restarts import Restarts
from stanch.model.shown import shortened

FILE_BYTES_MAX = 256 * 1024
RESTART_S = 0.1
"""systemd's DefaultRestartSec."""
LOOP_WAIT_S = 10.0
"""Patroni's own default; it starts a dead server in its next round."""

_AFTER_A_CRASH = frozenset({"always", "on-failure", "on-abnormal", "on-abort"})
_UNIT_S = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "hour": 3600.0,
    "hours": 3600.0,
    "": 1.0,
}
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(?![\d.])\s*([a-z]*)\s*")


def read_restarts(
    server: LocalServer,
    *,
    folders: Sequence[str] = UNIT_FOLDERS,
    systemd: bool | None = None,
) -> Restarts | Missing:
    """What happens when this server dies. Missing: its manager is not known, or does not say.

    Source: unit files and their drop-ins; `patroni.dynamic.json`. `systemd`: whether it runs here,
    None to look. Cost: some small files.
    """
    here = runs_systemd() if systemd is None else systemd
    match server.manager:
        case ServerManager.PG_CTL:
            return Restarts(after_s=None, source="pg_ctl never does")
        case ServerManager.PG_CTLCLUSTER if not here:
            return Restarts(after_s=None, source="pg_ctlcluster never does")
        case ServerManager.PG_CTLCLUSTER:
            unit = f"postgresql@{server.manager_name.replace('/', '-')}.service"
            return _of_unit(unit, folders)
        case ServerManager.SYSTEMD:
            return _of_unit(server.manager_name, folders)
        case ServerManager.PATRONI:
            return _of_patroni(server)
        case ServerManager.DOCKER:
            reason = "a container's restart policy is not read"
        case ServerManager.UNKNOWN:
            reason = server.manager_source
    return Missing(what="restarts", reason=reason)


def _of_unit(unit: str, folders: Sequence[str]) -> Restarts | Missing:
    files = list(_files_of(unit, folders))
    if not files:
        return Missing(what="restarts", reason=f"the file of {shortened(unit, 80)} was not found")
    restart, after = "no", ""
    for name, value in _assignments(files):
        if name == "Restart":
            restart = value or "no"
        elif name == "RestartSec":
            after = value
    told = f"systemd ({shortened(unit, 80)}, Restart={shortened(restart, 20)})"
    if restart not in _AFTER_A_CRASH:
        return Restarts(after_s=None, source=told)
    after_s = seconds_of(after) if after else RESTART_S
    if after_s is None:
        why = f"RestartSec={shortened(after, 20)} of {shortened(unit, 80)}"
        return Missing(what="restarts", reason=f"{why} is no length of time")
    return Restarts(after_s=after_s, source=told)


def _files_of(unit: str, folders: Sequence[str]) -> Iterator[Path]:
    """The unit's file as systemd takes it, the first found, then all its drop-ins by name."""
    if "/" in unit:
        return
    template = re.sub(r"@.*\.service$", "@.service", unit)
    names = tuple(dict.fromkeys((unit, template)))
    main = next((p for n in names for f in folders if (p := Path(f) / n).is_file()), None)
    if main is not None:
        yield main
    found: dict[str, Path] = {}
    for folder in reversed(folders):
        for name in reversed(names):
            for path in Path(folder).glob(f"{name}.d/*.conf"):
                found[path.name] = path
    yield from (found[name] for name in sorted(found))


def _assignments(files: Sequence[Path]) -> Iterator[tuple[str, str]]:
    for file in files:
        for line in _text(file).splitlines():
            name, equals, value = line.strip().partition("=")
            if equals and not name.startswith(("#", ";")):
                yield name.strip(), value.strip()


def seconds_of(text: str) -> float | None:
    """A length of time as systemd writes it: `5`, `100ms`, `1min 30s`; None for anything else."""
    left, total = text.strip(), 0.0
    if not left:
        return None
    while left:
        found = _SPAN.match(left)
        if found is None or found[2] not in _UNIT_S:
            return None
        total += float(found[1]) * _UNIT_S[found[2]]
        left = left[found.end() :]
    return total


def _of_patroni(server: LocalServer) -> Restarts:
    wait_s = LOOP_WAIT_S
    if isinstance(server.data_directory, Found):
        said = _loop_wait(_text(Path(server.data_directory.value) / "patroni.dynamic.json"))
        wait_s = LOOP_WAIT_S if said is None else said
    return Restarts(after_s=wait_s, source="Patroni (loop_wait)")


def _loop_wait(text: str) -> float | None:
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        return None
    said = cast("dict[str, Any]", plain).get("loop_wait") if isinstance(plain, dict) else None
    known = isinstance(said, int | float) and not isinstance(said, bool) and 0 < said <= 3600
    return float(said) if known and said is not None else None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return ""
