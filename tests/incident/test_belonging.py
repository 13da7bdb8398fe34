"""Which symptoms share an incident: by cause, by what suffers from everything, by what may wait."""

from __future__ import annotations

from dataclasses import replace

from stanch.incident.correlate import Belongs, belongs, same_story
from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.ids import CauseId
from stanch.model.symptoms import SymptomKind
from timelines import Story, at, diagnosed, opened, symptom

EXPLAINS = {CauseId("killed"): (SymptomKind.SERVER_DOWN,)}


def begun(kind: SymptomKind, subject: str = "") -> Story:
    return Story(opened(symptom=symptom(kind, subject)))


def where(kind: SymptomKind, incident: Incident, subject: str = "") -> Belongs:
    return belongs(
        symptom(kind, subject), [incident], explains=EXPLAINS, at=at(60), flap_window_s=600
    )


def test_while_the_cause_is_unknown_other_symptoms_join() -> None:
    story = begun(SymptomKind.SESSIONS_BLOCKED)
    assert where(SymptomKind.CONNECTIONS_HIGH, story.incident).to == "open"


def test_once_the_cause_is_named_only_what_it_explains_joins() -> None:
    story = begun(SymptomKind.SERVER_DOWN).then(diagnosed("killed"), 1)
    assert where(SymptomKind.CONNECTIONS_HIGH, story.incident).to == "new"


def test_a_server_that_is_down_and_a_service_that_stopped_are_one_and_the_same() -> None:
    down = begun(SymptomKind.SERVER_DOWN).then(diagnosed("killed"), 1)
    assert where(SymptomKind.SERVICE_STOPPED, down.incident, "postgresql").to == "open"
    stopped = begun(SymptomKind.SERVICE_STOPPED, "postgresql").then(diagnosed("killed"), 1)
    assert where(SymptomKind.SERVER_DOWN, stopped.incident).to == "open"
    blocked = begun(SymptomKind.SESSIONS_BLOCKED).then(diagnosed("killed"), 1)
    assert where(SymptomKind.SERVICE_STOPPED, blocked.incident, "postgresql").to == "new"


def test_what_suffers_from_everything_joins_whatever_the_cause() -> None:
    story = begun(SymptomKind.SERVER_DOWN).then(diagnosed("killed"), 1)
    for kind in (SymptomKind.ERROR_RATE_HIGH, SymptomKind.HEALTH_CHECK_FAILING):
        assert where(kind, story.incident).to == "open"


def test_what_suffers_from_everything_opens_its_own_where_nothing_is_open() -> None:
    ended = begun(SymptomKind.SERVER_DOWN).then(
        e.IncidentResolved(verified=True, reason="over"), 30
    )
    assert where(SymptomKind.ERROR_RATE_HIGH, ended.incident).to == "new"


def test_an_outage_does_not_go_on_in_what_may_stand_for_weeks_whatever_a_diagnosis_says() -> None:
    role, down, full = (
        begun(kind).then(diagnosed("changed"), 1).incident
        for kind in (
            SymptomKind.NEW_DANGEROUS_ROLE,
            SymptomKind.SERVER_DOWN,
            SymptomKind.CONNECTIONS_EXHAUSTED,
        )
    )
    assert same_story(full, down)
    assert not same_story(down, role)
    assert not same_story(role, down)


def test_a_server_that_goes_down_does_not_join_what_has_stood_for_weeks() -> None:
    story = begun(SymptomKind.TABLE_BLOATED, "db.public.t")
    assert where(SymptomKind.SERVER_DOWN, story.incident).to == "new"
    assert where(SymptomKind.ERROR_RATE_HIGH, story.incident).to == "new"


def test_what_may_stand_for_weeks_does_not_join_an_outage() -> None:
    story = begun(SymptomKind.SERVER_DOWN)
    assert where(SymptomKind.BACKUP_OLD, story.incident).to == "new"


def test_the_same_on_something_else_joins() -> None:
    story = begun(SymptomKind.SEQUENCE_NEAR_END, "db.public.a")
    assert where(SymptomKind.SEQUENCE_NEAR_END, story.incident, "db.public.b").to == "open"
    assert where(SymptomKind.INDEX_INVALID, story.incident, "db").to == "new"


def test_an_outage_that_began_as_something_lasting_takes_the_rest_in() -> None:
    story = begun(SymptomKind.CLOCK_OFF)
    worse = replace(story.incident, seen=story.incident.seen | {"server_down"})
    assert where(SymptomKind.SESSIONS_BLOCKED, worse).to == "open"
