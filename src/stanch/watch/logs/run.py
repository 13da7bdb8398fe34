"""The loop that follows logs: bounded bytes a look, its place kept, what it leaves out told."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Protocol

from stanch.model.diagnosis import Missing
from stanch.model.host import LogChunk, LogPosition
from stanch.model.ports.machine import LogReader
from stanch.model.readings import Reading

EVERY_S = 1.0
SLOWEST_S = 30.0
"""A log that cannot be read is asked for less and less often."""
DEADLINE_S = 6.0
TELL_EVERY_S = 10.0
"""Counts that did not change are told this often, so that missing data shows."""
KEEP_EVERY_S = 5.0
READ_BYTES = 128 * 1024
READS_MAX = 4
"""A look takes no more than 512 KiB of a log, whatever was written."""
PIECE_BYTES = 16 * 1024
"""So much is parsed before others get their turn on the loop."""
BEHIND_MAX = 5
"""After so many looks that did not reach the end the rest is passed over, and that is told."""
FIRST_BYTES = 4096
KEPT_BYTES_MAX = 1024 * 1024


class Content(Protocol):
    """What is made of the bytes of one log."""

    def begin(self, path: str, *, anew: bool, pending: bytes = b"") -> None: ...

    def feed(self, content: bytes) -> None: ...

    def settle(self) -> None: ...

    @property
    def pending(self) -> bytes: ...

    def readings(self, unseen: str = "") -> Iterable[Reading]: ...

    def kept(self) -> dict[str, Any]: ...

    def restore(self, kept: Mapping[str, Any]) -> None: ...


class Memory(Protocol):
    """Where the account of what was read outlives this process. All of it or nothing."""

    async def load(self) -> bytes | None:
        """None: there is none yet."""
        ...

    async def save(self, content: bytes) -> None: ...


class _Question(Enum):
    END = "where the log ends now"
    SINCE = "what came since"
    TAIL = "the last of it"


@dataclass(slots=True, kw_only=True)
class Followed:
    """One log, and how far it was read."""

    name: str
    reader: Callable[[], LogReader | Missing]
    """May become another while we run: a server that starts may bring another log."""
    content: Content
    position: LogPosition | None = None
    why: str = "nobody has looked yet"
    """Why the log cannot be read now; empty: it can."""
    gaps: int = 0
    last_gap: str = ""
    skipped_bytes: int = 0
    _begun: bool = False
    _behind: int = 0
    _wait_s: float = EVERY_S
    _next_at_s: float = 0.0
    _asking: tuple[_Question, asyncio.Task[LogChunk | Missing]] | None = None

    async def look(self, at_s: float) -> bool:
        """Read on, if it is time to; whether anything was told that is new."""
        if at_s < self._next_at_s:
            return False
        before = self.why
        new = await self._read()
        self._wait_s = min(2 * self._wait_s, SLOWEST_S) if self.why else EVERY_S
        self._next_at_s = at_s + self._wait_s - EVERY_S / 2
        return new or before != self.why

    async def _read(self) -> bool:
        if self.position is None:
            # What was written before we ever looked is history, not news.
            chunk = await self._ask(_Question.END)
            if not isinstance(chunk, Missing):
                self.position = chunk.position
            return False
        for count in range(READS_MAX):
            chunk = await self._ask(_Question.SINCE)
            if isinstance(chunk, Missing):
                return count > 0
            await self._take(chunk)
            if not chunk.more:
                self._behind = 0
                self.content.settle()
                return bool(chunk.content) or count > 0
        self._behind += 1
        self.content.settle()
        if self._behind >= BEHIND_MAX:
            await self._pass_over()
        return True

    async def _take(self, chunk: LogChunk) -> None:
        if chunk.gap:
            self.note_gap(chunk.gap)
        self.skipped_bytes += chunk.skipped_bytes
        if chunk.content or chunk.started_anew:
            self.content.begin(chunk.path, anew=chunk.started_anew or not self._begun)
            self._begun = True
        for begin in range(0, len(chunk.content), PIECE_BYTES):
            self.content.feed(chunk.content[begin : begin + PIECE_BYTES])
            await asyncio.sleep(0)
        self.position = chunk.position

    async def _pass_over(self) -> None:
        """More is written than is read: go on at the end, and say how much was left out."""
        before = self.position
        chunk = await self._ask(_Question.TAIL)
        if isinstance(chunk, Missing) or before is None:
            return
        passed = _bytes_between(before, chunk)
        if passed is not None and passed <= 0:
            return
        self._behind = 0
        counted = "an unknown number of" if passed is None else str(passed)
        self.note_gap(f"{counted} bytes were passed over: more was written than is read")
        # What the reader calls skipped is all before the tail, read or not.
        await self._take(replace(chunk, skipped_bytes=passed or 0, started_anew=True, gap=""))
        self.content.settle()

    def note_gap(self, reason: str) -> None:
        self.gaps, self.last_gap = self.gaps + 1, reason

    async def _ask(self, question: _Question) -> LogChunk | Missing:
        """One answer within the deadline. A question that hangs is waited for, not asked again."""
        if self._asking is None:
            reader = self.reader()
            if isinstance(reader, Missing):
                self.why = reader.reason
                return reader
            self._asking = question, asyncio.create_task(_asked(reader, question, self.position))
        asked, task = self._asking
        done, _ = await asyncio.wait({task}, timeout=DEADLINE_S)
        answer = Missing(what="log", reason=f"no answer within {DEADLINE_S:.0f} s")
        if done:
            self._asking = None
            if asked is not question:
                # It answers what nobody wants to know any more.
                return await self._ask(question)
            answer = task.result()
        self.why = answer.reason if isinstance(answer, Missing) else ""
        return answer

    def stop(self) -> None:
        if self._asking is not None:
            self._asking[1].cancel()
            self._asking = None

    # --- told and kept ---

    def readings(self) -> tuple[Reading, ...]:
        told = (
            Reading(
                name="log_skipped_bytes_total", subject=self.name, value=float(self.skipped_bytes)
            ),
            Reading(
                name="log_gaps_total",
                subject=self.name,
                value=float(self.gaps),
                detail=self.last_gap,
            ),
        )
        return (*self.content.readings(self.why), *told)

    def kept(self) -> dict[str, Any]:
        """The place and the counts up to there; a record in hand is counted first."""
        self.content.settle()
        at = self.position
        return {
            "position": at and [at.path, at.device, at.inode, at.offset],
            "pending": base64.b64encode(self.content.pending).decode("ascii"),
            "skipped_bytes": self.skipped_bytes,
            "gaps": self.gaps,
            "content": self.content.kept(),
        }

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on where an earlier process was. Raises what reading a strange value raises."""
        path, device, inode, offset = kept["position"]
        position = LogPosition(path=str(path), device=device, inode=inode, offset=offset)
        if not all(isinstance(n, int) and n >= 0 for n in (device, inode, offset)):
            raise ValueError("no position")
        pending = base64.b64decode(kept["pending"], validate=True)
        skipped_bytes, gaps = int(kept["skipped_bytes"]), int(kept["gaps"])
        self.content.restore(kept["content"])
        self.content.begin(position.path, anew=True, pending=pending)
        self.skipped_bytes, self.gaps = skipped_bytes, gaps
        self.position, self._begun, self.why = position, True, ""


