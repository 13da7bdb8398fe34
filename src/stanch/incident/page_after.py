"""How long a dead server is left to whoever restarts it, before anybody is paged. Pure.

What holds for an incident is written into its first event, so that what was due when can be told
from its timeline alone, whatever the manager or the log would say today.
"""

from __future__ import annotations

from stanch.model.diagnosis import Missing
from stanch.model.restarts import PageAfter, Restarts
from stanch.model.shown import span

START_S = 3.0
"""What a start takes beside crash recovery: the manager noticing, the process, the first login."""

DERIVED_S_MAX = 300.0
"""A long recovery is known beforehand; that it comes to an end this time is not."""

NOT_LOOKED = Missing(what="restarts", reason="nobody has looked who manages it")


def page_after(
    said_s: float | None, restarts: Restarts | Missing, *, recovery_s: float | None
) -> PageAfter:
    """What the policy says; else the manager's restart and the longest crash recovery seen.

    Zero where nobody is known to restart the server: unsure means that people are told at once.
    """
    if said_s is not None:
        return PageAfter(seconds=said_s, source="the policy says so")
    if isinstance(restarts, Missing):
        return PageAfter(seconds=0.0, source=f"nobody is known to restart it: {restarts.reason}")
    if restarts.after_s is None:
        return PageAfter(seconds=0.0, source=f"nobody else restarts it: {restarts.source}")
    seconds = restarts.after_s + START_S + (recovery_s or 0.0)
    seen = (
        "no crash recovery was seen yet"
        if recovery_s is None
        else f"the longest crash recovery seen took {span(recovery_s)}"
    )
    source = f"{restarts.source} restarts it after {span(restarts.after_s)}; {seen}"
    if seconds > DERIVED_S_MAX:
        return PageAfter(
            seconds=DERIVED_S_MAX, source=f"{source}; more has to be said in the policy"
        )
    return PageAfter(seconds=round(seconds, 1), source=source)
