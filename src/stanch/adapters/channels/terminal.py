"""One line a message on the standard error of `stanch run`."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import ClassVar, TextIO

from stanch.adapters.channels.threads import in_own_thread
from stanch.model.messages import Dedup, Delivery, Handover, Message
from stanch.model.ports.channels import HandoverResult
from stanch.policy.quoting import printable


class Terminal:
    """Writes to a stream; to the standard error where none is given."""

    dedup: ClassVar[Dedup] = Dedup.NONE

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._writing = False

    async def send(
        self, message: Message, delivery: Delivery, *, deadline_s: float
    ) -> HandoverResult:
        """Write the line, in a thread of its own: a full pipe blocks whoever writes to it."""
        line = terminal_line(message, at=datetime.now(UTC))
        if self._writing:
            # A second line would wait behind the first, and each would cost a thread.
            detail = "the terminal has not taken an earlier line yet"
            return HandoverResult(outcome=Handover.FAILED, detail=detail)
        try:
            async with asyncio.timeout(deadline_s):
                await in_own_thread(lambda: self._write(line), name="stanch-terminal")
        except TimeoutError:
            detail = f"the terminal took nothing for {deadline_s:g} s"
            return HandoverResult(outcome=Handover.IN_DOUBT, detail=detail)
        except (OSError, ValueError) as error:
            # ValueError: the stream was closed. Neither comes back by itself.
            detail = f"the terminal is gone: {error}"
            return HandoverResult(outcome=Handover.FAILED, detail=detail, retryable=False)
        return HandoverResult(outcome=Handover.ACCEPTED, detail="written")

    def _write(self, line: str) -> None:
        stream = self._stream or sys.stderr
        encoding = stream.encoding or "utf-8"
        self._writing = True
        try:
            # One write, so that a log line of another thread cannot land in the middle.
            stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            stream.flush()
        finally:
            self._writing = False


def terminal_line(message: Message, *, at: datetime) -> str:
    """Time, kind, severity and the short text on one printable line."""
    repeat = " [possible repeat]" if message.possible_repeat else ""
    head = f"{at:%H:%M:%S} UTC {message.kind.value.upper()}{repeat}"
    return f"{head} {printable(message.short)}"
