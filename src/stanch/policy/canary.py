"""The write canary of a target, and its keys."""

from __future__ import annotations

from dataclasses import dataclass

from stanch.policy.kinds import Text
from stanch.policy.quantities import Duration
from stanch.policy.shapes import Key, Section

TABLE = "stanch.canary"
TABLE_NAME = "[a-z_][a-z0-9_]{0,62}[.][a-z_][a-z0-9_]{0,62}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryPolicy:
    """One small row is written every so often, to know that writes work."""

    every_s: float
    deadline_s: float = 5.0
    """A write without an answer after so long is hanging."""
    table: str = TABLE


CANARY = Section(
    title="canary",
    make=CanaryPolicy,
    keys=(
        Key(
            name="every",
            field="every_s",
            holds=Duration(min_s=1, max_s=3600),
            doc="How often; while a write is under way no other one is sent.",
            example="10s",
        ),
        Key(
            name="deadline",
            field="deadline_s",
            holds=Duration(min_s=0.5, max_s=60),
            doc="A write that takes longer is hanging.",
        ),
        Key(
            name="table",
            field="table",
            holds=Text(word="table", pattern=TABLE_NAME, like=TABLE),
            doc="Its table, in the database `postgres` where that lets the watching role in, else "
            "in that of `dsn`; `stanch grants --only canary` prints what makes it. Nothing but "
            "this one row a target is ever written there.",
        ),
    ),
)
