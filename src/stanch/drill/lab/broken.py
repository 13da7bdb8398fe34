"""What is broken by the lab just now: one file each, so that it can be healed from elsewhere."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from stanch.model.errors import SetupError

HEALED_S = 60.0
POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """One fault that stands, and the process that holds it."""

    fault: str
    on: str
    """The server, as people call it."""
    began: str
    pid: int
    started: float
    """When that process began: a PID alone may be another's by now."""
    folder: str = ""
    """Of a throw-away server; empty on a staging server."""
    undo: tuple[str, ...] = ()
    """Statements that take it back, should the process be gone; the last first."""

    @property
    def is_held(self) -> bool:
        """Whether the process that holds it lives."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) < 1.0
        except psutil.Error:
            return False


class Brokens:
    """The files; `folder` is made when something is put there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, one: Broken) -> None:
        """Write it down, or replace what was written. Raises: SetupError."""
        path = self._path(one)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps(asdict(one)), encoding="utf-8")
            fresh.replace(path)
        except OSError as error:
            raise SetupError(f"cannot be written: {error.strerror}", on=str(path)) from error

    def forget(self, one: Broken) -> None:
        self._path(one).unlink(missing_ok=True)

    def standing(self) -> Sequence[Broken]:
        """The oldest first; a file that is no such thing is passed over."""
        found: list[Broken] = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                value: dict[str, Any] = json.loads(path.read_text("utf-8"))
                value["undo"] = tuple(value["undo"])
                found.append(Broken(**value))
            except (OSError, ValueError, TypeError, KeyError):
                continue
        return sorted(found, key=lambda one: one.began)

    def heal(self, one: Broken, *, remove: Callable[[Path], None]) -> str:
        """Take it back; what became of it, in words. `remove` takes away a throw-away server.

        Raises: SetupError where its process does not come to an end.
        """
        if one.is_held:
            os.kill(one.pid, signal.SIGTERM)
            end = time.monotonic() + HEALED_S
            while one.is_held and self._path(one).exists():
                if time.monotonic() > end:
                    raise SetupError(
                        f"process {one.pid} is not done within {HEALED_S:g} s", on=one.on
                    )
                time.sleep(POLL_S)
            return "healed"
        if one.folder:
            remove(Path(one.folder))
            self.forget(one)
            return "its process was gone; the server was removed"
        self.forget(one)
        if one.undo:
            statements = "; ".join(one.undo)
            return f"its process was gone, its locks with it; left to be done by hand: {statements}"
        return "its process was gone, and everything it held with it"

    def _path(self, one: Broken) -> Path:
        return self._folder / f"{one.fault}-{one.pid}.json"


def begun(fault: str, on: str, *, folder: str = "") -> Broken:
    """Held by this process, from now on."""
    return Broken(
        fault=fault,
        on=on,
        began=datetime.now(UTC).isoformat(timespec="seconds"),
        pid=os.getpid(),
        started=psutil.Process().create_time(),
        folder=folder,
    )
