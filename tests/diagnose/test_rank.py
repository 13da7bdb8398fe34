from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

import evidences as w
from cases import ALL
from stanch.diagnose.catalogue import BY_ID, CAUSES
from stanch.diagnose.evidence import Evidence, from_bytes, to_bytes
from stanch.diagnose.inside import Chain, Retention, Sessions, Slot
from stanch.diagnose.outside import Control, Kernel, Kill, LogEvent, ServerProcesses, Volume
from stanch.diagnose.rank import PROBABILITY_MAX, STANDS_FROM, diagnose
from stanch.model.codec import encode
from stanch.model.diagnosis import CauseFinding, Missing, Verdict
from stanch.model.ids import CauseId
from stanch.model.ports.traces import StartFiles


def standing(evidence: Evidence) -> list[str]:
    return [c.id for c in diagnose(evidence).causes if c.probability >= STANDS_FROM]


def first(evidence: Evidence) -> CauseFinding:
    found = diagnose(evidence).first
    assert found is not None
    return found


OOM = w.read(Kernel(oom_kills=1, kills=(Kill(pid=w.PID, name="postgres", at=w.ago(31)),)))


def full(*holds: str, mount: str = "/srv") -> Volume:
    return w.volume(*holds, free=0, total=w.GIB, mount=mount)


PANIC = w.line(
    "no_space_wal",
    20,
    'could not write to file "pg_wal/xlogtemp.31": No space left on device',
    severity="PANIC",
    sqlstate="53100",
)
ABORTED = w.line("crash_child_signal", 20, "terminated by signal 6", signal=6)
EXTEND = w.line("no_space_data", 5, "could not extend file", severity="ERROR", sqlstate="53100")
LEAK = w.sessions(w.group("idle", 90, age_s=900.0), w.group("active", 6))
LOAD = w.sessions(w.group("active", 92), w.group("idle", 5))
PILE = w.sessions(w.group("active", 90), w.group("idle", 6), waiting=85, oldest_wait_s=30.0)
ACTIVE_CHAIN = w.chains(w.chain(85, 30.0))
IDLE_CHAIN = w.chains(w.chain(85, 30.0, "idle in transaction"))
SLOT = Slot(name="dead", active=False, retained_bytes=700 * w.MIB)
DATA_AND_WAL = ("data", "wal", "log")

ORDERED = (
    w.line("shutdown_request_fast", 40, "received fast shutdown request"),
    w.line("shut_down", 39, "database system is shut down"),
)
GAVE_UP = w.line("start_gave_up", 20, "could not create any TCP/IP sockets", severity="FATAL")
BAD_CONF = w.line("config_error", 20, 'file "postgresql.conf" contains errors', severity="FATAL")

CASES: dict[str, Evidence] = {
    **ALL,
    "stopped_cleanly": w.STOPPED,
    "crashed": w.down(
        log=w.log(w.SEGV),
        lock_file=w.lock(),
    ),
    "killed": w.KILLED,
    "oom_killed": w.down(lock_file=w.lock(), kernel=OOM),
    "stale_lock_file": w.STALE,
    "live_lock_file": w.down(
        processes=w.read(ServerProcesses(postmaster_pid=w.PID, children=6)), lock_file=w.LIVE_LOCK
    ),
    "cannot_start": replace(w.STOPPED, log=w.log(*ORDERED, GAVE_UP)),
    "shutdown_waits": w.down(
        reach=w.reach("shutting_down"),
        log=w.log(w.line("shutdown_request_smart", 600, "received smart shutdown request")),
        processes=w.read(ServerProcesses(postmaster_pid=w.PID, children=8)),
        lock_file=w.LIVE_LOCK,
    ),
    "data_files_removed": replace(
        w.STOPPED, files=w.read(StartFiles(version="", control_file=False))
    ),
    "network_unreachable": w.far(
        reach=w.reach("timeout"), sessions=w.NOT_SERVED, chains=w.NOT_SERVED
    ),
    "postmaster_stopped": w.healthy(
        reach=w.reach("hung"),
        processes=w.read(
            ServerProcesses(postmaster_pid=w.PID, postmaster_stopped=True, children=6)
        ),
    ),
    "dns_failure": w.far(reach=w.reach("dns_failure"), sessions=w.NOT_SERVED, chains=w.NOT_SERVED),
    "credentials_refused": w.healthy(
        reach=w.reach("auth_failed", "28P01: password authentication failed for user app"),
        sessions=w.NOT_SERVED,
        chains=w.NOT_SERVED,
    ),
    "standby_without_sessions": w.healthy(
        reach=w.reach(
            "starting_up",
            "FATAL 57P03: the database system is not accepting connections (Hot standby mode is "
            "disabled.)",
        ),
        sessions=w.NOT_SERVED,
        chains=w.NOT_SERVED,
    ),
    "other_cluster": w.healthy(cluster_expected="7", cluster_answering="8"),
    "disk_full_data": w.healthy(volumes=w.volumes(full(*DATA_AND_WAL)), log=w.log(EXTEND)),
    "disk_full_wal": w.down(
        volumes=w.volumes(w.volume("data", "log"), full("wal", mount="/wal")),
        log=w.log(PANIC, ABORTED),
        lock_file=w.lock(),
    ),
    "connections_leaked": w.healthy(sessions=LEAK),
    "connections_behind_lock": w.healthy(sessions=PILE, chains=ACTIVE_CHAIN),
    "connections_load": w.healthy(sessions=LOAD),
    "blocking_chain": w.healthy(chains=w.chains(w.chain(4, 12.0))),
    "idle_in_transaction": w.healthy(
        chains=w.chains(w.chain(4, 12.0, "idle in transaction")),
    ),
}


