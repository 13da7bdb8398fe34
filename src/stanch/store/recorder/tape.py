"""Samples of one target onto its ring: how often, in which records, and never more than fits."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

from stanch.model.samples import Sample
from stanch.store.recorder.columns import Columns
from stanch.store.recorder.layout import PAYLOAD_BYTES_MAX, Kind, put_number
from stanch.store.recorder.looks import (
    FIXED,
    fixed_values,
    group_rows,
    grouped,
    milliseconds,
    state_key,
    state_of,
    volume_values,
)
from stanch.store.recorder.ring import Ring

EVERY_MS = 900
"""Looks that follow faster are left out, unless the target is in another state."""
OTHERS_EVERY_MS = 5_000
ACTIVITY_EVERY_MS = 10_000
FULL_EVERY_MS = 30_000
"""A damaged record costs what follows it up to the next full one."""


class Tape:
    """The writing of one target. Raises OSError; call `take` again after any failure."""

    def __init__(self, path: Path, target: str, *, at_ms: int, began: str) -> None:
        self._ring = Ring(path, target, at_ms=at_ms)
        self._columns = Columns(FIXED)
        self._began = began
        self._state: dict[str, object] = {}
        self._key: tuple[object, ...] = ()
        self._life: str = ""
        self._wrote_ms = self._others_ms = self._activity_ms = self._full_ms = -FULL_EVERY_MS
        self._started = False

    def take(self, sample: Sample) -> None:
        """Write one look down. Cost: 15 to 30 µs, one `pwrite`; more at every turn of a segment."""
        at_ms = milliseconds(sample.at)
        key = state_key(sample)
        changed = key != self._key
        self._remember(sample)
        # A clock that was set back may not stop the recording.
        if not changed and 0 <= at_ms - self._wrote_ms < EVERY_MS:
            return
        if not self._started or not self._ring.begun:
            self._start(at_ms)
        if changed:
            self._key, self._state = key, state_of(sample)
            self._put_json(Kind.STATE, at_ms, self._state)
        self._tell_life(sample, at_ms)
        self._put_values(at_ms)
        self._wrote_ms = at_ms
        self._put_activity(sample, at_ms)

    def note(self, at_ms: int, text: str) -> None:
        """A sentence about what happened."""
        self._put_json(Kind.NOTE, at_ms, {"text": text})

    def _remember(self, sample: Sample) -> None:
        self._columns.put_fixed(fixed_values(sample.vitals))
        if sample.volumes is not None:
            self._columns.put("volume_free_bytes", volume_values(sample.volumes))
        if sample.readings:
            for name, values in grouped(sample.readings).items():
                self._columns.put(name, values)

    def _start(self, at_ms: int) -> None:
        """What a process writes first: names of its own, from number 0 on."""
        if self._ring.begun:
            self._columns.anew()
            self._put_names_and_full(at_ms)
        else:
            self._turn(at_ms)
        self._started = True
        self.note(at_ms, self._began)

    def _turn(self, at_ms: int) -> None:
        self._ring.turn(at_ms)
        self._columns.anew()
        self._put_names_and_full(at_ms)
        self._put_json(Kind.STATE, at_ms, self._state)

    def _put_names_and_full(self, at_ms: int) -> None:
        names = self._columns.names()
        if names is not None:
            self._put(Kind.NAMES, at_ms, names)
        self._full_ms = self._others_ms = at_ms
        self._put(Kind.FULL, at_ms, self._columns.full())

    def _put_values(self, at_ms: int) -> None:
        everything = not 0 <= at_ms - self._others_ms < OTHERS_EVERY_MS
        if not 0 <= at_ms - self._full_ms < FULL_EVERY_MS:
            self._put_names_and_full(at_ms)
            return
        if everything:
            names = self._columns.names()
            if names is not None:
                self._put(Kind.NAMES, at_ms, names)
            self._others_ms = at_ms
        self._put(Kind.CHANGES, at_ms, self._columns.changes(everything=everything))

    def _put_activity(self, sample: Sample, at_ms: int) -> None:
        sessions = sample.vitals.sessions if sample.vitals is not None else None
        if sessions is None or 0 <= at_ms - self._activity_ms < ACTIVITY_EVERY_MS:
            return
        self._activity_ms = at_ms
        self._put_json(Kind.ACTIVITY, at_ms, group_rows(sessions))

    def _tell_life(self, sample: Sample, at_ms: int) -> None:
        if sample.vitals is None:
            return
        life = sample.vitals.postmaster_start.isoformat()
        if life != self._life:
            self._life = life
            version = sample.vitals.version_num
            told = f"server of version {version // 10000}.{version % 10000}"
            self.note(at_ms, f"{told}, up since {life}")

    def _put_json(self, kind: Kind, at_ms: int, value: object) -> None:
        self._put(kind, at_ms, zlib.compress(json.dumps(value, ensure_ascii=True).encode(), 1))

    def _put(self, kind: Kind, at_ms: int, content: bytes) -> None:
        payload = self._stamped(at_ms, content)
        if len(payload) > PAYLOAD_BYTES_MAX:
            return
        if not self._ring.fits(len(payload)):
            self._turn(at_ms)
            if kind in (Kind.NAMES, Kind.FULL, Kind.CHANGES):
                # The new segment began with all of it.
                return
            payload = self._stamped(at_ms, content)
        self._ring.put(kind, payload)

    def _stamped(self, at_ms: int, content: bytes) -> bytes:
        out = bytearray()
        put_number(out, at_ms - self._ring.base_ms)
        return bytes(out) + content
