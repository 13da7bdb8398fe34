"""Reading what a person types, with an end to the waiting."""

from __future__ import annotations

import getpass
import os
import queue
import sys
import threading
import time
from typing import TextIO

import typer

from stanch.policy.kinds import Written, Wrong
from stanch.policy.quantities import Duration


class Answering:
    """Lines from a stream until a deadline; the reading thread ends with the process."""

    def __init__(self, stream: TextIO, wait_s: float) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._until = time.monotonic() + wait_s
        self._stream = stream
        threading.Thread(target=self._read, name="stanch-answers", daemon=True).start()

    def line(self) -> str | None:
        """The next line; None when the time is over or the stream has ended."""
        left_s = self._until - time.monotonic()
        try:
            return self._lines.get(timeout=left_s) if left_s > 0 else None
        except queue.Empty:
            return None

    def _read(self) -> None:
        try:
            for line in self._stream:
                self._lines.put(line)
        except (OSError, ValueError):
            # Closed under us, or not text: nobody answers any more.
            pass
        self._lines.put(None)


def ask_line(answering: Answering, question: str) -> str | None:
    print(question, end="", file=sys.stderr, flush=True)
    line = answering.line()
    if line is None:
        print(file=sys.stderr)
    return line


def os_user() -> str:
    """The name of the OS user; in many containers there is none, and the number has to do."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def length_s(text: str, option: str, *, days_max: int = 1) -> float:
    """A length of time given on the command line, in seconds."""
    value = Duration(min_s=0.1, max_s=days_max * 86_400).read(Written(text=text, is_text=True))
    if isinstance(value, Wrong):
        raise typer.BadParameter(f"{value.what}. {value.hint}", param_hint=option)
    return value
