"""`stanch run` as the separate process that it is, beside what it watches and whom it pages."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil
from receiver import Receiver

from stanch.adapters.postgres.scratch import free_port
from stanch.testing.mailbox import Mailbox

WATCH_ONLY: Mapping[str, Any] = {
    "limits": {"clear_hold": "500ms", "flap_window": "0s"},
    "rescue": {"window": "1s", "check_every": "250ms", "resolve_after": "0s"},
}
"""Nothing is done to a target, and an incident is over soon after its server is back."""

OPENED = re.compile(r"^(\S+) .*incident opened.*\btarget=(\S+)", re.MULTILINE)
SAMPLE_AGE = re.compile(r"^stanch_sample_age_seconds{[^}]*} (\S+)", re.MULTILINE)
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class StanchRun:
    """One process; entering starts it and waits until it has looked at every target."""

    def __init__(
        self,
        targets: Mapping[str, Mapping[str, Any]],
        *,
        mailbox: Mailbox,
        receiver: Receiver,
        ready_s: float = 240.0,
    ) -> None:
        # Short, because a socket lies in it.
        self._folder = tempfile.TemporaryDirectory(prefix="stanch-b-", dir="/tmp")
        self.folder = Path(self._folder.name)
        self.config = self.folder / "stanch.yaml"
        self.log_path = self.folder / "run.log"
        self.port = free_port()
        self._ready_s = ready_s
        policy = {
            "state_directory": str(self.folder / "state"),
            "listen": f"127.0.0.1:{self.port}",
            "people": {
                "ann": {
                    "name": "Ann",
                    "contacts": [{"channel": "mail", "address": "ann@example.com"}],
                }
            },
            "ladder": ["ann"],
            "channels": {
                "mail": {"type": "smtp", "host": "127.0.0.1", "port": mailbox.port},
                "hook": {"type": "webhook", "url": receiver.url("/stanch")},
            },
            "targets": {name: {**WATCH_ONLY, **target} for name, target in targets.items()},
        }
        self.config.write_text(json.dumps(policy, indent=1), encoding="utf-8")
        self.ready_after_s = 0.0

    def __enter__(self) -> Self:
        began = time.monotonic()
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stanch", "run", "-c", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._watched = psutil.Process(self._process.pid)
        try:
            self._wait_until_ready(began + self._ready_s)
        except BaseException:
            self._end()
            raise
        self.ready_after_s = time.monotonic() - began
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_s(self) -> float:
        """User and system time so far, of this process alone."""
        times = self._watched.cpu_times()
        return times.user + times.system

    def rss_bytes(self) -> int:
        return self._watched.memory_info().rss

    def openings(self) -> list[str]:
        """The lines in which it told of an incident's opening."""
        text = ANSI.sub("", self.log_path.read_text(errors="replace"))
        return [line for line in text.splitlines() if OPENED.match(line)]

    def oldest_sample_s(self, *, after_s: float) -> float:
        """How old the newest sample is of the target that was not looked at for the longest."""
        time.sleep(after_s)
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", timeout=20).text
        ages = SAMPLE_AGE.findall(text)
        if not ages:
            raise RuntimeError("no ages of samples among the metrics")
        return max(map(float, ages))

    def wait_until_steady(self, *, deadline_s: float = 30.0) -> None:
        """Until starting up is over: it uses hardly more CPU in one second than in the next."""
        end = time.monotonic() + deadline_s
        before = float("inf")
        while time.monotonic() < end:
            cpu_s = self.cpu_s()
            time.sleep(1.0)
            used = self.cpu_s() - cpu_s
            if used <= before * 1.2 and before <= used * 1.2 + 0.05:
                return
            before = used

    def opened(self) -> list[tuple[str, float]]:
        """Target and moment of every incident so far; written down once it was durable."""
        text = ANSI.sub("", self.log_path.read_text(errors="replace"))
        return [
            (target, datetime.fromisoformat(at).timestamp()) for at, target in OPENED.findall(text)
        ]

    def _wait_until_ready(self, until: float) -> None:
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"stanch run ended: {self._log_end()}")
            try:
                url = f"http://127.0.0.1:{self.port}/readyz"
                answer = httpx.get(url, timeout=5)
                if answer.status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            if time.monotonic() > until:
                raise RuntimeError(f"stanch run is not ready in time: {self._log_end()}")
            time.sleep(0.1)

    def _log_end(self) -> str:
        return self.log_path.read_text(errors="replace")[-3000:]

    def _end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)
        self._folder.cleanup()
