"""Not faults at all: what happens on every server every day, and must alarm nobody."""

from __future__ import annotations

from contextlib import suppress

import psycopg

from stanch.drill.lab import words
from stanch.drill.lab.fault import Area, Fault
from stanch.drill.lab.rig import Rig


def _mistyped(rig: Rig) -> None:
    session = rig.session(words.application(rig.rng))
    for _ in range(rig.rng.randint(1, 3)):
        with suppress(psycopg.Error):
            session.execute("SELECT nmae FROM pg_class")


def _idle_pool(rig: Rig) -> None:
    application = words.application(rig.rng)
    for _ in range(rig.rng.randint(3, 15)):
        rig.session(application).execute("SELECT 1")


def _vacuum(rig: Rig) -> None:
    rig.admin("VACUUM (ANALYZE) load_row")


FAULTS = (
    Fault(
        id="mistyped-queries",
        area=Area.WORK,
        story="Somebody mistypes a column a few times.",
        causes=(),
        make=_mistyped,
    ),
    Fault(
        id="idle-pool",
        area=Area.ACCESS,
        story="An application keeps a pool of idle sessions.",
        causes=(),
        make=_idle_pool,
    ),
    Fault(
        id="routine-vacuum",
        area=Area.WORK,
        story="Somebody vacuums and analyses a table by hand.",
        causes=(),
        make=_vacuum,
    ),
)