def test_a_standby_on_its_way_is_waited_for() -> None:
    detail = (
        "FATAL 57P03: the database system is not yet accepting connections (Consistent recovery "
        "state has not been yet reached.)"
    )
    found = diagnose(
        replace(CASES["standby_without_sessions"], reach=w.reach("starting_up", detail))
    )
    assert found.verdict is Verdict.UNKNOWN
    assert "wait" in found.summary


@pytest.mark.parametrize(("expected", "answering"), [("7", "7"), ("7", ""), ("", "8"), ("", "")])
def test_the_cluster_that_is_expected_or_not_known_is_no_other(
    expected: str, answering: str
) -> None:
    evidence = w.healthy(cluster_expected=expected, cluster_answering=answering)
    assert "other_cluster" not in standing(evidence)


def test_every_cause_of_the_catalogue_has_a_case() -> None:
    assert set(CASES) == set(BY_ID)


@pytest.mark.parametrize("cause_id", sorted(CASES))
def test_each_cause_stands_on_its_own_evidence(cause_id: str) -> None:
    diagnosis = diagnose(CASES[cause_id])
    assert diagnosis.verdict is Verdict.CAUSE
    assert cause_id in standing(CASES[cause_id])


@pytest.mark.parametrize("cause_id", sorted(set(CASES) - {"connections_behind_lock"}))
def test_each_cause_is_named_first_on_its_own_evidence(cause_id: str) -> None:
    assert first(CASES[cause_id]).id == cause_id


@pytest.mark.parametrize("cause_id", sorted(CASES))
def test_the_look_alikes_of_a_cause_stay_below_it(cause_id: str) -> None:
    allowed = {cause_id} | {c.id for c in CAUSES if cause_id in c.brings_about}
    allowed |= set(BY_ID[CauseId(cause_id)].brings_about)
    assert set(standing(CASES[cause_id])) <= allowed


@pytest.mark.parametrize("cause_id", sorted(CASES))
def test_a_healthy_server_makes_no_cause_even_a_candidate(cause_id: str) -> None:
    assert cause_id not in [c.id for c in diagnose(w.healthy()).causes]


def test_a_server_whose_lock_file_was_taken_away_is_not_said_to_have_been_stopped_by_somebody() -> (
    None
):
    ended = (
        w.line("lock_file_removed", 20, 'could not open file "postmaster.pid"'),
        w.line("shutdown_request_immediate", 20, "received immediate shutdown request"),
    )
    found = first(w.down(log=w.log(*ended)))
    assert found.id == "stopped_cleanly"
    assert found.summary.startswith("The server stopped itself at once because postmaster.pid")
    assert first(w.down(log=w.log(ended[1]))).summary.startswith("Somebody stopped the server")


def test_a_start_that_gave_up_is_the_cause_whatever_ended_the_server_before() -> None:
    found = first(replace(w.KILLED, log=w.log(GAVE_UP)))
    assert found.id == "cannot_start"
    assert "start_server" in found.forbids
    assert "gave up: could not create any TCP/IP sockets" in found.summary


NO_LIBRARY = w.line(
    "library_missing", 20, 'could not access file "pg_cron": No such file', severity="FATAL"
)


def test_a_start_that_lacks_a_library_of_shared_preload_libraries_is_the_cause() -> None:
    found = first(replace(w.KILLED, log=w.log(NO_LIBRARY, w.line("shut_down", 20))))
    assert found.id == "preload_library_missing"
    assert "pg_cron" in found.summary


@pytest.mark.parametrize(
    "events",
    [
        (replace(BAD_CONF, severity="LOG"), *ORDERED),
        (NO_LIBRARY, *ORDERED),
        (w.line("wrong_permissions", 50, "could not open file: denied", severity="FATAL"),),
        (GAVE_UP, w.line("ready", 15), *ORDERED),
    ],
    ids=[
        "a reload",
        "a session without its library",
        "a session",
        "a start that gave up before one that did not",
    ],
)
def test_a_line_that_ends_no_start_is_no_start_that_gave_up(events: tuple[LogEvent, ...]) -> None:
    assert first(replace(w.STOPPED, log=w.log(*events))).id == "stopped_cleanly"


TWO_LEAKS = w.sessions(
    w.group("idle", 40, application="one"),
    w.group("idle", 39, application="two"),
    w.group("active", 10),
)
LIMITED = w.sessions(w.group("idle", 5), limits_hit=('role "shop" has 5 of the 5 sessions',))


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (w.healthy(sessions=TWO_LEAKS), ("89 of 97", '40 idle of "one"', '39 idle of "two"')),
        (w.healthy(sessions=LIMITED), ('Role "shop" has 5 of the 5', "turns further logins away")),
        (w.healthy(lock_file=w.NO_LOCK), ("postmaster.pid is gone", "stops itself")),
    ],
    ids=["full by many", "a limit of its own", "lock file gone"],
)
def test_what_no_cause_explains_is_told_and_not_called_healthy(
    evidence: Evidence, words: tuple[str, ...]
) -> None:
    diagnosis = diagnose(evidence)
    assert diagnosis.verdict is Verdict.UNKNOWN
    assert all(word in diagnosis.summary for word in words), diagnosis.summary


