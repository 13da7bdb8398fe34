"""A cluster in which nobody may lead, and those that only look like one."""

from __future__ import annotations

import pytest

import cases_replication as c
import evidences as w
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.model.diagnosis import Missing, not_there

LEADERLESS = c.CASES["cluster_leaderless"]


def named(**evidence: object) -> list[str]:
    found = diagnose(w.healthy(**evidence))
    return [cause.id for cause in found.causes if cause.probability >= STANDS_FROM]


def test_nobody_leads_because_the_store_is_lost() -> None:
    found = diagnose(LEADERLESS)
    assert found.causes[0].id == "cluster_leaderless"
    assert 'Nobody leads cluster "shop"' in found.summary
    assert "has not reached the store" in found.summary


def test_a_leader_somewhere_else_is_no_cluster_without_one() -> None:
    seen = c.patroni(c.node("one", "leader"), c.node("two"))
    assert "cluster_leaderless" not in named(figures=c.standby(), patroni=seen)


def test_a_leader_that_has_lost_its_store_a_moment_ago_still_leads() -> None:
    seen = c.patroni(c.node("one", "leader"), role="master", late_s=40.0)
    assert named(patroni=seen) == []


@pytest.mark.parametrize(
    "seen",
    [
        c.patroni(unlocked=False, late_s=90.0),
        Missing(what="patroni", reason="no answer within 1.5 s"),
    ],
)
def test_patroni_that_cannot_say_who_leads_proves_nothing(seen: object) -> None:
    assert named(figures=c.standby(), patroni=seen) == []


def test_whoever_is_not_there_to_be_asked_is_not_missed() -> None:
    gone = {name: not_there(name) for name in ("patroni", "beside", "service")}
    told = {f.evidence for f in diagnose(w.down(**gone)).absent}
    assert not told & set(gone)
    late = Missing(what="patroni", reason="no answer within 1.5 s")
    assert "patroni" in {f.evidence for f in diagnose(w.down(patroni=late)).absent}
