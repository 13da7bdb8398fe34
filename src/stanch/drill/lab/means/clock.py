"""A clock for one server alone: right at first, and set hours off while the server runs."""

from __future__ import annotations

import shlex
import time
from contextlib import suppress
from pathlib import Path

import psycopg

from stanch.drill.lab.fault import NotMade
from stanch.drill.lab.means.starting import enclose
from stanch.drill.lab.rig import Rig

LIBRARIES = ("usr/lib/*/faketime/libfaketime.so.1", "usr/lib/faketime/libfaketime.so.1")
AFTER_DROP = """
if [ "$1" = setpriv ]; then drop="$1 $2 $3 $4"; shift 4; fi
exec $drop env {words} "$@"
"""
"""What the library makes for itself belongs to the user that it is loaded by first: that must not
be root, so it comes after the privileges are dropped."""

NOTICED_S = 60.0
"""Between the clock that was set and the server's there may be so much."""


def own_clock(rig: Rig) -> None:
    """Give the server one, before anybody watches. Raises: NotMade."""
    found = [path for pattern in LIBRARIES for path in Path("/").glob(pattern)]
    if not found:
        raise NotMade("libfaketime is not installed here")
    _write(rig, 0)
    variables = {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(_file(rig)),
        "FAKETIME_CACHE_DURATION": "1",
        # Waiting goes on as ever: only what time it is is wrong.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DISABLE_SHM": "1",
    }
    words = shlex.join(f"{name}={value}" for name, value in variables.items())
    enclose(rig, "/bin/sh", "-c", AFTER_DROP.format(words=words), "-", innermost=True)


def set_clock(rig: Rig, ahead_s: float) -> None:
    """Put it so far ahead, or back, and wait until the server goes by it. Raises: NotMade."""
    _write(rig, ahead_s)
    rig.until(lambda: abs(_ahead_s(rig) - ahead_s) < NOTICED_S)


def _write(rig: Rig, ahead_s: float) -> None:
    _file(rig).write_text(f"{ahead_s:+.0f}\n", encoding="utf-8")
    _file(rig).chmod(0o644)


def _file(rig: Rig) -> Path:
    return rig.server.folder.path / "clock"


def _ahead_s(rig: Rig) -> float:
    with suppress(psycopg.Error):
        [(now_s,)] = rig.sql("SELECT extract(epoch FROM clock_timestamp())::float8")
        return float(now_s) - time.time()
    return 0.0
