from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

import cases_replication as c
import evidences as w
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.model.diagnosis import CauseFinding, Missing, Verdict
from stanch.model.ids import TargetName
from stanch.model.symptoms import Symptom, SymptomKind

MIB = w.MIB


def standing(evidence: Evidence) -> list[str]:
    return [f.id for f in diagnose(evidence).causes if f.probability >= STANDS_FROM]


def first(evidence: Evidence) -> CauseFinding:
    found = diagnose(evidence).first
    assert found is not None
    return found


def sampled(evidence: Evidence, **more: Any) -> Evidence:
    return replace(evidence, **more)


# --- lag, stage by stage ------------------------------------------------------------------------

QUIET = {
    "a burst that was sent and is being replayed": w.healthy(
        figures=c.primary(*c.sender(sent=2.0 * MIB, replay=30.0 * MIB, late_s=0.8)),
    ),
    "a standby that is level": w.healthy(figures=c.primary(*c.sender())),
    "a base backup that is being taken": w.healthy(
        figures=c.primary(*c.sender("pg_basebackup", sent=900.0 * MIB, detail="backup async"))
    ),
    "a standby that replays under load": w.healthy(
        figures=c.standby(waiting=3.0 * MIB, late_s=0.4),
        activity=w.activity(c.server(""), w.doing(2)),
    ),
    "a standby whose primary writes nothing": w.healthy(
        figures=c.standby(late_s=7200.0),
        activity=w.activity(c.server("Activity:RecoveryWalStream"), w.doing(2)),
    ),
    "a long report on a standby that is level": w.healthy(
        figures=c.standby(), activity=w.activity(c.server("Activity:RecoveryWalStream"), c.READER)
    ),
    "replay that is paused with nothing to replay": w.healthy(
        figures=c.standby(paused=1.0), activity=w.activity(c.server("IPC:RecoveryPause"))
    ),
    "commits that wait a moment for a synchronous standby": w.healthy(
        figures=c.primary(
            *c.sender(detail="streaming sync"), synchronous_standby_names="FIRST 1 (two)"
        ),
        activity=w.activity(w.doing(20, "IPC:SyncRep", oldest_query_s=0.03)),
    ),
    "a slot that is far behind and not lost": w.healthy(
        figures=c.primary(w.figure("slot_retained_bytes", 9e9, "two", "extended"))
    ),
    "an apply worker that ended once": w.healthy(
        figures=c.primary(w.figure("subscription_worker", 1.0, "orders_copy")),
        log=w.log(*c.loop(1)),
    ),
    "a subscription that is switched off": w.healthy(
        figures=c.primary(w.figure("subscription_worker", 0.0, "orders_copy", "disabled"))
    ),
    "a slot that once spilled and is level": w.healthy(
        figures=c.primary(
            *c.SPILLED[:-1], w.figure("slot_unconfirmed_bytes", 1.0 * MIB, "warehouse")
        )
    ),
    "duplicate keys of an application": w.healthy(
        log=w.log(
            *(
                w.line("unique_violation", n, c.DUPLICATE, severity="ERROR", who="app@app")
                for n in range(20)
            )
        )
    ),
}


@pytest.mark.parametrize("what", sorted(QUIET))
def test_what_every_replicated_server_shows_is_no_cause(what: str) -> None:
    assert diagnose(QUIET[what]).verdict is Verdict.HEALTHY


def test_the_standby_that_is_furthest_behind_is_the_one_that_is_told() -> None:
    both = (*c.sender("near"), *c.sender("far", sent=300.0 * MIB, late_s=60.0))
    found = first(w.healthy(figures=c.primary(*both, standbys=2)))
    assert (found.id, found.subject) == ("lag_sending", "far")
    assert '"far" is 300.0 MiB behind' in found.summary


def test_two_standbys_of_one_name_keep_their_own_numbers() -> None:
    both = (*c.sender("w"), *c.sender("w", sent=300.0 * MIB, late_s=60.0))
    assert first(w.healthy(figures=c.primary(*both))).fact("unsent_bytes") == 300.0 * MIB


