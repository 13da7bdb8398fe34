"""What vacuuming a table would touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    schema, table = named(params.get("table_schema"), "?"), named(params.get("table_name"), "?")
    on = f"{schema}.{table} in database {named(params.get('database'), '?')}"
    dead, age = cause.fact("dead_rows"), cause.fact("table_xid_age")
    if params.get("to_freeze") is True:
        oldest = f" of age {age}" if isinstance(age, int) else ""
        what = f"VACUUM (TRUNCATE off, INDEX_CLEANUP off) {on}, the oldest of it{oldest}"
    else:
        rows = f" with {dead:.0f} dead rows" if isinstance(dead, int | float) else ""
        what = f"VACUUM (TRUNCATE off) {on}{rows}"
    return (
        f"{what}. It reads the whole table, writes up to as much WAL as it is large, and makes no "
        "pauses unless vacuum_cost_delay is set for the acting role; room is looked at only where "
        "Stanch sees the server's disks. It takes a ShareUpdateExclusive lock: reading and writing "
        "go on, schema changes of that table wait. What does not end in time is ended, and what it "
        "did so far stays."
    )


def loses_work(_cause: CauseFinding) -> bool:
    """Always asked: it makes no pauses, and takes disks and WAL from others meanwhile."""
    return True


PLANNING = Planning(preview=preview, loses_work=loses_work)