def test_a_healthy_server_is_called_healthy() -> None:
    diagnosis = diagnose(w.healthy())
    assert (diagnosis.verdict, diagnosis.causes) == (Verdict.HEALTHY, ())


@pytest.mark.parametrize("cause_id", sorted(CASES))
def test_the_same_evidence_gives_the_same_bytes_also_after_it_was_kept(cause_id: str) -> None:
    evidence = CASES[cause_id]
    again = from_bytes(to_bytes(evidence))
    assert again == evidence
    assert encode(diagnose(again)) == encode(diagnose(evidence))


@pytest.mark.parametrize("cause_id", sorted(CASES))
def test_nothing_is_ever_certain(cause_id: str) -> None:
    assert all(c.probability <= PROBABILITY_MAX for c in diagnose(CASES[cause_id]).causes)


# --- stopped, crashed, killed --------------------------------------------------------------------


def test_a_stop_without_any_log_is_told_by_the_control_file() -> None:
    evidence = replace(w.STOPPED, log=Missing(what="log", reason="permission denied"))
    assert first(evidence).id == "stopped_cleanly"
    assert "shutdown_requested" in [f.evidence for f in first(evidence).missing]


def test_an_immediate_stop_is_a_stop_although_the_control_file_is_not_clean() -> None:
    evidence = w.down(log=w.log(w.line("shutdown_request_immediate", 9), w.line("shut_down", 9)))
    assert first(evidence).id == "stopped_cleanly"
    assert first(evidence).fact("stop_mode") == "immediate"


def test_a_stop_of_an_earlier_run_says_nothing_about_this_end() -> None:
    log = w.log(
        w.line("shutdown_request_fast", 500),
        w.line("shut_down", 499),
        w.line("starting", 490),
        w.line("ready", 489),
    )
    assert first(w.down(log=log, lock_file=w.lock())).id == "killed"


def test_a_refused_connection_alone_leaves_the_cause_unknown() -> None:
    diagnosis = diagnose(w.far(reach=w.reach("refused"), sessions=w.NOT_SERVED))
    assert diagnosis.verdict is Verdict.UNKNOWN
    assert not [c for c in diagnosis.causes if c.probability >= STANDS_FROM]
    assert diagnosis.separator


def test_a_kernel_kill_of_another_process_long_ago_does_not_make_it_an_oom_kill() -> None:
    old = w.read(Kernel(oom_kills=1, kills=(Kill(pid=5, name="postgres", at=w.ago(7200)),)))
    assert first(w.down(lock_file=w.lock(), kernel=old)).id == "killed"


def test_a_counter_without_times_decides_nothing() -> None:
    evidence = w.down(lock_file=w.lock(), kernel=w.read(Kernel(oom_kills=3)))
    assert first(evidence).id == "killed"
    assert "kernel_oom" in [f.evidence for f in first(evidence).missing]


def test_the_kernels_kill_is_known_by_its_pid_hours_later() -> None:
    kill = Kill(pid=w.PID, name="postgres", at=w.ago(4 * 3600))
    kernel = w.read(Kernel(oom_kills=1, kills=(kill,)))
    assert first(w.down(lock_file=w.lock(), kernel=kernel)).id == "oom_killed"


def test_a_kill_of_another_server_at_the_same_time_is_not_ours() -> None:
    other = Kill(pid=4711, name="postgres", at=w.ago(20))
    kernel = w.read(Kernel(oom_kills=1, new_oom_kills=1, kills=(other,), same_pids=True))
    assert first(w.down(lock_file=w.lock(), kernel=kernel)).id == "killed"


NEIGHBOUR = Kill(pid=4711, name="postgres", at=w.ago(20))


def may_be_anothers(evidence: Evidence) -> bool:
    """Not called a kill for memory; where that is a candidate, it says whose the kill may be."""
    found = [c for c in diagnose(evidence).causes if c.id == "oom_killed"]
    said = [f.text for c in found for f in (*c.evidence_for, *c.missing)]
    return "oom_killed" not in standing(evidence) and (
        not found or any("may be another" in text for text in said)
    )


@pytest.mark.parametrize(
    "kernel",
    [
        Kernel(oom_kills=1, kills=(NEIGHBOUR,), same_pids=False),
        Kernel(oom_kills=4, new_oom_kills=1),
        Kernel(oom_kills=4, new_oom_kills=1, kills=(NEIGHBOUR,), own_group=False),
    ],
    ids=["PIDs that cannot be compared", "a counter of the machine", "both"],
)
def test_a_kill_that_may_be_a_neighbours_is_weak_evidence_and_says_so(kernel: Kernel) -> None:
    evidence = w.down(lock_file=w.lock(), kernel=w.read(kernel))
    assert first(evidence).id == "killed"
    assert may_be_anothers(evidence)


