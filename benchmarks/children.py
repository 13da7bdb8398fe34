"""A script of this folder as a process of its own: it says one JSON line and serves until ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

HERE = Path(__file__).parent


class Child:
    """Entering waits for the line; `ask` sends a line and waits for the answer to it."""

    def __init__(self, script: str, *arguments: str) -> None:
        self._command = [sys.executable, str(HERE / script), *arguments]
        self.said: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._seen = psutil.Process(self._process.pid)
        try:
            self.said = self._line()
        except BaseException:
            self._process.kill()
            self._process.wait(20)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)

    def ask(self, word: str = "?") -> dict[str, Any]:
        """What it has to say now, once it has done as it was told."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self._line()

    def cpu_s(self) -> float:
        """User and system time so far."""
        times = self._seen.cpu_times()
        return times.user + times.system

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._command[1]} ended without a word")
        return json.loads(line)
