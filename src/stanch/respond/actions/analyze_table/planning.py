"""What analyzing a table would touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    schema, table = named(params.get("table_schema"), "?"), named(params.get("table_name"), "?")
    rows = cause.fact("unanalyzed_rows")
    why = f", of which {rows:.0f} rows changed unseen" if isinstance(rows, int | float) else ""
    last = named(params.get("analyzed_at"), "never")
    return (
        f"ANALYZE {schema}.{table} in database {named(params.get('database'), '?')}{why}; last "
        f"analyzed: {last}. It reads a sample of its pages (30000 by default), mostly within "
        "seconds, and takes a ShareUpdateExclusive lock: reading and writing go on, schema changes "
        "and vacuum of that table wait. Plans of all statements on it are made anew."
    )


PLANNING = Planning(preview=preview)