def test_in_a_container_a_kill_at_the_moment_of_a_death_by_signal_9_is_ours() -> None:
    kernel = w.read(Kernel(oom_kills=1, kills=(replace(NEIGHBOUR, at=w.ago(31)),), same_pids=True))
    log, inside = w.log(w.SIGKILLED_CHILD), w.lock(pid=1)
    numbered = replace(w.SIGKILLED_CHILD, named_pid=None)
    assert first(w.down(lock_file=inside, log=w.log(numbered), kernel=kernel)).id == "oom_killed"
    assert first(w.down(lock_file=w.lock(), log=log, kernel=kernel)).id == "killed"
    assert may_be_anothers(w.down(lock_file=inside, kernel=kernel))


def test_a_kill_counted_in_the_servers_own_group_is_an_oom_kill() -> None:
    kernel = w.read(Kernel(oom_kills=2, new_oom_kills=1, own_group=True))
    assert first(w.down(lock_file=w.lock(), kernel=kernel)).id == "oom_killed"


def test_the_pid_noted_while_the_server_lived_tells_the_kill_when_the_lock_file_is_gone() -> None:
    kernel = w.read(Kernel(oom_kills=1, kills=(NEIGHBOUR,), same_pids=True))
    gone = Missing(what="lock_file", reason="permission denied")
    evidence = replace(w.down(kernel=kernel, lock_file=gone), noted_pid=NEIGHBOUR.pid)
    assert first(evidence).id == "oom_killed"
    assert "oom_killed" not in standing(replace(evidence, noted_pid=w.PID))


def test_a_kill_that_the_server_outlived_did_not_end_it() -> None:
    kernel = w.read(Kernel(oom_kills=1, kills=(Kill(pid=w.PID, name="postgres", at=w.ago(300)),)))
    evidence = w.down(lock_file=w.lock(), kernel=kernel)
    assert first(evidence).id == "oom_killed"
    assert first(replace(evidence, well_at=w.ago(60))).id == "killed"
    assert first(replace(evidence, well_at=w.ago(301))).id == "oom_killed"


def test_a_kill_nearby_is_not_ours_where_no_lock_file_was_left_behind() -> None:
    kernel = w.read(Kernel(oom_kills=1, kills=(NEIGHBOUR,), same_pids=True))
    silent = w.down(kernel=kernel, log=Missing(what="log", reason="not found"))
    assert "oom_killed" not in standing(silent)
    left = w.down(lock_file=w.lock(pid=NEIGHBOUR.pid), kernel=kernel)
    assert first(left).id == "oom_killed"


# --- lock files -------------------------------------------------------------------------------


NOT_STALE = {
    "the pid is dead": w.lock(),
    "the pid belongs to another user": w.lock(**{**w.HOLDER, "holder_blocks_start": False}),
    "there is no lock file": w.NO_LOCK,
}


@pytest.mark.parametrize("why", sorted(NOT_STALE))
def test_a_lock_file_that_blocks_no_start_is_not_called_stale(why: str) -> None:
    assert "stale_lock_file" not in standing(w.down(lock_file=NOT_STALE[why]))


def test_who_has_the_pid_being_unknown_is_missing_and_not_stale() -> None:
    unknown = w.lock(**{**w.HOLDER, "holder_is_postmaster": None})
    assert "stale_lock_file" not in standing(w.down(lock_file=unknown))


def test_children_that_still_exit_after_a_kill_do_not_hide_the_kill() -> None:
    evidence = w.down(
        lock_file=w.lock(shared_memory_attached=True),
        processes=w.read(ServerProcesses(postmaster_pid=None, orphans=5)),
    )
    assert first(evidence).id == "killed"


def test_children_that_keep_a_start_from_succeeding_are_a_live_lock_file() -> None:
    in_use = w.line("shared_memory_in_use", 3, "pre-existing shared memory block is still in use")
    evidence = w.down(
        lock_file=w.lock(shared_memory_attached=True),
        processes=w.read(ServerProcesses(postmaster_pid=None, orphans=5)),
        log=w.log(in_use),
    )
    assert first(evidence).id == "live_lock_file"
    assert {"start_server", "set_aside_lock_file"} <= set(first(evidence).forbids)


def hung(state: str = "hung", **process: Any) -> Evidence:
    seen = ServerProcesses(postmaster_pid=w.PID, children=6, **process)
    return w.healthy(
        reach=w.reach(state), sessions=w.NOT_SERVED, chains=w.NOT_SERVED, processes=w.read(seen)
    )


def test_a_hung_server_that_is_not_suspended_is_unknown_and_never_called_stale_or_stopped() -> None:
    assert standing(hung()) == []
    assert diagnose(hung()).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("state", ["hung", "timeout"])
def test_a_suspended_server_is_named_also_when_its_queue_of_connections_is_full(state: str) -> None:
    found = first(hung(state, postmaster_stopped=True))
    assert found.id == "postmaster_stopped"
    assert standing(hung(state, postmaster_stopped=True)) == ["postmaster_stopped"]
    assert found.fact("server_running") is True
    assert found.fact("postmaster_pid") == w.PID
    assert found.runbook == ""
    assert {"start_server", "set_aside_lock_file"} <= set(found.forbids)


def test_a_debugger_that_holds_the_server_is_told_apart_from_a_signal() -> None:
    assert "debugger" in first(hung(postmaster_stopped=True, postmaster_traced=True)).summary
    assert "SIGSTOP" in first(hung(postmaster_stopped=True)).summary


