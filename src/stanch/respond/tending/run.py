"""Look at one table in its database, and send one statement about it."""

from __future__ import annotations

from stanch.facts.maintained import MAINTAINED_SQL, MaintainedTable, parse_maintained
from stanch.model.diagnosis import Missing
from stanch.model.errors import ActionFailed
from stanch.model.host import VolumeUse
from stanch.model.plans import PlannedStep, StepOutcome
from stanch.model.ports.server import ServerVisits
from stanch.policy.quoting import printable
from stanch.respond.changing.run import visit
from stanch.steps.action import ActReport
from stanch.steps.world import World

WRITTEN = (VolumeUse.DATA, VolumeUse.WAL)
MARGIN_S = 1.0
"""The visit answers this long before the step would be given up."""
CANCELED = "57014"
"""By statement_timeout, or by somebody: it has ended, and takes no effect any more."""


async def read_table(step: PlannedStep, world: World) -> MaintainedTable | Missing | None:
    """The table as it is now. Cost: one session of the acting role."""
    oid = step.param("table_oid")
    assert isinstance(oid, int)
    asked = (MAINTAINED_SQL, {"oid": oid})
    database = str(step.param("database"))
    return await visit(world, database, asked, parse_maintained, what="the table")


async def tend(
    step: PlannedStep, visits: ServerVisits, sql: str, seen: MaintainedTable
) -> ActReport:
    """Send it once. The name is the one the server quoted a moment ago; whoever gave that name to
    another table meanwhile gets that one seen to, which harms nobody.

    Raises: ActionFailed, where the server did not let us or cut it short.
    """
    acted = await visits.execute(
        str(step.param("database")), sql, deadline_s=step.deadline_s - MARGIN_S
    )
    on, before = printable(seen.quoted), _told(seen)
    if acted.sqlstate == CANCELED:
        what = f"it was cut short, and what it did so far stays: {printable(acted.detail)}"
        raise ActionFailed(what, on=on, hint="A person lets it run for as long as it takes.")
    if acted.outcome == "in_doubt":
        return ActReport(outcome=StepOutcome.IN_DOUBT, detail=acted.detail, before=before)
    if acted.outcome != "done":
        what = f"the server did not do it: {acted.detail or acted.outcome}"
        raise ActionFailed(what, on=on)
    return ActReport(detail=printable(sql), before=before)


async def free_bytes(world: World) -> int | None:
    """Of the fuller volume of data and WAL; None: this machine does not see them."""
    if world.host is None:
        return None
    seen = await world.host.volumes()
    free = [v.free_bytes for v in seen if not isinstance(v, Missing) and v.use in WRITTEN]
    return min(free, default=None)


def _told(seen: MaintainedTable) -> str:
    return printable(
        f"{seen.quoted}, oid {seen.oid}, {seen.bytes} bytes, {seen.dead_rows} dead rows, "
        f"age {seen.xid_age}, analyzed {seen.analyzed}, vacuumed {seen.vacuumed}"
    )
