"""How much has been done to one target already, and whether a person is asked for more. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from stanch.policy.policy import BlastRadius

Acts = Iterable[tuple[str, datetime]]
"""Actions that were begun, with their moments."""

STARTS = ("start_server", "restart_server")
STARTS_WITHIN = timedelta(hours=1)


def spent(wanted: Sequence[str], acts: Acts, limits: BlastRadius, *, at: datetime) -> str:
    """Why a person has to be asked for these actions; empty where nobody has to be.

    A restart is a start, and one that failed counts as well: it was one more try at a server that
    does not stay up.
    """
    if not set(wanted).intersection(STARTS):
        return ""
    starts = sum(1 for action, moment in acts if action in STARTS and at - moment < STARTS_WITHIN)
    if starts < limits.starts_per_hour:
        return ""
    times = "once" if starts == 1 else f"{starts} times"
    return f"it was started {times} within the hour, and policy lets {limits.starts_per_hour}"