def test_a_server_that_answers_is_not_called_suspended() -> None:
    assert standing(hung("up", postmaster_stopped=True)) == []


def test_a_name_that_does_not_resolve_says_that_the_server_runs_where_that_is_known() -> None:
    evidence = w.healthy(reach=w.reach("dns_failure"))
    assert first(evidence).id == "dns_failure"
    assert "The server itself runs" in first(evidence).summary
    assert "The server itself runs" not in first(CASES["dns_failure"]).summary


def test_a_server_that_died_behind_a_name_that_does_not_resolve_is_no_mere_matter_of_names() -> (
    None
):
    evidence = w.down(reach=w.reach("dns_failure"), lock_file=w.lock())
    assert "dns_failure" not in [c.id for c in diagnose(evidence).causes[:1]]


@pytest.mark.parametrize("state", ["too_many_clients", "no_such_database", "tls_failure"])
def test_another_refusal_is_not_one_of_credentials(state: str) -> None:
    evidence = w.healthy(reach=w.reach(state), sessions=w.NOT_SERVED, chains=w.NOT_SERVED)
    assert "credentials_refused" not in standing(evidence)


def test_the_stale_lock_file_carries_what_setting_it_aside_is_bound_to() -> None:
    found = first(w.STALE)
    assert found.fact("lock_pid") == w.PID
    assert found.fact("lock_inode") == 77
    assert found.fact("lock_sha256") == "ab" * 32
    assert found.fact("holder_command") == "sleep 1000"
    assert found.fact("server_running") is False


# --- full volumes -----------------------------------------------------------------------------


def test_a_full_wal_volume_is_the_root_and_the_crash_is_not_told_apart() -> None:
    assert standing(CASES["disk_full_wal"]) == ["disk_full_wal"]


def test_a_shared_volume_filled_by_retained_wal_is_told_as_wal_with_its_retainer() -> None:
    evidence = w.healthy(
        volumes=w.volumes(full(*DATA_AND_WAL), wal_bytes=800 * w.MIB),
        retention=w.read(Retention(slots=(SLOT,))),
    )
    assert standing(evidence) == ["disk_full_wal"]
    assert first(evidence).fact("retainer") == "slot:dead"
    assert first(evidence).fact("retained_bytes") == 700 * w.MIB


def test_a_slot_that_keeps_little_is_not_blamed_for_a_full_data_volume() -> None:
    small = Slot(name="ok", active=True, retained_bytes=20 * w.MIB)
    evidence = w.healthy(
        volumes=w.volumes(full(*DATA_AND_WAL), wal_bytes=60 * w.MIB),
        retention=w.read(Retention(slots=(small,))),
    )
    assert standing(evidence) == ["disk_full_data"]
    assert first(evidence).fact("retainer") == "none"


def test_segments_waiting_for_a_failing_archiver_name_the_archiver() -> None:
    evidence = w.healthy(
        volumes=w.volumes(w.volume("data"), full("wal", mount="/wal"), wal_bytes=900 * w.MIB),
        retention=w.read(Retention(archiver_failing=True, ready_files=50)),
    )
    assert first(evidence).fact("retainer") == "archiver"


def test_a_volume_just_above_the_limit_is_not_full() -> None:
    nearly = w.volume(*DATA_AND_WAL, free=33 * w.MIB, total=w.GIB)
    assert standing(w.healthy(volumes=w.volumes(nearly))) == []


def test_an_old_refusal_to_write_is_not_a_full_disk() -> None:
    old = w.line("no_space_data", 3600, "could not extend file", sqlstate="53100")
    assert diagnose(w.healthy(log=w.log(old))).verdict is Verdict.HEALTHY


def test_a_volume_without_inodes_is_full_however_many_bytes_are_free() -> None:
    none = replace(w.volume(*DATA_AND_WAL), free_inodes=0)
    found = standing(w.healthy(volumes=w.volumes(none)))
    assert found == ["inodes_exhausted", "disk_full_data"]


def after_the_fall(holds: tuple[str, ...], **differs: Any) -> Evidence:
    """The server fell for want of space in WAL; somebody made room; it is still down."""
    rest = [v for v in (w.volume(*holds),) if v]
    if "wal" not in holds:
        rest.append(w.volume("wal", mount="/wal"))
    base: dict[str, Any] = {
        "volumes": w.volumes(*rest),
        "log": w.log(PANIC, ABORTED),
        "lock_file": w.lock(),
        "control": w.read(Control(state="in crash recovery")),
    }
    return w.down(**{**base, **differs})


@pytest.mark.parametrize(
    ("holds", "cause_id"), [(DATA_AND_WAL, "disk_full_data"), (("data", "log"), "disk_full_wal")]
)
def test_a_server_that_fell_for_space_is_down_for_that_also_when_there_is_room_again(
    holds: tuple[str, ...], cause_id: str
) -> None:
    found = first(after_the_fall(holds))
    assert found.id == cause_id
    assert standing(after_the_fall(holds)) == [cause_id]
    assert (found.fact("volume_full"), found.fact("server_running")) == (False, False)
    assert "was full; there is room again" in found.summary


