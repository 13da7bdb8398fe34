"""The facts that name one running server."""

from __future__ import annotations

from stanch.steps.action import Param

PARAMS = (
    Param(name="data_directory", kind="text", doc="The data directory it works in.", identity=True),
    Param(
        name="system_identifier",
        kind="text",
        doc="The database cluster's own identifier.",
        identity=True,
    ),
    Param(
        name="postmaster_start",
        kind="moment",
        doc="When this server was started (pg_postmaster_start_time).",
        identity=True,
    ),
)
