"""Which server a throw-away server is, as an action is bound to it."""

from __future__ import annotations

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.ports.acting import Postmaster


def postmaster(server: ScratchServer) -> Postmaster:
    """The running server, from its lock file and from what it says of itself."""
    lines = (server.data_directory / "postmaster.pid").read_text().splitlines()
    [(since, cluster)] = server.query(
        "SELECT pg_postmaster_start_time(), system_identifier::text FROM pg_control_system()"
    )
    return Postmaster(
        pid=int(lines[0]),
        started_at_epoch_s=int(lines[2]),
        since=since,
        system_identifier=cluster,
    )
