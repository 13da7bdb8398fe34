"""What building an index anew would touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.respond.actions.rebuild_index.guards import BYTES_S, OLD_S
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    schema, name = named(params.get("index_schema"), "?"), named(params.get("index_name"), "?")
    return (
        f"REINDEX INDEX CONCURRENTLY {schema}.{name} in database "
        f"{named(params.get('database'), '?')}: it is invalid, as a CREATE INDEX CONCURRENTLY that "
        f"was cut short leaves it, and {named(cause.fact('table'), 'its table')} is read whole "
        f"meanwhile. It reads that table twice, at about {BYTES_S >> 20} MiB a second, and takes "
        "room for a second index and as much WAL; room is looked at only where Stanch sees the "
        "server's disks. It takes a ShareUpdateExclusive lock: reading and writing go on, schema "
        "changes and vacuum of the table wait. It waits for every older transaction of the "
        f"database, and is not begun beside one that is older than {OLD_S:g} s, which is then "
        "named. Cut short, it leaves a second invalid index, whose name ends in _ccnew, to be "
        "dropped."
    )


def loses_work(_cause: CauseFinding) -> bool:
    """Always asked: what is cut short leaves something behind."""
    return True


PLANNING = Planning(preview=preview, loses_work=loses_work)
