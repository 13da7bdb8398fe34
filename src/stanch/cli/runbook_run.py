"""`stanch runbook run`: follow one runbook with the responder, or see what that would do."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from stanch.cli.asking import Answering, ask_line
from stanch.cli.reaching import DEFAULT_CONFIG, AsOption, ConfigOption, JsonOption, fetched, me
from stanch.cli.rendering import override_lines
from stanch.model.errors import SetupError, StanchError
from stanch.model.shown import percent
from stanch.policy.quoting import printable

EPILOG = (
    "\b\nExit codes:\n"
    "  0  every step was verified; with --dry-run, every guard says yes now\n"
    "  1  it could not be asked for\n"
    "  3  refused, not approved, or ended before its last step was verified"
)
FOLLOW_EVERY_S = 0.3
FOLLOW_S_MAX = 3600.0
ANSWER_S = 300.0
REFUSED = 3

OnOption = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="INCIDENT|TARGET",
        help="An open incident (its id, or just its number), or the target that has one. With "
        "--dry-run also a target that is well.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Read everything, answer every guard, and touch nothing."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Approve the plan without being asked.")]
BreakGlass = Annotated[
    list[str] | None,
    typer.Option(
        "--break-glass",
        metavar="GUARD",
        help="Override this guard, which yields and says no now. Needs --reason and --as with a "
        "person of the policy, whose owners are paged; may be given several times.",
    ),
]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why the guard is overridden.")]


def run(
    runbook: Annotated[str, typer.Argument(metavar="RUNBOOK", help="Its id.")],
    on: OnOption,
    dry_run: DryRun = False,
    yes: Yes = False,
    break_glass: BreakGlass = None,
    reason: Reason = "",
    config: ConfigOption = DEFAULT_CONFIG,
    by: AsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Follow a runbook against an open incident: see the plan, approve it, watch its steps.

    The responder does it, with all of its guards; what policy only observes stays refused.
    """
    if break_glass and (dry_run or yes):
        raise StanchError(
            "--break-glass goes with neither --dry-run nor --yes",
            hint="A rehearsal says which guard refuses; what overrides it is always asked for.",
        )
    if dry_run:
        _rehearse(config, runbook, on, as_json=as_json)
        return
    incident = _incident(config, on)
    wish = {"command": "plan", "incident": incident, "runbook": runbook}
    if break_glass:
        wish = {**wish, "break_glass": break_glass, "reason": reason}
    plan = _asked(config, wish, me(by))
    _tell(plan_lines(plan, incident), as_json=as_json)
    _approve(config, incident, plan, by=me(by), yes=yes)
    ended = _follow(config, incident, plan, as_json=as_json)
    if as_json:
        print(json.dumps(ended, ensure_ascii=True, sort_keys=True))
    if not ended["completed"]:
        raise typer.Exit(REFUSED)


# --- the rehearsal ------------------------------------------------------------------------------


def _rehearse(config: Path, runbook: str, on: str, *, as_json: bool) -> None:
    from stanch.service.people.client import NotAnswering
    from stanch.service.people.reaching import ask_running

    try:
        reply = asyncio.run(ask_running(config, f"/rehearsals/{_id(runbook)}", {"on": on}))
    except NotAnswering as error:
        hint = "A rehearsal is made by the responder: start `stanch run`."
        raise SetupError("nobody answers", on=error.on, hint=hint) from error
    if not reply.ok:
        raise StanchError(reply.body["text"], hint=reply.body.get("hint") or "")
    if as_json:
        print(json.dumps(reply.body, ensure_ascii=True, sort_keys=True))
    else:
        for line in rehearsal_lines(reply.body):
            print(printable(line))
    if reply.body["refused_by"]:
        raise typer.Exit(REFUSED)


def rehearsal_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """What a rehearsal told, for people."""
    yield f"{told['target']}: {told['summary'] or told['verdict']}"
    if told["cause"]:
        sure = percent(told["probability"])
        yield f"runbook {told['runbook']} against {told['cause']} ({sure}); nothing is touched"
    else:
        yield f"runbook {told['runbook']}: nothing would be done"
        yield from _refusal_lines(told)
    for number, step in enumerate(told["steps"], 1):
        yield ""
        yield from _step_lines(number, step)


def _step_lines(number: int, step: Mapping[str, Any]) -> Iterator[str]:
    if step["gathered"]:
        yield f"{number}. gather"
        for one in step["gathered"]:
            yield f"   {one['name']} ({one['took_ms']:.0f} ms): {one['missing']}".rstrip(": ")
            yield from (f"      {line}" for line in one["lines"])
        return
    yield f"{number}. {step['preview'] or step['action']}"
    yield from _undo_lines(step)
    if step["refused_by"]:
        yield from _refusal_lines(step)
        return
    by_itself = "does it by itself" if step["mode"] == "act" else "asks a person"
    yield f"   Every guard says yes now; policy {by_itself} ({step['mode']})."


def _refusal_lines(told: Mapping[str, Any]) -> Iterator[str]:
    yield f"   Refused by {told['refused_by']}: {told['reason']}"
    if told["lifts"]:
        yield f"   Lifted by: {told['lifts']}"


def _undo_lines(step: Mapping[str, Any]) -> Iterator[str]:
    if step["undo"]:
        yield f"   Undone by: {step['undo']}"
    else:
        yield f"   Cannot be undone: {step['no_undo']}"


