"""Incidents and journals as plain values, for JSON and for the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from stanch.incident.state import Incident
from stanch.incident.titles import title_now
from stanch.model.codec import to_iso
from stanch.model.events import MaintenanceSet, SilenceSet, stored_kind, to_body
from stanch.model.ids import PersonId
from stanch.model.links import Link
from stanch.model.memory import PastIncident
from stanch.model.signals import StoredSignal
from stanch.model.timeline import ChainReport, Recorded
from stanch.policy.policy import Policy
from stanch.policy.silences import PolicySilence
from stanch.review.names import Names, names_in
from stanch.review.sentences import sentence
from stanch.service.asked_plans import lifts_shown


def headline(incident: Incident, at: datetime) -> dict[str, Any]:
    """One line's worth of an incident."""
    first = incident.named.first if incident.named else None
    return {
        "id": incident.id,
        "target": incident.target,
        "title": title_now(incident),
        "status": incident.status.value,
        "severity": incident.severity_label,
        "opened_at": to_iso(incident.opened_at) if incident.opened_at else None,
        "cause": first.id if first else None,
        "acknowledged_by": incident.acknowledged_by,
        "waiting_for_approval": _waiting(incident),
        "drill": incident.drill,
        "held_until": _held_until(incident, at),
    }


def _level(incident: Incident) -> dict[str, Any] | None:
    """The level over time that holds now; None before the first."""
    levels = incident.levels
    if levels.reached_at is None or incident.status.ended:
        return None
    return {"name": levels.name, "since": to_iso(levels.reached_at), "says": levels.says}


def _held_until(incident: Incident, at: datetime) -> str | None:
    """Until when nobody is paged for it; None where that is not so now."""
    if incident.status.ended:
        return None
    until = incident.held_until()
    held = until is not None and until > at and not incident.page_level
    return to_iso(until) if until is not None and held else None


def window_lines(
    windows: Sequence[MaintenanceSet | SilenceSet],
    policy: Policy,
    at: datetime,
) -> list[dict[str, Any]]:
    """What holds pages just now, what ends first at the top; then what will, what begins first."""
    lines = [*map(_commanded, windows), *(_of_policy(one, at) for one in policy.silences)]
    for line in lines:
        up_to = line["up_to"]
        line["up_to_label"] = policy.severity(up_to).label if up_to is not None else None
    return sorted(lines, key=lambda ln: (ln["until"] is None, ln["until"] or ln["next"] or "~"))


def _commanded(window: MaintenanceSet | SilenceSet) -> dict[str, Any]:
    silence = window if isinstance(window, SilenceSet) else None
    return {
        "source": "command",
        "name": None,
        "targets": [window.target],
        "rules": [silence.rule] if silence else [],
        "subjects": [silence.subject] if silence and silence.subject else [],
        "up_to": silence.up_to if silence else None,
        "until": to_iso(window.until),
        "next": None,
        "by": window.by,
        "reason": window.reason,
    }


def _of_policy(silence: PolicySilence, at: datetime) -> dict[str, Any]:
    window, following = silence.window(at), silence.next_begin(at)
    return {
        "source": "policy",
        "name": silence.name,
        "targets": list(silence.targets),
        "rules": list(silence.rules),
        "subjects": list(silence.subjects),
        "up_to": silence.up_to,
        "until": to_iso(window.ends) if window else None,
        "next": to_iso(following) if following else None,
        "by": None,
        "reason": silence.reason,
    }


def _waiting(incident: Incident) -> str | None:
    plan = incident.plan
    if plan is None or plan.ended or plan.runnable:
        return None
    return plan.plan.id


def full(
    incident: Incident,
    timeline: Sequence[Recorded],
    people: Mapping[PersonId, str],
    *,
    at: datetime,
    links: Sequence[Link] = (),
) -> dict[str, Any]:
    """Everything `stanch show` tells, the events included."""
    plan = incident.plan
    names = names_in(timeline, people)
    return {
        **headline(incident, at),
        "since": to_iso(incident.since) if incident.since else None,
        "data_at_risk": incident.risk,
        "level": _level(incident),
        "symptoms": sorted(incident.symptoms),
        "attached": sorted(incident.attached),
        "diagnosis": _diagnosis(incident),
        "plan": None
        if plan is None
        else {
            "id": plan.plan.id,
            "runbook": plan.plan.runbook,
            "overrides": lifts_shown(plan.plan),
            "digest": plan.plan.digest,
            "mode": plan.plan.mode.value,
            "ended": plan.ended,
            "steps": [
                {"action": s.action, "preview": s.preview, "undo": s.undo or s.no_undo}
                for s in plan.plan.steps
            ],
        },
        "past": [_past(one) for one in incident.past.incidents] if incident.past else [],
        "options": list(incident.withheld.options) if incident.withheld else [],
        "links": [{"name": link.name, "url": link.url} for link in links],
        "timeline": [_entry(recorded, names) for recorded in timeline],
        "head": timeline[-1].hash.hex() if timeline else None,
    }


def _diagnosis(incident: Incident) -> dict[str, Any] | None:
    told = incident.named or incident.diagnosis
    if told is None:
        return None
    first = told.first
    return {
        "verdict": told.verdict.value,
        "told": told.summary,
        "cause": first.id if first else None,
        "summary": first.summary if first else None,
        "probability": first.probability if first else None,
        "for": [f.text for f in first.evidence_for] if first else [],
        "against": [f.text for f in first.evidence_against] if first else [],
        "missing": [f.text for f in first.missing] if first else [],
        "safe_first": first.safe_first if first else None,
        "never": list(first.never) if first else [],
    }


def _past(one: PastIncident) -> dict[str, Any]:
    return {
        "id": one.id,
        "target": one.target,
        "cause": one.cause,
        "likeness": one.likeness,
        "opened_at": to_iso(one.opened_at),
        "took_s": one.took_s,
        "fixed_by": one.fixed_by,
        "told": one.told,
    }


def _entry(recorded: Recorded, names: Names) -> dict[str, Any]:
    return {
        "seq": recorded.seq,
        "at": to_iso(recorded.at),
        "kind": stored_kind(recorded.event),
        "late": recorded.late,
        "sentence": sentence(recorded.event, names),
        "body": json.loads(to_body(recorded.event)),
        "writer": recorded.writer_id,
        "n": recorded.n,
        "basis_seq": recorded.basis_seq,
        "hash": recorded.hash.hex(),
    }


def signal_line(row: StoredSignal) -> dict[str, Any]:
    """One alert or report from outside."""
    signal = row.signal
    return {
        "id": row.id,
        "source": signal.source,
        "key": signal.key,
        "status": signal.status.value,
        "target": row.target,
        "rank": row.rank,
        "severity": signal.severity,
        "title": signal.title,
        "detail": signal.detail,
        "labels": dict(signal.labels),
        "links": list(signal.links),
        "starts_at": to_iso(signal.starts_at) if signal.starts_at else None,
        "ends_at": to_iso(signal.ends_at) if signal.ends_at else None,
        "first_at": to_iso(row.first_at),
        "heard_at": to_iso(row.heard_at),
        "changed_at": to_iso(row.changed_at),
        "count": row.count,
        "changes": row.changes,
        "told": row.told.value if row.told else None,
        "incident": row.incident_id,
    }


def journal_report(report: ChainReport) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "entries": report.entries,
        "heads": dict(report.heads),
        "problems": list(report.problems),
    }
