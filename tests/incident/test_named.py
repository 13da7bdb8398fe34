"""Which cause an incident is known by."""

from __future__ import annotations

from dataclasses import replace

from stanch.model import events as e
from timelines import Story, diagnosed, opened


def found(cause: str, *, later: bool) -> e.DiagnosisRecorded:
    event = diagnosed(cause)
    assert isinstance(event, e.DiagnosisRecorded)
    [first] = event.diagnosis.causes
    causes = (replace(first, hurts_later=later),)
    return replace(event, diagnosis=replace(event.diagnosis, causes=causes))


def known_by(*events: e.Event) -> str | None:
    story = Story(opened())
    for n, event in enumerate(events):
        story.then(event, n)
    named = story.incident.named
    return named.first.id if named and named.first else None


def test_what_hurt_keeps_its_name_when_only_what_will_hurt_is_left() -> None:
    acute, creeping = found("disk_full_wal", later=False), found("slot_inactive", later=True)
    assert known_by(acute, creeping) == "disk_full_wal"


def test_what_hurts_takes_the_place_of_what_will_hurt() -> None:
    acute, creeping = found("disk_full_wal", later=False), found("slot_inactive", later=True)
    assert known_by(creeping, acute) == "disk_full_wal"


def test_a_better_answer_takes_the_place_of_the_one_before() -> None:
    assert known_by(found("crashed", later=False), found("killed", later=False)) == "killed"
