"""Commands about incidents; they work while `stanch run` is up, down, or hung."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from stanch.cli.files import write_file
from stanch.cli.reaching import (
    DEFAULT_CONFIG,
    AsOption,
    ConfigOption,
    IncidentArgument,
    JsonOption,
    command,
    fetched,
    me,
    path_of,
    show_found,
)
from stanch.model.errors import StoreUnsuitable

Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it goes into the timeline.")]
LengthOption = Annotated[
    str, typer.Option("--for", help="How long, such as 30m or 2h; it ends by itself.")
]
EndOption = Annotated[bool, typer.Option("--end", help="End it now.")]


def register(app: typer.Typer) -> None:
    """Add every command of this module."""
    for function in (
        declare,
        incidents,
        show,
        ack,
        note,
        severity,
        resolve,
        reopen,
        approve,
        halt,
        maintenance,
        silence,
        silences,
        clusters,
        postmortem,
    ):
        app.command()(function)


def declare(
    title: Annotated[str, typer.Argument(help="What is wrong, in a few words.")],
    target: Annotated[str, typer.Option("--target", "-t", help="The target it is about.")],
    severity: Annotated[
        str, typer.Option("--severity", "-s", help="Label or rank of the policy, such as P0 or 1.")
    ] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    by: AsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Open an incident: a person saw it first."""
    request = {"command": "declare", "title": title, "target": target, "severity": severity}
    command(config, {**request, "by": me(by)}, as_json=as_json)


