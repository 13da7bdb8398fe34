"""The faults of the lab as a whole."""

from __future__ import annotations

import re

import pytest

from stanch.diagnose.catalogue import BY_ID as CAUSES
from stanch.drill.lab.catalogue import BY_ID, HARMLESS
from stanch.drill.lab.fault import Area, Fault

EVERY = [*BY_ID.values(), *HARMLESS.values()]
ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def test_there_are_at_least_fifty_of_every_area() -> None:
    assert len(BY_ID) >= 50
    assert {fault.area for fault in BY_ID.values()} == set(Area)


@pytest.mark.parametrize("fault", EVERY, ids=lambda f: f.id)
def test_a_fault_is_named_and_told_as_people_would(fault: Fault) -> None:
    assert ID.fullmatch(fault.id)
    assert fault.story.endswith(".")
    assert len(fault.story) <= 200


@pytest.mark.parametrize("fault", BY_ID.values(), ids=lambda f: f.id)
def test_the_truth_is_a_cause_that_can_be_named(fault: Fault) -> None:
    assert fault.causes
    assert not set(fault.causes) - set(CAUSES)


@pytest.mark.parametrize("fault", HARMLESS.values(), ids=lambda f: f.id)
def test_what_is_harmless_causes_nothing(fault: Fault) -> None:
    assert fault.causes == ()
    assert fault.id not in BY_ID
