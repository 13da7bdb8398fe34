"""The never-table: what it finds in commands, and what a standing diagnosis forbids."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acting_worlds import cause, diagnosis
from stanch.policy.policy import ACTIONS, READING_ACTIONS
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.steps.never import (
    FORBIDDEN,
    STANDING_PROBABILITY_MIN,
    forbidden_in,
    refuse_by_diagnosis,
)

TOLD = [
    ("delete_wal", "rm -f /var/lib/postgresql/15/main/pg_wal/0000000100000000000000A1"),
    ("delete_wal", "find $PGDATA/pg_wal -name '0*' -delete"),
    ("delete_wal", "pg_archivecleanup /data/pg_wal 000000010000000000000010"),
    ("reset_wal", "pg_resetwal -f /data"),
    ("delete_lock_file", "rm /data/postmaster.pid"),
    ("discard_archive", "ALTER SYSTEM SET archive_command = '/bin/true'"),
    ("replication_role", "SET session_replication_role = replica;"),
    ("vacuum_full", "VACUUM FULL orders;"),
    ("vacuum_full", "vacuum (verbose, full) orders"),
    ("promote", "SELECT pg_promote();"),
    ("promote", "pg_ctl promote -D /data"),
    ("kill_9", "kill -9 4711"),
]

NEAR_MISSES = [
    "ls -l /data/pg_wal",
    "du -sh /data/pg_wal /data/base",
    "cat /data/postmaster.pid",
    "mv postmaster.pid postmaster.pid.stale.1",
    "VACUUM orders;",
    "VACUUM (VERBOSE, ANALYZE) orders;",
    "archive_command = 'test ! -f /mnt/%f && cp %p /mnt/%f'",
    "kill -TERM 4711",
    "rm /var/lib/postgresql/ballast-1",
    "pg_ctl start -D /data",
]


@pytest.mark.parametrize(("what", "command"), TOLD)
def test_a_command_that_is_never_given_is_recognised(what: str, command: str) -> None:
    assert what in [found.id for found in forbidden_in(command)]


@pytest.mark.parametrize("command", NEAR_MISSES)
def test_a_harmless_command_that_looks_alike_is_not(command: str) -> None:
    assert forbidden_in(command) == ()


def test_every_entry_has_a_reason_and_a_safe_equivalent() -> None:
    assert all(entry.why and entry.instead for entry in FORBIDDEN)
    assert len({entry.id for entry in FORBIDDEN}) == len(FORBIDDEN)


def test_every_guarded_act_names_guards_its_action_has() -> None:
    everywhere = {"diagnosis"}
    for action in CATALOGUE.values():
        for risk in action.risks:
            missing = {g for g in risk.guards if action.guard(g) is None} - everywhere
            assert not missing, f"{risk.what}: {missing}"


def test_every_action_says_what_is_risky_about_it() -> None:
    assert all(action.risks for action in CATALOGUE.values() if not action.reads_only)


def test_the_catalogue_and_the_policy_know_the_same_actions() -> None:
    assert tuple(CATALOGUE) == ACTIONS + READING_ACTIONS
    assert {a.name for a in CATALOGUE.values() if a.reads_only} == set(READING_ACTIONS)


def test_a_cause_that_still_stands_forbids_what_it_lists() -> None:
    live = replace(cause("live_lock_file", probability=0.2), forbids=("start_server",))
    refusal = refuse_by_diagnosis("start_server", diagnosis(cause("killed"), live))
    assert refusal is not None
    assert refusal.guard == "diagnosis"


def test_who_forbids_a_start_forbids_a_restart_and_no_stop() -> None:
    damaged = replace(cause("damage", probability=0.2), forbids=("start_server",))
    assert refuse_by_diagnosis("restart_server", diagnosis(damaged)) is not None
    assert refuse_by_diagnosis("stop_server", diagnosis(damaged)) is None


def test_a_cause_that_hardly_stands_forbids_nothing() -> None:
    faint = STANDING_PROBABILITY_MIN / 2
    live = replace(cause("live_lock_file", probability=faint), forbids=("start_server",))
    assert refuse_by_diagnosis("start_server", diagnosis(cause("killed"), live)) is None


def test_a_cause_forbids_only_what_it_lists() -> None:
    live = replace(cause("live_lock_file"), forbids=("start_server",))
    assert refuse_by_diagnosis("free_space", diagnosis(live)) is None
    assert refuse_by_diagnosis("start_server", None) is None
