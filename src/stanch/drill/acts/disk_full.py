"""WAL that a forgotten replication slot retains fills the volume until nothing can be written."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg

from stanch.adapters.postgres.volumes import sized_volumes_possible
from stanch.drill.acts.act import Act, Broken, NotStaged
from stanch.drill.judging import Expectation
from stanch.drill.scene import ARCHIVE, BALLAST_MB, MIB, Place

SLOT = "old_standby"
WAL_SQL = "SELECT pg_logical_emit_message(true, 'import', repeat('x', 1000000))"
"""A megabyte of WAL and nothing else."""


def _cannot() -> str:
    if sized_volumes_possible():
        return ""
    return "a volume of limited size takes root (and mount) on Linux, or macOS"


@contextmanager
def _fill(place: Place) -> Generator[Broken]:
    place.server.query("SELECT pg_create_physical_replication_slot(%s, true)", [SLOT])
    written_mb = _write_until_refused(place)
    what = f"slot {SLOT} retains all WAL; after {written_mb} MB more the volume is full."
    yield Broken(at=datetime.now(UTC), what=what)


def _write_until_refused(place: Place) -> int:
    """WAL until a write is refused.

    Never more than the room there is and half the ballast: whoever frees the ballast early is
    not to see it filled as well. A checkpoint on the way makes most of it WAL that nobody but the
    slot keeps, as with a slot that was forgotten long ago.
    """
    free_mb = place.server.folder.volumes[0].free_bytes() // MIB
    written_mb = 0
    try:
        with place.server.connect() as session:
            while written_mb < free_mb + BALLAST_MB // 2:
                session.execute(WAL_SQL)
                written_mb += 1
                if written_mb == free_mb * 2 // 3:
                    session.execute("CHECKPOINT")
    except psycopg.Error:
        return written_mb
    if place.ballast is not None and place.ballast.exists():
        raise NotStaged(f"{written_mb} MB of WAL did not fill the volume")
    return written_mb


DISK_FULL = Act(
    name="disk-full",
    title="The data volume fills up",
    target=ARCHIVE,
    expected=Expectation(
        cause="slot_inactive",
        actions=("free_space",),
        may=("start_server",),
        names=(SLOT,),
        noticed_within_s=8,
        rescued_within_s=30,
    ),
    cannot=_cannot,
    breaks=_fill,
)
