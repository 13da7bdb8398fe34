"""The runbooks in force: the shipped ones, overridden by the user's own of the same id."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from stanch.model.errors import PolicyInvalid
from stanch.model.findings import Finding
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.gathering.run import GATHERABLE
from stanch.respond.runbook import Runbook, parse_runbook


@cache
def shipped_runbooks() -> tuple[Runbook, ...]:
    """The runbooks that come with Stanch, by id."""
    folder = files("stanch.respond") / "runbooks"
    found = [
        _parsed(entry.read_text("utf-8"), entry.name)
        for entry in folder.iterdir()
        if entry.name.endswith(".md")
    ]
    return tuple(sorted(found, key=lambda runbook: runbook.id))


def load_runbooks(user_directory: str = "") -> tuple[Runbook, ...]:
    """Shipped runbooks with the user's own over them.

    Raises: PolicyInvalid with every finding of every file; a folder with one bad runbook gives
    none, so that nobody acts on half of what somebody wrote.
    """
    in_force = {runbook.id: runbook for runbook in shipped_runbooks()}
    own, findings = _own(user_directory)
    if findings:
        text = "\n".join(str(finding) for finding in findings)
        raise PolicyInvalid(text, on=user_directory, findings=findings)
    in_force.update({runbook.id: runbook for runbook in own})
    return tuple(in_force[runbook_id] for runbook_id in sorted(in_force))


def _parsed(text: str, file: str) -> Runbook:
    return parse_runbook(text, file=file, actions=CATALOGUE, gathered=GATHERABLE)


def _own(user_directory: str) -> tuple[list[Runbook], list[Finding]]:
    own: list[Runbook] = []
    findings: list[Finding] = []
    if not user_directory:
        return own, findings
    folder = Path(user_directory).expanduser()
    if not folder.is_dir():
        return own, [_finding(str(folder), "is not a folder")]
    for path in sorted(folder.glob("*.md")):
        try:
            text = path.read_text("utf-8")
            own.append(_parsed(text, str(path)))
        except PolicyInvalid as error:
            findings += error.findings
        except (OSError, UnicodeDecodeError) as error:
            findings.append(_finding(str(path), f"cannot be read: {error}"))
    twice = {r.id for r in own if sum(1 for other in own if other.id == r.id) > 1}
    findings += [_finding(r.file, f"the id {r.id} is there twice") for r in own if r.id in twice]
    return own, findings


def _finding(file: str, what: str) -> Finding:
    return Finding(file=file, line=1, column=1, path="", what=what)
