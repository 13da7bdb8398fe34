"""When a table may be vacuumed. Pure: from readings taken right before."""

from __future__ import annotations

from typing import Final

from stanch.facts.maintained import MaintainedTable
from stanch.model.diagnosis import Missing
from stanch.model.plans import PlannedStep, Refusal
from stanch.model.shown import span
from stanch.policy.quoting import printable
from stanch.respond import tending
from stanch.respond.guarding import no
from stanch.steps.action import Guard

BYTES_S: Final = 32 * 1024**2
"""Read, and in part written, by a vacuum without pauses on a plain disk that others use, too."""
HOLDER_XIDS: Final = 1_000_000
"""Dead rows of busy tables are younger; as the diagnosis has it."""
HOLDER_S: Final = 600.0
HELD_SHARE: Final = 0.5
"""Where this much of the age of a table is held, freezing it gains next to nothing."""

GUARDS = (
    *tending.GUARDS,
    Guard(name="not_held_back", asks="Does nobody keep it from achieving anything?"),
    Guard(name="ends_in_time", asks="Is it small enough to end before its deadline?"),
    Guard(name="room", asks="Where it can be seen: is there room for the WAL it writes?"),
)


def may_vacuum(
    step: PlannedStep, seen: MaintainedTable | Missing | None, *, free_bytes: int | None
) -> Refusal | MaintainedTable:
    """The table that may be vacuumed, or the first reason to leave it.

    `free_bytes`: of the fuller volume of data and WAL; None: nobody here can see them.
    """
    table = tending.may_tend(step, seen, last="vacuumed")
    if isinstance(table, Refusal):
        return table
    held = _held(table, to_freeze=step.param("to_freeze") is True)
    if held:
        lifts = "The end of that holder: ask whose it is."
        return no("not_held_back", f"it would achieve nothing: {held}", lifts=lifts)
    takes_s = table.bytes / BYTES_S
    if takes_s > step.deadline_s:
        reason = f"it has {table.bytes} bytes and would take about {span(takes_s)}"
        lifts = "A person who runs it by hand, in a session that may take that long."
        return no("ends_in_time", reason, lifts=lifts)
    if free_bytes is not None and free_bytes < table.bytes:
        reason = f"it may write {table.bytes} bytes of WAL, and {free_bytes} bytes are free"
        return no("room", reason, lifts="Room on the volumes of data and WAL.")
    return table


def _held(table: MaintainedTable, *, to_freeze: bool) -> str:
    """Who holds it back; empty: nobody, or not so far that it matters."""
    if not table.holder or table.holder_xids is None:
        return ""
    said = f"{printable(table.holder)} holds it back by {table.holder_xids} transactions"
    if to_freeze:
        age = table.xid_age or 0
        return said if table.holder_xids >= HELD_SHARE * age else ""
    long = table.holder_s is not None and table.holder_s >= HOLDER_S
    return said if long or table.holder_xids >= HOLDER_XIDS else ""
