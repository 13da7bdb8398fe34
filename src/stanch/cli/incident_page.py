"""One incident as one HTML file: nothing outside it is loaded, nothing in it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stanch.cli.diagnosis_page import found_values
from stanch.cli.one_page import page
from stanch.cli.rendering import VERDICTS, change_text, clock, level_told, override_lines
from stanch.diagnose.evidence import Evidence
from stanch.model.diagnosis import Diagnosis
from stanch.policy.quoting import printable

TEMPLATE = "incident.html.jinja"
JUDGEMENTS = {"open": "danger", "rescued": "look"}
SAFE_SCHEMES = ("https://", "http://")


def incident_page(
    found: Mapping[str, Any], diagnosis: Diagnosis | None, evidence: Evidence | str
) -> str:
    """The whole file. `found` is what `stanch show --json` tells; `evidence` is what the diagnosis
    rests on, or why there is none. Names and statements are other people's words, and escaped.

    Raises: SetupError where the extra `reports` is not installed.
    """
    text: str = page(TEMPLATE).render(**_values(found, diagnosis, evidence))
    return text


def _values(
    found: Mapping[str, Any], diagnosis: Diagnosis | None, evidence: Evidence | str
) -> dict[str, Any]:
    told = found["diagnosis"]
    why_no_plots = evidence if isinstance(evidence, str) else ""
    values = found_values(diagnosis, None if isinstance(evidence, str) else evidence)
    if diagnosis is not None and not why_no_plots and not values["plots"]:
        why_no_plots = "what was recorded around its onset did not move"
    return {
        **values,
        "title": f"Incident {printable(found['id'])} on {printable(found['target'])}",
        "headline": printable(found["title"]),
        "status": found["status"],
        "judgement": JUDGEMENTS.get(found["status"], "ok"),
        "about": _about(found),
        "observed": [printable(text) for text in (*found["symptoms"], *found["attached"])],
        "plan": _plan(found),
        "options": [printable(text) for text in found["options"]],
        "looked": told is not None,
        "told": "" if told is None or told["cause"] else _no_cause(told),
        "no_plots": printable(why_no_plots),
        "changes": [_change(change) for change in found.get("changes") or ()],
        "past": [printable(one["told"]) for one in found["past"]],
        "links": [_link(link) for link in found["links"]],
        "timeline": [(clock(e["at"]), printable(e["sentence"])) for e in found["timeline"]],
        "head": printable(found["head"] or ""),
    }


def _no_cause(told: Mapping[str, Any]) -> str:
    return printable(told["told"] or VERDICTS[told["verdict"]])


def _about(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    taken = found["acknowledged_by"]
    return [
        ("Severity", printable(found["severity"])),
        ("Since", clock(found["since"])),
        ("Opened", clock(found["opened_at"])),
        ("Data at risk", printable(found["data_at_risk"])),
        *([("Level", printable(level_told(level)))] if (level := found.get("level")) else []),
        ("Taken by", printable(taken) if taken else "nobody"),
        *([("Nobody is paged before", clock(held))] if (held := found.get("held_until")) else []),
        *([("Drill", "yes")] if found["drill"] else []),
    ]


def _plan(found: Mapping[str, Any]) -> dict[str, Any] | None:
    plan = found["plan"]
    if plan is None or plan["ended"]:
        return None
    short = found["id"].rsplit("-", 1)[-1]
    approve = f"stanch approve {short} {plan['digest'][:12]}"
    return {
        "title": printable(f"Plan {plan['id']} from runbook {plan['runbook']}"),
        "overrides": [printable(line) for line in override_lines(plan["overrides"])],
        "steps": [
            (printable(s["action"]), printable(s["preview"]), printable(s["undo"]))
            for s in plan["steps"]
        ],
        "approve": printable(approve) if found["waiting_for_approval"] else "",
    }


def _change(change: Mapping[str, Any]) -> tuple[str, str]:
    at, _, what = change_text(change).partition("  ")
    return printable(at), printable(what)


def _link(link: Mapping[str, str]) -> tuple[str, str, bool]:
    """Only what leads to a page becomes a link: an address may come from an alert."""
    url = printable(link["url"])
    return printable(link["name"]), url, url.lower().startswith(SAFE_SCHEMES)
