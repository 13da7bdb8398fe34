"""Plans where the cause named first is who fills the volume, not the full volume itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

import cases_disk as d
import evidences as w
from acting_worlds import AT, TARGET
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.inside import Retention, Slot
from stanch.diagnose.rank import diagnose
from stanch.model.events import PlanWithheld
from stanch.model.ids import IncidentId
from stanch.model.plans import Mode, Plan
from stanch.policy.policy import FreeSpace
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.library import shipped_runbooks
from stanch.respond.options import options_for
from stanch.respond.planner import plan_for

BALLAST = replace(
    TARGET,
    free_space=FreeSpace(ballast=("/wal/ballast-1",)),
    actions={**TARGET.actions, "free_space": Mode.ACT},
)
WHO_FILLS = (
    "archiver_failing",
    "slot_inactive",
    "slot_stuck",
    "wal_burst",
    "temp_file_spill",
    "log_volume_full",
    "inodes_exhausted",
)
BOOK = {"slot_inactive": "slot-inactive"}
"""Of whom there is more to do than to make room."""


def planned(evidence: Evidence) -> Plan | PlanWithheld:
    return plan_for(
        diagnose(evidence),
        BALLAST,
        shipped_runbooks(),
        actions=CATALOGUE,
        at=AT,
        incident_id=IncidentId("20260314-001"),
        halted=False,
    )


def test_a_volume_that_a_forgotten_slot_filled_is_freed_like_any_full_volume() -> None:
    kept = Slot(name="old", active=False, retained_bytes=90 * w.GIB)
    plan = planned(
        w.healthy(
            figures=d.figures(*d.slot("old", 90 * w.GIB, active=False)),
            retention=w.read(Retention(slots=(kept,))),
            volumes=d.wal_room(0, wal_bytes=95 * w.GIB),
        )
    )
    assert isinstance(plan, Plan)
    assert (plan.cause, plan.runbook) == ("slot_inactive", "slot-inactive")
    assert [step.action for step in plan.effects] == ["free_space"]
    assert plan.effects[0].param("volume") == "/wal"


@pytest.mark.parametrize("cause_id", ["archiver_failing", "slot_stuck"])
def test_while_there_is_room_nothing_is_freed_and_people_get_options(cause_id: str) -> None:
    withheld = planned(d.CASES[cause_id])
    assert isinstance(withheld, PlanWithheld)
    assert withheld.refusal.reason == (
        "no step of disk-full fits just now: free_space is for volume_full = yes, now no; "
        "start_server is for server_running = no, now yes"
    )
    assert len(withheld.options) >= 2


@pytest.mark.parametrize("cause_id", WHO_FILLS)
def test_whoever_fills_a_volume_has_the_runbook_of_full_volumes_and_options(cause_id: str) -> None:
    found = diagnose(d.CASES[cause_id]).first
    assert found is not None
    [book] = [r for r in shipped_runbooks() if found.id in r.causes]
    assert book.id == found.runbook == BOOK.get(cause_id, "disk-full")
    assert len(options_for(found, BALLAST)) >= 2
