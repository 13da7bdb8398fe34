"""One incident as lines for a terminal; everything is escaped by the caller, line by line."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from stanch.model.changes import sort_of, varied
from stanch.model.shown import never

Found = Mapping[str, Any]

CHANGES_SHOWN = 15

VERDICTS = {
    "cause": "none named",
    "healthy": "none; the target looked healthy when it was examined",
    "recovered": "not known; it was over when it was examined",
    "unknown": "unknown: none has enough evidence",
}


def cluster_lines(found: Found) -> Iterator[str]:
    """Who stands and falls together, then where the watched poolers lead."""
    if not found["clusters"]:
        yield "no clusters: none in the policy, and no target was seen to follow another"
    for one in found["clusters"]:
        pairs = (f"{standby} follows {upstream}" for standby, upstream in one["follows"].items())
        name = f"{one['name']} (policy)" if one["source"] == "policy" else "seen"
        but = "; not counted, because the policy says otherwise" if one["overruled"] else ""
        seen = f"  {', '.join(pairs)}{but}" if one["follows"] else ""
        yield f"{name}: {', '.join(one['targets'])}{seen}"
    for one in found["poolers"]:
        leads = ", ".join(one["targets"]) or f"no target ({', '.join(one['places'])})"
        who = f"pooler {one['pooler']} (asked for {one['asked_for']})"
        yield f"{who}: {one['database']} leads to {leads}"


def level_told(level: Found) -> str:
    """Its name, since when it holds, and what it says."""
    says = f": {level['says']}" if level["says"] else ""
    return f"{level['name']} since {clock(level['since'])}{says}"


def incident_lines(found: Found) -> Iterator[str]:
    """What a person needs first comes first; the timeline comes last."""
    yield f"{found['id']}  {found['severity']}  {found['status']}  {found['target']}"
    yield f"  {found['title']}, since {clock(found['since'])}"
    yield f"  data at risk: {found['data_at_risk']}"
    if level := found.get("level"):
        yield f"  level {level_told(level)}"
    if found["symptoms"]:
        yield f"  observed now: {', '.join(found['symptoms'])}"
    if found.get("attached"):
        yield f"  effects elsewhere in its cluster: {', '.join(found['attached'])}"
    if found.get("held_until"):
        yield f"  nobody is paged before {clock(found['held_until'])}"
    yield from _cause(found["diagnosis"])
    yield from _plan(found)
    if found["acknowledged_by"]:
        yield f"  taken by {found['acknowledged_by']}"
    elif found["status"] == "open":
        yield f"  nobody has taken it: stanch ack {found['id'].rsplit('-', 1)[-1]}"
    yield from _changes(found.get("changes") or ())
    if found.get("past"):
        yield "  seen before, the most alike first:"
        yield from (f"    {one['told']}" for one in found["past"])
    yield from (f"  {link['name']}: {link['url']}" for link in found.get("links") or ())
    yield ""
    for entry in found["timeline"]:
        late = "  (late)" if entry["late"] else ""
        yield f"{clock(entry['at'])}  {entry['sentence']}{late}"


def _cause(diagnosis: Found | None) -> Iterator[str]:
    if diagnosis is None:
        yield "  cause: nobody has looked yet"
        return
    if diagnosis["cause"] is None:
        yield f"  cause: {VERDICTS[diagnosis['verdict']]}"
        if diagnosis["verdict"] == "unknown" and diagnosis.get("told"):
            # Why not: that it recovers, or what stands out though nothing explains it.
            yield f"    {diagnosis['told']}"
        return
    yield f"  cause: {diagnosis['summary']} ({diagnosis['probability']:.0%}, {diagnosis['cause']})"
    for sign, key in (("+", "for"), ("-", "against"), ("?", "missing")):
        for text in diagnosis[key]:
            yield f"    {sign} {text}"
    yield f"  first: {diagnosis['safe_first']}"
    for warning in diagnosis["never"]:
        yield f"  {never(warning)}"


def override_lines(overrides: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """What approving a plan overrides, for whoever is asked to."""
    for one in overrides:
        yield f"BREAK-GLASS: overrides {one['guard']}, which says no to {one['action']}:"
        yield f"  {one['reason']}"
        yield f"  {one['by']} wants it: {one['why']}"


def _plan(found: Found) -> Iterator[str]:
    plan = found["plan"]
    if plan is not None and not plan["ended"]:
        yield f"  plan {plan['id']} from runbook {plan['runbook']}:"
        yield from (f"    {line}" for line in override_lines(plan["overrides"]))
        for step in plan["steps"]:
            yield f"    {step['action']}: {step['preview']}"
            yield f"      undo: {step['undo']}"
        if found["waiting_for_approval"]:
            short = found["id"].rsplit("-", 1)[-1]
            yield f"  waits for: stanch approve {short} {plan['digest'][:12]}"
    for option in found["options"]:
        yield f"  option: {option}"


def _changes(changes: Sequence[Found]) -> Iterator[str]:
    if not changes:
        return
    yield "  what changed in the two hours before, newest first:"
    for change in varied(changes, CHANGES_SHOWN, _sort):
        yield f"    {change_text(change)}"
    if len(changes) > CHANGES_SHOWN:
        yield f"    and {len(changes) - CHANGES_SHOWN} others: stanch changes"


def _sort(change: Found) -> Hashable:
    return sort_of(change["kind"], change.get("by", ""), change["told"])


def change_text(change: Found) -> str:
    """One change on one line."""
    link = f"  {change['link']}" if change.get("link") else ""
    between = f" (after {change['since'][11:19]}Z)" if change.get("since") else ""
    at = f"{change['at'][:19]}Z{between}"
    return f"{at}  {change['kind']:<9} {change['what']}  {change['told']}{link}"


def clock(at: str | None) -> str:
    """`2026-03-01 03:00:00.123 UTC` from ISO 8601."""
    return f"{at[:10]} {at[11:23]} UTC" if at else "unknown"
