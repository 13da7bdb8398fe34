"""`stanch check`: reads the policy and tries everything it promises."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stanch.model.findings import Finding
from stanch.policy.quoting import printable

if TYPE_CHECKING:
    from stanch.policy.parse import Parsed
    from stanch.service.readiness.checking import CheckReport

PROBLEMS = 1
INVALID = 3
EPILOG = (
    "Exit codes: 0 everything works, 1 something would fail in an incident, "
    "3 the policy file has errors."
)


def register(app: typer.Typer) -> None:
    app.command("check", epilog=EPILOG)(check)


def check(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="The policy file.", envvar="STANCH_CONFIG")
    ] = Path("stanch.yaml"),
    send_test: Annotated[
        bool, typer.Option("--send-test", help="Also send a real test page over every channel.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the policy file, then try every target, privilege, source and channel it names.

    Nothing is changed on any server. Where `app_dsn` is set, its role commits one write that no
    table keeps, because that is how a rescue will be proven.
    """
    parsed = _parsed(config)
    if parsed.policy is None:
        _show(parsed, None, as_json=as_json)
        raise typer.Exit(INVALID)
    from stanch.service.readiness.checking import check_policy

    report = asyncio.run(check_policy(parsed.policy, send_test=send_test))
    _show(parsed, report, as_json=as_json)
    if not report.ok:
        raise typer.Exit(PROBLEMS)


def _parsed(config: Path) -> Parsed:
    from stanch.policy.parse import Parsed, read_policy

    try:
        text = config.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        finding = Finding(
            file=str(config),
            line=1,
            column=1,
            path="",
            what=f"cannot be read: {reason}",
            hint="`stanch init` writes one; --config names another.",
        )
        return Parsed(policy=None, findings=(finding,))
    return read_policy(text, file=str(config))


def _show(parsed: Parsed, report: CheckReport | None, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_as_json(parsed, report), ensure_ascii=True, indent=1))
        return
    show_findings(parsed)
    if report is None:
        errors = _counted(len(parsed.errors), "error")
        print(f"{errors}; nothing was tried", file=sys.stderr)
        return
    from stanch.cli.capability_table import print_table

    for target in report.targets:
        print_table(target.target, target.capabilities, sys.stdout)
        print()
    for name, tried in report.channels:
        print(f"channel {printable(name)}: {'ok' if tried.ok else 'FAILED'}: {tried.detail}")
    for on, tried in report.sources:
        print(printable(f"source {on}: {'ok' if tried.ok else 'FAILED'}: {tried.detail}"))
    for problem in report.problems:
        print(f"PROBLEM {printable(problem.on)}: {printable(problem.what)}", file=sys.stderr)
        if problem.hint:
            print(f"  hint: {printable(problem.hint)}", file=sys.stderr)
    if report.ok:
        print("everything this policy promises works")
    else:
        print(_counted(len(report.problems), "problem"), file=sys.stderr)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def show_findings(parsed: Parsed) -> None:
    """Every finding with its place and what to do about it, on standard error."""
    for finding in parsed.findings:
        print(printable(str(finding)), file=sys.stderr)
        if finding.hint:
            print(f"  hint: {printable(finding.hint)}", file=sys.stderr)


def _as_json(parsed: Parsed, report: CheckReport | None) -> dict[str, Any]:
    from stanch.cli.capability_table import as_json

    body: dict[str, Any] = {
        "schema": "stanch.check/1",
        "ok": report is not None and report.ok,
        "findings": [
            {
                "file": f.file,
                "line": f.line,
                "column": f.column,
                "path": f.path,
                "level": f.level,
                "what": f.what,
                "hint": f.hint,
            }
            for f in parsed.findings
        ],
        "targets": {},
        "channels": {},
        "sources": {},
        "problems": [],
    }
    if report is None:
        return body
    for target in report.targets:
        body["targets"][target.target] = {
            "state": target.state.value if target.state else None,
            "shares_host": target.shares_host,
            "capabilities": as_json(target.capabilities),
        }
    for name, tried in report.channels:
        body["channels"][name] = {"ok": tried.ok, "detail": tried.detail}
    for on, tried in report.sources:
        body["sources"][on] = {"ok": tried.ok, "detail": tried.detail}
    body["problems"] = [{"on": p.on, "what": p.what, "hint": p.hint} for p in report.problems]
    return body
