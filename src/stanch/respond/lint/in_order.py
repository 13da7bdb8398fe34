"""Steps that are dangerous because of what comes before or after them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from stanch.respond.lint import hazards as h
from stanch.respond.lint.document import Block
from stanch.respond.lint.on_servers import DATABASE, restarts
from stanch.respond.lint.shell import Command
from stanch.respond.lint.wrappers import ENGINES, KUBES

SLEEP_S_MIN = 5.0
_ASKS = frozenset({"pg_isready", "psql"})
_READERS = frozenset({"tail", "cat", "less", "grep", "zgrep", "egrep", "head", "more"})
_LOG = re.compile(r"(?i)\.log\b|/log/|pg_log|csvlog|stderr|\$\{?(PG)?LOG")
_LOOKS = frozenset({"pg_controldata", "pg_checksums", "pg_amcheck", "pg_waldump"})

Steps = Sequence[tuple[Command, Block]]
Found = Iterator[tuple[h.Hazard, Command, Block, str]]


def looks_why(command: Command) -> bool:
    """Whether somebody learns from it why the server failed."""
    said = command.words[1:]
    if command.name in _LOOKS:
        return True
    if command.name in ENGINES | KUBES | {"docker-compose"}:
        return "logs" in said[:2]
    if command.name == "journalctl":
        return bool(DATABASE.search(" ".join(said)))
    return command.name in _READERS and any(_LOG.search(word) for word in said)


def restart_before_look(steps: Steps) -> Found:
    """The first restart of the server, where nobody has looked before."""
    for command, block in steps:
        if looks_why(command):
            return
        if restarts(command):
            yield h.RESTART_BEFORE_LOOK, command, block, ""
            return


def waits_blindly(steps: Steps) -> Found:
    """A restart, some seconds of sleep, one question."""
    for n, (command, block) in enumerate(steps):
        if command.name != "sleep" or command.checked or _seconds(command) < SLEEP_S_MIN:
            continue
        before = [one for one, where in steps[:n] if where is block]
        after = [one for one, where in steps[n + 1 :] if where is block]
        asked = next((one for one in after if one.name not in ("docker", "kubectl", "sudo")), None)
        if any(restarts(one) for one in before) and asked is not None and asked.name in _ASKS:
            yield h.WAITS_BLINDLY, command, block, ""


def _seconds(command: Command) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m)?", "".join(command.arguments[:1]))
    if found is None:
        return 0.0
    return float(found[1]) * (60 if found[2] == "m" else 1)


RULES = (restart_before_look, waits_blindly)
