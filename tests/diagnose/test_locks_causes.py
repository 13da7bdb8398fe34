"""Near misses and stories of queues, deadlocks, timeouts and contention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import cases_work as work
import evidences as w
from cases_access import pooled
from cases_locks import (
    CASES,
    CHANGE,
    LEAKED,
    MAPPING,
    NOTIFIERS,
    PILED,
    PREPARED,
    SUBTRANS,
    WAITING,
    figures,
    flood,
)
from stanch.diagnose.evidence import Evidence, from_bytes, to_bytes
from stanch.diagnose.inside import Chain
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.facts.selected import parse_bound
from stanch.model.codec import encode
from stanch.model.diagnosis import CauseFinding, Missing, Verdict


def standing(evidence: Evidence) -> list[str]:
    return [c.id for c in diagnose(evidence).causes if c.probability >= STANDS_FROM]


def story(evidence: Evidence) -> dict[str, str | None]:
    found = diagnose(evidence).causes
    return {c.id: c.follows for c in found if c.probability >= STANDS_FROM}


def first(evidence: Evidence) -> CauseFinding:
    found = diagnose(evidence).first
    assert found is not None
    return found


NEAR_MISSES: dict[str, tuple[str, Evidence]] = {
    "a table that is locked already, by the root itself": (
        "ddl_lock_queue",
        w.healthy(chains=w.chains(w.chain(8, 12.0)), activity=w.activity(w.held(4242))),
    ),
    "a schema change that waits alone": (
        "ddl_lock_queue",
        w.healthy(chains=w.chains(w.chain(1, 12.0)), activity=w.activity(CHANGE)),
    ),
    "a schema change that waits for a moment": (
        "ddl_lock_queue",
        w.healthy(chains=w.chains(w.chain(2, 0.3)), activity=w.activity(CHANGE)),
    ),
    "somebody who waits for an advisory lock is no schema change": (
        "ddl_lock_queue",
        w.healthy(chains=w.chains(w.chain(8, 12.0)), activity=w.activity(*WAITING)),
    ),
    "a deadlock now and then": (
        "deadlock_storm",
        w.healthy(log=w.log(*flood("deadlock", 2, "deadlock detected"))),
    ),
    "deadlocks of an hour ago": (
        "deadlock_storm",
        w.healthy(log=w.log(*[w.line("deadlock", 3600.0 + n) for n in range(9)])),
    ),
    "a server that always has that many deadlocks": (
        "deadlock_storm",
        w.healthy(history=work.courses(w.course("deadlocks_total", 0.2, 0.25))),
    ),
    "a prepared transaction on its way": (
        "prepared_transaction_orphaned",
        w.healthy(
            figures=figures(w.figure("prepared_xacts", 1.0), w.figure("prepared_xact_age_s", 2.0))
        ),
    ),
    "a prepared transaction that thousands have overtaken": (
        "prepared_transaction_orphaned",
        w.healthy(
            figures=figures(
                w.figure("prepared_xacts", 1.0),
                w.figure("prepared_xact_age_s", 20.0),
                w.figure("horizon_age_xids", 90_000, "prepared:pay-1"),
            )
        ),
    ),
    "a young prepared transaction that others wait for": (
        "prepared_transaction_orphaned",
        w.healthy(
            chains=w.chains(replace(PREPARED, root_in_state_s=3.0)),
            figures=figures(w.figure("prepared_xacts", 1.0), w.figure("prepared_xact_age_s", 3.0)),
        ),
    ),
    "a lock table that is half full": (
        "lock_table_full",
        w.healthy(figures=figures(w.figure("lock_slots_used", 3200.0))),
    ),
    "a full lock table of some minutes ago": (
        "lock_table_full",
        w.healthy(log=w.log(w.line("lock_table_full", 400))),
    ),
    "memory that ran out is no full lock table": (
        "lock_table_full",
        w.healthy(log=w.log(*flood("out_of_memory", 3, "out of memory", sqlstate="53200"))),
    ),
    "a leader that keeps one advisory lock for days": (
        "advisory_lock_leak",
        w.healthy(activity=w.activity(replace(LEAKED, state_s=9e5))),
    ),
    "one candidate that waits for its turn to lead": (
        "advisory_lock_leak",
        w.healthy(
            chains=w.chains(w.chain(1, 9e4, "idle")), activity=w.activity(LEAKED, WAITING[0])
        ),
    ),
    "advisory locks by the thousand of a session at work": (
        "advisory_lock_leak",
        w.healthy(activity=w.activity(w.held(7, "advisory", locks=5000))),
    ),
    "a timeout now and then": (
        "statement_timeouts",
        w.healthy(log=w.log(*flood("statement_timeout", 3, "canceling statement"))),
    ),
    "statements that people call off": (
        "statement_timeouts",
        w.healthy(log=w.log(*flood("canceled", 9, "canceling statement due to user request"))),
    ),
    "a timeout that was changed and hits nobody": (
        "statement_timeouts",
        w.healthy(changes=w.changes(w.change(90, "setting", "statement_timeout", "is: 5s"))),
    ),
    "a few sessions among many that look up subtransactions": (
        "subtransaction_overflow",
        w.healthy(activity=w.activity(w.doing(5, "LWLock:SubtransSLRU"), w.doing(20))),
    ),
    "subtransactions looked up by two sessions": (
        "subtransaction_overflow",
        w.healthy(activity=w.activity(w.doing(2, "LWLock:SubtransSLRU"))),
    ),
    "commits that meet at one moment on a server that does as usual": (
        "lwlock_contention",
        w.healthy(activity=w.activity(w.doing(8, "LWLock:WALWrite"), w.doing(4))),
    ),
    "the server's own processes on an LWLock": (
        "lwlock_contention",
        w.healthy(
            activity=w.activity(
                w.doing(30, "LWLock:WALWrite", backend_type="walwriter"), w.doing(3)
            ),
            history=w.history(*PILED),
        ),
    ),
}


@pytest.mark.parametrize("what", sorted(NEAR_MISSES))
def test_what_only_looks_like_a_cause_is_not_named_as_it(what: str) -> None:
    cause_id, evidence = NEAR_MISSES[what]
    assert cause_id not in standing(evidence)


def test_one_migration_that_waits_for_the_lock_of_a_session_that_does_nothing() -> None:
    evidence = w.healthy(
        chains=w.chains(w.chain(1, 9, "idle")), activity=w.activity(LEAKED, WAITING[0])
    )
    assert story(evidence) == {"advisory_lock_leak": None, "blocking_chain": "advisory_lock_leak"}


def test_a_crowd_whose_statements_wait_for_each_other_is_no_load_spike() -> None:
    lasting = w.activity(w.doing(20, "LWLock:BufferContent", oldest_query_s=3.0), w.doing(2))
    crowd = replace(work.CASES["load_spike"], activity=lasting)
    assert standing(work.CASES["load_spike"]) == ["load_spike"]
    assert standing(crowd)[0] == "lwlock_contention"


STORMS = {
    "deadlock_storm": ("deadlock", "deadlock detected"),
    "lock_table_full": ("lock_table_full", "out of shared memory"),
    "statement_timeouts": ("statement_timeout", "canceling statement"),
}


def lines_until(ago_s: float, cause_id: str) -> Evidence:
    kind, text = STORMS[cause_id]
    return w.healthy(log=w.log(*(w.line(kind, ago_s + 3.0 * n, text) for n in range(12, -1, -1))))


@pytest.mark.parametrize("cause_id", sorted(STORMS))
def test_what_came_every_few_seconds_and_comes_no_more_is_over(cause_id: str) -> None:
    told = diagnose(lines_until(8.0, cause_id))
    assert told.verdict is Verdict.RECOVERED
    assert [finding.id for finding in told.causes] == [cause_id]


@pytest.mark.parametrize("cause_id", sorted(STORMS))
def test_what_only_pauses_as_it_did_before_goes_on(cause_id: str) -> None:
    assert standing(lines_until(5.0, cause_id)) == [cause_id]


BUSY_AND_WELL = w.healthy(
    activity=w.activity(
        w.doing(20, query_id="1"),
        w.doing(6, "LWLock:WALWrite", query_id="2"),
        w.doing(3, "IO:DataFileRead", query_id="3"),
        w.doing(1, "IO:BaseBackupRead", backend_type="walsender", query_id=""),
        w.held(7, "advisory", state="idle", state_s=9e4, relation=""),
        w.held(8, relation="events", xact_s=0.01),
    ),
    figures=figures(
        w.figure("active_without_wait", 26.0),
        w.figure("prepared_xacts", 1.0),
        w.figure("prepared_xact_age_s", 0.2),
        w.figure("oldest_xact_age_s", 4000.0),
        w.figure("horizon_age_xids", 400_000.0, "session:pg_dump"),
        w.figure("table_unanalyzed_rows", 90_000.0, "public.orders", "1000000 live; last analyze"),
        w.figure("table_seq_rows_total", 9e9, "public.orders", "9000 scans, 99000000 by index"),
        w.figure("progress", 1.0, "basebackup", "streaming database files"),
        w.figure("autovacuum_workers", 3.0),
        autovacuum_max_workers="3",
    ),
    history=work.courses(
        w.course("active_sessions", 27, 30),
        w.course("active_without_wait", 24, 26),
        w.course("commits_total", 4000, 4200),
        w.course("load_per_cpu", 0.9, 1.1),
        w.course("cpu_steal_pct", 2, 3),
        work.calls("1", 3000, 3100),
        work.calls("2", 800, 900),
        work.slowdown("1", 1.2),
    ),
    log=w.log(
        *flood("deadlock", 1, "deadlock detected"),
        *flood("statement_timeout", 1, "canceling statement"),
        *flood("autovacuum_canceled", 1, "canceling autovacuum task"),
    ),
)


def test_a_busy_server_that_does_what_it_always_does_is_healthy() -> None:
    diagnosis = diagnose(BUSY_AND_WELL)
    assert diagnosis.verdict is Verdict.HEALTHY, diagnosis.summary


@pytest.mark.parametrize("name", ["history", "changes", "log"])
def test_a_busy_server_is_healthy_also_where_nobody_recorded_what_is_usual(name: str) -> None:
    nobody = replace(BUSY_AND_WELL, **{name: Missing(what=name, reason="nobody watched")})
    assert standing(nobody) == []


# --- stories --------------------------------------------------------------------------------------

FULL = w.sessions(w.group("active", 90), w.group("idle", 6), waiting=85, oldest_wait_s=30.0)
IDLE_ROOT = w.chains(w.chain(85, 30.0, "idle in transaction"))


def test_a_schema_change_behind_an_idle_transaction_is_one_story_told_from_the_idle_one() -> None:
    evidence = w.healthy(
        sessions=FULL,
        chains=IDLE_ROOT,
        activity=w.activity(CHANGE, w.doing(85, "Lock:relation")),
        log=w.log(*flood("lock_timeout", 9, "canceling statement due to lock timeout")),
    )
    told = story(evidence)
    assert set(told) == {
        "idle_in_transaction",
        "ddl_lock_queue",
        "blocking_chain",
        "connections_behind_lock",
        "statement_timeouts",
    }
    assert [cause_id for cause_id, follows in told.items() if follows is None] == [
        "idle_in_transaction"
    ]
    assert told["ddl_lock_queue"] == "idle_in_transaction"
    assert told["connections_behind_lock"] == "blocking_chain"
    assert first(evidence).id == "idle_in_transaction"
    assert "And, apart from that" not in diagnose(evidence).summary


def test_an_exhausted_pool_belongs_to_the_story_of_the_idle_transaction_behind_it() -> None:
    evidence = w.healthy(
        chains=w.chains(w.chain(20, 30.0, "idle in transaction")),
        activity=w.activity(CHANGE, w.doing(19, "Lock:relation")),
        history=w.history(*w.HEALTHY_COURSES, *pooled(100, 30, 12)),
    )
    assert story(evidence) == {
        "idle_in_transaction": None,
        "ddl_lock_queue": "idle_in_transaction",
        "blocking_chain": "ddl_lock_queue",
        "pool_exhausted": "blocking_chain",
    }
    assert diagnose(evidence).summary.startswith("Session 4242")
    assert "And, apart from that" not in diagnose(evidence).summary


def test_an_exhausted_pool_beside_ids_that_run_out_is_another_story() -> None:
    evidence = w.healthy(
        history=w.history(*w.HEALTHY_COURSES, *pooled(100, 30, 12)),
        figures=figures(w.figure("xid_age_of_database", 1.9e9, "app")),
    )
    assert story(evidence) == {"pool_exhausted": None, "xid_wraparound": None}


def test_a_schema_change_behind_a_reader_is_told_from_the_schema_change() -> None:
    evidence = w.healthy(
        sessions=FULL, chains=w.chains(w.chain(85, 30.0)), activity=w.activity(CHANGE)
    )
    assert story(evidence) == {
        "ddl_lock_queue": None,
        "blocking_chain": "ddl_lock_queue",
        "connections_behind_lock": "blocking_chain",
    }
    found = first(evidence)
    assert (found.fact("ddl_pid"), found.fact("relation")) == (4711, "orders")
    assert "4711" in found.summary
    assert "84 others" in found.summary


def test_an_old_prepared_transaction_is_the_root_of_who_waits_for_it() -> None:
    evidence = replace(
        CASES["prepared_transaction_orphaned"], activity=w.activity(CHANGE), sessions=FULL
    )
    told = story(evidence)
    assert told["prepared_transaction_orphaned"] is None
    assert [c for c, follows in told.items() if follows is None] == [
        "prepared_transaction_orphaned"
    ]
    assert first(evidence).fact("prepared_gid") == "pay-1"
    assert "end_blocking_session" in first(evidence).forbids


def test_a_prepared_transaction_that_millions_have_overtaken_is_an_old_one() -> None:
    age = w.figure("horizon_age_xids", 2_400_000, "prepared:pay-1")
    known = (w.figure("prepared_xacts", 1.0), w.figure("prepared_xact_age_s", 20.0), age)
    told = story(w.healthy(figures=figures(*known)))
    assert [c for c, follows in told.items() if follows is None] == [
        "prepared_transaction_orphaned"
    ]
    assert first(w.healthy(figures=figures(*known))).subject == "pay-1"


def test_commits_that_wait_for_each_others_notifications_are_one_story_and_nobody_is_ended() -> (
    None
):
    chain = w.chain(4, 3.0, "active")
    evidence = w.healthy(chains=w.chains(chain), activity=w.activity(*NOTIFIERS))
    assert story(evidence) == {
        "commits_behind_notify": None,
        "blocking_chain": "commits_behind_notify",
    }
    found = diagnose(evidence).first
    assert found is not None
    assert "4 commits that send notifications wait for each other" in found.summary
    assert "end_blocking_session" in found.forbids


def test_two_commits_that_meet_over_their_notifications_are_nothing() -> None:
    evidence = w.healthy(activity=w.activity(*NOTIFIERS[:3]))
    assert "commits_behind_notify" not in story(evidence)


def test_advisory_locks_by_the_thousand_that_nobody_gives_back_fill_the_lock_table() -> None:
    evidence = replace(
        CASES["lock_table_full"], activity=w.activity(replace(LEAKED, locks=6000), *WAITING)
    )
    assert story(evidence) == {"advisory_lock_leak": None, "lock_table_full": "advisory_lock_leak"}


TWO: dict[str, tuple[Evidence, set[str]]] = {
    "a deadlock storm beside a prepared transaction": (
        replace(
            CASES["prepared_transaction_orphaned"],
            log=CASES["deadlock_storm"].log,
        ),
        {"deadlock_storm", "prepared_transaction_orphaned"},
    ),
    "ids that run out beside a schema change": (
        replace(
            CASES["ddl_lock_queue"],
            figures=figures(w.figure("xid_age_of_database", 1.9e9, "app")),
        ),
        {"ddl_lock_queue", "xid_wraparound"},
    ),
    "a neighbour beside a full lock table": (
        replace(CASES["lock_table_full"], history=work.CASES["noisy_neighbour"].history),
        {"lock_table_full", "noisy_neighbour"},
    ),
}


@pytest.mark.parametrize("what", sorted(TWO))
def test_two_independent_causes_are_both_named_as_roots(what: str) -> None:
    evidence, expected = TWO[what]
    roots = {cause_id for cause_id, follows in story(evidence).items() if follows is None}
    assert roots == expected
    assert "And, apart from that" in diagnose(evidence).summary


# --- what is not known ----------------------------------------------------------------------------


def test_without_a_recording_few_sessions_on_an_lwlock_stay_unnamed_and_say_what_is_missing() -> (
    None
):
    nobody = Missing(what="history", reason="nobody watched")
    few = w.healthy(activity=w.activity(w.doing(8, "LWLock:WALWrite")), history=nobody)
    assert standing(few) == []
    # Candidates are shown where something is wrong that nothing explains.
    unwell = replace(few, lock_file=w.NO_LOCK)
    [candidate] = [c for c in diagnose(unwell).causes if c.id == "lwlock_contention"]
    assert {"piled_up", "less_done"} <= {f.evidence for f in candidate.missing}
    many = w.healthy(activity=w.activity(*MAPPING), history=nobody)
    assert standing(many) == ["lwlock_contention"]


def test_the_lwlock_that_leads_is_explained() -> None:
    assert "shared_buffers" in first(CASES["lwlock_contention"]).summary
    assert first(CASES["lwlock_contention"]).fact("wait_event") == "BufferMapping"
    foreign = w.activity(w.doing(20, "LWLock:MultiXactOffsetSLRU"), w.doing(4))
    assert "foreign keys" in first(replace(CASES["lwlock_contention"], activity=foreign)).summary


def test_subtransactions_are_named_also_where_nobody_recorded_anything() -> None:
    nobody = Missing(what="history", reason="nobody watched")
    assert standing(w.healthy(activity=w.activity(*SUBTRANS), history=nobody)) == [
        "subtransaction_overflow"
    ]


HOSTILE = "\x1b[2J\x00<script>'; DROP TABLE x; -- \ud800" + "A" * 300


@pytest.mark.parametrize(
    ("cause_id", "differs"),
    [
        (
            "ddl_lock_queue",
            {"activity": w.activity(replace(CHANGE, application_name=HOSTILE, relation=HOSTILE))},
        ),
        (
            "prepared_transaction_orphaned",
            {"chains": w.chains(replace(PREPARED, prepared_gid=HOSTILE))},
        ),
        (
            "advisory_lock_leak",
            {"activity": w.activity(replace(LEAKED, application_name=HOSTILE), *WAITING)},
        ),
        (
            "deadlock_storm",
            {
                "log": w.log(
                    *[w.line("deadlock", n + 1.0, HOSTILE, who=HOSTILE[:120]) for n in range(8)]
                )
            },
        ),
    ],
)
def test_names_that_attack_change_no_verdict_and_stay_short(
    cause_id: str, differs: dict[str, Any]
) -> None:
    evidence = replace(CASES[cause_id], **differs)
    found = first(evidence)
    assert found.id == cause_id
    assert len(found.summary) < 400
    assert encode(diagnose(from_bytes(to_bytes(evidence))))


def test_one_that_others_have_waited_for_is_named_after_seconds() -> None:
    young = w.healthy(
        chains=w.chains(replace(PREPARED, root_in_state_s=8.0, oldest_wait_s=7.0)),
        figures=figures(w.figure("prepared_xacts", 1.0), w.figure("prepared_xact_age_s", 8.0)),
    )
    assert standing(young)[0] == "prepared_transaction_orphaned"


def crowd(idle: int, all_of: int) -> Evidence:
    told = w.figure("idle_in_xact_sessions", float(idle), subject="checkout", detail=str(all_of))
    return w.healthy(figures=figures(told))


def test_an_application_that_waits_inside_its_transactions_is_told_by_most_of_its_sessions() -> (
    None
):
    found = first(crowd(8, 9))
    assert found.id == "idle_in_transaction"
    assert '8 of 9 sessions of application "checkout" have been idle' in found.summary
    assert "call others outside of transactions" in found.safe_first


@pytest.mark.parametrize(("idle", "all_of"), [(4, 4), (9, 40), (0, 9)])
def test_some_sessions_between_two_statements_of_theirs_are_nothing(idle: int, all_of: int) -> None:
    assert "idle_in_transaction" not in story(crowd(idle, all_of))


def small_pool(sessions: int, age_s: float, whose: str = "charge") -> Evidence:
    told = w.figure("idle_in_xact_all_s", age_s, subject=whose, detail=str(sessions))
    crowd = w.figure("idle_in_xact_sessions", sessions, subject=whose, detail=str(sessions))
    return w.healthy(figures=figures(crowd, told))


def test_a_small_pool_none_of_whose_sessions_works_is_told_after_seconds() -> None:
    found = first(small_pool(4, 8.1))
    assert found.id == "idle_in_transaction"
    assert 'all 4 sessions of application "charge" have been idle' in found.summary


@pytest.mark.parametrize(("sessions", "age_s"), [(4, 4.9), (2, 60.0)])
def test_a_small_pool_that_pauses_for_moments_and_a_pair_of_sessions_are_nothing(
    sessions: int, age_s: float
) -> None:
    assert "idle_in_transaction" not in story(small_pool(sessions, age_s))


def test_sessions_without_a_name_are_no_pool() -> None:
    assert "idle_in_transaction" not in story(small_pool(3, 6.0, whose=""))


@pytest.mark.parametrize(
    ("up_s", "orphaned"), [(1.0, True), (600.0, False), pytest.param(-40.0, False, id="clock back")]
)
def test_a_prepared_transaction_that_outlived_a_restart_is_an_orphan_at_once(
    up_s: float, orphaned: bool
) -> None:
    clock = w.figure("server_clock_s", w.AT.timestamp())
    evidence = w.healthy(
        sessions=w.sessions(w.group("active", 3), postmaster_start=w.ago(up_s)),
        chains=w.chains(replace(PREPARED, root_in_state_s=3.0)),
        figures=figures(w.figure("prepared_xacts", 1.0), clock),
    )
    assert ("prepared_transaction_orphaned" in story(evidence)) is orphaned


def test_a_pool_that_such_an_application_has_filled_belongs_to_its_story() -> None:
    told = w.figure("idle_in_xact_sessions", 8.0, subject="checkout", detail="9")
    evidence = w.healthy(
        figures=figures(told), history=w.history(*w.HEALTHY_COURSES, *pooled(100, 30, 12))
    )
    assert story(evidence) == {"idle_in_transaction": None, "pool_exhausted": "idle_in_transaction"}


def forgotten_since(pid: int, seconds: float, application: str = "shop") -> Chain:
    one = w.chain(0, seconds, "idle in transaction")
    return replace(one, root_pid=pid, root_application=application, oldest_wait_s=0.0)


def test_transactions_forgotten_by_one_application_are_named_to_be_ended_alone() -> None:
    old = [forgotten_since(1, 900.0), forgotten_since(2, 400.0), forgotten_since(3, 200.0)]
    old.append(forgotten_since(4, 800.0, "crm"))
    found = first(w.healthy(chains=w.chains(old_idle=tuple(old))))
    assert found.id == "idle_in_transaction"
    assert [one.pid for one in parse_bound(str(found.fact("idle_sessions"))) or ()] == [1, 2]
    assert (found.fact("idle_to_end"), found.fact("others_wait")) == (True, False)
    assert (found.fact("idle_for_s_min"), found.fact("idle_application")) == (300.0, "shop")


def test_where_others_wait_only_the_head_of_the_chain_is_named() -> None:
    found = first(w.healthy(chains=w.chains(w.chain(4, 30.0, "idle in transaction"))))
    assert found.id == "idle_in_transaction"
    assert (found.fact("idle_to_end"), found.fact("others_wait")) == (False, True)
    assert found.fact("idle_sessions") is None
