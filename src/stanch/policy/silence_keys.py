"""The keys of `silences`."""

from __future__ import annotations

from stanch.policy.kinds import NAME, WORDS, Integer, Text
from stanch.policy.quantities import Duration
from stanch.policy.shapes import Key, ListOf, Section
from stanch.policy.silences import LENGTH_S_MAX, BeginKind, PolicySilence

SILENCE = Section(
    title="silence",
    make=PolicySilence,
    keys=(
        Key(
            name="reason",
            field="reason",
            holds=WORDS,
            doc="Why nobody is paged for it; it goes into the timeline.",
            example="nightly import",
        ),
        Key(
            name="rules",
            field="rules",
            holds=ListOf(item=Text(), noun="rule"),
            doc="The rules nobody is paged for; every other rule pages as ever.",
            example="[slow_query, long_transaction]",
        ),
        Key(
            name="from",
            field="begin",
            holds=BeginKind(),
            doc="When it begins: `02:00` (every day), `sat,sun 02:00`, `mon-fri 22:00`, or once: "
            "`2026-12-24 20:00`.",
            example='"sat 02:00"',
        ),
        Key(
            name="for",
            field="length_s",
            holds=Duration(min_s=60, max_s=LENGTH_S_MAX),
            doc="How long it lasts, clock changes aside. What still stands at its end is told at "
            "once.",
            example="2h",
        ),
        Key(
            name="zone",
            field="zone",
            holds=Text(word="time zone", pattern=r"[A-Za-z0-9_+/-]{1,60}", like="Europe/Berlin"),
            doc="By which clock it begins.",
            example="Europe/Berlin",
        ),
        Key(
            name="targets",
            field="targets",
            holds=ListOf(item=NAME, noun="target"),
            doc="Where. Left out: on every target.",
            example="[orders]",
        ),
        Key(
            name="subjects",
            field="subjects",
            holds=ListOf(item=Text(), noun="subject"),
            doc="Of what alone, such as one volume, slot or service. Left out: of everything. "
            "`outside_alert` needs them: `SOURCE:KEY`.",
            example="[/wal]",
        ),
        Key(
            name="up_to",
            field="up_to",
            holds=Integer(low=1, high=4),
            doc="The worst severity it holds, by its rank; what is worse pages. Left out: 2 for "
            "`server_down` and `outside_alert`, which may get worse under the same name; 1 for "
            "every other rule.",
            example="2",
        ),
    ),
)
