"""What a quarantine would touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], _cause: CauseFinding) -> str:
    name, database = named(params.get("name"), "?"), named(params.get("database"), "?")
    what = f"all tables of schema {name}" if params.get("kind") == "schema" else name
    return (
        f"Revoke INSERT, UPDATE, DELETE and TRUNCATE on {what} in {database} from all but the "
        "owner; who reads goes on. The owner and superusers still write, also through views and "
        "functions of theirs; tables made later are not in it."
    )


def stops_writes(_cause: CauseFinding) -> bool:
    """Writes of the application fail: a person decides, whatever policy allows."""
    return True


PLANNING = Planning(preview=preview, loses_work=stops_writes)
