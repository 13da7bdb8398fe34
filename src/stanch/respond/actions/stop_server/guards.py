"""When a running server may be stopped. Pure: from readings taken right before."""

from __future__ import annotations

from stanch.model.plans import PlannedStep, Refusal
from stanch.model.ports.acting import Postmaster
from stanch.respond.turning.guards import (
    HOST,
    MANAGER,
    NO_JOBS,
    NOBODY_ELSE,
    SAME_SERVER,
    ServerReadings,
    may_ask,
    the_server,
)

GUARDS = (HOST, MANAGER, SAME_SERVER, NOBODY_ELSE, NO_JOBS)


def may_stop(step: PlannedStep, seen: ServerReadings) -> Refusal | Postmaster:
    """The server that may be stopped, or the first reason not to."""
    return may_ask("stop", seen.manager) or the_server(step, seen)
