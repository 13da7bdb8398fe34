"""What people hear when the cause of what they were paged for is found elsewhere."""

from __future__ import annotations

from stanch.model import events as e
from stanch.model.ids import IncidentId, TargetName
from stanch.notify.story import Story
from stanch.notify.texts import update_text
from timelines import T0, at

STORY = Story(
    incident_id=IncidentId("20260301-002"),
    target=TargetName("orders-1"),
    title="server down",
    since=T0,
    severity_label="P0",
    data_at_risk="possible",
)


def taken_in(title: str) -> e.IncidentTakenIn:
    return e.IncidentTakenIn(
        of=IncidentId("20260301-001"), target=TargetName("orders-2"), title=title
    )


def test_the_update_names_the_cause_the_effect_and_both_incidents() -> None:
    text = update_text(taken_in("a health check fails"), STORY, at=at(5))
    assert text.short == (
        "P0 orders-1: server down; that is why: a health check fails on orders-2 (002)"
    )
    assert "20260301-001" in text.body
    assert "20260301-002" in text.body


def test_a_hostile_title_stays_on_one_short_line() -> None:
    text = update_text(taken_in("x\n\x1b[31m" + "y" * 5000), STORY, at=at(5))
    assert len(text.short) <= 160
    assert text.short.isprintable()
    assert "\x1b" not in text.body
