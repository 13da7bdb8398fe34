"""A server in a container: who ends it, what its limits end, and what it is made anew with."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import psycopg

from stanch.adapters.postgres.binaries import all_binaries, reachable_binaries
from stanch.drill.lab.fault import Area, Fault, Needs, NotMade
from stanch.drill.lab.means import words
from stanch.drill.lab.means.containers import (
    PROGRAMS,
    Container,
    container_of,
    in_container,
    logged,
)
from stanch.drill.lab.means.writing import insert, table
from stanch.drill.lab.rig import Rig

ENDS_S = 60.0
FULL_S = 90.0
TOO_LITTLE_MB = (12, 10, 8, 7, 6)
"""Docker takes no less than the last."""


def _ended(rig: Rig) -> Container:
    """Wait until the container has ended. Raises: NotMade."""
    container = container_of(rig)
    rig.until(container.ended, seconds=ENDS_S)
    return container


# --- ended by somebody --------------------------------------------------------------------------


def _stopped(rig: Rig) -> None:
    container_of(rig).order("stop?t=30")
    if _ended(rig).state().get("ExitCode") != 0:
        raise NotMade("it did not stop in order")


def _killed(rig: Rig) -> None:
    container_of(rig).order("kill")
    _ended(rig)


# --- memory -------------------------------------------------------------------------------------


def _small(rig: Rig) -> None:
    container = container_of(rig)
    container.memory_mb = rig.rng.choice((128, 160, 192))
    container.make()
    rig.until("SELECT 1", seconds=ENDS_S)


def _sessions_over_the_limit(rig: Rig) -> None:
    """A job is killed, the server starts itself anew, the job tries again."""
    rows, application = rig.rng.randint(900_000, 2_000_000), words.job(rig.rng)
    greedy = f"SELECT length(string_agg(repeat('x', 1000), '')) FROM generate_series(1, {rows})"
    rig.keep(
        lambda: rig.sql(greedy, application_name=application), pause_s=rig.rng.uniform(0.5, 2.0)
    )
    logged(rig, "terminated by signal 9", seconds=ENDS_S)


def _limit_lowered(rig: Rig) -> None:
    """Somebody writes a smaller limit into the Compose file and puts it into force."""
    container = container_of(rig)
    for memory_mb in TOO_LITTLE_MB:
        container.order("stop?t=30")
        container.memory_mb = memory_mb
        container.make()
        with suppress(NotMade):
            rig.until(container.ended, seconds=5)
            break
    if not container.state().get("OOMKilled"):
        raise NotMade(f"it ended otherwise: {dict(container.state())}")


# --- the volume ---------------------------------------------------------------------------------


def _volume_filled(rig: Rig) -> None:
    """A job inserts, in smaller and smaller pieces, and goes on when nothing fits any more."""
    into, application = table(rig), words.job(rig.rng)
    rows = rig.rng.randint(500, 3000)

    def is_full() -> bool:
        nonlocal rows
        try:
            rig.sql(insert(into, rows), application_name=application)
        except psycopg.errors.DiskFull:
            rows //= 2
        except psycopg.OperationalError:
            # The WAL met the end of the volume before the rows did.
            return True
        return rows == 0

    rig.until(is_full, seconds=FULL_S)
    rig.keep(
        lambda: rig.sql(insert(into, 100), application_name=application),
        pause_s=rig.rng.uniform(0.1, 0.5),
    )
    logged(rig, "No space left on device")


# --- shared memory ------------------------------------------------------------------------------


def _little_shared_memory(rig: Rig) -> None:
    container = container_of(rig)
    container.shm_mb = rig.rng.choice((4, 8, 16))
    container.make()
    rig.until("SELECT 1", seconds=ENDS_S)


def _parallel_reports(rig: Rig) -> None:
    """Hash tables that several processes share lie in /dev/shm."""
    name, job = table(rig), words.job(rig.rng)
    rig.sql(f"INSERT INTO {name} SELECT n, md5(n::text) FROM generate_series(1, 400000) n")
    rig.sql(f"VACUUM (ANALYZE) {name}")
    settings = {
        "work_mem": "256MB",
        "max_parallel_workers_per_gather": 2,
        "parallel_setup_cost": 0,
        "parallel_tuple_cost": 0,
        "min_parallel_table_scan_size": 0,
    }
    options = " ".join(f"-c {setting}={value}" for setting, value in settings.items())
    report = f"SELECT count(*), max(b.body) FROM {name} a JOIN {name} b USING (id)"
    rig.keep(
        lambda: rig.sql(report, application_name=job, options=options),
        pause_s=rig.rng.uniform(0.2, 1.0),
    )
    logged(rig, "could not resize shared memory segment", seconds=ENDS_S)


# --- the image ----------------------------------------------------------------------------------


def _newer_image(rig: Rig) -> None:
    """A tag that moved: the container is made anew with programs of another version."""
    container, folder = container_of(rig), rig.server.folder
    newer = [b for b in all_binaries() if b.major > rig.server.binaries.major]
    if not newer:
        raise NotMade("there is no newer PostgreSQL here")
    container.order("stop?t=30")
    container.binaries = reachable_binaries(newer[0], folder.user, into=folder.path)
    container.make()
    _ended(rig)
    logged(rig, "incompatible with server")


NEEDS = Needs(root=True, programs=PROGRAMS, run_by="docker", prepare=(in_container,))

FAULTS = (
    Fault(
        id="container-stopped",
        area=Area.PROCESS,
        story="Somebody stopped the database's container, and took it for another one.",
        causes=("stopped_cleanly",),
        make=_stopped,
        needs=NEEDS,
        answers=False,
    ),
    Fault(
        id="container-killed",
        area=Area.PROCESS,
        story="A script that tidies up killed the database's container.",
        causes=("killed",),
        make=_killed,
        needs=NEEDS,
        answers=False,
    ),
    Fault(
        id="container-limit-lowered",
        area=Area.PROCESS,
        story="The container was made anew with a far smaller memory limit; the kernel kills the"
        " server while it starts.",
        causes=("oom_killed",),
        make=_limit_lowered,
        needs=NEEDS,
        answers=False,
    ),
    Fault(
        id="container-job-over-limit",
        area=Area.PROCESS,
        story="A job takes more memory than the container may have; it is killed, everybody is"
        " thrown out, and it tries again.",
        causes=("oom_killed",),
        make=_sessions_over_the_limit,
        needs=replace(NEEDS, prepare=(in_container, _small)),
        shows_after_s=3.0,
        answers=False,
    ),
    Fault(
        id="container-volume-full",
        area=Area.DISK,
        story="An import filled the volume with the data of the container; nothing can be written.",
        causes=("disk_full_data",),
        make=_volume_filled,
        needs=replace(
            NEEDS, data_volume_mb=96, conf={"max_wal_size": "16MB", "min_wal_size": "2MB"}
        ),
        answers=False,
    ),
    Fault(
        id="container-shared-memory-small",
        area=Area.PROCESS,
        story="Reports run in parallel in a container whose /dev/shm is small, and fail for want of"
        " space that every disk has.",
        causes=("shared_memory_small",),
        make=_parallel_reports,
        needs=replace(NEEDS, prepare=(in_container, _little_shared_memory)),
        shows_after_s=3.0,
    ),
    Fault(
        id="container-newer-image",
        area=Area.SETTINGS,
        story="The container was made anew from a tag that had moved to another major version.",
        causes=("version_mismatch",),
        make=_newer_image,
        needs=NEEDS,
        answers=False,
    ),
)
