"""What a server was started with the last time."""

from __future__ import annotations

import shlex
from pathlib import Path


def last_options(opts_file: Path) -> str:
    """The options of the last start, quoted for `pg_ctl -o`, without program and data directory.

    Without them a server that was started on another port would come back on the wrong one.
    Source: postmaster.opts, written by every postmaster; empty when it cannot be read.
    """
    try:
        words = shlex.split(opts_file.read_text("utf-8", "surrogateescape"))
    except (OSError, ValueError):
        return ""
    rest = words[1:]
    while "-D" in rest:
        at = rest.index("-D")
        del rest[at : at + 2]
    return shlex.join(rest)


def last_program(data_directory: str) -> str:
    """The program that the last start ran; empty when that cannot be read."""
    try:
        text = (Path(data_directory) / "postmaster.opts").read_text("utf-8", "surrogateescape")
        words = shlex.split(text)
    except (OSError, ValueError):
        return ""
    return words[0] if words and words[0].startswith("/") else ""
