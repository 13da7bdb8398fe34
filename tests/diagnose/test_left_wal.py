"""A WAL volume that filled until the server went down is told from whoever kept the WAL."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import cases_disk as d
import evidences as w
from stanch.diagnose.condense import retention_on_disk
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.inside import Retention, Slot
from stanch.diagnose.outside import Control, ServerProcesses
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.facts.vitals import parse_vitals
from stanch.model.diagnosis import Missing, Verdict
from stanch.model.ports.traces import SlotOnDisk, WalOnDisk

END = 0x5_0000_0000
PANIC = w.line(
    "no_space_wal",
    20,
    'could not write to file "pg_wal/xlogtemp.31": No space left on device',
    severity="PANIC",
    sqlstate="53100",
)
REFUSED = w.line("archive_failed", 25, "archive command failed with exit code 1", severity="LOG")


def fell(*lines: Any, kept: Retention, checkpoint: str = "4/F0000000", **more: Any) -> Evidence:
    """Down on a WAL volume of 10 GiB; by `kept` and the checkpoint one sees who filled it."""
    control = Control(state="in crash recovery", system_identifier="7", checkpoint_lsn=checkpoint)
    usual: dict[str, Any] = {
        "volumes": w.volumes(
            w.volume("data", "log"),
            w.volume("wal", free=0, total=10 * w.GIB, mount="/wal"),
            wal_bytes=10 * w.GIB,
        ),
        "log": w.log(*lines, PANIC),
        "lock_file": w.lock(),
        "control": w.read(control),
        "retention": w.read(kept),
    }
    return w.down(**{**usual, **more})


def slot(retained: int = 9 * w.GIB, *, active: bool | None = None) -> Retention:
    kept = Slot(name="old_standby", active=active, retained_bytes=retained)
    return Retention(slots=(kept,), wal_end_bytes=END)


def waiting(files: int = 600, **more: Any) -> Retention:
    return Retention(ready_files=files, wal_end_bytes=END, **more)


def story(evidence: Evidence) -> list[tuple[str, str | None]]:
    found = diagnose(evidence).causes
    return [(c.id, c.follows) for c in found if c.probability >= STANDS_FROM]


def test_a_slot_that_fills_the_volume_of_data_and_wal_is_the_one_story_though_data_met_it() -> None:
    extend = 'could not extend file "base/5/16778": wrote only 4096 of 8192 bytes at block 12'
    met = w.line("no_space_data", 22, extend, severity="FATAL", sqlstate="53100")
    volumes = w.volumes(
        w.volume("data", "wal", "log", free=4096, total=10 * w.GIB, mount="/v"),
        wal_bytes=9 * w.GIB,
    )
    assert story(fell(met, kept=slot(), volumes=volumes))[:2] == [
        ("slot_inactive", None),
        ("disk_full_wal", "slot_inactive"),
    ]
    assert "disk_full_data" not in dict(story(fell(met, kept=slot(), volumes=volumes)))


@pytest.mark.parametrize("active", [None, False], ids=["a stranger", "who saw it unused"])
def test_a_server_that_a_slot_filled_is_told_from_the_slot(active: bool | None) -> None:
    evidence = fell(kept=slot(active=active))
    assert story(evidence)[:2] == [("slot_inactive", None), ("disk_full_wal", "slot_inactive")]
    found = diagnose(evidence).causes[0]
    assert (found.subject, found.fact("retainer")) == ("old_standby", "slot:old_standby")
    assert (found.fact("volume_full"), found.fact("server_running")) == (True, False)
    said = "nobody is known to read from it" if active is None else "has no consumer"
    assert said in found.summary


def test_room_made_while_the_server_is_down_leaves_the_story_with_the_slot() -> None:
    room = w.volumes(
        w.volume("data", "log"),
        w.volume("wal", free=3 * w.GIB, total=10 * w.GIB, mount="/wal"),
        wal_bytes=7 * w.GIB,
    )
    evidence = fell(kept=slot(7 * w.GIB), volumes=room)
    assert story(evidence)[:2] == [("slot_inactive", None), ("disk_full_wal", "slot_inactive")]
    # Somebody who ends it in a panic of another kind knows nothing of the volume.
    other = w.line("crash", 20, "could not fsync file", severity="PANIC", sqlstate="58030")
    before = fell(kept=slot(7 * w.GIB), volumes=room, log=w.log(other))
    assert story(before)[:1] != [("slot_inactive", None)]


def test_a_server_that_the_archive_filled_is_told_from_the_archive() -> None:
    evidence = fell(REFUSED, kept=waiting())
    assert story(evidence)[:2] == [
        ("archiver_failing", None),
        ("disk_full_wal", "archiver_failing"),
    ]
    summary = diagnose(evidence).summary
    assert "exit code 1" in summary
    assert "600 WAL files wait" in summary


def test_a_failure_of_the_archive_that_somebody_saw_counts_like_one_in_the_log() -> None:
    evidence = fell(kept=waiting(archiver_failing=True))
    assert story(evidence)[0] == ("archiver_failing", None)


NO_OTHERS_WAL = {
    "wal since the last checkpoint, which the server needs itself": fell(
        kept=slot(9 * w.GIB), checkpoint="2/C0000000"
    ),
    "a slot that keeps little": fell(kept=slot(w.GIB)),
    "a slot whose consumer was there when it was last seen": fell(kept=slot(active=True)),
    "no slot": fell(kept=Retention(wal_end_bytes=END)),
    "an archive that was slow and never failed": fell(kept=waiting()),
    "an archive for which few files wait": fell(REFUSED, kept=waiting(20)),
    "files since the last checkpoint wait": fell(REFUSED, kept=waiting(), checkpoint="2/C0000000"),
    "an archive that failed two hours ago": fell(replace(REFUSED, at=w.ago(7200)), kept=waiting()),
}


@pytest.mark.parametrize("what", sorted(NO_OTHERS_WAL))
def test_a_volume_that_the_server_filled_itself_is_blamed_on_nobody(what: str) -> None:
    assert story(NO_OTHERS_WAL[what])[0] == ("disk_full_wal", None)


def test_where_the_last_checkpoint_is_not_known_no_slot_is_blamed() -> None:
    gone = Missing(what="control", reason="permission denied")
    assert story(fell(kept=slot(), control=gone))[0] == ("disk_full_wal", None)


def test_a_server_that_runs_speaks_for_itself() -> None:
    running = w.healthy(
        retention=w.read(slot()),
        control=w.read(Control(state="in production", checkpoint_lsn="4/F0000000")),
        figures=d.figures(),
    )
    assert diagnose(running).verdict is Verdict.HEALTHY


VITALS = """{"at": 1772330400.0, "postmaster_start": 1772330000.0,
 "version_num": 180000, "in_recovery": false, "transaction_read_only": false,
 "sees_sessions": true, "settings": {"max_connections": 100, "superuser_reserved_connections": 3,
 "reserved_connections": 0, "data_directory": "/srv/pg"}, "backends": 5, "sessions": null,
 "work": {"commits": 1, "rollbacks": 0, "deadlocks": 0, "temp_files": 0, "temp_bytes": 0,
 "checksum_failures": null}, "archiver": null,
 "slots": [{"name": "used", "slot_type": "physical", "active": true, "wal_status": "reserved",
 "retained_bytes": 9, "unconfirmed_bytes": null, "inactive_since": null}], "senders": [],
 "xid_age_max": null, "mxid_age_max": null, "prepared_xacts": 0,
 "oldest_prepared_xact_age_s": null, "wal_lsn": null, "wal_position_bytes": null}"""


def test_whether_a_slot_on_disk_was_in_use_is_known_by_who_saw_it_before() -> None:
    on_disk = WalOnDisk(
        slots=(
            SlotOnDisk(name="used", restart_lsn=END - 5),
            SlotOnDisk(name="new", restart_lsn=END - 7),
        ),
        newest_lsn=END,
        segment_bytes=16 * w.MIB,
    )
    kept = retention_on_disk(on_disk, 3, parse_vitals(VITALS))
    assert [(s.name, s.active, s.retained_bytes) for s in kept.slots] == [
        ("used", True, 5),
        ("new", None, 7),
    ]
    assert [s.active for s in retention_on_disk(on_disk, 3).slots] == [None, None]


def test_of_a_server_that_nobody_could_ask_files_alone_say_nothing() -> None:
    late = Missing(what="reach", reason="hung, but our own process was late meanwhile")
    lives = w.read(ServerProcesses(postmaster_pid=w.PID, children=6))
    assert story(fell(kept=slot(), reach=late))[0] == ("slot_inactive", None)
    assert "slot_inactive" not in dict(story(fell(kept=slot(), reach=late, processes=lives)))
