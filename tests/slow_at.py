"""The slow lane of a real server, as the watch has it, without its pauses."""

from __future__ import annotations

from datetime import UTC, datetime

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.slow_visit import SlowSessions
from stanch.watch.slow.run import SlowLane


def lane_of(server: ScratchServer, major: int) -> SlowLane:
    return SlowLane(
        SlowSessions(server.dsn("stanch_watch", "postgres")),
        version_num=lambda: major * 10000,
        in_the_way=lambda: "",
        now=lambda: datetime.now(UTC),
        pause_s=0.0,
    )
