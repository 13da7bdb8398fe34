"""Storage on which a flush takes seconds, or fails."""

from __future__ import annotations

import time

from stanch.drill.lab.fault import Area, Fault, Needs
from stanch.drill.lab.means import words
from stanch.drill.lab.means.storage import tamper, throttle, wal_on_loop_device
from stanch.drill.lab.means.writing import table
from stanch.drill.lab.rig import Rig

# --- slow ---------------------------------------------------------------------------------------


def _wal_on_a_disk(rig: Rig) -> None:
    wal_on_loop_device(rig, size_mb=96)


def _device_is_slow(rig: Rig) -> None:
    """As a cloud volume whose credits are spent: a few writes a second, or few bytes."""
    what, limit = rig.rng.choice(
        (("write_iops", 1), ("write_iops", 2), ("write_bps", rig.rng.randint(4, 16) * 1000))
    )
    # Made before, so that it is dropped after the device is fast again.
    into = table(rig)
    throttle(rig, rig.server.folder.path / "wal-volume", what, limit)
    _commits_are_slow(rig, into)


def _flushes_are_slow(rig: Rig) -> None:
    into, delay_us = table(rig), rig.rng.randint(1_000_000, 3_000_000)
    how = f"delay_enter={delay_us}"
    tamper(rig, rig.server.processes(), calls="fdatasync,fsync", how=how, follow=True)
    _commits_are_slow(rig, into)


def _commits_are_slow(rig: Rig, into: str) -> None:
    session = rig.session(words.application(rig.rng))

    def is_slow() -> bool:
        began_s = time.monotonic()
        rig.run(session, f"INSERT INTO {into} VALUES (1, 'x')")
        return time.monotonic() - began_s > 0.5

    rig.until(is_slow, seconds=30)
    rig.keep_asking(f"INSERT INTO {into} VALUES (2, 'y')", application="shop-web", sessions=2)


# --- failing ------------------------------------------------------------------------------------


def _one_flush_fails(rig: Rig) -> None:
    into, session = table(rig), rig.session(words.application(rig.rng))
    pid, statement = session.info.backend_pid, f"INSERT INTO {into} VALUES (1, 'x')"
    if rig.rng.random() < 0.3:
        # What is flushed is a table's file, by the checkpointer.
        ((pid,),) = rig.admin(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'"
        )
        session, statement = rig.as_superuser(), "CHECKPOINT"
    tamper(rig, [pid], calls="fdatasync,fsync", how="error=EIO")

    def panicked() -> bool:
        if "PANIC" in rig.server.log_text():
            return True
        # Another session may have flushed for this one: once more.
        rig.run(session, statement)
        return False

    rig.until(panicked)
    rig.until("SELECT 1")


def _flushes_fail(rig: Rig) -> None:
    """It ends, or every recovery ends in the next PANIC."""
    tamper(rig, rig.server.processes(), calls="fdatasync,fsync", how="error=EIO", follow=True)

    def is_down() -> bool:
        return rig.server.postmaster_pid() is None or rig.server.log_text().count("PANIC") >= 2

    rig.until(is_down, seconds=60)


FAULTS = (
    Fault(
        id="wal-disk-is-slow",
        area=Area.DISK,
        story="The WAL's disk had used up its credits and wrote a few blocks a second: each commit"
        " took seconds.",
        causes=("storage_stalled",),
        make=_device_is_slow,
        needs=Needs(
            conf={"fsync": True}, root=True, programs=("mkfs.ext4",), prepare=(_wal_on_a_disk,)
        ),
        shows_after_s=6.0,
    ),
    Fault(
        id="flushes-take-seconds",
        area=Area.DISK,
        story="Every flush to disk took seconds, and so did every commit.",
        causes=("storage_stalled",),
        make=_flushes_are_slow,
        needs=Needs(conf={"fsync": True}, root=True, programs=("strace",)),
        shows_after_s=6.0,
    ),
    Fault(
        id="one-flush-fails",
        area=Area.DISK,
        story="One flush ended in an I/O error: PANIC, and the server recovered by itself.",
        causes=("fsync_failed",),
        make=_one_flush_fails,
        needs=Needs(conf={"fsync": True}, root=True, programs=("strace",)),
        is_over=True,
    ),
    Fault(
        id="disk-fails-every-flush",
        area=Area.DISK,
        story="The disk answered every flush with an I/O error: PANIC, and no way back up.",
        causes=("fsync_failed",),
        make=_flushes_fail,
        needs=Needs(conf={"fsync": True}, root=True, programs=("strace",)),
        answers=False,
    ),
)