async def _asked(
    reader: LogReader, question: _Question, position: LogPosition | None
) -> LogChunk | Missing:
    if question is _Question.SINCE and position is not None:
        return await reader.log_since(position, bytes_max=READ_BYTES)
    return await reader.log_tail(
        bytes_max=READ_BYTES if question is _Question.TAIL else FIRST_BYTES
    )


def _bytes_between(before: LogPosition, tail: LogChunk) -> int | None:
    """What lies between; None where positions are of other files, or are no offsets."""
    at = tail.position
    if before.device == 0 or (at.device, at.inode) != (before.device, before.inode):
        return None
    return at.offset - len(tail.content) - before.offset


class LogWatch:
    """Follows the logs of one target until cancelled; what they told is fetched when wanted."""

    def __init__(
        self,
        followed: Sequence[Followed],
        memory: Memory,
        *,
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`prepare`: done before each look, such as telling how the server writes its log."""
        self._followed = followed
        self._memory = memory
        self._prepare = prepare
        self._fresh: tuple[Reading, ...] = ()
        self._taken = asyncio.Event()
        self._kept = b""

    def take(self) -> tuple[Reading, ...]:
        """What was told last, once: a reading that is told twice is no second one."""
        fresh, self._fresh = self._fresh, ()
        self._taken.set()
        return fresh

    async def run(self) -> None:
        """Counts and place are kept together: after a crash what was read since is read again,
        into the counts of before, so that no line is counted twice and none is left out."""
        await self._resume()
        try:
            await self._follow()
        finally:
            for log in self._followed:
                log.stop()

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        # What is new is new against these, so they have to be seen first.
        self._tell()
        await self._until_taken()
        told_s = kept_s = loop.time()
        while True:
            if self._prepare is not None:
                await self._prepare()
            new = [await log.look(loop.time()) for log in self._followed]
            if any(new) or loop.time() - told_s >= TELL_EVERY_S:
                told_s = loop.time()
                self._tell()
            if loop.time() - kept_s >= KEEP_EVERY_S:
                kept_s = loop.time()
                await self.keep()
            await asyncio.sleep(EVERY_S)

    async def _until_taken(self) -> None:
        self._taken.clear()
        await asyncio.wait(
            {waiting := asyncio.ensure_future(self._taken.wait())}, timeout=TELL_EVERY_S
        )
        waiting.cancel()

    def _tell(self) -> None:
        self._fresh = tuple(reading for log in self._followed for reading in log.readings())

    async def _resume(self) -> None:
        content = await self._memory.load()
        if content is None:
            return
        try:
            kept = json.loads(content[:KEPT_BYTES_MAX])["logs"]
            for log in self._followed:
                if log.name in kept and kept[log.name]["position"]:
                    log.restore(kept[log.name])
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
            for log in self._followed:
                if log.position is None:
                    log.note_gap("the account of what was read before cannot be read")
        self._kept = content

    async def keep(self) -> None:
        """Write down how far everything was read, if that changed."""
        logs = {log.name: log.kept() for log in self._followed if log.position is not None}
        content = json.dumps({"logs": logs}, sort_keys=True).encode("utf-8")
        if logs and content != self._kept:
            await self._memory.save(content)
            self._kept = content
