"""Diagnosis to plan, with the runbooks in force."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from stanch.incident.state import Incident
from stanch.model.events import PlanWithheld
from stanch.model.plans import Plan
from stanch.policy.policy import TargetPolicy
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.blast_radius import Acts
from stanch.respond.planner import plan_for
from stanch.respond.runbook import Runbook
from stanch.service.doing.acting import Proposal


def proposer(runbooks: Callable[[], Sequence[Runbook]]) -> Proposal:
    """Plans with the runbooks in force at that moment.

    A halt does not keep a plan from being made: it keeps every step from being begun, so that
    lifting it goes on where it stopped, with all guards read anew.
    """

    def propose(
        incident: Incident, target: TargetPolicy, at: datetime, acts: Acts
    ) -> Plan | PlanWithheld:
        assert incident.diagnosis is not None
        return plan_for(
            incident.diagnosis,
            target,
            runbooks(),
            actions=CATALOGUE,
            at=at,
            incident_id=incident.id,
            halted=False,
            acts=acts,
        )

    return propose
