"""How an incident begins that Stanch opens by itself."""

from __future__ import annotations

from stanch.incident.titles import TITLES
from stanch.model import events as e
from stanch.model.symptoms import Symptom
from stanch.policy.policy import Policy, TargetPolicy
from stanch.policy.rules import declared_rules


def opened_with(
    policy: Policy,
    rank: int,
    target: TargetPolicy | None,
    symptom: Symptom,
    *,
    policy_hash: str,
) -> e.IncidentOpened:
    """The first event of an incident that this symptom opens."""
    severity = policy.severity(rank)
    return e.IncidentOpened(
        target=symptom.target,
        title=TITLES.get(symptom.kind, symptom.kind.value),
        symptom=symptom,
        severity_rank=severity.rank,
        severity_label=severity.label,
        severity_reason=f"{symptom.kind.value} is {severity.label} by policy",
        data_at_risk="possible" if declared_rules()[symptom.kind].at_risk else "none seen",
        policy_hash=policy_hash,
        page_after_s=0.0,
    )