# --- the plan -----------------------------------------------------------------------------------


def _incident(config: Path, on: str) -> str:
    """The one open incident that is meant. Raises StanchError."""
    found: Sequence[Mapping[str, Any]] = fetched(config, "/incidents", all="0")["incidents"]
    meant = [one["id"] for one in found if on in (one["id"], one["target"])]
    if len(meant) > 1:
        what = f"{printable(on)} has {len(meant)} open incidents"
        raise StanchError(what, hint=f"Say which: {', '.join(meant)}.")
    if meant:
        return str(meant[0])
    if on.isascii() and on.isdigit():
        return on
    hint = "`stanch declare` opens one; --dry-run needs none."
    raise StanchError(f"{printable(on)} has no open incident", hint=hint)


def _asked(config: Path, request: Mapping[str, Any], by: str) -> dict[str, Any]:
    """The details of the answer. Ends the program where it is a refusal."""
    from stanch.service.people.reaching import execute

    reply = asyncio.run(execute(config, {**request, "by": by}))
    if reply.via != "running":
        hint = "A plan is followed by the responder: start `stanch run`."
        raise SetupError("stanch run does not answer", on=reply.via, hint=hint)
    if not reply.ok:
        print(f"refused: {printable(reply.body['text'])}", file=sys.stderr)
        if lifts := reply.body.get("lifts") or reply.body.get("hint"):
            print(f"hint: {printable(lifts)}", file=sys.stderr)
        raise typer.Exit(REFUSED if reply.body.get("refused_by") else 1)
    return dict(reply.body["details"])


def plan_lines(plan: Mapping[str, Any], incident: str) -> Iterator[str]:
    """A plan as whoever approves it reads it."""
    yield f"{incident}: runbook {plan['runbook']} against {plan['cause']}"
    yield from override_lines(plan["overrides"])
    for number, step in enumerate((s for s in plan["steps"] if not s["reads_only"]), 1):
        yield f"{number}. {step['preview'] or step['action']}"
        yield from _undo_lines(step)
        yield f"   Then: {step['verify']}"
    yield f"Until {plan['expires_at']}: stanch approve {incident} {plan['digest'][:8]}"


def _approve(config: Path, incident: str, plan: Mapping[str, Any], *, by: str, yes: bool) -> None:
    request = {"command": "approve", "incident": incident, "digest": plan["digest"]}
    if plan["overrides"] and plan["people"] > 1:
        print(f"Another person than {printable(by)} has to approve it.", file=sys.stderr)
        return
    if plan["overrides"]:
        question = "Nobody else is asked. To do this, write the name of the target: "
        answer = (ask_line(Answering(sys.stdin, ANSWER_S), question) or "").strip()
        request["target"] = answer if answer == plan["target"] else _not_approved()
    elif not yes:
        answer = ask_line(Answering(sys.stdin, ANSWER_S), "Do this? yes/no: ")
        if answer is None or answer.strip().casefold() not in ("yes", "y"):
            _not_approved()
    _asked(config, request, by)


def _not_approved() -> NoReturn:
    print("not approved: nothing was done", file=sys.stderr)
    raise typer.Exit(REFUSED)


# --- what becomes of it -------------------------------------------------------------------------


def _follow(
    config: Path, incident: str, plan: Mapping[str, Any], *, as_json: bool
) -> dict[str, Any]:
    """Print each entry about the plan as it is made, until the plan has ended."""
    from stanch.cli.reaching import path_of

    told = 0
    until_s = time.monotonic() + FOLLOW_S_MAX
    while time.monotonic() < until_s:
        timeline = fetched(config, path_of(incident))["timeline"]
        entries = list(_since(timeline, plan))
        _tell((entry["sentence"] for entry in entries[told:]), as_json=as_json)
        told = len(entries)
        ended = next((x for x in entries if x["kind"].startswith("plan.ended.")), None)
        if ended is not None:
            body = ended["body"]
            return {
                "incident": incident,
                "completed": body["completed"],
                "reason": body["reason"],
                "steps": [x["body"] for x in entries if x["kind"].startswith("step.outcome.")],
            }
        time.sleep(FOLLOW_EVERY_S)
    raise StanchError("it goes on for longer than an hour", hint=f"`stanch show {incident}`")


def _since(
    timeline: Sequence[Mapping[str, Any]], plan: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """The entries about this plan, from its approval on, or from its end where nobody approved."""
    begun = False
    for entry in timeline:
        kind = entry["kind"]
        approved = kind.startswith("plan.approved.") and entry["body"]["digest"] == plan["digest"]
        ended = kind.startswith("plan.ended.") and entry["body"]["plan_id"] == plan["id"]
        begun = begun or approved or ended
        if begun and kind.startswith(("plan.", "step.")):
            yield entry


def _tell(lines: Iterator[str], *, as_json: bool) -> None:
    """On standard error where the answer itself is JSON."""
    for line in lines:
        print(printable(line), file=sys.stderr if as_json else sys.stdout, flush=True)


def _id(runbook: str) -> str:
    """Raises StanchError for what is no id: it becomes part of a path."""
    if runbook.replace("-", "").isalnum() and runbook.isascii():
        return runbook
    hint = "`stanch runbook list` has all of them."
    raise StanchError(f"there is no runbook {printable(runbook)!r}", hint=hint)
