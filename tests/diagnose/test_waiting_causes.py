"""What waits and nobody can ask, and what one look at a server meets or misses."""

from __future__ import annotations

from dataclasses import replace

import pytest

import evidences as w
from paces import grown, pace
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.facts.workings import Doing
from stanch.model.diagnosis import CauseFinding, Missing


def standing(evidence: Evidence) -> list[str]:
    return [c.id for c in diagnose(evidence).causes if c.probability >= STANDS_FROM]


def story(evidence: Evidence) -> dict[str, str | None]:
    found = diagnose(evidence).causes
    return {c.id: c.follows for c in found if c.probability >= STANDS_FROM}


def first(evidence: Evidence) -> CauseFinding:
    found = diagnose(evidence).first
    assert found is not None
    return found


def by_titles(*, idle: int) -> Evidence:
    """A full server that nobody can ask, as the titles of its processes tell it."""
    groups = [w.group("active", 30, "")]
    groups += [w.group("idle in transaction", idle, "")] if idle else []
    return w.healthy(
        reach=w.reach("too_many_clients"),
        sessions=w.sessions(*groups, maximum=33, waiting=28),
        **dict.fromkeys(("chains", "activity", "figures", "history"), w.NOT_SERVED),
    )


def test_of_a_full_server_the_idle_transaction_is_told_before_those_who_wait_for_a_lock() -> None:
    told = story(by_titles(idle=1))
    assert told == {
        "idle_in_transaction": None,
        "connections_behind_lock": "idle_in_transaction",
    }
    assert "28 sessions wait for a lock, and 1 are idle" in first(by_titles(idle=1)).summary


def test_a_full_server_without_one_is_told_by_those_who_wait_alone() -> None:
    assert list(story(by_titles(idle=0))) == ["connections_behind_lock"]


def by_a_stranger(*doings: Doing) -> Evidence:
    return w.healthy(
        activity=w.activity(*doings),
        history=Missing(what="history", reason="nobody watches this server"),
    )


def test_a_dozen_that_meet_on_one_lwlock_in_statements_that_last_are_told_to_a_stranger() -> None:
    lasting = w.doing(11, "LWLock:BufferContent", oldest_query_s=4.0)
    assert standing(by_a_stranger(lasting, w.doing(8))) == ["lwlock_contention"]


@pytest.mark.parametrize("waiting", [(11, 0.2), (8, 4.0)])
def test_short_statements_that_meet_for_a_moment_are_quiet(waiting: tuple[int, float]) -> None:
    sessions, oldest_s = waiting
    meeting = w.doing(sessions, "LWLock:WALWrite", oldest_query_s=oldest_s)
    assert standing(by_a_stranger(meeting, w.doing(5))) == []


def test_a_few_sessions_suffice_where_most_look_up_subtransactions() -> None:
    young = w.figure("oldest_xact_age_s", 8.0)
    evidence = by_a_stranger(w.doing(4, "LWLock:SubtransSLRU"), w.doing(2))
    known = replace(evidence, figures=w.figures(*w.HEALTHY_FIGURES, young, **w.SETTINGS))
    assert standing(known) == ["subtransaction_overflow"]


@pytest.mark.parametrize(
    ("a_second", "named"), [(90_000, ["subtransaction_overflow"]), (3_000, [])]
)
def test_look_ups_of_subtransactions_are_told_by_their_rate_where_no_look_meets_a_wait(
    a_second: int, named: list[str]
) -> None:
    evidence = by_a_stranger(w.doing(1, "LWLock:SubtransSLRU"), w.doing(3))
    counted = pace(subtrans_lookups=grown(5e6, a_second))
    assert standing(replace(evidence, pace=counted)) == named