def test_a_recovery_that_failed_for_space_counts_like_a_fall() -> None:
    fatal = replace(PANIC, severity="FATAL")
    assert first(after_the_fall(("data", "log"), log=w.log(fatal))).id == "disk_full_wal"


def test_a_statement_refused_for_space_long_before_a_kill_is_not_its_cause() -> None:
    evidence = w.down(lock_file=w.lock(), log=w.log(replace(EXTEND, at=w.ago(120))))
    assert first(evidence).id == "killed"


@pytest.mark.parametrize("holds", [DATA_AND_WAL, ("data", "log")])
def test_a_server_that_recovers_with_room_again_is_waited_for(holds: tuple[str, ...]) -> None:
    recovering = ServerProcesses(postmaster_pid=w.PID, recovering="postgres: startup recovering 1")
    evidence = after_the_fall(
        holds,
        reach=w.reach("starting_up"),
        processes=w.read(recovering),
        lock_file=w.LIVE_LOCK,
    )
    assert diagnose(evidence).verdict is Verdict.UNKNOWN
    assert all("start_server" in c.forbids for c in diagnose(evidence).causes)


def test_a_server_that_recovers_on_a_full_volume_is_neither_up_nor_down() -> None:
    evidence = replace(
        CASES["disk_full_wal"],
        reach=w.reach("starting_up"),
        processes=w.read(ServerProcesses(postmaster_pid=w.PID)),
    )
    found = first(evidence)
    assert (found.id, found.fact("volume_full")) == ("disk_full_wal", True)
    assert found.fact("server_running") is None


# --- connections ------------------------------------------------------------------------------


QUIET: dict[str, Evidence] = {
    "a leak that leaves room": w.healthy(sessions=w.sessions(w.group("idle", 60))),
    "a busy server that leaves room": w.healthy(sessions=w.sessions(w.group("active", 80))),
    "waiting that leaves room and lasts a moment": w.healthy(
        sessions=w.sessions(w.group("active", 30), waiting=20, oldest_wait_s=0.2),
        chains=w.chains(w.chain(20, 0.2)),
    ),
}


@pytest.mark.parametrize("what", sorted(QUIET))
def test_connections_below_the_limit_are_no_cause(what: str) -> None:
    assert diagnose(QUIET[what]).verdict is Verdict.HEALTHY


def test_idle_sessions_spread_over_many_applications_are_no_leak_of_one() -> None:
    spread = [w.group("idle", 12, application=f"app{n}") for n in range(8)]
    assert "connections_leaked" not in standing(w.healthy(sessions=w.sessions(*spread)))


def test_titles_of_processes_decide_where_no_session_can_be_had() -> None:
    titles = Sessions(
        max_connections=None,
        client_backends=97,
        groups=(w.group("idle", 95, application="", age_s=0.0), w.group("active", 2)),
    )
    evidence = w.healthy(
        reach=w.reach("too_many_clients"), sessions=w.read(titles), chains=w.NOT_SERVED
    )
    assert first(evidence).id == "connections_leaked"
    assert first(evidence).fact("usename") == "app"
    assert "near_limit" in [f.evidence for f in first(evidence).missing]


def test_a_full_server_with_no_other_witness_is_unknown() -> None:
    evidence = w.far(reach=w.reach("too_many_clients"), sessions=w.NOT_SERVED, chains=w.NOT_SERVED)
    assert diagnose(evidence).verdict is Verdict.UNKNOWN
    assert "no slot" in " ".join(f.text for f in diagnose(evidence).absent)


def test_a_pile_behind_an_idle_transaction_is_one_story_from_its_root() -> None:
    diagnosis = diagnose(w.healthy(sessions=PILE, chains=IDLE_CHAIN))
    assert [(c.id, c.follows) for c in diagnosis.causes if c.probability >= STANDS_FROM] == [
        ("idle_in_transaction", None),
        ("blocking_chain", "idle_in_transaction"),
        ("connections_behind_lock", "blocking_chain"),
    ]
    assert "And, apart from that" not in diagnosis.summary


def test_two_independent_causes_are_both_named() -> None:
    evidence = w.healthy(sessions=LEAK, volumes=w.volumes(full(*DATA_AND_WAL)))
    roots = [c.id for c in diagnose(evidence).causes if c.follows is None]
    assert set(roots) == {"connections_leaked", "disk_full_data"}
    assert "And, apart from that" in diagnose(evidence).summary


# --- locks ------------------------------------------------------------------------------------


def test_a_wait_of_a_moment_is_no_blocking_chain() -> None:
    assert standing(w.healthy(chains=w.chains(w.chain(1, 1.9)))) == []


def test_a_backups_long_transaction_that_blocks_nobody_is_quiet() -> None:
    dump = w.sessions(w.group("active", 1, application="pg_dump", age_s=7200), w.group("idle", 3))
    assert diagnose(w.healthy(sessions=dump)).verdict is Verdict.HEALTHY


def test_a_transaction_idle_for_a_short_while_that_blocks_nobody_is_quiet() -> None:
    short = replace(w.chain(0, 0.0, "idle in transaction"), root_in_state_s=30.0)
    assert diagnose(w.healthy(chains=w.chains(old_idle=(short,)))).verdict is Verdict.HEALTHY