def test_a_standby_that_has_not_received_what_its_primary_has_written_tells_it_itself() -> None:
    ahead = c.cluster(
        c.member("orders"), c.member("orders-1", primary=True, position_bytes=10**9 + 500 * MIB)
    )
    found = first(w.healthy(figures=c.standby(), cluster=ahead))
    assert found.id == "lag_sending"
    assert "500.0 MiB" in found.summary
    stale = c.cluster(
        c.member("orders"),
        c.member("orders-1", primary=True, position_bytes=10**10, seen_at=w.ago(90)),
    )
    assert standing(w.healthy(figures=c.standby(), cluster=stale)) == []


def test_a_primary_that_sees_only_that_replay_is_behind_names_no_reason_and_is_not_healthy() -> (
    None
):
    lag = c.sender(replay=900.0 * MIB, late_s=120.0)
    found = diagnose(w.healthy(figures=c.primary(*lag)))
    assert found.verdict is Verdict.UNKNOWN
    assert 'Standby "two"' in found.summary
    assert {"replay_conflict", "replay_saturated"} <= {f.id for f in found.causes}


def test_a_standby_that_waits_for_its_disk_is_told_as_that_stage() -> None:
    lag = c.sender(flush=900.0 * MIB, late_s=120.0)
    found = diagnose(w.healthy(figures=c.primary(*lag)))
    assert found.verdict is Verdict.UNKNOWN
    assert "900.0 MiB not written there" in found.summary


@pytest.mark.parametrize("wait", ["Lock:relation", "BufferPin:BufferPin", "IPC:RecoveryConflictX"])
def test_replay_waits_for_readers_in_more_than_one_way(wait: str) -> None:
    seen = w.activity(c.server(wait), c.READER)
    found = first(w.healthy(figures=c.standby(waiting=90.0 * MIB, late_s=60.0), activity=seen))
    assert found.id == "replay_conflict"
    assert found.fact("reader_pid") == 100


def test_a_conflict_of_a_moment_with_nothing_behind_is_no_cause() -> None:
    seen = w.activity(c.server("IPC:RecoveryConflictSnapshot"), c.READER)
    assert standing(w.healthy(figures=c.standby(waiting=1.0 * MIB), activity=seen)) == []


def test_a_delay_that_is_wanted_is_neither_slow_replay_nor_a_conflict() -> None:
    """recovery_min_apply_delay."""
    seen = w.activity(c.server("Timeout:RecoveryApplyDelay"))
    assert (
        standing(w.healthy(figures=c.standby(waiting=90.0 * MIB, late_s=3600.0), activity=seen))
        == []
    )


def test_replay_that_stood_still_is_not_saturated() -> None:
    still = replace(
        c.CASES["replay_saturated"], history=w.history(w.course("wal_bytes_total", 2e7, 0.0))
    )
    assert "replay_saturated" not in standing(still)


def test_the_onset_of_a_lag_is_that_of_its_symptom() -> None:
    told = Symptom(
        kind=SymptomKind.REPLICATION_LAG,
        target=TargetName("orders"),
        since=w.ago(400),
        subject="two",
    )
    lag = c.primary(*c.sender(sent=30.0 * MIB))
    assert standing(w.healthy(figures=lag)) == []
    assert first(w.healthy(figures=lag, symptoms=(told,))).since == w.ago(400)


# --- WAL that is gone, commits that wait --------------------------------------------------------


def test_a_lost_slot_is_told_by_its_name() -> None:
    lost = w.figure("slot_retained_bytes", None, "two", "lost")
    found = first(w.healthy(figures=c.primary(lost)))
    assert (found.id, found.subject) == ("wal_removed", "two")


def test_a_standby_that_found_the_wal_in_the_archive_goes_on() -> None:
    assert standing(replace(c.CASES["wal_removed"], figures=c.standby())) == []


def test_commits_that_wait_for_a_standby_that_is_there_are_another_story() -> None:
    there = c.primary(*c.sender(detail="streaming sync"), synchronous_standby_names="FIRST 1 (two)")
    assert "sync_standby_gone" not in standing(replace(c.CASES["sync_standby_gone"], figures=there))


def test_a_pile_of_commits_that_wait_for_a_standby_is_one_story_with_a_full_server() -> None:
    full = w.sessions(w.group("active", 92), w.group("idle", 5))
    found = diagnose(replace(c.CASES["sync_standby_gone"], sessions=full))
    assert [(f.id, f.follows) for f in found.causes if f.probability >= STANDS_FROM] == [
        ("sync_standby_gone", None),
        ("connections_load", "sync_standby_gone"),
    ]
    assert "end_blocking_session" in found.causes[0].forbids


