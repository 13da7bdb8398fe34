"""Diagnosis to plan, with the runbooks in force."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from stanch.incident.state import Incident
from stanch.model.events import PlanWithheld
from stanch.model.plans import Plan
from stanch.policy.levels import standing_level
from stanch.policy.policy import TargetPolicy
from stanch.respond.blast_radius import Acts
from stanch.respond.guarding import no
from stanch.respond.planner import plan_for
from stanch.respond.runbook import Runbook
from stanch.service.doing.acting import Proposal
from stanch.steps.action import Action


def proposer(runbooks: Callable[[], Sequence[Runbook]], actions: Mapping[str, Action]) -> Proposal:
    """Plans with the runbooks in force at that moment.

    A halt does not keep a plan from being made: it keeps every step from being begun, so that
    lifting it goes on where it stopped, with all guards read anew.
    """

    def propose(
        incident: Incident, target: TargetPolicy, at: datetime, acts: Acts
    ) -> Plan | PlanWithheld:
        assert incident.diagnosis is not None
        wanted = incident.levels.propose
        chosen = [r for r in runbooks() if wanted in ("", r.id)]
        missing = _missing(incident, chosen) if wanted else None
        return missing or plan_for(
            incident.diagnosis,
            target,
            chosen,
            actions=actions,
            at=at,
            incident_id=incident.id,
            halted=False,
            asked_by=f"level {incident.levels.name}" if wanted else "",
            acts=acts,
            level=standing_level(target.levels, incident.levels.reached_s),
        )

    return propose


def _missing(incident: Incident, chosen: Sequence[Runbook]) -> PlanWithheld | None:
    """Why no plan can be made of the runbook that a level wants; None where one may be."""
    assert incident.diagnosis is not None
    causes = [cause.id for cause in incident.diagnosis.causes]
    if any(cause in runbook.causes for runbook in chosen for cause in causes):
        return None
    wanted, level = incident.levels.propose, incident.levels.name
    why = f"{wanted} answers none of the causes found" if chosen else f"there is no {wanted}"
    lifts = "`stanch runbook list` names those there are, and `stanch runbook show` their causes."
    refusal = no("runbook", f"level {level} wants a plan of {wanted}, but {why}", lifts=lifts)
    return PlanWithheld(cause=causes[0] if causes else "", refusal=refusal)