def test_a_transaction_idle_for_long_is_named_although_it_blocks_nobody() -> None:
    long = replace(w.chain(0, 0.0, "idle in transaction"), root_in_state_s=1800.0)
    found = first(w.healthy(chains=w.chains(old_idle=(long,))))
    assert (found.id, found.fact("root_pid")) == ("idle_in_transaction", 4242)


def test_the_root_is_bound_by_pid_start_and_transaction() -> None:
    found = first(CASES["blocking_chain"])
    assert found.fact("root_pid") == 4242
    assert found.fact("root_backend_start") == w.ago(600).isoformat()
    assert found.fact("root_xact_start") == w.ago(500).isoformat()


def test_a_prepared_transaction_at_the_root_is_named_by_its_gid() -> None:
    root = Chain(
        root_pid=0, root_state="prepared", prepared_gid="pay-1", waiters=3, oldest_wait_s=20.0
    )
    found = first(w.healthy(chains=w.chains(root)))
    assert (found.id, found.fact("prepared_gid")) == ("blocking_chain", "pay-1")
    assert "pay-1" in found.summary


# --- recovered, recovering --------------------------------------------------------------------


def back(*events: object, ready_ago: float = 10.0, **more: object) -> Evidence:
    log = w.log(*events, w.line("ready", ready_ago))  # type: ignore[arg-type]
    return w.healthy(log=log, **more)


RECOVERED = {
    "crashed": back(w.SEGV, w.line("reinitializing", 29), w.line("interrupted_recovery", 28)),
    "killed": back(
        w.SIGKILLED_CHILD, w.line("reinitializing", 29), w.line("interrupted_recovery", 28)
    ),
    "oom_killed": back(
        w.SIGKILLED_CHILD,
        w.line("interrupted_recovery", 28),
        kernel=w.read(Kernel(oom_kills=1, kills=(Kill(pid=77, name="postgres", at=w.ago(30)),))),
    ),
    "disk_full_wal": back(PANIC, ABORTED, w.line("interrupted_recovery", 15)),
    "stopped_cleanly": back(w.line("shutdown_request_fast", 30), w.line("shut_down", 29)),
}


@pytest.mark.parametrize("cause_id", sorted(RECOVERED))
def test_a_failure_that_is_over_is_recovered_and_still_names_its_cause(cause_id: str) -> None:
    diagnosis = diagnose(RECOVERED[cause_id])
    assert diagnosis.verdict is Verdict.RECOVERED
    assert first(RECOVERED[cause_id]).id == cause_id


def crashing(*seconds_ago: float) -> Evidence:
    """A server that is back each time, for a moment."""
    lines = [
        line
        for s in seconds_ago
        for line in (replace(w.SIGKILLED_CHILD, at=w.ago(s)), w.line("interrupted_recovery", s))
    ]
    return back(*lines, ready_ago=seconds_ago[-1] - 0.5)


def test_a_server_that_crashes_again_and_again_is_not_over_it() -> None:
    diagnosis = diagnose(crashing(22, 12, 3))
    assert (diagnosis.verdict, diagnosis.causes[0].id) == (Verdict.CAUSE, "killed")
    assert diagnosis.summary.startswith("It crashed 3 times within the last minute: ")


def test_a_stop_in_order_after_two_crashes_is_told_as_the_stop() -> None:
    events = (
        replace(w.SIGKILLED_CHILD, at=w.ago(45)),
        w.line("ready", 44),
        replace(w.SIGKILLED_CHILD, at=w.ago(15)),
        w.line("ready", 14),
        w.line("shutdown_request_fast", 9),
        w.line("shut_down", 8),
        w.line("starting", 6),
    )
    diagnosis = diagnose(back(*events, ready_ago=5))
    assert (diagnosis.verdict, diagnosis.causes[0].id) == (Verdict.RECOVERED, "stopped_cleanly")


@pytest.mark.parametrize(("seconds_ago", "stands"), [(3.0, False), (300.0, True)])
def test_a_server_that_begins_anew_after_a_crash_is_no_other_server_in_the_way(
    seconds_ago: float, stands: bool
) -> None:
    log = w.log(replace(w.SIGKILLED_CHILD, at=w.ago(seconds_ago)))
    named = standing(replace(CASES["live_lock_file"], log=log))
    assert ("live_lock_file" in named) is stands


@pytest.mark.parametrize("seconds_ago", [(3.0,), (40.0, 25.0), (900.0, 3.0)])
def test_one_crash_and_crashes_of_a_while_ago_are_over(seconds_ago: tuple[float, ...]) -> None:
    assert diagnose(crashing(*seconds_ago)).verdict is Verdict.RECOVERED


def test_a_volume_that_has_room_again_is_not_told_as_full() -> None:
    assert "was full; there is room again" in first(RECOVERED["disk_full_wal"]).summary


def test_a_killed_postmaster_that_was_started_again_is_recovered() -> None:
    diagnosis = diagnose(back(w.line("starting", 13), w.line("interrupted_recovery", 12)))
    assert (diagnosis.verdict, diagnosis.causes[0].id) == (Verdict.RECOVERED, "killed")


@pytest.mark.parametrize("cause_id", sorted(RECOVERED))
def test_a_failure_of_an_hour_ago_is_history(cause_id: str) -> None:
    later = replace(RECOVERED[cause_id], at=w.AT + timedelta(hours=1))
    assert diagnose(later).verdict is Verdict.HEALTHY


