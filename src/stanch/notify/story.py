"""The story so far, as far as messages need it; whoever raises a message fills it in."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from stanch.model.changes import NotedChange
from stanch.model.diagnosis import CauseFinding, DataAtRisk, Diagnosis, Verdict
from stanch.model.events import PlanWithheld
from stanch.model.ids import IncidentId, PersonId, TargetName
from stanch.model.links import Link
from stanch.model.memory import PastIncident
from stanch.model.plans import Plan
from stanch.model.symptoms import Symptom
from stanch.policy.quoting import printable

DIGEST_CHARS = 12
"""So much of a plan's digest a person types; 48 bits tell this plan from any other they read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One incident at the moment a message about it is written."""

    incident_id: IncidentId
    target: TargetName
    title: str
    """What is wrong, in a few words; may quote a person, so it is shown escaped."""
    since: datetime
    severity_label: str
    data_at_risk: DataAtRisk
    symptoms: tuple[Symptom, ...] = ()
    """Those that stand right now."""
    diagnosis: Diagnosis | None = None
    """None: nobody has looked yet."""
    changes: tuple[NotedChange, ...] = ()
    """What was seen to change in the hours before, newest first."""
    past: tuple[PastIncident, ...] = ()
    """Incidents of before that look like it, the most alike first."""
    did: tuple[str, ...] = ()
    """What Stanch did or tried, one sentence each, oldest first."""
    plan: Plan | None = None
    """A plan that waits for approval; None where none waits."""
    withheld: PlanWithheld | None = None
    """Why Stanch does not act, where that is so now."""
    people: Mapping[PersonId, str] = field(default_factory=lambda: MappingProxyType({}))
    """Names by id; who is missing here is shown by id."""
    links: tuple[Link, ...] = ()
    """Where to look further, filled in for this incident."""
    anchors: tuple[str, ...] = ()
    """`WRITER:N:HASH` of the record's newest entries, so that a shortened record shows."""
    level: str = ""
    """Which level over time was reached, and what people are told to do in it."""
    taken_by: PersonId | None = None
    """Who has it in hand, so that nobody else is asked to take it."""
    over: bool = False
    drill: bool = False

    @property
    def short_id(self) -> str:
        """What people type: the counter without the day."""
        return self.incident_id.rsplit("-", 1)[-1]

    @property
    def cause(self) -> CauseFinding | None:
        """The first cause, where the diagnosis dares to name one."""
        diagnosis = self.diagnosis
        named = diagnosis is not None and diagnosis.verdict is Verdict.CAUSE
        return diagnosis.first if diagnosis is not None and named else None

    def name(self, person: PersonId) -> str:
        return self.people.get(person, person)


def ack_command(story: Story) -> str:
    """What a person types to take the incident."""
    return f"stanch ack {shlex.quote(printable(story.short_id))}"


def postmortem_command(story: Story) -> str:
    """What a person types to have it written up."""
    return f"stanch postmortem {shlex.quote(printable(story.short_id))}"


def approve_command(story: Story, plan: Plan) -> str:
    """What a person types to approve exactly this plan: the start of its digest is part of it."""
    digest = shlex.quote(printable(plan.digest[:DIGEST_CHARS]))
    return f"stanch approve {shlex.quote(printable(story.short_id))} {digest}"
