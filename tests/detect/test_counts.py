"""Fewer than there were: told until as many are back, and for how long at most."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from samplings import T0, Watched, seen, target, vitals
from stanch.detect.engine import Detector
from stanch.detect.in_force import plan_for
from stanch.model.samples import Sample
from stanch.model.symptoms import Symptom
from stanch.model.vitals import SenderVitals

GONE = "standby_gone"
DAY_S = 86_400.0


def standbys(*names: str, **more: Any) -> Sample:
    senders = tuple(SenderVitals(pid=n, application_name=name) for n, name in enumerate(names))
    return seen(vitals=vitals(senders=senders, **more))


TWO, ONE, NONE = standbys("db2", "db3"), standbys("db2"), standbys()


def one_gone() -> Watched:
    """At a hundred seconds it is told that one of two is gone."""
    watched = Watched().look(0, TWO).look(60, ONE).look(100, ONE)
    assert watched.raised == [GONE]
    return watched


def later(watched: Watched, until_s: float, sample: Sample, every_s: float = 600.0) -> Watched:
    moment = 100.0
    while moment < until_s:
        moment += every_s
        watched.look(moment, sample)
    return watched


def ends(watched: Watched, from_s: float, sample: Sample) -> list[str]:
    """What is said of what is over within ten seconds."""
    for n in range(10):
        watched.look(from_s + n, sample)
    return [change.detail for change in watched.ended]


def test_a_missing_standby_is_told_until_it_is_back_however_many_minutes_that_takes() -> None:
    watched = later(one_gone(), DAY_S / 2, ONE)
    assert watched.cleared == []
    assert ends(watched, DAY_S / 2 + 700, TWO) == ["now 2"]


def test_it_says_how_many_there_were() -> None:
    [symptom] = one_gone().symptoms
    assert (symptom.measured, symptom.limit) == (1.0, 2.0)
    assert symptom.detail == "1 standbys are connected, and 2 were before"


def test_of_two_that_are_gone_one_that_is_back_is_not_enough() -> None:
    watched = one_gone().look(110, NONE).look(900, ONE)
    assert ends(watched, 1000, ONE) == []
    assert ends(watched, 2000, TWO) == ["now 2"]


def test_after_a_day_the_lower_number_is_the_usual_one_and_that_is_what_is_said() -> None:
    watched = later(one_gone(), DAY_S - 700, ONE)
    assert watched.cleared == []
    assert ends(watched, DAY_S + 60, ONE) == [
        "still 1, and 2 were before: from now on 1 is usual",
    ]
    assert [change.lapsed for change in watched.ended] == [True]
    later(watched, 2 * DAY_S, ONE, every_s=7200.0)
    assert watched.raised == [GONE], "it is not told again"
    watched.look(3 * DAY_S, NONE).look(3 * DAY_S + 31, NONE)
    assert watched.raised == [GONE, GONE], "but the next one that leaves is"


def test_what_is_back_at_the_last_moment_is_over_and_has_not_lapsed() -> None:
    watched = later(one_gone(), DAY_S - 700, ONE)
    assert ends(watched, DAY_S + 60, TWO) == ["now 2"]
    assert [change.lapsed for change in watched.ended] == [False]


def after_a_restart(symptom: Symptom, first: Sample) -> Watched:
    watched = one_gone()
    watched.detector = Detector(plan_for(watched.policy), standing=[symptom])
    return watched.look(700, first).look(710, first).look(720, first)


def test_a_process_that_begins_anew_goes_on_to_miss_what_the_one_before_did() -> None:
    [symptom] = one_gone().symptoms
    watched = after_a_restart(symptom, ONE)
    assert ends(watched, 4000, ONE) == []
    assert ends(watched, 5000, TWO) == ["now 2"]
    assert [c.lapsed for c in after_a_restart(symptom, TWO).ended] == [False]


def test_what_an_earlier_release_told_is_one_fewer_at_least() -> None:
    [symptom] = one_gone().symptoms
    old = replace(symptom, limit=None)
    assert after_a_restart(old, ONE).cleared == []
    assert after_a_restart(old, TWO).cleared == [GONE]


def test_the_day_counts_over_a_restart() -> None:
    [symptom] = one_gone().symptoms
    long_ago = replace(symptom, since=T0 - timedelta(days=1))
    assert [c.lapsed for c in after_a_restart(long_ago, ONE).ended] == [True]


def test_what_nobody_waits_for_any_more_is_usual_at_once() -> None:
    watched = one_gone()
    watched.detector.give_up([GONE, "server_down"])
    assert ends(watched, 200, ONE) == ["still 1, and 2 were before: from now on 1 is usual"]
    watched.look(300, NONE).look(331, NONE)
    assert watched.raised == [GONE, GONE]


def test_a_primary_that_became_a_standby_misses_nobody() -> None:
    demoted = standbys(in_recovery=True)
    watched = Watched().look(0, TWO)
    for n in range(60, 200, 10):
        watched.look(n, demoted)
    assert watched.raised == []
    told = one_gone()
    [said] = ends(told, 200, demoted)
    assert "counted anew" in said
    assert [change.lapsed for change in told.ended] == [True]


@pytest.mark.parametrize("passing", ["pg_basebackup", "pg_16394_sync_16385_7294712345678901234"])
def test_receivers_that_come_and_go_by_design_are_no_standbys(passing: str) -> None:
    watched = Watched().look(0, standbys("db2", passing))
    for n in range(10, 100, 10):
        watched.look(n, standbys("db2"))
    assert watched.raised == []


def test_a_changed_policy_says_how_long_it_is_told_at_most() -> None:
    watched = Watched(target(standby_gone={"limit": 600.0})).look(0, TWO)
    watched.look(60, ONE).look(100, ONE).look(650, ONE).look(659, ONE)
    assert watched.cleared == []
    assert ends(watched, 661, ONE) == ["still 1, and 2 were before: from now on 1 is usual"]
