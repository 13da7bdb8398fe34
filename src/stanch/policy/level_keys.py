"""The keys of `levels`."""

from __future__ import annotations

from stanch.policy.kinds import NAME, Choice, Text
from stanch.policy.levels import Level
from stanch.policy.policy import ACTIONS
from stanch.policy.quantities import Duration
from stanch.policy.shapes import Key, ListOf, Named, Section

DAY_S = 86_400.0

LEVEL = Section(
    title="level",
    make=Level,
    keys=(
        Key(
            name="from",
            field="from_s",
            holds=Duration(min_s=0, max_s=DAY_S),
            doc="When it begins, on the incident's own clock: since it was opened, or came back.",
            example="15m",
        ),
        Key(
            name="act",
            field="act",
            holds=ListOf(item=Choice(values=ACTIONS), noun="action"),
            doc="Of the actions with mode `act`, those that still run by themselves; `[]`: none, a "
            "person decides. Left out: all of them. What has begun goes on to its end.",
            example="[start_server, set_aside_lock_file]",
        ),
        Key(
            name="page",
            field="page",
            holds=ListOf(item=NAME, noun="person id"),
            doc="Who is paged when it begins, also where somebody has taken the incident.",
            example="[asha]",
        ),
        Key(
            name="propose",
            field="propose",
            holds=NAME,
            doc="The id of a runbook: its plan is made when the level begins, and waits for "
            "approval.",
            example="start-server",
        ),
        Key(
            name="says",
            field="says",
            holds=Text(may_be_empty=True),
            doc="What people are told to do from here on.",
            example="Call the vendor, contract 4711.",
        ),
    ),
)
LEVELS = Named(entry=LEVEL, name=NAME, field="name", noun="level")
