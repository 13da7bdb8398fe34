"""Where an alert from outside belongs."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from stanch.incident.outside import ATTACHED_MAX, crowded, place, the_rest
from stanch.incident.state import Incident, Status, frozen
from stanch.model.ids import IncidentId, TargetName
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.policy.rules import declared_rules
from timelines import T0

ORDERS = TargetName("orders")


def alert(key: str = "prom:a", *, since: datetime = T0) -> Symptom:
    return Symptom(kind=SymptomKind.OUTSIDE_ALERT, target=ORDERS, since=since, subject=key)


def incident(number: int = 1, **more: Any) -> Incident:
    made = Incident(id=IncidentId(f"20260301-{number:03d}"), severity_rank=2)
    return replace(replace(made, target=ORDERS, opened_at=T0), **more)


def ended(number: int = 1, *, after_s: float = 0, seen: str = "server_down") -> Incident:
    at = T0 + timedelta(seconds=after_s)
    return incident(number, status=Status.RESOLVED, ended_at=at, seen=frozenset({seen}))


def where(symptom: Symptom, *incidents: Incident, after_s: float = 0) -> tuple[str, str | None]:
    at = T0 + timedelta(seconds=after_s)
    found = place(symptom, incidents, at=at, flap_window_s=600)
    return found.to, found.incident_id


def test_the_first_alert_opens_an_incident() -> None:
    assert where(alert()) == ("new", None)


def test_an_alert_joins_what_is_open_whatever_its_cause() -> None:
    assert where(alert(), incident()) == ("open", "20260301-001")


def test_of_several_open_ones_it_joins_where_it_was_and_else_the_worst() -> None:
    worst = incident(2, severity_rank=1)
    known = incident(1, seen=frozenset({"outside_alert:prom:a"}))
    assert where(alert(), worst, known) == ("open", known.id)
    assert where(alert("prom:b"), worst, known) == ("open", worst.id)


def test_an_alert_that_comes_back_soon_reopens_its_incident() -> None:
    before = ended(seen="outside_alert:prom:a")
    again = alert(since=T0 + timedelta(seconds=200))
    assert where(again, before, after_s=200) == ("ended", before.id)
    assert where(again, before, after_s=700) == ("new", None)


@pytest.mark.parametrize(("after_s", "expected"), [(30, "wait"), (179, "wait"), (181, "ended")])
def test_late_news_of_what_is_over_waits_before_it_wakes_anybody(
    after_s: float, expected: str
) -> None:
    symptom = alert(since=T0 - timedelta(seconds=5))
    assert where(symptom, ended(), after_s=after_s)[0] == expected


def test_an_alert_that_began_after_the_end_is_something_new() -> None:
    assert where(alert(since=T0 + timedelta(seconds=1)), ended(), after_s=30) == ("new", None)


def test_what_may_stand_for_weeks_takes_no_alert_in() -> None:
    apart = next(kind for kind, rule in declared_rules().items() if rule.apart)
    assert where(alert(), incident(seen=frozenset({f"{apart}:x"}))) == ("new", None)
    both = incident(seen=frozenset({f"{apart}:x", "server_down"}))
    assert where(alert(), both) == ("open", both.id)


def test_a_crowd_of_alerts_stands_in_an_incident_as_one() -> None:
    some = {f"outside_alert:prom:{n}": alert(f"prom:{n}") for n in range(ATTACHED_MAX)}
    full = incident(symptoms=frozen(some))
    almost = incident(symptoms=frozen(dict(list(some.items())[1:])))
    assert crowded(alert("prom:new"), full)
    assert not crowded(alert("prom:3"), full)
    assert not crowded(alert("prom:new"), almost)
    assert the_rest(alert("prom:new")).key == the_rest(alert("prom:newer")).key
