"""Disks, WAL, storage and backups: what is not to be taken for a cause, and what each one tells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import cases_disk as d
import evidences as w
import paces
from stanch.diagnose.evidence import Evidence, Reading
from stanch.diagnose.figures import Figures
from stanch.diagnose.inside import Retention, Slot
from stanch.diagnose.outside import Log, Volumes
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.model.diagnosis import CauseFinding, Missing, Verdict
from stanch.model.symptoms import SymptomKind

GIB, MIB = w.GIB, w.MIB


def standing(evidence: Evidence) -> list[str]:
    return [c.id for c in diagnose(evidence).causes if c.probability >= STANDS_FROM]


def first(evidence: Evidence) -> CauseFinding:
    found = diagnose(evidence).first
    assert found is not None
    return found


def case(cause_id: str, **differs: Any) -> Evidence:
    return replace(d.CASES[cause_id], **differs)


ROOM = d.wal_room(60 * GIB)
ONE_FAILURE = w.log(*d.failures(1))
FAILED_ONCE = {
    "figures": d.figures(w.figure("archive_failing", 1.0, detail="000000010000000000000007")),
    "retention": w.read(Retention(archive_mode=True, archiver_failing=True, ready_files=1)),
    "log": ONE_FAILURE,
}
SHARED = w.volumes(w.volume("data", "wal", "log"))
SHORT = w.volume("data", "wal", "log", free=4 * GIB)
WAREHOUSE = Volumes(volumes=(w.volume("data", "wal", "log"),), wal_bytes=GIB, temp_bytes=30 * GIB)


def hanging(ready_s: float, idle_s: float | None, failing: float = 0.0) -> Reading[Figures]:
    waits = "000000010000000000000007.ready"
    told = [
        w.figure("archive_failing", failing),
        w.figure("archive_ready_age_s", ready_s, detail=waits),
    ]
    return d.figures(*told, *([] if idle_s is None else [w.figure("archive_idle_s", idle_s)]))


def many_lines(first_ago_s: float) -> Reading[Log]:
    """Twenty-five a second for four seconds are kept of 1,600 that were counted since then."""
    kept = [replace(d.OFTEN[0], at=w.ago(4 - n / 25)) for n in range(100)]
    read = w.log(*kept)
    counts = [
        replace(count, lines=1600, first_at=w.ago(first_ago_s))
        if count.kind == "checkpoints_too_often"
        else count
        for count in read.value.counts
    ]
    return replace(read, value=replace(read.value, counts=tuple(counts)))


FLOOD = d.courses(w.course("wal_bytes_total", 1e6, 80e6))

QUIET: dict[str, Evidence] = {
    "one archive command that failed and will be tried again": w.healthy(**FAILED_ONCE),
    "failures from before archiving was switched off": w.healthy(
        **{**FAILED_ONCE, "retention": w.read(Retention(archive_mode=False))}
    ),
    "failures of a standby from when it was a primary": w.healthy(
        figures=w.figures(w.figure("archive_failing", 1.0), w.figure("in_recovery", 1.0)),
        symptoms=(d.stands(SymptomKind.ARCHIVE_FAILING, 86400),),
    ),
    "many segments waiting for an archive that takes them": w.healthy(
        figures=d.figures(w.figure("archive_failing", 0.0)),
        retention=w.read(Retention(archive_mode=True, archiver_failing=False, ready_files=400)),
    ),
    "archive commands that failed an hour ago": w.healthy(
        figures=d.figures(w.figure("archive_failing", 0.0)),
        log=w.log(*(replace(line, at=w.ago(3600)) for line in d.failures(6))),
    ),
    "an archive that is far behind and takes one file after the other": w.healthy(
        figures=hanging(3600, 4.0)
    ),
    "a WAL file that became ready just now, after hours in which nothing did": w.healthy(
        figures=hanging(5.0, 7200)
    ),
    "an archive that has not been given anything for hours": w.healthy(
        figures=d.figures(w.figure("archive_failing", 0.0), w.figure("archive_idle_s", 9000))
    ),
    "a slot without a consumer that keeps no more than the server itself": w.healthy(
        figures=d.figures(*d.slot("nightly", 500 * MIB, active=False, status="reserved")),
        volumes=ROOM,
    ),
    "a slot whose consumer is away for a moment, on a volume with room": w.healthy(
        figures=d.figures(*d.slot("nightly", 1.5 * GIB, active=False)),
        volumes=d.wal_room(90 * GIB),
        history=d.courses(w.course("wal_bytes_total", 1e5, 1e5)),
    ),
    "a consumer that lags behind and moves": w.healthy(
        figures=d.figures(*d.slot("warehouse", 30 * GIB, active=True)),
        history=d.courses(
            w.course("wal_bytes_total", 1e6, 1e6),
            w.course("slot_retained_bytes_max", 30e9, 30e9),
        ),
        onset=w.ago(60),
    ),
    "far more WAL than usual on a volume with room": w.healthy(history=FLOOD, volumes=ROOM),
    "the usual WAL on a volume that is short": w.healthy(volumes=d.wal_room(4 * GIB)),
    "checkpoints that came too early for half a minute": w.healthy(log=w.log(*d.OFTEN[-3:])),
    "many checkpoints of one large statement": w.healthy(
        log=w.log(*(replace(line, at=w.ago(10 - n / 10)) for n, line in enumerate(d.OFTEN)))
    ),
    "as many in two imports, of which one was last night": w.healthy(log=many_lines(40_000)),
    "a checkpoint that comes too early every few minutes": w.healthy(
        log=w.log(*(replace(line, at=w.ago(1000 - 140 * n)) for n, line in enumerate(d.OFTEN)))
    ),
    "checkpoints that came too early in last night's import": w.healthy(
        log=w.log(*(replace(line, at=w.ago(7200)) for line in d.OFTEN))
    ),
    "a report that spills to a volume with room": w.healthy(volumes=w.read(WAREHOUSE)),
    "a volume that is short, with a little spilled": w.healthy(
        volumes=w.read(Volumes(volumes=(SHORT,), wal_bytes=GIB, temp_bytes=200 * MIB))
    ),
    "a server that logs every statement and has the room": w.healthy(
        figures=d.figures(log_statement="all"), volumes=SHARED
    ),
    "a short volume of which logs take a tenth": w.healthy(
        volumes=w.read(Volumes(volumes=(SHORT,), wal_bytes=GIB, log_bytes=9 * GIB))
    ),
    "a volume that counts its inodes and has some": w.healthy(
        volumes=w.volumes(replace(w.volume("data", "wal", "log"), free_inodes=5000))
    ),
    "sessions that wait for storage and get their work done": case(
        "storage_stalled",
        history=d.courses(w.course("commits_total", 100, 110), w.course("active_sessions", 4, 5)),
    ),
    "a quiet hour with two sessions at storage": w.healthy(
        activity=w.activity(w.doing(2, "IO:DataFileRead")),
        history=d.courses(w.course("commits_total", 100, 2), w.course("active_sessions", 8, 2)),
    ),
    "waits for storage of which nobody knows what is usual": w.healthy(
        activity=w.activity(w.doing(20, "IO:DataFileRead")),
        history=Missing(what="history", reason="nobody watches this server"),
        processes=d.STALLED["processes"],
    ),
    "an fsync that failed yesterday": w.healthy(log=w.log(replace(d.FSYNC, at=w.ago(86400)))),
    "good backups": w.healthy(
        history=d.courses(
            w.course("backup_failed", 0, 0, "s3"),
            w.course("backup_age_s", 3e4, 3e4, "s3"),
            w.course("backup_verification_failed", 0, 0, "s3"),
            w.course("archive_holes", 0, 0, "s3"),
            w.course("archive_gap_segments", 0, 0, "s3"),
        )
    ),
    "a weekly backup that policy allows": w.healthy(
        history=d.courses(w.course("backup_age_s", 4e5, 4e5, "s3"))
    ),
    "WAL files on their way to the archive": w.healthy(
        history=d.courses(w.course("archive_gap_segments", 0, 2, "s3"))
    ),
    "backups that could not be looked at": w.healthy(
        symptoms=(d.stands(SymptomKind.BACKUP_UNSEEN, 4000, "s3"),)
    ),
}


@pytest.mark.parametrize("name", sorted(QUIET))
def test_what_is_usual_names_no_cause(name: str) -> None:
    assert standing(QUIET[name]) == []


# --- the archive --------------------------------------------------------------------------------


def test_a_failing_archive_tells_file_exit_code_and_how_long_there_is_room() -> None:
    found = first(d.CASES["archiver_failing"])
    assert "exit code 1 for 000000010000000000000007" in found.summary
    assert "400 WAL files wait" in found.summary
    assert found.fact("retainer") == "archiver"
    assert found.fact("retained_bytes") == 400 * 16 * MIB
    assert found.impact_in_s == round(60 * GIB / 1e6)
    assert found.runbook == "disk-full"


def test_a_command_that_is_not_there_is_told_although_the_server_counts_no_failure() -> None:
    """The archiver ends before it can count (exit code 126 and up, or a signal)."""
    gone = "archive command failed with exit code 127"
    evidence = case(
        "archiver_failing",
        figures=d.figures(w.figure("archive_failing", 0.0)),
        log=w.log(*(replace(line, severity="FATAL") for line in d.failures(3, gone))),
    )
    assert first(evidence).id == "archiver_failing"
    assert "exit code 127: it is not there" in first(evidence).summary


@pytest.mark.parametrize(
    ("idle_s", "said"), [(660.0, "the newest ended 11 min ago"), (None, "none has ever ended")]
)
def test_an_archive_command_that_does_not_come_back_is_told_although_nothing_failed(
    idle_s: float | None, said: str
) -> None:
    found = first(w.healthy(figures=hanging(600, idle_s)))
    assert found.id == "archiver_failing"
    assert "000000010000000000000007 has waited for 10 min" in found.summary
    assert said in found.summary
    assert found.since == w.ago(600)


def test_what_waits_because_attempts_fail_is_told_by_the_failures() -> None:
    found = first(case("archiver_failing", figures=hanging(600, 3.0, failing=1.0)))
    assert "the command fails" in found.summary


def test_an_archive_that_stands_still_elsewhere_is_told_by_the_watch_alone() -> None:
    evidence = w.far(
        figures=d.figures(w.figure("archive_failing", 0.0)),
        symptoms=(d.stands(SymptomKind.ARCHIVE_STALLED, 600),),
    )
    assert standing(evidence) == ["archiver_failing"]
    assert first(evidence).since == w.ago(600)


def test_an_archive_that_fails_elsewhere_is_told_by_the_watch_alone() -> None:
    evidence = w.far(
        figures=d.UNARCHIVED["figures"],
        symptoms=(d.stands(SymptomKind.ARCHIVE_FAILING, 600),),
    )
    assert standing(evidence) == ["archiver_failing"]
    assert first(evidence).since == w.ago(600)
    assert first(evidence).impact_in_s is None


def test_nothing_archived_since_failures_began_speaks_for_it() -> None:
    stopped = d.courses(
        w.course("archived_total", 0.5, 0), w.course("archive_failed_total", 0, 0.05)
    )
    found = first(case("archiver_failing", history=stopped))
    assert "none_archived" in [f.evidence for f in found.evidence_for]


# --- slots --------------------------------------------------------------------------------------


def test_a_forgotten_slot_is_told_with_its_name_and_how_long_there_is_room() -> None:
    found = first(d.CASES["slot_inactive"])
    assert 'physical slot "old_standby" retains 30.0 GiB' in found.summary
    assert "full in 17 h" in found.summary
    assert (found.subject, found.since) == ("old_standby", w.ago(1800))
    assert found.fact("retainer") == "slot:old_standby"
    assert found.impact_in_s == round(60 * GIB / 1e6)


def test_the_first_seconds_of_a_burst_do_not_tell_how_long_there_is_room() -> None:
    told = d.courses(w.course("wal_bytes_total", 1e6, 60e6))
    early = replace(told, value=replace(told.value, onset=w.ago(5)))
    assert first(case("slot_inactive", history=early)).impact_in_s == round(60 * GIB / 1e6)
    assert first(case("slot_inactive", history=told)).impact_in_s == round(60 * GIB / 60e6)


def test_where_slots_may_keep_only_so_much_the_slot_is_lost_and_the_volume_is_not_full() -> None:
    limited = d.figures(
        *d.slot("old_standby", 30 * GIB, active=False), max_slot_wal_keep_size="50GB"
    )
    found = first(case("slot_inactive", figures=limited))
    assert found.impact_in_s is None
    assert "Beyond 50.0 GiB" in found.summary


def test_on_a_short_volume_a_slot_counts_by_its_share_whatever_max_wal_size_allows() -> None:
    small = d.figures(*d.slot("idle", 20 * MIB, active=False, status="reserved"))
    evidence = w.healthy(figures=small, volumes=d.wal_room(2 * MIB, 64 * MIB, 60 * MIB))
    assert "slot_inactive" in standing(evidence)


def test_a_full_volume_behind_a_forgotten_slot_is_one_story_told_from_the_slot() -> None:
    kept = Slot(name="old_standby", active=False, retained_bytes=90 * GIB)
    evidence = w.healthy(
        figures=d.figures(*d.slot("old_standby", 90 * GIB, active=False)),
        retention=w.read(Retention(slots=(kept,))),
        volumes=d.wal_room(0, wal_bytes=95 * GIB),
    )
    found = diagnose(evidence).causes
    assert [(c.id, c.follows) for c in found[:2]] == [
        ("slot_inactive", None),
        ("disk_full_wal", "slot_inactive"),
    ]
    assert (found[0].fact("volume_full"), found[0].impact_in_s) == (True, None)
    assert found[0].fact("volume") == "/wal"


def test_a_slot_that_looks_alive_is_told_before_the_watch_has_waited_long_enough() -> None:
    frozen = replace(w.course("slot_retained_bytes_max", 2e9, 2.59e9), trough=2e9, peak=2.6e9)
    history = replace(
        d.courses(w.course("wal_bytes_total", 1e6, 1e6), frozen),
        value=replace(
            d.courses(w.course("wal_bytes_total", 1e6, 1e6), frozen).value, onset=w.ago(600)
        ),
    )
    found = first(case("slot_stuck", symptoms=(), history=history))
    assert found.id == "slot_stuck"
    assert 'logical slot "warehouse"' in found.summary


def test_of_several_slots_the_one_that_the_watch_calls_stuck_is_named() -> None:
    both = d.figures(
        *d.slot("largest", 40 * GIB, active=True), *d.slot("warehouse", 30 * GIB, active=True)
    )
    assert first(case("slot_stuck", figures=both)).subject == "warehouse"


# --- WAL ----------------------------------------------------------------------------------------


def test_a_burst_behind_which_somebody_retains_wal_is_no_burst() -> None:
    kept = Retention(slots=(Slot(name="old", active=False, retained_bytes=90 * GIB),))
    assert "wal_burst" not in standing(case("wal_burst", retention=w.read(kept)))


def test_a_burst_names_its_amount_and_the_job() -> None:
    found = first(d.CASES["wal_burst"])
    assert "76.3 MiB of WAL a second" in found.summary
    assert "3 copy in progress" in found.summary


def test_a_checkpoint_storm_of_a_burst_follows_it() -> None:
    found = diagnose(case("wal_burst", log=w.log(*d.OFTEN))).causes
    assert [(c.id, c.follows) for c in found[:2]] == [
        ("wal_burst", None),
        ("checkpoint_storm", "wal_burst"),
    ]


def test_a_checkpoint_storm_tells_how_often_and_the_setting() -> None:
    summary = first(case("checkpoint_storm", figures=d.figures())).summary
    assert summary.startswith("8 checkpoints came too early, one every 12 s")
    assert "max_wal_size at 1GB" in summary


@pytest.mark.parametrize(("since_s", "a_second"), [(64, 25), (20, 80)])
def test_a_storm_of_more_lines_than_are_kept_is_told_by_their_number(
    since_s: float, a_second: int
) -> None:
    summary = first(case("checkpoint_storm", log=many_lines(since_s))).summary
    assert summary.startswith(f"1600 checkpoints came too early, {a_second} a second:")


# --- what fills a volume ------------------------------------------------------------------------


def test_temporary_files_are_told_with_the_session_that_writes_them() -> None:
    found = first(d.CASES["temp_file_spill"])
    assert "60.0 GiB" in found.summary
    assert 'session 100 (application "shop")' in found.summary
    assert (found.fact("spiller_pid"), found.fact("usename")) == (100, "app")


SPILLED = w.line(
    "no_space_data",
    30,
    'could not write to file "base/pgsql_tmp/pgsql_tmp77.3": No space left on device',
    severity="ERROR",
    sqlstate="53100",
)


def test_a_spill_that_filled_the_volume_and_was_refused_is_told_when_the_room_is_back() -> None:
    evidence = w.healthy(log=w.log(SPILLED))
    assert standing(evidence) == ["temp_file_spill"]
    assert "pgsql_tmp77.3" in first(evidence).summary


def test_a_table_that_could_not_grow_is_no_spill() -> None:
    table = replace(SPILLED, text='could not extend file "base/5/16384": No space left on device')
    assert "temp_file_spill" not in standing(w.healthy(log=w.log(table)))


def test_a_data_volume_full_of_temporary_files_is_told_from_the_spill() -> None:
    full = Volumes(
        volumes=(w.volume("data", "wal", "log", free=0),), wal_bytes=GIB, temp_bytes=60 * GIB
    )
    found = diagnose(case("temp_file_spill", volumes=w.read(full))).causes
    assert [(c.id, c.follows) for c in found[:2]] == [
        ("temp_file_spill", None),
        ("disk_full_data", "temp_file_spill"),
    ]


def test_where_no_folder_can_be_read_the_server_tells_what_is_spilled() -> None:
    volumes = w.volumes(SHORT)
    assert first(case("temp_file_spill", volumes=volumes)).id == "temp_file_spill"


def test_logs_that_take_the_data_volume_are_told_from_the_logs() -> None:
    full = Volumes(
        volumes=(w.volume("data", "wal", "log", free=0),), wal_bytes=GIB, log_bytes=80 * GIB
    )
    found = diagnose(w.healthy(volumes=w.read(full))).causes
    assert [(c.id, c.follows) for c in found[:2]] == [
        ("log_volume_full", None),
        ("disk_full_data", "log_volume_full"),
    ]
    assert found[0].fact("log_bytes") == 80 * GIB


def test_a_volume_without_inodes_and_without_bytes_is_full_of_bytes() -> None:
    both = replace(w.volume("data", "wal", "log", free=0), free_inodes=0)
    assert standing(w.healthy(volumes=w.volumes(both))) == ["disk_full_data"]


# --- storage ------------------------------------------------------------------------------------


def test_storage_that_stalls_tells_how_many_wait_and_that_less_is_done() -> None:
    found = first(d.CASES["storage_stalled"])
    assert "35 of 36 active sessions wait for it, most in IO:WalSync" in found.summary
    assert "4 commits a second, usually 100" in found.summary
    assert "start_server" in found.forbids


def test_more_work_than_usual_is_no_stalled_storage() -> None:
    more = d.courses(
        w.course("commits_total", 100, 60),
        w.course("active_sessions", 4, 36),
        w.course("wal_bytes_total", 1e6, 9e6),
    )
    assert "storage_stalled" not in standing(case("storage_stalled", history=more))


SLOWED = d.courses(w.course("commits_total", 100, 4), w.course("active_sessions", 4, 36))


def test_one_statement_that_reads_everything_is_no_stalled_storage() -> None:
    reading = w.activity(
        w.doing(30, "IO:DataFileRead", query_id="7"), w.doing(4, "IO:DataFileRead", query_id="8")
    )
    evidence = w.healthy(activity=reading, history=SLOWED)
    assert "storage_stalled" not in standing(evidence)


def test_readers_of_many_kinds_that_all_wait_are_stalled_storage() -> None:
    alike = w.activity(*(w.doing(6, "IO:DataFileRead", query_id=str(n)) for n in range(6)))
    evidence = w.healthy(activity=alike, history=SLOWED, processes=d.STALLED["processes"])
    assert "storage_stalled" in standing(evidence)


def test_waits_for_storage_while_a_base_backup_runs_are_the_backups() -> None:
    evidence = case(
        "storage_stalled",
        activity=w.activity(
            w.doing(20, "IO:DataFileRead"),
            w.doing(1, "IO:BaseBackupRead", backend_type="walsender", query_id=""),
        ),
        figures=d.figures(w.figure("progress", 1.0, "basebackup", "streaming database files")),
    )
    assert standing(evidence) == ["maintenance_overload"]


def test_the_kernels_word_on_tasks_that_hang_is_enough() -> None:
    evidence = w.healthy(symptoms=(d.stands(SymptomKind.STORAGE_STALLED, 200, "hung_task"),))
    found = first(replace(evidence, activity=Missing(what="activity", reason="no answer")))
    assert found.id == "storage_stalled"


def test_a_failed_fsync_stays_the_cause_after_the_server_came_back_by_itself() -> None:
    back = w.healthy(log=w.log(d.FSYNC, w.line("ready", 20)))
    diagnosis = diagnose(back)
    assert diagnosis.verdict is Verdict.CAUSE
    assert standing(back) == ["fsync_failed"]
    assert first(back).since == w.ago(40)


def test_a_crash_by_a_failed_fsync_is_told_from_the_fsync() -> None:
    aborted = w.line("crash_child_signal", 39, "terminated by signal 6", signal=6)
    found = diagnose(w.down(log=w.log(d.FSYNC, aborted), lock_file=w.lock())).causes
    assert [(c.id, c.follows) for c in found[:2]] == [
        ("fsync_failed", None),
        ("crashed", "fsync_failed"),
    ]
    assert "start_server" in found[0].forbids


# --- backups ------------------------------------------------------------------------------------


def test_a_failed_backup_tells_where_why_and_how_old_the_last_good_one_is() -> None:
    found = first(d.CASES["backup_failed"])
    assert "2 d 7 h old" in found.summary
    assert "exit code 82" in found.summary
    assert (found.subject, found.since) == ("s3 nightly", w.ago(7200))


def test_a_backup_that_is_too_old_is_told_although_the_last_one_did_not_fail() -> None:
    evidence = w.healthy(
        history=d.courses(
            w.course("backup_failed", 0, 0, "s3"), w.course("backup_age_s", 3e4, 2e5, "s3")
        ),
        symptoms=(d.stands(SymptomKind.BACKUP_OLD, 3600, "s3"),),
    )
    assert standing(evidence) == ["backup_failed"]
    assert first(evidence).summary.startswith("There is no backup as young as promised")


def test_a_recorded_failure_is_enough_where_no_symptom_stands_yet() -> None:
    evidence = w.healthy(history=d.courses(w.course("backup_failed", 0, 1, "s3")))
    assert standing(evidence) == ["backup_failed"]


def test_a_backup_that_failed_its_test_is_not_told_twice() -> None:
    assert standing(d.CASES["backup_unrestorable"]) == ["backup_unrestorable"]


def test_a_gap_that_lasts_is_told_with_its_place() -> None:
    evidence = w.healthy(
        history=d.courses(w.course("archive_gap_segments", 0, 9, "s3")),
        symptoms=(d.stands(SymptomKind.ARCHIVE_GAP, 600, "s3"),),
    )
    assert standing(evidence) == ["archive_gap"]
    assert first(evidence).fact("archive_gap_segments") == 9
    assert "at the end of the archive" in first(evidence).summary


def test_names_from_outside_are_shortened() -> None:
    symptom = d.stands(SymptomKind.BACKUP_FAILED, 60, "s3" * 400, "<b>\x1b[31m" * 200)
    evidence = w.healthy(symptoms=(symptom,))
    assert len(first(evidence).summary) < 300


# --- what hurts now goes first ------------------------------------------------------------------

CHAIN = w.chains(w.chain(4, 12.0))


@pytest.mark.parametrize("cause_id", ["slot_inactive", "archiver_failing", "backup_unrestorable"])
def test_what_hurts_now_goes_before_what_will_hurt_later(cause_id: str) -> None:
    found = diagnose(case(cause_id, chains=CHAIN)).causes
    assert [c.id for c in found[:2]] == ["blocking_chain", cause_id]
    assert found[0].probability < found[1].probability


def test_what_will_hurt_later_goes_before_what_is_only_possible() -> None:
    found = diagnose(case("backup_unrestorable", chains=w.chains())).causes
    assert found[0].id == "backup_unrestorable"


def test_an_old_storm_of_checkpoints_is_not_told_of_a_server_that_is_gone() -> None:
    assert standing(w.down(log=w.log(*d.OFTEN), lock_file=w.lock())) == ["killed"]


def test_a_storm_of_clients_that_a_full_volume_throws_out_is_told_from_the_volume() -> None:
    storm = paces.pace(sessions=paces.grown(864e3, 180), commits=paces.grown(86.4e6, 290))
    full = w.volumes(w.volume("data", "wal", "log", free=0))
    found = diagnose(w.healthy(volumes=full, pace=storm))
    named = [(f.id, f.follows) for f in found.causes if f.probability >= STANDS_FROM]
    assert named[0] == ("disk_full_data", None)
    assert ("connection_storm", "disk_full_data") in named


NOBODY = Missing(what="history", reason="nobody watches this server")


@pytest.mark.parametrize(("times", "named"), [(40, True), (3, False)])
def test_a_stranger_sees_a_burst_of_wal_against_the_mean_of_all_time(
    times: float, named: bool
) -> None:
    mean = 9e12 / (10 * 86_400)
    written = paces.pace(wal_bytes=paces.grown(9e12, times * mean))
    evidence = case("wal_burst", history=NOBODY, pace=written)
    assert ("wal_burst" in standing(evidence)) is named
