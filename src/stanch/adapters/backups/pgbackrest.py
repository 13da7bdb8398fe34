"""A stanza of pgBackRest on this machine, as the tool itself tells it."""

from __future__ import annotations

import asyncio
import os

from stanch.facts.pgbackrest_info import parse_info
from stanch.model.backups import BackupsSeen
from stanch.model.diagnosis import Missing

PRINTED_BYTES_MAX = 8 * 1024 * 1024
_READ_BYTES = 65536


class PgBackRest:
    """A `BackupReader` of one stanza. Needs: the right to read its configuration and repository."""

    def __init__(self, stanza: str, *, config: str = "") -> None:
        """`config`: empty for the tool's own default."""
        self._stanza = stanza
        self._config = (f"--config={config}",) if config else ()

    @property
    def place(self) -> str:
        return f"pgbackrest {self._stanza}"

    async def look(self, *, deadline_s: float) -> BackupsSeen | Missing:
        """Cost: one `pgbackrest info`, which reads a few small files of the repository."""
        command = (
            "pgbackrest",
            *self._config,
            f"--stanza={self._stanza}",
            # Also info would write to the tool's own log file.
            "--log-level-file=off",
            "--output=json",
            "info",
        )
        try:
            child = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                # The tool writes its errors to standard error, and JSON alone to the other.
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            )
        except OSError as error:
            return _missing(f"pgbackrest: {error.strerror}")
        try:
            async with asyncio.timeout(deadline_s):
                printed, said = await asyncio.gather(_bounded(child.stdout), _bounded(child.stderr))
                await child.wait()
        except TimeoutError:
            return _missing(f"pgbackrest gave no answer within {deadline_s:g} s")
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        if child.returncode != 0:
            lines = (said or printed).decode("utf-8", "replace").strip().splitlines()
            return _missing(lines[0][:300] if lines else f"exit code {child.returncode}")
        return await asyncio.to_thread(parse_info, printed, self._stanza)


async def _bounded(stream: asyncio.StreamReader | None) -> bytes:
    """Everything that is written, of which no more than the limit is kept."""
    kept = bytearray()
    while stream is not None and (piece := await stream.read(_READ_BYTES)):
        kept += piece[: max(0, PRINTED_BYTES_MAX - len(kept))]
    return bytes(kept)


def _missing(reason: str) -> Missing:
    return Missing(what="backups", reason=reason)
