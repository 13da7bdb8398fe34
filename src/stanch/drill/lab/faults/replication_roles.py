"""Who is primary: promoted by accident, two at once, timelines that part, writes to a standby."""

from __future__ import annotations

from stanch.adapters.postgres import scratch_folder
from stanch.drill.lab.fault import Area, Fault, Needs
from stanch.drill.lab.means import words
from stanch.drill.lab.means.standbys import (
    asked,
    bulk_table,
    caught_up,
    copied,
    standby_logged,
    standby_of,
    write,
)
from stanch.drill.lab.rig import Rig

PRIMARY_SQL = "SELECT 1 WHERE NOT pg_is_in_recovery()"
READ_ONLY = "in a read-only transaction"


# --- two primaries ------------------------------------------------------------------------------


def _promoted(rig: Rig) -> None:
    standby = standby_of(rig)
    if rig.rng.random() < 0.5:
        asked(rig, "SELECT pg_promote()")
    else:
        program = standby.binaries.program("pg_ctl")
        standby.folder.must_run([program, "-D", standby.data_directory, "promote"])
    rig.until(lambda: asked(rig, PRIMARY_SQL))


def _both_written(rig: Rig) -> None:
    _promoted(rig)
    port, application = standby_of(rig).port, words.application(rig.rng)
    for writer in range(rig.rng.randint(1, 4)):
        session = rig.session(application, port=port)
        sql = f"INSERT INTO load_row (writer, filler) VALUES ({writer}, repeat('y', 100))"
        rig.keep(lambda s=session, q=sql: rig.run(s, q), pause_s=rig.rng.uniform(0.02, 0.2))
    rig.until(lambda: asked(rig, "SELECT 1 FROM load_row WHERE filler LIKE 'y%' OFFSET 20"))


# --- timelines ----------------------------------------------------------------------------------


def _demoted(rig: Rig) -> None:
    """Promoted by mistake, written to, and put back as if nothing had happened."""
    standby = standby_of(rig)
    _promoted(rig)
    for sql in ("CREATE TABLE smoke_test (id int)", "INSERT INTO smoke_test VALUES (1)"):
        standby.query(sql, user="app", dbname="app")
    standby.stop("fast")
    standby.folder.write_owned(standby.data_directory / "standby.signal", "")
    standby.start()
    standby_logged(rig, "is behind recovery timeline")


def _restored(rig: Rig) -> None:
    """The primary is set back to its backup; the standby has long been further."""
    server, folder = rig.server, rig.server.folder
    backup = copied(rig).data_directory
    write(rig, bulk_table(rig), rig.rng.randint(3, 10))
    caught_up(rig)
    server.stop("fast")
    folder.must_run(["find", server.data_directory, "-mindepth", "1", "-delete"])
    folder.must_run(["cp", "-Rp", f"{backup}/.", f"{server.data_directory}/"])
    scratch_folder.include_settings(folder)
    folder.write_owned(server.data_directory / "recovery.signal", "")
    # There is no archive: what the backup holds is all there is.
    server.set_conf({"restore_command": "false"})
    server.start()
    rig.until(lambda: rig.admin(PRIMARY_SQL))
    standby_logged(rig, "forked off current database system timeline")


# --- writes to a standby ------------------------------------------------------------------------


def _written_to(rig: Rig) -> None:
    port, application = standby_of(rig).port, words.application(rig.rng)
    sql = rig.rng.choice(
        (
            "INSERT INTO load_row (writer, filler) VALUES (9, 'z')",
            "UPDATE load_row SET filler = 'z' WHERE id = 1",
            "DELETE FROM load_row WHERE id = 1",
        )
    )
    for _ in range(rig.rng.randint(1, 5)):
        session = rig.session(application, port=port)
        rig.keep(lambda s=session: rig.run(s, sql), pause_s=rig.rng.uniform(0.1, 0.5))
    standby_logged(rig, READ_ONLY, times=rig.rng.randint(5, 30))


FAULTS = (
    Fault(
        id="standby-promoted-by-accident",
        area=Area.REPLICATION,
        story="Somebody promoted the standby by mistake; the application goes on writing to the"
        " old primary, which nobody follows any more.",
        causes=("standby_promoted",),
        make=_promoted,
        needs=Needs(standby=True),
        shows_after_s=3.0,
        seen_on="standby",
    ),
    Fault(
        id="split-brain",
        area=Area.REPLICATION,
        story="The standby was promoted while the primary lived on, and half of the application"
        " follows each: both take writes.",
        # That both take writes follows from it.
        causes=("standby_promoted",),
        make=_both_written,
        by_policy_alone=True,
        needs=Needs(standby=True),
        shows_after_s=4.0,
    ),
    Fault(
        id="split-brain-seen-from-new-primary",
        area=Area.REPLICATION,
        story="The standby was promoted while the primary lived on, and both are written to;"
        " somebody looks at the new one.",
        causes=("standby_promoted",),
        make=_both_written,
        needs=Needs(standby=True),
        shows_after_s=4.0,
        seen_on="standby",
    ),
    Fault(
        id="promoted-standby-put-back",
        area=Area.REPLICATION,
        story="A standby was promoted by mistake, written to for a moment and made a standby again"
        " without a rewind: its timeline is not the primary's.",
        causes=("timeline_diverged",),
        make=_demoted,
        needs=Needs(standby=True),
        seen_on="standby",
    ),
    Fault(
        id="primary-restored-standby-not",
        area=Area.REPLICATION,
        story="The primary was restored from its backup onto a new timeline, and the standby,"
        " which was further, was not made anew.",
        causes=("timeline_diverged",),
        make=_restored,
        needs=Needs(standby=True),
        shows_after_s=5.0,
        seen_on="standby",
    ),
    Fault(
        id="writes-sent-to-standby",
        area=Area.REPLICATION,
        story="After a change of its configuration one application writes to the standby.",
        causes=("standby_written_to",),
        make=_written_to,
        needs=Needs(standby=True),
        shows_after_s=3.0,
        seen_on="standby",
    ),
)
