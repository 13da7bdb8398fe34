"""The machine, the start and the settings: what comes near each of their causes and is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

import cases_host as c
import evidences as w
from stanch.diagnose.clues.host import memory_bytes
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.outside import Kernel, LogEvent, ServerProcesses
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.model.diagnosis import CauseFinding, Missing, Verdict
from stanch.model.ports.traces import StartFiles


def standing(evidence: Evidence) -> list[str]:
    return [f.id for f in diagnose(evidence).causes if f.probability >= STANDS_FROM]


def first(evidence: Evidence) -> CauseFinding:
    found = diagnose(evidence).first
    assert found is not None
    return found


OF_A_START = (
    "version_mismatch",
    "kernel_resources_short",
    "preload_library_missing",
    "no_valid_checkpoint",
    "bad_configuration",
    "upgrade_failed",
)


@pytest.mark.parametrize("cause_id", OF_A_START)
def test_a_start_that_says_why_is_told_by_that_alone_and_never_started(cause_id: str) -> None:
    evidence = c.CASES[cause_id]
    assert standing(evidence) == [cause_id]
    assert "cannot_start" not in [f.id for f in diagnose(evidence).causes]
    assert {"start_server", "set_aside_lock_file"} <= set(first(evidence).forbids)
    assert first(evidence).fact("server_running") is False


@pytest.mark.parametrize(
    "text",
    [
        "could not create any TCP/IP sockets",
        'required WAL directory "pg_wal" does not exist',
        'could not open log file "/var/log/x": Permission denied',
        'could not create lock file "/tmp/.s.PGSQL.5432.lock": No such file or directory',
    ],
)
def test_a_start_whose_last_words_are_no_cause_of_their_own_stays_the_general_case(
    text: str,
) -> None:
    assert standing(c.last_words(c.fatal("start_gave_up", text))) == ["cannot_start"]


@pytest.mark.parametrize(
    ("event", "cause_id"),
    [
        ("could not create semaphores: No space left on device", "kernel_resources_short"),
        ("could not create shared memory segment: Invalid argument", "kernel_resources_short"),
        ('WAL streaming (max_wal_senders > 0) requires wal_level "replica"', "bad_configuration"),
        (
            'WAL streaming ("max_wal_senders" > 0) requires "wal_level" to be "replica"',
            "bad_configuration",
        ),
        ("superuser_reserved_connections (500) must be less than", "bad_configuration"),
        ('"superuser_reserved_connections" (500) plus "reserved', "bad_configuration"),
        ("recovery aborted because of insufficient parameter settings", "bad_configuration"),
        ("must specify restore_command when standby mode is not enabled", "bad_configuration"),
        ("could not find the database system", "no_valid_checkpoint"),
    ],
)
def test_the_last_words_of_a_start_name_its_cause(event: str, cause_id: str) -> None:
    assert standing(c.last_words(c.fatal("start_gave_up", event))) == [cause_id]


def test_a_killed_server_that_a_setting_keeps_down_is_down_for_the_setting() -> None:
    evidence = replace(w.KILLED, log=w.log(c.BAD_VALUE, c.CONTAINS_ERRORS))
    assert standing(evidence) == ["bad_configuration"]
    assert 'invalid value for parameter "shared_buffers": "lots"' in first(evidence).summary


def test_the_newest_start_decides() -> None:
    earlier = replace(c.NO_LIBRARY, at=w.ago(30))
    events = (earlier, replace(c.SHUT_DOWN, at=w.ago(30)), c.BAD_VALUE, c.CONTAINS_ERRORS)
    assert standing(c.last_words(*events)) == ["bad_configuration"]


def test_the_version_of_the_data_and_of_the_programs_are_told() -> None:
    found = first(c.CASES["version_mismatch"])
    assert "initialized by PostgreSQL version 15" in found.summary
    assert found.fact("data_version") == "18"


def test_a_damaged_control_file_is_not_called_a_crash() -> None:
    wrong = c.fatal("no_checkpoint", "incorrect checksum in control file")
    assert standing(c.last_words(wrong, c.SHUT_DOWN)) == ["no_valid_checkpoint"]


def test_a_control_file_that_pg_upgrade_set_aside_is_no_damage() -> None:
    evidence = replace(c.last_words(c.NO_DATABASE), files=c.SET_ASIDE)
    assert standing(evidence) == ["upgrade_failed"]
    assert "pg_control.old" in first(evidence).summary
    assert first(evidence).fact("control_set_aside") is True


def test_a_server_that_runs_beside_an_old_output_of_pg_upgrade_is_healthy() -> None:
    assert diagnose(w.healthy(files=c.UPGRADED)).verdict is Verdict.HEALTHY


def test_where_files_cannot_be_read_the_words_of_the_start_decide() -> None:
    hidden = Missing(what="files", reason="permission denied")
    assert standing(replace(c.last_words(c.NO_DATABASE), files=hidden)) == ["no_valid_checkpoint"]


def test_a_backup_label_is_told_with_a_missing_checkpoint() -> None:
    files = w.read(StartFiles(version="18", control_file=True, backup_label=True))
    found = first(replace(c.CASES["no_valid_checkpoint"], files=files))
    assert found.fact("backup_label_present") is True
    assert "backup_label" in found.summary


# --- recovery -----------------------------------------------------------------------------------


def test_a_long_recovery_is_told_with_its_pace_and_its_end() -> None:
    found = first(c.RECOVERING)
    assert found.fact("replay_bytes_per_s") == 0x0A000000 // 10
    assert found.fact("wal_left_bytes") == 0x14000000
    assert "16.0 MiB a second; 320.0 MiB are left, about" in found.summary
    assert found.since == w.ago(120)
    assert found.safe_first.startswith("Wait")


def test_a_recovery_of_a_moment_is_waited_for_and_no_cause() -> None:
    events = (w.line("starting", 20), w.line("interrupted_recovery", 19))
    diagnosis = diagnose(replace(c.RECOVERING, log=w.log(*events)))
    assert diagnosis.verdict is Verdict.UNKNOWN
    assert "long_recovery" not in [f.id for f in diagnosis.causes]


def test_a_recovery_that_a_crash_made_long_is_one_story() -> None:
    events = (
        replace(w.SEGV, at=w.ago(125)),
        w.line("reinitializing", 124),
        *c.RECOVERS[1:],
    )
    diagnosis = diagnose(replace(c.RECOVERING, log=w.log(*events)))
    assert diagnosis.verdict is Verdict.CAUSE
    assert [(f.id, f.follows) for f in diagnosis.causes if f.probability >= STANDS_FROM] == [
        ("crashed", None),
        ("long_recovery", "crashed"),
    ]
    assert diagnosis.summary.startswith("The server replays its WAL for")
    assert "Before that: The server crashed" in diagnosis.summary
    assert all("start_server" in f.forbids for f in diagnosis.causes)


def test_a_recovery_whose_position_stands_still_is_less_certain() -> None:
    still = (*c.RECOVERS[:3], c.progress(19, 100, "1/4A000000"), c.progress(9, 110, "1/4A000000"))
    stands = first(replace(c.RECOVERING, log=w.log(*still)))
    assert stands.probability < first(c.RECOVERING).probability
    assert "recovery_advances" in [f.evidence for f in stands.evidence_against]


def test_a_server_that_came_back_recovers_no_more() -> None:
    log = w.log(*c.RECOVERS, w.line("ready", 2))
    assert "long_recovery" not in [f.id for f in diagnose(w.healthy(log=log)).causes]


# --- the machine --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cause_id",
    [
        "out_of_memory",
        "shared_memory_small",
        "os_limit_reached",
        "extension_library_missing",
    ],
)
def test_what_a_log_told_an_hour_ago_is_no_cause_of_now(cause_id: str) -> None:
    later = replace(c.CASES[cause_id], at=w.AT + timedelta(hours=1))
    assert diagnose(later).verdict is Verdict.HEALTHY


def test_a_killed_server_is_not_out_of_memory_for_an_earlier_refusal() -> None:
    log = w.log(replace(c.OOM_LINE, at=w.ago(600)))
    assert "out_of_memory" not in standing(w.down(lock_file=w.lock(), log=log))


def test_locks_that_find_no_room_are_no_memory_that_is_gone() -> None:
    full = w.line("lock_table_full", 15, "out of shared memory", severity="ERROR", sqlstate="53200")
    assert "out_of_memory" not in standing(w.healthy(log=w.log(full)))


def test_a_fork_for_which_there_is_no_memory_is_no_limit() -> None:
    text = "could not fork new process for connection: Cannot allocate memory"
    assert "os_limit_reached" not in standing(w.healthy(log=w.log(replace(c.FORK_LINE, text=text))))


def test_a_server_that_cannot_fork_is_not_said_to_listen_elsewhere() -> None:
    lives = w.read(ServerProcesses(postmaster_pid=w.PID, children=6))
    evidence = w.down(processes=lives, lock_file=w.LIVE_LOCK, log=w.log(c.FORK_LINE))
    assert standing(evidence) == ["os_limit_reached"]
    assert "start_server" in first(evidence).forbids


def test_files_that_cannot_be_opened_for_a_limit_are_told() -> None:
    line = w.line(
        "too_many_files", 9, "out of file descriptors: Too many open files", severity="LOG"
    )
    found = first(w.healthy(log=w.log(line)))
    assert (found.id, found.fact("file_refused")) == ("os_limit_reached", True)
    assert "an open file" in found.summary


def test_one_load_by_hand_of_a_library_that_is_not_there_is_quiet() -> None:
    assert standing(w.healthy(log=w.log(c.EXTENSION_LINE))) == []


def test_a_full_data_volume_is_not_mistaken_for_small_shared_memory() -> None:
    full = w.volumes(w.volume("data", "wal", "log", free=0))
    line = w.line("no_space_data", 5, "could not extend file", severity="ERROR", sqlstate="53100")
    assert standing(w.healthy(volumes=full, log=w.log(line))) == ["disk_full_data"]


@pytest.mark.parametrize("offset_s", [0.0, 0.4, 1.9, -1.5])
def test_a_clock_that_is_nearly_right_is_quiet(offset_s: float) -> None:
    history = w.history(*w.HEALTHY_COURSES, w.course("clock_offset_s", 0.01, offset_s))
    assert diagnose(w.healthy(history=history)).verdict is Verdict.HEALTHY


def test_a_log_from_the_future_alone_is_not_called_a_wrong_clock() -> None:
    ahead = w.line("reloaded", -300.0)
    found = diagnose(w.healthy(log=w.log(ahead)))
    assert found.verdict is Verdict.HEALTHY
    skewed = w.history(*w.HEALTHY_COURSES, w.course("clock_offset_s", 0.01, 300.0))
    both = first(w.healthy(log=w.log(ahead), history=skewed))
    assert "log_disordered" in [f.evidence for f in both.evidence_for]


WORK_MEM = {"kernel": c.MEMORY_GONE, "activity": w.activity(w.doing(40))}


@pytest.mark.parametrize(
    "differs",
    [
        {"figures": w.figures(*w.HEALTHY_FIGURES, **(w.SETTINGS | {"work_mem": "4MB"}))},
        {"activity": w.activity(w.doing(3))},
        {
            "kernel": w.read(
                Kernel(
                    oom_kills=0,
                    memory_total_bytes=16 * w.GIB,
                    memory_available_bytes=9 * w.GIB,
                )
            )
        },
    ],
    ids=["small work_mem", "few at work", "memory is there"],
)
def test_memory_is_not_blamed_on_work_mem_without_all_three_signs(differs: dict[str, Any]) -> None:
    evidence = replace(c.CASES["work_mem_too_high"], **differs)
    assert "work_mem_too_high" not in standing(evidence)


def test_the_role_whose_own_work_mem_it_is_is_named() -> None:
    own = w.figure("role_settings", None, "report@", "work_mem=1GB, statement_timeout=0")
    evidence = replace(
        c.CASES["work_mem_too_high"],
        activity=w.activity(w.doing(12, usename="report"), w.doing(20)),
        figures=w.figures(*w.HEALTHY_FIGURES, own, **(w.SETTINGS | {"work_mem": "4MB"})),
    )
    found = first(evidence)
    assert (found.id, found.subject) == ("work_mem_too_high", "report@")
    assert "12 sessions of report@" in found.summary


def test_refused_memory_behind_a_large_work_mem_is_one_story() -> None:
    evidence = replace(c.CASES["work_mem_too_high"], log=w.log(c.OOM_LINE))
    follows = {str(f.id): f.follows for f in diagnose(evidence).causes}
    assert follows["out_of_memory"] == "work_mem_too_high"


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [("4MB", 4 << 20), ("64kB", 65536), ("1GB", 1 << 30), ("4096", 4 << 20), ("lots", None)],
)
def test_amounts_of_memory_are_read_as_the_server_writes_them(
    setting: str, wanted: int | None
) -> None:
    assert memory_bytes(setting) == wanted


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "events",
    [
        (c.RELOADED,),
        (c.RELOADED, c.NEEDS_RESTART, c.UNAFFECTED),
        (
            replace(c.RELOADED, at=w.ago(90)),
            replace(c.REFUSED_VALUE, at=w.ago(90)),
            replace(c.UNAFFECTED, at=w.ago(90)),
            c.RELOADED,
        ),
        (c.RELOADED, replace(c.REFUSED_VALUE, text="pg_hba.conf was not reloaded")),
    ],
    ids=["a good reload", "only a restart is needed", "mended since", "rules for logins"],
)
def test_a_reload_that_found_nothing_unreadable_is_no_refused_one(
    events: tuple[LogEvent, ...],
) -> None:
    assert "reload_refused" not in standing(w.healthy(log=w.log(*events)))


def test_a_reload_that_changed_nothing_at_all_says_so() -> None:
    unknown = w.line(
        "config_error",
        30,
        'unrecognized configuration parameter "x" in file "/srv/pg/x.conf" line 14',
        severity="LOG",
    )
    nothing = replace(c.UNAFFECTED, text="contains errors; no changes were applied")
    found = first(w.healthy(log=w.log(c.RELOADED, unknown, nothing)))
    assert found.id == "reload_refused"
    assert found.summary.startswith("The newest reload changed nothing at all: unrecognized")


def test_errors_in_the_files_are_known_from_the_server_where_the_log_is_gone() -> None:
    seen = w.history(*w.HEALTHY_COURSES, w.course("settings_errors", 0.0, 2.0))
    assert standing(w.far(history=seen)) == ["reload_refused"]
    none = w.history(*w.HEALTHY_COURSES, w.course("settings_errors", 0.0, 0.0))
    assert standing(w.far(history=none)) == []


def test_a_setting_that_waits_comes_after_what_hurts_now() -> None:
    evidence = replace(
        c.CASES["restart_pending"], chains=w.chains(w.chain(4, 12.0, "idle in transaction"))
    )
    assert first(evidence).id == "idle_in_transaction"
    assert "restart_pending" in standing(evidence)


def test_the_settings_that_wait_are_named() -> None:
    assert "max_connections" in first(c.CASES["restart_pending"]).summary
    none = w.figure("settings_pending_restart", 0, "", "")
    calm = w.healthy(figures=w.figures(*w.HEALTHY_FIGURES, none, **w.SETTINGS))
    assert diagnose(calm).verdict is Verdict.HEALTHY


HOSTILE = "\x1b[2J<script>'; DROP TABLE x; --" + "A" * 5000


@pytest.mark.parametrize("cause_id", sorted(c.CASES))
def test_hostile_words_in_the_log_keep_the_cause_and_its_sentence_short(cause_id: str) -> None:
    evidence = c.CASES[cause_id]
    assert not isinstance(evidence.log, Missing)
    events = tuple(
        replace(e, detail=HOSTILE, who=HOSTILE[:120] if e.who else "")
        for e in evidence.log.value.events
    )
    found = first(replace(evidence, log=w.log(*events, started=False)))
    assert found.id == cause_id
    assert len(found.summary) < 500