def incidents(
    config: ConfigOption = DEFAULT_CONFIG,
    every: Annotated[bool, typer.Option("--all", help="Ended ones, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List incidents, newest first."""
    found = fetched(config, "/incidents", all="1" if every else "0")["incidents"]
    none = ["no incidents" if every else "no open incidents"]
    show_found(found, map(_incident_line, found) if found else none, as_json=as_json)


def _incident_line(one: dict[str, Any]) -> str:
    taken = f"  taken by {one['acknowledged_by']}" if one["acknowledged_by"] else ""
    waits = "  waits for approval" if one["waiting_for_approval"] else ""
    held = f"  nobody is paged before {one['held_until']}" if one["held_until"] else ""
    return (
        f"{one['id']}  {one['severity']:<4} {one['status']:<9} {one['target']}: {one['title']}"
        f"  {one['cause'] or 'cause unknown'}{taken}{waits}{held}"
    )


def show(
    incident: IncidentArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    html: Annotated[
        str, typer.Option("--html", metavar="FILE", help="Write it as one HTML file, too.")
    ] = "",
    save: Annotated[
        str,
        typer.Option(
            "--save",
            metavar="FILE",
            help="Write what its diagnosis rests on, without secrets and literals, for"
            " `stanch diagnose --from`.",
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Show one incident: what is known, what waits for you, and its timeline."""
    from stanch.cli.rendering import incident_lines

    found = fetched(config, path_of(incident))
    if html or save:
        _write_out(config, found, html=html, save=save)
    show_found(found, incident_lines(found), as_json=as_json)


def _write_out(config: Path, found: dict[str, Any], *, html: str, save: str) -> None:
    """What is known as a page, and the evidence as a bundle; either may be left out."""
    # Here and not above: `stanch --help` need not load the store.
    from stanch import __version__
    from stanch.cli.incident_page import incident_page
    from stanch.diagnose.bundle import bundle_bytes
    from stanch.service.people.evidence import looked_at

    looked = asyncio.run(looked_at(config, found["id"]))
    if save:
        if looked.evidence is None:
            raise StoreUnsuitable(
                f"has no evidence to save: {looked.why_not}",
                on=found["id"],
                hint="`stanch diagnose DSN --save FILE` looks afresh.",
            )
        write_file(save, bundle_bytes(looked.evidence, made_by=__version__), option="--save")
    if html:
        content = incident_page(found, looked.diagnosis, looked.evidence or looked.why_not)
        write_file(html, content, option="--html")
    for path in filter(None, (save, html)):
        typer.echo(f"written: {path}", err=True)


def ack(
    incident: IncidentArgument,
    config: ConfigOption = DEFAULT_CONFIG,
    by: AsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Take an incident: nobody else is paged for it."""
    command(config, {"command": "ack", "incident": incident, "by": me(by)}, as_json=as_json)


def note(
    incident: IncidentArgument,
    text: Annotated[str, typer.Argument(help="What you saw or did.")],
    config: ConfigOption = DEFAULT_CONFIG,
    by: AsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Write something down in the timeline."""
    request = {"command": "note", "incident": incident, "text": text, "by": me(by)}
    command(config, request, as_json=as_json)


def severity(
    incident: IncidentArgument,
    to: Annotated[str, typer.Argument(help="Label or rank of the policy, such as P0 or 1.")],
    reason: Reason = "",
    config: ConfigOption = DEFAULT_CONFIG,
    by: AsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Change the severity; people and timers follow."""
    request = {"command": "severity", "incident": incident, "severity": to, "reason": reason}
    command(config, {**request, "by": me(by)}, as_json=as_json)


def resolve(
    incident: IncidentArgument,
    reason: Reason = "",
    unverified: Annotated[
        bool,
        typer.Option(
            "--unverified",
            help="Close it although nothing proves that the target serves again; needs --reason,"
            " and every text will say so.",
        ),
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    by: AsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Close an incident. Refused while something is still observed to be wrong."""
    request = {
        "command": "resolve",
        "incident": incident,
        "reason": reason,
        "unverified": unverified,
    }
    command(config, {**request, "by": me(by)}, as_json=as_json)


def reopen(
    incident: IncidentArgument,
    reason: Annotated[str, typer.Option("--reason", "-r", help="What came back.")],
    config: ConfigOption = DEFAULT_CONFIG,
    by: AsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Open a closed incident again; paging starts anew."""
    request = {"command": "reopen", "incident": incident, "reason": reason, "by": me(by)}
    command(config, request, as_json=as_json)


def approve(
    incident: IncidentArgument,
    digest: Annotated[
        str, typer.Argument(help="The start of the plan's digest, as the page shows it.")
    ] = "",
    target: Annotated[
        str,
        typer.Option(
            "--target", "-t", help="The target's name, where you alone override a guard with it."
        ),
    ] = "",
    config: ConfigOption = DEFAULT_CONFIG,
    by: AsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Approve the plan that waits: exactly the one you were shown, nothing else."""
    request = {"command": "approve", "incident": incident, "digest": digest, "target": target}
    command(config, {**request, "by": me(by)}, as_json=as_json)


def halt(
    lift: Annotated[bool, typer.Option("--lift", help="Let Stanch act again.")] = False,
    reason: Reason = "",
    config: ConfigOption = DEFAULT_CONFIG,
    by: AsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Stop all acting, at once and across restarts. Watching and paging go on."""
    request = {"command": "halt", "lift": lift, "reason": reason, "by": me(by)}
    command(config, request, as_json=as_json)


def maintenance(
    target: Annotated[str, typer.Argument(help="The target that is worked on.")],
    length: LengthOption = "1h",
    end: EndOption = False,
    reason: Reason = "",
    config: ConfigOption = DEFAULT_CONFIG,
    by: AsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Expect trouble on a target for a while: nobody is paged for what work brings about.

    All is recorded. What may cost data pages as ever.
    """
    from stanch.cli.asking import length_s

    request = {
        "command": "maintenance",
        "target": target,
        "seconds": length_s(length, "--for", days_max=30),
        "end": end,
        "reason": reason,
        "by": me(by),
    }
    command(config, request, as_json=as_json)


def silence(
    target: Annotated[str, typer.Argument(help="The target it is about.")],
    rule: Annotated[str, typer.Option("--rule", help="The rule, as `stanch rules` lists it.")],
    subject: Annotated[
        str,
        typer.Option("--subject", help="Of this volume, slot or service alone. Left out: of all."),
    ] = "",
    up_to: Annotated[
        str,
        typer.Option(
            "--up-to",
            help="The worst severity it holds, label or rank. Left out: as severe as it is now.",
        ),
    ] = "",
    length: LengthOption = "1h",
    end: EndOption = False,
    reason: Reason = "",
    config: ConfigOption = DEFAULT_CONFIG,
    by: AsOption = "",
    as_json: JsonOption = False,
) -> None:
    """Wake nobody for one rule on a target for a while; every other rule pages as ever.

    Needs --reason. What still stands when it ends is told at once. A server that is down, or an
    alert from outside, that gets worse than it was meant for pages.
    """
    from stanch.cli.asking import length_s

    request = {
        "command": "silence",
        "target": target,
        "rule": rule,
        "subject": subject,
        "severity": up_to,
        "seconds": length_s(length, "--for", days_max=30),
        "end": end,
        "reason": reason,
        "by": me(by),
    }
    command(config, request, as_json=as_json)


def silences(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List maintenance and silences: what stands, what ends first at the top, and by whom.

    Silences of the policy are listed with their next beginning, too.
    """
    found = fetched(config, "/silences")["silences"]
    lines = map(_silence_line, found) if found else ["nothing is silenced"]
    show_found(found, lines, as_json=as_json)


def clusters(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List clusters: those of the policy, and those that Stanch has seen to be one.

    A target that the policy puts into a cluster is in no other, whatever was seen. Where watched
    poolers lead is known while `stanch run` runs.
    """
    from stanch.cli.rendering import cluster_lines

    found = fetched(config, "/clusters")
    show_found(found, cluster_lines(found), as_json=as_json)


def _silence_line(one: dict[str, Any]) -> str:
    if one["until"]:
        when = f"until {one['until']}"
    else:
        when = f"from {one['next']}" if one["next"] else f"{'over':<25}"
    what = ", ".join(one["rules"]) or "maintenance"
    subjects = f" of {', '.join(one['subjects'])}" if one["subjects"] else ""
    worse = f" up to {one['up_to_label']}" if (one["up_to"] or 1) > 1 else ""
    source = f"policy {one['name']}" if one["source"] == "policy" else one["by"]
    where = ", ".join(one["targets"]) or "every target"
    return f"{when}  {where}: {what}{subjects}{worse}  {source}: {one['reason']}"


def postmortem(
    incident: IncidentArgument,
    output: Annotated[
        str, typer.Option("--output", "-o", help="Write to this file instead of printing.")
    ] = "",
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """Write the post-mortem, as Markdown, from the timeline alone."""
    text = fetched(config, f"{path_of(incident)}/postmortem")["markdown"]
    if not output:
        print(text)
        return
    write_file(output, text, option="--output")
    print(output)
