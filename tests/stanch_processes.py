"""`stanch` in processes of their own, forked from one that has loaded everything already.

Loading is most of what a short-lived process costs, and hundreds are started here. What a forked
one does, how it is signalled and how it ends is no different. That `stanch` starts from nothing is
shown by `test_docs_run.py`, `cli` and `drill`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

LOADED = (
    "stanch.cli.app",
    "stanch.cli.changes",
    "stanch.cli.check",
    "stanch.cli.incidents",
    "stanch.cli.logging",
    "stanch.cli.running",
    "stanch.cli.signals",
    "stanch.cli.timeline",
    "stanch.service.responder",
)

FORKING = get_context("forkserver")
FORKING.set_forkserver_preload(list(LOADED))


class Process(Protocol):
    """What tests need of a process: the words of `subprocess.Popen`."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...


def begin(
    arguments: Sequence[str], *, out: Path, err: Path | None = None, env: Mapping[str, str]
) -> Process:
    """Start `stanch ARGUMENTS`; `err` is where `out` is unless it has a file of its own."""
    if "LD_PRELOAD" not in env:
        return Forked(arguments, out=out, err=err or out, env=env)
    # Takes effect while a program is loaded, and at no other time.
    with out.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "stanch", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **env},
        )


class Forked:
    """One process that came into being by fork."""

    def __init__(
        self, arguments: Sequence[str], *, out: Path, err: Path, env: Mapping[str, str]
    ) -> None:
        whole = {**os.environ, **env}
        self._process = FORKING.Process(target=_live, args=(list(arguments), whole, out, err))
        self._process.start()

    @property
    def pid(self) -> int:
        pid = self._process.pid
        assert pid is not None
        return pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            raise TimeoutError(f"process {self.pid} has not ended within {timeout} s")
        return status

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)


def _live(arguments: list[str], env: dict[str, str], out: Path, err: Path) -> None:
    """All that `python -m stanch ARGUMENTS` does once it is loaded."""
    os.environ.clear()
    os.environ.update(env)
    for number, path in ((1, out), (2, err)):
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = ["stanch", *arguments]

    from stanch.cli.app import main

    main()