# --- two primaries ------------------------------------------------------------------------------


def two(**other: Any) -> Evidence:
    return w.healthy(cluster=c.cluster(c.SELF_PRIMARY, c.member("orders-1", **other)))


ONE_PRIMARY = {
    "the other is a standby": two(),
    "the other has been silent since": two(primary=True, seen_at=w.ago(600)),
    "the other is of another origin": two(primary=True, system_identifier="8"),
    "nobody knows of what origin the other is": two(primary=True, system_identifier=""),
    "it is alone": w.healthy(cluster=c.cluster(c.SELF_PRIMARY)),
    "it is itself a standby": w.healthy(
        figures=c.standby(), cluster=c.cluster(c.member("orders"), c.OLD_PRIMARY)
    ),
}


@pytest.mark.parametrize("what", sorted(ONE_PRIMARY))
def test_one_primary_is_no_split_brain(what: str) -> None:
    assert diagnose(ONE_PRIMARY[what]).verdict is Verdict.HEALTHY


def test_a_promotion_beside_a_living_primary_is_the_root_of_two_primaries() -> None:
    found = diagnose(c.CASES["standby_promoted"])
    assert [(f.id, f.follows) for f in found.causes if f.probability >= STANDS_FROM] == [
        ("standby_promoted", None),
        ("split_brain", "standby_promoted"),
    ]
    assert found.causes[0].subject == "orders"
    assert found.causes[0].since == w.ago(600)


def test_the_old_primary_tells_the_same_story_of_the_other_one() -> None:
    promoted = c.member("orders-1", primary=True, timeline=2, promoted_at=w.ago(600))
    seen = c.cluster(c.member("orders", primary=True), promoted)
    found = first(w.healthy(cluster=seen))
    assert (found.id, found.subject) == ("standby_promoted", "orders-1")


def test_an_old_primary_that_came_back_is_a_split_brain_and_no_wrong_promotion() -> None:
    mine = c.member("orders", primary=True, timeline=2, promoted_at=w.ago(600))
    back = c.member("orders-1", primary=True, running_since=w.ago(60))
    assert standing(w.healthy(cluster=c.cluster(mine, back))) == ["split_brain"]


def test_a_planned_switchover_is_healthy() -> None:
    mine = c.member("orders", primary=True, timeline=2, promoted_at=w.ago(600))
    seen = w.healthy(cluster=c.cluster(mine, c.member("orders-1")), log=w.log(c.PROMOTED))
    assert diagnose(seen).verdict is Verdict.HEALTHY


@pytest.mark.parametrize("logged", [True, False])
def test_a_switchover_of_this_moment_leaves_no_second_primary(logged: bool) -> None:
    """The old primary was last heard as one, seconds ago, right before it went down."""
    line = w.line("promoted", 3, "received promote request", severity="LOG")
    mine = c.member("orders", primary=True, promoted_at=None if logged else w.ago(3))
    seen = c.cluster(mine, c.member("orders-1", primary=True, seen_at=w.ago(4)))
    evidence = w.healthy(cluster=seen, log=w.log(line) if logged else w.log())
    assert diagnose(evidence).verdict is Verdict.HEALTHY


def test_a_primary_that_was_replaced_because_it_is_down_is_none_that_lives_on() -> None:
    mine = c.member("orders", primary=True, seen_at=w.ago(8))
    seen = c.cluster(mine, c.member("orders-1", primary=True, timeline=2, promoted_at=w.ago(4)))
    assert not {"standby_promoted", "split_brain"} & {*standing(w.down(cluster=seen))}
    heard = c.cluster(
        c.member("orders", primary=True, seen_at=w.ago(2)),
        c.member("orders-1", primary=True, timeline=2, promoted_at=w.ago(4)),
    )
    assert "standby_promoted" in standing(w.down(cluster=heard))


def test_a_promotion_that_only_the_log_tells_is_asked_about_and_not_named() -> None:
    assert diagnose(w.healthy(log=w.log(c.PROMOTED))).verdict is Verdict.HEALTHY


def followed(answers: float | None, *more: w.Figure) -> Evidence:
    """Promoted ten minutes ago, seen by a stranger, who knows no other server."""
    found = [] if answers is None else [w.figure("followed_answers", answers, "10.0.0.5:5432")]
    return w.healthy(log=w.log(c.PROMOTED), figures=c.primary(*found, *more))


