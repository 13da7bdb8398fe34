"""`stanch init`: two questions, a policy file, a real test page, and what works tonight."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stanch.cli.asking import Answering, ask_line, length_s, os_user
from stanch.model.errors import SetupError
from stanch.model.ids import ChannelName, PersonId, TargetName
from stanch.policy.dsn import read_conninfo
from stanch.policy.kinds import HOST, MAIL_ADDRESS, Integer, Written, Wrong
from stanch.policy.policy import (
    Contact,
    Person,
    Policy,
    SmtpChannel,
    TargetPolicy,
    TerminalChannel,
)
from stanch.policy.quoting import printable

if TYPE_CHECKING:
    from stanch.model.ports.channels import HandoverResult
    from stanch.policy.template import Answers
    from stanch.service.readiness.capabilities import TargetReport

NOT_ACKNOWLEDGED = 3
NOT_SENT = 4
NOT_REACHED = 5
SEND_DEADLINE_S = 30.0
EPILOG = (
    "Exit codes: 0 all done, 1 nothing written, 3 the test page was not acknowledged, "
    "4 the test page could not be sent, 5 the server was not reached. "
    "From 3 on the file is written."
)


def register(app: typer.Typer) -> None:
    app.command("init", epilog=EPILOG)(init)


def init(
    dsn: Annotated[
        str, typer.Option(help="How to reach the server: service=orders, a URL, or host=… pairs.")
    ] = "",
    contact: Annotated[
        str, typer.Option(help="A mail address, or `terminal` for lines on this screen.")
    ] = "",
    smtp: Annotated[str, typer.Option(help="The mail server, as host:port.")] = "localhost:25",
    sender: Annotated[str, typer.Option(help="The address mails come from.")] = "",
    name: Annotated[str, typer.Option(help="What to call the server.")] = "",
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path(
        "stanch.yaml"
    ),
    state_directory: Annotated[str, typer.Option(help="Where timelines are kept.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            "--non-interactive",
            help="Ask nothing: --dsn and --contact must be given, and nobody is waited for.",
        ),
    ] = False,
    ack_timeout: Annotated[
        str, typer.Option(help="How long to wait for the test page's code.")
    ] = "10m",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a commented policy, send a real test page, and say what works tonight.

    Asks for one connection string and one contact. The test page carries a short code; typing it
    here proves that pages arrive.
    """
    from stanch.policy.parse import parse_policy, read_policy
    from stanch.policy.template import template

    wait_s = length_s(ack_timeout, "--ack-timeout")
    if output.exists() and not force:
        raise SetupError("exists already", on=str(output), hint="--force replaces it.")
    asked = _asked(dsn, "Connection string of the server (service=…, URL or host=…)", "--dsn", yes)
    reach = _asked(contact, "Who is paged? A mail address, or `terminal`", "--contact", yes)
    answers = _answers(
        asked, reach, smtp=smtp, sender=sender, name=name, state_directory=state_directory
    )
    text = template(answers)
    policy = parse_policy(text, file=str(output))
    write_private(output, text)
    _say(f"wrote {output} (readable by you only)")
    for finding in read_policy(text, file=str(output)).warnings:
        _say(f"warning: {printable(finding.path)}: {finding.what}. {finding.hint}")
    page = asyncio.run(_test_page(policy, wait_s=0.0 if yes else wait_s))
    report = asyncio.run(_report(policy))
    _show(output, page, report, as_json=as_json)
    if page["acknowledged"] is None:
        raise typer.Exit(NOT_SENT)
    if not report.reached:
        raise typer.Exit(NOT_REACHED)
    if not page["acknowledged"] and not yes:
        raise typer.Exit(NOT_ACKNOWLEDGED)


# --- answers ------------------------------------------------------------------------------------


def _asked(given: str, question: str, option: str, yes: bool) -> str:
    if given:
        return given.strip()
    if yes:
        raise typer.BadParameter(f"{option} is needed when nothing is asked", param_hint=option)
    return str(typer.prompt(question, err=True)).strip()


def _answers(
    dsn: str, contact: str, *, smtp: str, sender: str, name: str, state_directory: str
) -> Answers:
    from stanch.policy.template import Answers

    known = read_conninfo(dsn)
    if known is None:
        raise SetupError(
            "not a connection string",
            on="the server",
            hint='Write it like "service=orders" or "host=db.example.com dbname=postgres".',
        )
    target = name or _name(
        known.parameters.get("service") or known.parameters.get("dbname") or "", "database"
    )
    person, channel = _contact(contact, smtp=smtp, sender=sender)
    return Answers(
        state_directory=state_directory or _default_state_directory(),
        person=person,
        channel=channel,
        target=TargetPolicy(name=TargetName(target), dsn=dsn),
    )


