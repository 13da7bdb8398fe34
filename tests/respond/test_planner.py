"""From a diagnosis to a plan, or to the reason why there is none, with options for people."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from acting_worlds import AT, TARGET, cause, diagnosis
from stanch.model.diagnosis import CauseFinding, Diagnosis, Verdict
from stanch.model.events import PlanProposed, PlanWithheld, from_body, to_body
from stanch.model.ids import CauseId, IncidentId
from stanch.model.plans import Mode, Plan
from stanch.policy.hosts import DockerHost
from stanch.policy.policy import FreeSpace, TargetPolicy
from stanch.policy.signs import ConsolePools
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.blast_radius import Acts
from stanch.respond.library import shipped_runbooks
from stanch.respond.options import options_for
from stanch.respond.planner import plan_for, still_bound
from stanch.steps.action import check_params

RUNBOOKS = shipped_runbooks()

KILLED = cause(
    "killed",
    data_directory="/data",
    system_identifier="42",
    control_state="in production",
    server_running=False,
    manager="pg_ctl",
)
STOPPED = cause(
    "stopped_cleanly",
    data_directory="/data",
    system_identifier="42",
    control_state="shut down",
    server_running=False,
)
STALE = cause(
    "stale_lock_file",
    data_directory="/data",
    system_identifier="42",
    lock_pid=100,
    lock_inode=5,
    lock_sha256="f" * 64,
    holder_command="sleep 60",
    server_running=False,
)
LEAK = cause(
    "connections_leaked",
    application_name="shop",
    usename="app",
    idle_sessions=80,
    client_backends=97,
    max_connections=100,
)
CHAIN = cause(
    "idle_in_transaction",
    root_pid=10,
    root_backend_start="2026-03-14T07:00:00+00:00",
    root_xact_start="2026-03-14T08:55:00+00:00",
    root_application="shop",
    waiters=7,
    others_wait=True,
    oldest_wait_s=200.0,
    state="idle in transaction",
)
FORGOTTEN = cause(
    "idle_in_transaction",
    others_wait=False,
    idle_to_end=True,
    idle_sessions="10@2026-03-14T07:00:00+00:00 11@2026-03-14T07:00:00.5+00:00",
    idle_usename="app",
    idle_application="shop",
    idle_for_s_min=300.0,
    idle_oldest_s=3600.0,
)
RUNAWAY = cause(
    "bad_query",
    statement_pid=11,
    statement_backend_start="2026-03-14T07:00:00+00:00",
    statement_query_start="2026-03-14T08:55:00+00:00",
    statement_runs_s=300.0,
    application_name="reports",
)
WAITING = cause(
    "ddl_lock_queue",
    statement_pid=12,
    statement_backend_start="2026-03-14T07:00:00+00:00",
    statement_query_start="2026-03-14T08:55:00+00:00",
    ddl_application="migrate",
    relation="orders",
)
DISK = cause(
    "disk_full_wal",
    volume="/data",
    volume_full=True,
    free_bytes=0,
    total_bytes=1 << 30,
    data_directory="/data",
    system_identifier="42",
    retainer="slot:old_replica",
    retained_bytes=1 << 29,
    server_running=False,
)
FULL_POOL = cause(
    "pool_exhausted", pooler="bouncer", database="app", pool_size=20, pool_size_larger=30
)
PAUSED_POOL = cause("pool_paused", pooler="bouncer", database="app")
BOUNCER = ConsolePools(name="bouncer", dsn="service=stats", admin_dsn="service=admin")
ROOMY = replace(
    TARGET,
    free_space=FreeSpace(ballast=("/data/ballast-1",)),
    pools=(BOUNCER,),
    host=DockerHost(container="db", memory_max_bytes=1 << 30),
)
SLOT = cause(
    "slot_inactive",
    volume="/wal",
    volume_full=False,
    server_running=True,
    slot="old_standby",
    slot_type="physical",
    slot_restart_lsn="0/3000000",
    slot_unused_since="2026-03-14T07:00:00+00:00",
    slot_abandoned=True,
)
TABLE: dict[str, Any] = {
    "table_database": "app",
    "table_oid": 16400,
    "table_schema": "public",
    "table_name": "orders",
}
OLD = cause("plan_flip", statistics_old=True, **TABLE)
DEAD = cause("autovacuum_starved", rows_to_vacuum=True, **TABLE)
IDS = cause("xid_wraparound", table_to_freeze=True, **TABLE)
INVALID = cause(
    "missing_index",
    index_to_rebuild=True,
    index_database="app",
    index_oid=16500,
    index_schema="public",
    index_name="orders_customer",
    index_table_oid=16400,
)


def planned(
    found: CauseFinding | Diagnosis,
    target: TargetPolicy = ROOMY,
    *,
    halted: bool = False,
    acts: Acts = (),
) -> Plan | PlanWithheld:
    return plan_for(
        found if isinstance(found, Diagnosis) else diagnosis(found),
        target,
        RUNBOOKS,
        actions=CATALOGUE,
        at=AT,
        incident_id=IncidentId("20260314-001"),
        halted=halted,
        acts=acts,
    )


def plan_of(found: CauseFinding, target: TargetPolicy = ROOMY, *, acts: Acts = ()) -> Plan:
    made = planned(found, target, acts=acts)
    assert isinstance(made, Plan), made
    return made


def withheld(
    found: CauseFinding | Diagnosis, target: TargetPolicy = ROOMY, *, halted: bool = False
) -> PlanWithheld:
    made = planned(found, target, halted=halted)
    assert isinstance(made, PlanWithheld), made
    return made


STORM = cause("checkpoint_storm", max_wal_size="1GB", max_wal_size_doubled="2GB")
EMPTIED = cause("mass_delete", database="shop", table="public.orders")
NO_VACUUM = cause("autovacuum_starved", autovacuum="off", track_counts="on")

WAITS = cause(
    "restart_pending",
    data_directory="/data",
    system_identifier="42",
    postmaster_start="2026-03-01T06:00:00.123456+00:00",
    settings="shared_buffers",
)
NEAR_ITS_LIMIT = cause(
    "oom_killed",
    server_running=True,
    container_short=True,
    container_id="c" * 64,
    container_image_id="sha256:1",
    container_memory_bytes=512 << 20,
    container_memory_larger_bytes=768 << 20,
)

PLANS = [
    (KILLED, ["start_server"]),
    (replace(KILLED, id=CauseId("oom_killed")), ["start_server"]),
    (NEAR_ITS_LIMIT, ["raise_container_memory"]),
    (STOPPED, ["start_server"]),
    (STALE, ["set_aside_lock_file", "start_server"]),
    (LEAK, ["end_idle_sessions"]),
    (CHAIN, ["end_blocking_session"]),
    (FORGOTTEN, ["end_sessions"]),
    (RUNAWAY, ["cancel_statement"]),
    (WAITING, ["cancel_statement"]),
    (replace(RUNAWAY, id=CauseId("replay_conflict")), ["cancel_statement"]),
    (FULL_POOL, ["resize_pool"]),
    (PAUSED_POOL, ["resume_pool"]),
    (DISK, ["free_space", "start_server"]),
    (replace(DISK, facts=(*DISK.facts, ("server_running", True))), ["free_space"]),
    (replace(DISK, facts=(*DISK.facts, ("server_running", None))), ["free_space"]),
    (replace(DISK, facts=(*DISK.facts, ("volume_full", False))), ["start_server"]),
    (SLOT, ["drop_slot"]),
    (OLD, ["analyze_table"]),
    (DEAD, ["vacuum_table"]),
    (replace(DEAD, id=CauseId("table_bloat")), ["vacuum_table"]),
    (IDS, ["vacuum_table"]),
    (INVALID, ["rebuild_index"]),
    (NO_VACUUM, ["set_parameter"]),
    (STORM, ["set_parameter"]),
    (EMPTIED, ["quarantine_table"]),
    (replace(EMPTIED, id=CauseId("mass_update")), ["quarantine_table"]),
    (cause("table_dropped", database="shop"), ["make_read_only"]),
    (WAITS, ["restart_server"]),
    (
        replace(NO_VACUUM, facts=(("autovacuum", "off"), ("track_counts", "off"))),
        ["set_parameter", "set_parameter"],
    ),
]


@pytest.mark.parametrize(("found", "actions"), PLANS)
def test_a_cause_becomes_the_steps_of_its_runbook(found: CauseFinding, actions: list[str]) -> None:
    plan = plan_of(found)
    assert [step.action for step in plan.effects] == actions
    for step in plan.steps:
        assert check_params(CATALOGUE[step.action], step) is None
        assert step.preview
        assert bool(step.undo) != bool(step.no_undo)
    assert plan.expires_at == AT + timedelta(seconds=TARGET.approve_within_s)


@pytest.mark.parametrize(("found", "_actions"), PLANS)
def test_a_plan_survives_being_stored(found: CauseFinding, _actions: list[str]) -> None:
    event = PlanProposed(plan=plan_of(found))
    assert from_body(event.kind, to_body(event)) == event


def test_what_changes_a_server_waits_for_a_person_and_tells_what_it_will_do() -> None:
    said = {
        "Set autovacuum to on": plan_of(NO_VACUUM),
        "Set max_wal_size to 2GB": plan_of(STORM),
        "TRUNCATE on public.orders in shop": plan_of(EMPTIED),
        "new sessions in database shop": plan_of(cause("table_dropped", database="shop")),
    }
    for words, plan in said.items():
        assert plan.mode is Mode.ADVISE
        assert words in plan.effects[0].preview


def test_autovacuum_that_is_on_is_not_switched_on() -> None:
    made = withheld(cause("autovacuum_starved", autovacuum="on", track_counts="on"))
    assert "no step of autovacuum-starved fits" in made.refusal.reason


def test_a_plan_is_bound_to_the_identities_it_was_made_from() -> None:
    [step] = plan_of(CHAIN).effects
    exact = {fact.name for fact in step.binding if fact.low is None}
    assert exact == {"root_pid", "root_backend_start", "root_xact_start"}


def test_a_server_that_was_started_again_and_again_is_put_to_a_person_with_the_reason() -> None:
    acts = [("start_server", AT - timedelta(minutes=n)) for n in (5, 10, 15)]
    few, many = plan_of(KILLED, acts=acts[:2]), plan_of(KILLED, acts=acts)
    assert (few.mode, few.asks_because) == (Mode.ACT, "")
    assert (many.mode, "3 times" in many.asks_because) == (Mode.ADVISE, True)


def test_a_restart_always_asks_and_is_bound_to_the_very_server() -> None:
    plan = plan_of(WAITS)
    assert (plan.mode, plan.asks_because) == (Mode.ADVISE, "its runbook always asks")
    [step] = plan.effects
    exact = {fact.name for fact in step.binding}
    assert exact == {"data_directory", "system_identifier", "postmaster_start"}


def test_a_server_of_which_the_start_is_not_known_is_not_put_up_for_a_restart() -> None:
    facts = tuple(fact for fact in WAITS.facts if fact[0] != "postmaster_start")
    assert withheld(replace(WAITS, facts=facts)).refusal.guard == "params"


def test_why_a_person_is_asked_is_told_only_where_policy_would_let_it_happen() -> None:
    asks = plan_of(RUNAWAY)
    assert (asks.mode, asks.asks_because) == (Mode.ADVISE, "its runbook always asks")
    advises = replace(TARGET, actions=dict.fromkeys(TARGET.actions, Mode.ADVISE))
    assert plan_of(KILLED, replace(advises, free_space=ROOMY.free_space)).asks_because == ""


def test_a_running_statement_is_cancelled_only_by_approval_of_that_one() -> None:
    plan = plan_of(RUNAWAY)
    assert plan.mode is Mode.ADVISE
    [step] = plan.effects
    assert {fact.name for fact in step.binding} == {
        "statement_pid",
        "statement_backend_start",
        "statement_query_start",
    }
    assert "Cancel the statement of session 11 of reports after 5 min" in step.preview


def test_a_pool_is_changed_only_by_approval_and_only_from_the_size_it_had() -> None:
    plan = plan_of(FULL_POOL)
    assert plan.mode is Mode.ADVISE
    [step] = plan.steps
    assert {fact.name for fact in step.binding} >= {"pooler", "database", "pool_size"}
    assert "default_pool_size of pooler bouncer from 20 to 30" in step.preview
    assert plan_of(PAUSED_POOL).mode is Mode.ADVISE


@pytest.mark.parametrize("pools", [(), (replace(BOUNCER, admin_dsn=""),)])
def test_a_pooler_that_is_only_watched_is_left_to_people(pools: tuple[ConsolePools, ...]) -> None:
    made = withheld(PAUSED_POOL, replace(ROOMY, pools=pools))
    assert made.refusal.guard == "pooler"
    assert "admin_dsn" in made.refusal.lifts


def test_a_pool_whose_size_was_not_told_is_left_as_it_is() -> None:
    unsized = cause("pool_exhausted", pooler="bouncer", database="app")
    assert withheld(unsized, ROOMY).refusal.guard == "setting"


def test_a_schema_change_that_waits_is_cancelled_unasked_only_while_it_does() -> None:
    plan = plan_of(WAITING)
    assert plan.mode is Mode.ACT
    assert plan.effects[0].param("while_waiting") is True
    assert "session 12 of migrate, which waits for orders" in plan.effects[0].preview


def test_a_statement_that_is_soon_over_is_not_proposed_to_be_cancelled() -> None:
    made = withheld(replace(RUNAWAY, facts=(("application_name", "reports"),)))
    assert made.refusal.guard == "params"
    assert any("pg_cancel_backend" in option for option in made.options)


@pytest.mark.parametrize("state", ["active", "", None])
def test_the_end_of_a_root_at_work_is_put_to_a_person_with_what_would_be_lost(
    state: str | None,
) -> None:
    plan = plan_of(replace(CHAIN, facts=(*CHAIN.facts, ("state", state))))
    assert plan.mode is Mode.ADVISE
    assert "what it did since 2026-03-14T08:55:00+00:00 is lost" in plan.effects[0].preview
    assert plan.effects[0].param("while_idle") is None, "an approval is not undone by a pause"


@pytest.mark.parametrize("state", ["idle in transaction", "idle in transaction (aborted)"])
def test_a_root_that_idles_in_its_transaction_is_ended_unasked_only_while_it_does(
    state: str,
) -> None:
    plan = plan_of(replace(CHAIN, facts=(*CHAIN.facts, ("state", state))))
    assert plan.mode is Mode.ACT
    assert plan.effects[0].param("while_idle") is True
    assert "is lost" not in plan.effects[0].preview


def test_the_preview_tells_numbers() -> None:
    [step] = plan_of(LEAK).effects
    assert all(text in step.preview for text in ("shop", "app", "80", "97", "100"))


def test_hostile_names_stay_on_one_line_in_previews_and_options() -> None:
    nasty = "x\n\x1b[31m'; DROP TABLE orders; --" + "y" * 5000
    facts = tuple((k, nasty if k == "application_name" else v) for k, v in LEAK.facts)
    found = replace(LEAK, facts=facts)
    [step] = plan_of(found).effects
    told = (step.preview, *options_for(found, ROOMY))
    assert all(text.isprintable() and len(text) < 700 for text in told)


# --- digests and binding --------------------------------------------------------------------------


def test_the_same_facts_give_the_same_digest_and_another_fact_another_one() -> None:
    other = replace(CHAIN, facts=tuple((k, 11 if k == "root_pid" else v) for k, v in CHAIN.facts))
    assert plan_of(CHAIN).digest == plan_of(CHAIN).digest
    assert plan_of(CHAIN).digest != plan_of(other).digest


def test_an_approval_holds_while_its_facts_do() -> None:
    assert still_bound(plan_of(CHAIN), diagnosis(CHAIN)) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("root_pid", 11), ("root_xact_start", "2026-03-14T08:55:01+00:00"), ("waiters", 0)],
)
def test_an_approval_is_void_once_a_fact_it_was_bound_to_changed(name: str, value: object) -> None:
    facts = tuple((k, value if k == name else v) for k, v in CHAIN.facts)
    refusal = still_bound(plan_of(CHAIN), diagnosis(replace(CHAIN, facts=facts)))  # pyright: ignore
    assert refusal is not None
    assert name in refusal.reason


def test_more_waiters_do_not_void_an_approval() -> None:
    facts = tuple((k, 70 if k == "waiters" else v) for k, v in CHAIN.facts)
    assert still_bound(plan_of(CHAIN), diagnosis(replace(CHAIN, facts=facts))) is None


def test_an_approval_is_void_once_its_cause_is_no_longer_found() -> None:
    assert still_bound(plan_of(CHAIN), diagnosis(LEAK)) is not None


# --- modes ----------------------------------------------------------------------------------------


def test_a_plan_acts_by_itself_only_if_every_step_may() -> None:
    assert plan_of(STALE).mode is Mode.ACT
    half = replace(ROOMY, actions={**ROOMY.actions, "start_server": Mode.ADVISE})
    assert plan_of(STALE, half).mode is Mode.ADVISE


def test_a_cause_that_is_not_likely_enough_is_put_to_a_person() -> None:
    assert plan_of(replace(KILLED, probability=0.59)).mode is Mode.ADVISE
    assert plan_of(replace(KILLED, probability=0.61)).mode is Mode.ACT


# --- withheld -------------------------------------------------------------------------------------


def test_what_policy_only_observes_is_withheld_with_options_and_what_would_change_it() -> None:
    watching = replace(ROOMY, actions={})
    found = withheld(KILLED, watching)
    assert found.refusal.guard == "policy"
    assert "start_server: advise" in found.refusal.lifts
    assert found.options


REASONS = [
    (
        "a clean stop nothing wants undone",
        STOPPED,
        replace(ROOMY, desired="unmanaged"),
        "clean_stop_unordered",
    ),
    ("no acting session", LEAK, replace(ROOMY, acting_dsn=""), "acting_session"),
    ("nothing safe to delete", DISK, TARGET, "known_safe"),
    (
        "a prepared transaction",
        replace(CHAIN, facts=(*CHAIN.facts, ("root_pid", 0))),
        ROOMY,
        "ordinary_client",
    ),
    (
        "a dump at the root",
        replace(CHAIN, facts=(*CHAIN.facts, ("root_application", "pg_dump"))),
        ROOMY,
        "not_protected",
    ),
    (
        "an application at the root that policy protects",
        CHAIN,
        replace(ROOMY, protected_applications=("shop",)),
        "not_protected",
    ),
    (
        "a worker of the server at the root",
        replace(CHAIN, facts=(*CHAIN.facts, ("root_backend_type", "autovacuum worker"))),
        ROOMY,
        "ordinary_client",
    ),
    (
        "a lock held outside of a transaction",
        replace(CHAIN, facts=(*CHAIN.facts, ("root_xact_start", None))),
        ROOMY,
        "same_session",
    ),
    ("a fact the action needs is missing", cause("killed", server_running=False), ROOMY, "params"),
    (
        "it runs already",
        replace(KILLED, facts=(*KILLED.facts, ("server_running", True))),
        ROOMY,
        "runbook",
    ),
    ("no runbook for real load", cause("connections_load"), ROOMY, "runbook"),
    ("no runbook for a server that gives up", cause("cannot_start"), ROOMY, "runbook"),
    ("no runbook for a lock file of a living server", cause("live_lock_file"), ROOMY, "runbook"),
]


@pytest.mark.parametrize(("_why", "found", "target", "guard"), REASONS, ids=[r[0] for r in REASONS])
def test_a_plan_is_withheld_for(
    _why: str, found: CauseFinding, target: TargetPolicy, guard: str
) -> None:
    answer = withheld(found, target)
    assert answer.refusal.guard == guard
    assert answer.options, "people are told what they could do"


def test_a_death_is_undone_even_where_a_clean_stop_is_not() -> None:
    assert plan_of(KILLED, replace(ROOMY, desired="unmanaged")).effects


def test_a_halt_withholds_everything() -> None:
    assert withheld(KILLED, halted=True).refusal.guard == "halt"


def test_what_another_standing_cause_forbids_is_withheld() -> None:
    live = replace(cause("live_lock_file", probability=0.3), forbids=("start_server",))
    found = withheld(diagnosis(KILLED, live))
    assert found.refusal.guard == "diagnosis"


@pytest.mark.parametrize("verdict", [Verdict.UNKNOWN, Verdict.HEALTHY, Verdict.RECOVERED])
def test_without_a_cause_there_is_no_plan(verdict: Verdict) -> None:
    found = withheld(replace(diagnosis(KILLED), verdict=verdict))
    assert found.refusal.guard == "diagnosis"


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fact", [("root_application", "pg_dump"), ("root_backend_type", "autovacuum worker")]
)
def test_nobody_is_told_to_end_a_backup_or_a_worker(fact: tuple[str, str]) -> None:
    options = options_for(replace(CHAIN, facts=(*CHAIN.facts, fact)), ROOMY)
    assert not any("pg_terminate_backend" in text for text in options)
    assert any("Cancel the schema change" in text for text in options)
    assert any("pg_terminate_backend" in text for text in options_for(CHAIN, ROOMY))


def test_for_a_full_disk_the_retainer_is_named_and_growing_comes_before_dropping() -> None:
    options = options_for(DISK, ROOMY)
    grow = next(n for n, text in enumerate(options) if text.startswith("Grow"))
    drop = next(n for n, text in enumerate(options) if text.startswith("Drop the slot"))
    assert grow < drop
    assert any("old_replica" in text for text in options)


@pytest.mark.parametrize(
    "cause_id",
    [
        "stopped_cleanly",
        "crashed",
        "killed",
        "oom_killed",
        "stale_lock_file",
        "live_lock_file",
        "cannot_start",
        "version_mismatch",
        "kernel_resources_short",
        "preload_library_missing",
        "bad_configuration",
        "no_valid_checkpoint",
        "upgrade_failed",
        "long_recovery",
        "connections_leaked",
        "connections_behind_lock",
        "connections_load",
        "blocking_chain",
        "idle_in_transaction",
        "disk_full_data",
        "disk_full_wal",
        "network_unreachable",
        "postmaster_stopped",
        "dns_failure",
        "credentials_refused",
        "other_cluster",
        "standby_without_sessions",
    ],
)
def test_every_cause_has_options_even_without_facts(cause_id: str) -> None:
    assert len(options_for(cause(cause_id), TARGET)) >= 2