def test_a_stranger_names_a_promotion_while_the_old_primary_still_answers() -> None:
    found = first(followed(1.0))
    assert found.id == "standby_promoted"
    assert "10.0.0.5:5432, which it followed until then, still answers" in found.summary


FAILED_OVER: dict[str, Evidence] = {
    "nobody answers where the old primary was": followed(0.0),
    "the old primary was not asked": followed(None),
    "the old primary came back as a standby": followed(1.0, w.figure("sender", 812.0, "orders-1")),
    "a restore that ended, and another server where it was copied from": w.healthy(
        figures=c.primary(w.figure("followed_answers", 1.0, "10.0.0.5:5432"))
    ),
}


@pytest.mark.parametrize("what", sorted(FAILED_OVER))
def test_a_failover_that_is_done_is_no_accident(what: str) -> None:
    assert diagnose(FAILED_OVER[what]).verdict is Verdict.HEALTHY


def test_the_end_of_a_restore_is_no_promotion() -> None:
    restored = w.line("promoted", 600, "selected new timeline ID: 2", severity="LOG")
    assert diagnose(w.healthy(log=w.log(restored))).causes == ()


def test_words_of_a_client_are_no_parted_timeline() -> None:
    said = w.line("timeline_diverged", 4, "requested timeline 2 is not a child", who="app@app")
    assert standing(w.healthy(log=w.log(said))) == []


def test_a_standby_that_streams_again_has_met_its_primary() -> None:
    assert standing(replace(c.CASES["timeline_diverged"], figures=c.standby())) == []


# --- logical replication ------------------------------------------------------------------------


def test_the_error_that_ends_the_worker_and_its_subscription_are_told() -> None:
    found = first(c.CASES["apply_worker_loop"])
    assert found.subject == "orders_copy"
    assert "duplicate key value" in found.summary
    assert found.fact("sqlstate") == "23505"
    assert found.since == w.ago(60)


def test_a_loop_of_an_hour_ago_is_over() -> None:
    later = replace(c.CASES["apply_worker_loop"], at=w.AT + timedelta(hours=1))
    assert standing(later) == []


def test_a_subscription_that_switched_itself_off_is_told() -> None:
    off = 'subscription "orders_copy" has been disabled because of an error'
    seen = w.healthy(
        figures=c.primary(
            w.figure("apply_errors_total", 1.0, "orders_copy"),
            w.figure("subscription_worker", 0.0, "orders_copy", "disabled"),
        ),
        log=w.log(w.line("apply_failed", 5000, off, severity="LOG")),
    )
    assert first(seen).id == "apply_worker_loop"


def test_a_consumer_that_does_not_take_what_was_decoded_is_no_spill() -> None:
    waits = w.activity(c.server("Client:WalSenderWriteData", "walsender"))
    assert standing(replace(c.CASES["decoding_spill"], activity=waits)) == []


def test_statements_that_replay_cancels_again_and_again_are_told_though_nothing_waits() -> None:
    words = "canceling statement due to conflict with recovery"
    lines = [w.line("recovery_conflict", 20.0 * n + 5, words) for n in reversed(range(4))]
    evidence = w.healthy(figures=c.standby(), log=w.log(*lines))
    assert standing(evidence) == ["replay_conflict"]
    assert diagnose(evidence).summary.startswith("4 statements on this standby were cancelled")
    assert standing(w.healthy(figures=c.standby(), log=w.log(*lines[:2]))) == []


@pytest.mark.parametrize(("sessions", "pid"), [(1, 4711), (2, None)])
def test_one_reader_in_the_way_of_replay_is_named_exactly_enough_to_be_cancelled(
    sessions: int, pid: int | None
) -> None:
    evidence = c.CASES["replay_conflict"]
    assert not isinstance(evidence.activity, Missing)
    others = [d for d in evidence.activity.value.doings if d.backend_type != "client backend"]
    reader = w.doing(
        sessions,
        oldest_pid=4711,
        oldest_query_s=400.0,
        oldest_xact_s=400.0,
        oldest_backend_start=w.ago(4000),
        oldest_query_start=w.ago(400),
    )
    finding = diagnose(replace(evidence, activity=w.activity(*others, reader))).first
    assert finding is not None
    assert finding.fact("statement_pid") == pid