def _contact(
    contact: str, *, smtp: str, sender: str
) -> tuple[Person, SmtpChannel | TerminalChannel]:
    if contact == "terminal":
        user = _name(os_user(), "me")
        person = Person(id=PersonId(user), name=user)
        return person, TerminalChannel(name=ChannelName("console"))
    address = MAIL_ADDRESS.read(Written(text=contact, is_text=True))
    if isinstance(address, Wrong):
        raise SetupError(address.what, on="contact", hint=f"{address.hint} Or give `terminal`.")
    host, _, port = smtp.rpartition(":")
    number = Integer(low=1, high=65535).read(Written(text=port, is_text=True))
    if isinstance(HOST.read(Written(text=host, is_text=True)), Wrong) or isinstance(number, Wrong):
        raise SetupError("not host:port", on="--smtp", hint="Write it like mail.example.com:25.")
    local = address.partition("@")[0]
    person = Person(
        id=PersonId(_name(local, "me")),
        name=" ".join(re.split(r"[._+-]+", local)).strip().title() or local,
        contacts=(Contact(channel=ChannelName("mail"), address=address),),
    )
    default = SmtpChannel(name=ChannelName("mail"), host=host)
    channel = SmtpChannel(
        name=default.name, host=host, port=number, sender=sender or default.sender
    )
    return person, channel


def _name(text: str, spare: str) -> str:
    """A name for the policy made of whatever the connection string or address offers."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:63]
    return plain or spare


def _default_state_directory() -> str:
    if os.geteuid() == 0:
        return "/var/lib/stanch"
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return str(Path(base).expanduser() / "stanch")


def write_private(path: Path, text: str) -> None:
    """The whole file or none of it, readable by its owner only."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise SetupError(
            f"cannot be written: {error.strerror}", on=str(path), hint="--output names another."
        ) from error


# --- the test page ------------------------------------------------------------------------------


async def _test_page(policy: Policy, *, wait_s: float) -> dict[str, Any]:
    """Send it and wait; `acknowledged` is None where it did not even leave."""
    from stanch.model.messages import Handover
    from stanch.service.readiness.trial_page import new_code, send_trial

    code = new_code()
    [person], [channel] = policy.people, policy.channels
    contact = person.contacts[0] if person.contacts else None
    where = printable(contact.address) if contact else "this terminal"
    said: HandoverResult = await send_trial(
        channel, person=person, contact=contact, code=code, deadline_s=SEND_DEADLINE_S
    )
    result = {"to": where, "outcome": said.outcome.value, "detail": said.detail}
    if said.outcome is Handover.FAILED:
        _say(f"the test page to {where} could not be sent: {said.detail}")
        return {**result, "acknowledged": None}
    _say(f"sent a test page to {where} ({said.outcome.value}: {said.detail})")
    if not wait_s:
        _say("nobody is waited for; `stanch check --send-test` sends another page")
        return {**result, "acknowledged": False}
    acknowledged = await asyncio.to_thread(_wait_for_code, code, wait_s)
    return {**result, "acknowledged": acknowledged}


def _wait_for_code(code: str, wait_s: float) -> bool:
    """Ask until the code is right, nobody types any more, or the time is over."""
    from stanch.service.readiness.trial_page import same_code

    answering = Answering(sys.stdin, wait_s)
    while True:
        typed = ask_line(answering, "Code from the page: ")
        if typed is None:
            _say("the test page was not acknowledged")
            return False
        if same_code(typed, code):
            _say("acknowledged: pages arrive")
            return True
        if typed.strip():
            _say("that is not the code; look at the newest page and try again")


# --- what works ---------------------------------------------------------------------------------


async def _report(policy: Policy) -> TargetReport:
    from stanch.service.readiness.capabilities import report_target

    [target] = policy.targets
    return await report_target(target, heartbeat=policy.heartbeat)


def _show(output: Path, page: dict[str, Any], report: TargetReport, *, as_json: bool) -> None:
    from stanch.cli import capability_table

    if not as_json:
        capability_table.print_table(report.target, report.capabilities, sys.stdout)
        return
    body = {
        "schema": "stanch.init/1",
        "file": str(output),
        "test_page": page,
        "targets": {
            report.target: {
                "state": report.state.value if report.state else None,
                "shares_host": report.shares_host,
                "capabilities": capability_table.as_json(report.capabilities),
            }
        },
    }
    print(json.dumps(body, ensure_ascii=True, indent=1))


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr)
