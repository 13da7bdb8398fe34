"""Somebody stops the server in order, and nobody asked for it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime

from stanch.drill.acts.act import Act, Broken, always_possible
from stanch.drill.judging import Expectation
from stanch.drill.scene import ORDERS, Place


@contextmanager
def _stop(place: Place) -> Generator[Broken]:
    server = place.server
    at = datetime.now(UTC)
    # Not waited for: pg_ctl would wait on for a server that has been started again meanwhile.
    program = server.binaries.program("pg_ctl")
    server.folder.must_run([program, "-D", server.data_directory, "stop", "-m", "fast", "-W"])
    yield Broken(at=at, what="pg_ctl stop -m fast, by nobody's order.")


STOPPED = Act(
    name="stopped",
    title="A clean stop nobody ordered",
    target=ORDERS,
    expected=Expectation(
        cause="stopped_cleanly", actions=("start_server",), noticed_within_s=5, rescued_within_s=30
    ),
    cannot=always_possible,
    breaks=_stop,
)
