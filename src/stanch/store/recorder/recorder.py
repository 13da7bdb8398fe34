"""Recordings of many targets, written by one thread, so that no disk holds up a watch.

A disk that fails or hangs costs the recording and nothing else: what waits is bounded, the rest is
counted and left out, and a failed file is tried again a minute later.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import structlog

from stanch.model.samples import Sample
from stanch.store.recorder.looks import milliseconds
from stanch.store.recorder.tape import Tape

WAITING_MAX = 64
"""Samples of one target that wait for the thread: a minute of a disk that takes nothing."""
RETRY_S = 60.0
GATHER_S = 0.1
"""So long the thread lets looks of healthy targets gather: to be woken for each of a thousand costs
more than to write it. Any other look is written at once."""

log = structlog.get_logger("recorder")


def recording_path(state: Path, target: str) -> Path:
    """Where a target's recording lies in a state directory."""
    return state / "recordings" / f"{target}.ring"


class Recorder:
    """The recording of one target, as the watch sees it. Made by `Recorders.of`."""

    def __init__(self, path: Path, target: str, post: Callable[[Recorder, Sample], None]) -> None:
        self.path = path
        self._target = target
        self._post = post
        self._tape: Tape | None = None
        self._not_before_ms = 0
        self.waiting = 0
        self.lost = 0
        """Samples that were not recorded, for want of a disk that takes them."""

    def take(self, sample: Sample) -> None:
        """Hand one look to the writing thread. Never waits, never raises."""
        if self.waiting >= WAITING_MAX:
            self.lost += 1
            return
        self.waiting += 1
        self._post(self, sample)

    def write(self, sample: Sample) -> None:
        """On the writing thread. Never raises for a file that cannot be written."""
        at_ms = milliseconds(sample.at)
        self.waiting -= 1
        if self._tape is None and at_ms < self._not_before_ms:
            self.lost += 1
            return
        try:
            if self._tape is None:
                self._tape = self._opened(at_ms)
            self._tape.take(sample)
        except OSError as error:
            # What the file now holds is not what the tape believes: it starts anew, with all names.
            self._tape = None
            retry_at = sample.at + timedelta(seconds=RETRY_S)
            self._not_before_ms = milliseconds(retry_at)
            self.lost += 1
            log.warning("not recording", target=self._target, error=str(error))

    def _opened(self, at_ms: int) -> Tape:
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        began = f"process {os.getpid()} records"
        return Tape(self.path, self._target, at_ms=at_ms, began=began)


class Recorders:
    """Owns the thread; it ends with the process, or with `close`."""

    def __init__(self, state: Path, *, gather_s: float = GATHER_S) -> None:
        self._state = state
        self._gather_s = gather_s
        self._queue: queue.SimpleQueue[tuple[Recorder, Sample] | None] = queue.SimpleQueue()
        self._all: dict[Path, Recorder] = {}
        self._lost_before = 0
        self._awaited = threading.Event()
        """Something must be on the disk now."""
        # A daemon: a disk that hangs for ever may not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="stanch-recorder", daemon=True)
        self._thread.start()

    def of(self, target: str) -> Recorder:
        """The recorder of a target; one that is watched anew goes on where the last one ended."""
        path = recording_path(self._state, target)
        gone = self._all.pop(path, None)
        if gone is not None:
            self._lost_before += gone.lost
        recorder = Recorder(path, target, self._post)
        self._all[path] = recorder
        return recorder

    @property
    def lost(self) -> int:
        """Samples that were not recorded since the process started, of all targets."""
        return self._lost_before + sum(recorder.lost for recorder in self._all.values())

    def close(self, *, wait_s: float = 2.0) -> None:
        """Write what waits, for at most so long."""
        self._queue.put(None)
        self._awaited.set()
        self._thread.join(wait_s)

    def _post(self, recorder: Recorder, sample: Sample) -> None:
        self._queue.put((recorder, sample))
        if sample.vitals is None or sample.reach is not None:
            self._awaited.set()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            recorder, sample = item
            recorder.write(sample)
            if self._queue.empty():
                self._awaited.wait(self._gather_s)
                self._awaited.clear()
