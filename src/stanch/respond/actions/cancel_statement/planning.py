"""What cancelling a statement would touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.model.shown import span
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    pid = named(params.get("pid"), "?")
    if params.get("while_waiting") is True:
        application = named(cause.fact("ddl_application"), "an unnamed application")
        table = named(cause.fact("relation"), "a table")
        return (
            f"Cancel the schema change of session {pid} of {application}, which waits for {table}: "
            "its transaction fails, and those who queue behind it go on."
        )
    application = named(cause.fact("application_name"), "an unnamed application")
    runs = cause.fact("statement_runs_s")
    ran = f" after {span(runs)}" if isinstance(runs, int | float) else ""
    return (
        f"Cancel the statement of session {pid} of {application}{ran}; what it did so far in its "
        "transaction is lost, and the session lives on."
    )


PLANNING = Planning(preview=preview)
