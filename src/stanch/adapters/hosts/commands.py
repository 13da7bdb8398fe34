"""A fixed command on this machine, over ssh or in a container: what it prints, and how it ended."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Protocol

from stanch.adapters.hosts.ssh_link import SshLink
from stanch.model.diagnosis import Missing

_READ_BYTES = 65536
_SAID_BYTES_MAX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """What one command printed, up to a limit."""

    output: bytes
    exit_code: int | None
    """None: it did not end by itself."""
    incomplete: str = ""
    """Why the output is not whole; empty: it is."""
    said: str = ""
    """The first line of standard error, where that is kept apart."""


class Commands(Protocol):
    """Runs commands on one machine. Every word is an argument; no shell reads any of them."""

    @property
    def source(self) -> str: ...

    async def printed(self, *argv: str, bytes_max: int, deadline_s: float) -> Printed | Missing: ...

    async def close(self) -> None: ...


class LocalCommands:
    """`Commands` on this machine, as the OS user of Stanch."""

    @property
    def source(self) -> str:
        return "this machine"

    async def printed(self, *argv: str, bytes_max: int, deadline_s: float) -> Printed | Missing:
        try:
            child = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            )
        except OSError as error:
            return Missing(what="command", reason=f"{argv[0]}: {error.strerror}")
        try:
            async with asyncio.timeout(deadline_s):
                (output, whole), (said, _) = await asyncio.gather(
                    _bounded(child.stdout, bytes_max), _bounded(child.stderr, _SAID_BYTES_MAX)
                )
                await child.wait()
        except TimeoutError:
            return Missing(
                what="command", reason=f"{argv[0]} gave no answer within {deadline_s:g} s"
            )
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        return Printed(
            output=output,
            exit_code=child.returncode,
            incomplete="" if whole else f"more than {bytes_max} bytes",
            said=_first_line(said),
        )

    async def close(self) -> None:
        """Nothing is kept open."""


class SshCommands:
    """`Commands` over ssh."""

    def __init__(self, link: SshLink) -> None:
        self._link = link

    @property
    def source(self) -> str:
        return self._link.source

    async def printed(self, *argv: str, bytes_max: int, deadline_s: float) -> Printed | Missing:
        ran = await self._link.run(
            *argv, bytes_max=bytes_max, deadline_s=deadline_s, errors_too=True
        )
        if isinstance(ran, Missing):
            return ran
        return Printed(
            output=ran.output,
            exit_code=ran.exit_code,
            incomplete=ran.ended,
            said=_first_line(ran.said),
        )

    async def close(self) -> None:
        await self._link.close()


def _first_line(said: bytes) -> str:
    return said.decode("utf-8", "replace").strip().partition("\n")[0]


async def _bounded(stream: asyncio.StreamReader | None, bytes_max: int) -> tuple[bytes, bool]:
    """Everything that is written, of which no more than the limit is kept; whether that is all."""
    kept, whole = bytearray(), True
    while stream is not None and (piece := await stream.read(_READ_BYTES)):
        left = bytes_max - len(kept)
        kept += piece[:left]
        whole = whole and len(piece) <= left
    return bytes(kept), whole
