"""What a responder says about one incident, read from `stanch show --json`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stanch.policy.policy import READING_ACTIONS

Entry = Mapping[str, Any]
"""One event of the timeline, as the JSON has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTold:
    """One step of a plan: what came of it, and whether the target was seen to show it."""

    action: str
    outcome: str
    detail: str
    ended_at: datetime
    verified: bool | None = None
    verified_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An incident in the responder's own words."""

    incident_id: str
    target: str
    opened_at: datetime
    observed: str
    cause: str = ""
    summary: str = ""
    probability: float = 0.0
    evidence_for: tuple[str, ...] = ()
    evidence_against: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    diagnosed_at: datetime | None = None
    """When the cause that is named was first named."""
    withheld: tuple[str, ...] = ()
    """Why a plan was not made, each time."""
    steps: tuple[StepTold, ...] = ()
    rescued_at: datetime | None = None
    rescued_detail: str = ""
    resolved_at: datetime | None = None
    resolved_verified: bool = False


def told_of(shown: Mapping[str, Any]) -> Told:
    """The answer of `stanch show --json`; raises KeyError where it is not one."""
    entries: Sequence[Entry] = shown["timeline"]
    opened = next(e for e in entries if e["kind"] == "incident.opened.v1")
    rescued, resolved = last(entries, "incident.rescued.v1"), last(entries, "incident.resolved.v1")
    named: Mapping[str, Any] = shown["diagnosis"] or {}
    cause = str(named.get("cause") or "")
    return Told(
        incident_id=shown["id"],
        target=shown["target"],
        opened_at=moment_of(opened),
        observed=str(opened["body"]["symptom"]["detail"]),
        cause=cause,
        summary=str(named.get("summary") or ""),
        probability=float(named.get("probability") or 0.0),
        evidence_for=tuple(named.get("for", ())),
        evidence_against=tuple(named.get("against", ())),
        missing=tuple(named.get("missing", ())),
        diagnosed_at=_first_named(entries, cause),
        withheld=tuple(
            str(e["body"]["refusal"]["reason"]) for e in entries if e["kind"] == "plan.withheld.v1"
        ),
        steps=tuple(_steps(entries)),
        rescued_at=moment_of(rescued) if rescued else None,
        rescued_detail=str(rescued["body"]["detail"]) if rescued else "",
        resolved_at=moment_of(resolved) if resolved else None,
        resolved_verified=bool(resolved and resolved["body"]["verified"]),
    )


def moment_of(entry: Entry) -> datetime:
    """When an event was written down."""
    return datetime.fromisoformat(entry["at"])


def first_cause(entry: Entry) -> Mapping[str, Any] | None:
    """The likeliest cause of a recorded diagnosis; None where it names none."""
    diagnosis = entry["body"]["diagnosis"]
    causes = diagnosis["causes"]
    return causes[0] if diagnosis["verdict"] == "cause" and causes else None


def last(entries: Sequence[Entry], kind: str) -> Entry | None:
    """The newest event of a kind."""
    return next((e for e in reversed(entries) if e["kind"] == kind), None)


def _first_named(entries: Sequence[Entry], cause: str) -> datetime | None:
    for entry in entries:
        if entry["kind"] == "diagnosis.recorded.v1":
            first = first_cause(entry)
            if first is not None and first["id"] == cause:
                return moment_of(entry)
    return None


def _steps(entries: Sequence[Entry]) -> Iterator[StepTold]:
    """Every attempt at an effect that has an outcome, with the verification that followed it, if
    any did."""
    for place, entry in enumerate(entries):
        if entry["kind"] != "step.outcome.v1":
            continue
        ended = entry["body"]
        action = str(ended["step_id"]).partition("-")[2]
        if action in READING_ACTIONS:
            continue
        check = _verification(entries[place + 1 :], ended)
        yield StepTold(
            action=action,
            outcome=ended["outcome"],
            detail=ended["detail"],
            ended_at=moment_of(entry),
            verified=check["ok"] if check else None,
            verified_by=check["detail"] if check else "",
        )


def _verification(after: Sequence[Entry], ended: Mapping[str, Any]) -> Mapping[str, Any] | None:
    same = (ended["plan_id"], ended["step_id"])
    for entry in after:
        body = entry["body"]
        if entry["kind"] == "step.verified.v1" and (body["plan_id"], body["step_id"]) == same:
            return body
    return None
