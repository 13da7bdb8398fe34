"""What a short command of a server's own programs prints."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from stanch.model.diagnosis import Missing

BYTES_MAX = 65536


async def printed(
    command: tuple[str, ...], owner: os.stat_result, *, deadline_s: float
) -> str | Missing:
    """What a short command prints. Ended by the deadline; nothing of it is left behind.

    Never as root: where the programs are may have been read from a file of the server's owner.
    """
    what = Path(command[0]).name
    drop = os.geteuid() == 0
    try:
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            user=owner.st_uid if drop else None,
            group=owner.st_gid if drop else None,
            extra_groups=() if drop else None,
        )
    except OSError as error:
        return Missing(what=what, reason=f"{command[0]}: {error.strerror}")
    try:
        async with asyncio.timeout(deadline_s):
            printed, _ = await child.communicate()
    except TimeoutError:
        return Missing(what=what, reason=f"no answer within {deadline_s:g} s")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    text = printed[:BYTES_MAX].decode("utf-8", "replace")
    if child.returncode != 0:
        lines = text.strip().splitlines()
        return Missing(what=what, reason=lines[-1] if lines else f"exit code {child.returncode}")
    return text