def test_a_first_start_is_not_a_recovery() -> None:
    log = w.log(w.line("starting", 8), w.line("ready", 7), started=False)
    assert diagnose(w.healthy(log=log)).verdict is Verdict.HEALTHY


def test_a_server_that_recovers_is_waited_for_and_never_started() -> None:
    evidence = w.down(
        reach=w.reach("starting_up"),
        log=w.log(w.SEGV, w.line("reinitializing", 29)),
        processes=w.read(
            ServerProcesses(
                postmaster_pid=w.PID, children=2, recovering="postgres: startup recovering 0000"
            )
        ),
        lock_file=w.LIVE_LOCK,
        control=w.read(Control(state="in crash recovery")),
    )
    diagnosis = diagnose(evidence)
    assert diagnosis.verdict is Verdict.UNKNOWN
    assert "recovering, wait" in diagnosis.summary
    assert diagnosis.causes[0].id == "crashed"
    assert all("start_server" in c.forbids for c in diagnosis.causes)
    assert all(c.safe_first.startswith("Wait") for c in diagnosis.causes)


def test_a_crash_loop_on_a_full_wal_volume_is_no_mere_recovery() -> None:
    evidence = replace(CASES["disk_full_wal"], reach=w.reach("starting_up"))
    assert diagnose(evidence).verdict is Verdict.CAUSE
    assert first(evidence).id == "disk_full_wal"


# --- missing evidence and hostile content -----------------------------------------------------


TOLD_BY_THE_LOG_ALONE = {
    "cannot_start",
    "bad_configuration",
    "kernel_resources_short",
    "no_valid_checkpoint",
    "preload_library_missing",
    "version_mismatch",
}


@pytest.mark.parametrize("cause_id", sorted(CASES))
@pytest.mark.parametrize(
    "name",
    ["sessions", "chains", "retention", "log", "control", "lock_file", "processes", "volumes"],
)
def test_losing_one_witness_never_names_a_cause_that_excludes_the_true_one(
    cause_id: str, name: str
) -> None:
    evidence = replace(CASES[cause_id], **{name: Missing(what=name, reason="permission denied")})
    related = {cause_id} | {c.id for c in CAUSES if cause_id in c.brings_about}
    related |= set(BY_ID[CauseId(cause_id)].brings_about)
    # Without the lock file or the process list, a stale lock file looks like what left it behind.
    # Without the log, a server that is gone altogether was more likely killed than crashed.
    if cause_id == "stale_lock_file" or (cause_id in {"crashed", "fsync_failed"} and name == "log"):
        related.add("killed")
    # And a start that gave up is told by the log alone; what ended the server before stays true.
    if (cause_id, name) in {(told, "log") for told in TOLD_BY_THE_LOG_ALONE}:
        related.add("stopped_cleanly")
    assert set(standing(evidence)) <= related


def test_a_missing_reading_counts_as_neither_for_nor_against() -> None:
    evidence = replace(w.KILLED, kernel=Missing(what="kernel", reason="permission denied"))
    for cause in diagnose(evidence).causes:
        assert "kernel_oom" not in [
            f.evidence for f in (*cause.evidence_for, *cause.evidence_against)
        ]
    assert ("kernel", "permission denied") in [
        (f.evidence, f.text) for f in diagnose(evidence).absent
    ]


HOSTILE = "\x1b[2J\x00<script>'; DROP TABLE x; -- \ud800" + "A" * 5000


def test_hostile_words_change_no_verdict() -> None:
    hostile = w.sessions(w.group("idle", 90, application=HOSTILE, age_s=900.0), w.group("x", 6))
    log = w.log(w.line("other", 4, HOSTILE), w.line("still_waiting_lock", 3, HOSTILE))
    evidence = w.healthy(sessions=hostile, log=log)
    assert first(evidence).id == "connections_leaked"
    assert encode(diagnose(from_bytes(to_bytes(evidence)))) is not None


def test_the_separator_asks_what_tells_the_first_two_apart() -> None:
    no_host = w.far(reach=w.reach("refused"), sessions=w.NOT_SERVED, chains=w.NOT_SERVED)
    diagnosis = diagnose(no_host)
    assert {c.id for c in diagnosis.causes[:2]} <= set(BY_ID)
    assert diagnosis.separator.endswith("?")


LATE = Missing(what="reading", reason="not there within 2 s")


def test_what_every_living_server_shows_is_no_sign_of_one_that_was_killed() -> None:
    nobody_looked = w.healthy(
        reach=Missing(what="reach", reason="hung, but our own process was late meanwhile"),
        sessions=LATE,
        chains=LATE,
        processes=LATE,
        lock_file=LATE,
        kernel=LATE,
    )
    found = diagnose(nobody_looked)
    assert found.verdict is Verdict.UNKNOWN
    assert not {"killed", "crashed", "oom_killed", "stopped_cleanly"} & {c.id for c in found.causes}


@pytest.mark.parametrize(
    "seen", [{"reach": w.reach("refused"), "processes": LATE}, {"reach": LATE}]
)
def test_one_witness_that_saw_it_gone_is_enough_to_say_killed(seen: dict[str, Any]) -> None:
    assert standing(w.down(**seen)) == ["killed"]
