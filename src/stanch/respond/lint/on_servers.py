"""Commands that kill, restart, promote, resize or pick a server, and those that show a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from stanch.respond.lint import hazards as h
from stanch.respond.lint.document import Block
from stanch.respond.lint.shell import Command
from stanch.respond.lint.wrappers import ENGINES, KUBES

Found = Iterator[tuple[h.Hazard, str]]

DATABASE = re.compile(
    r"(?i)postgres|pgsql|\bpg\b|\bpg[_\d-]|_pg\b|\bdb\b|_db\b|\bdb[_-]|database|patroni"
)
DAMAGE = re.compile(
    r"corrupt|could not read block|invalid page|checksum (fail|mismatch)|damaged|bad block"
    r"|missing chunk|unexpected zero page"
)
_KILL = re.compile(r"^-(9|KILL|SIGKILL)$")
_TRIGGER = re.compile(r"(?i)(promote|trigger)[\w.-]*$|\.trigger$")
_PASSWORD_IN_URL = re.compile(r"://[^\s:/@]+:([^\s@/$<{][^\s@/]*)@")
_ASSIGNED = re.compile(r"(?i)^(PGPASSWORD|\w*(PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY))=(.+)$")
_OPTION = re.compile(r"(?i)^--?(password|passwd|token|api-?key|secret)=(.+)$")
_HEADER = re.compile(r"(?i)(authorization:\s*(bearer|basic|token)|x-api-key:)\s*(\S+)")
_IN_CONNINFO = re.compile(r"(?i)\bpassword\s*=\s*'?([^\s'$<{]\S*)")
_FILLED_IN = re.compile(r"^[$<{*]|^_\w+_$|^x{3,}$|^\*+$|(?i:^(your|my|the)[_-])|^\.\.\.$|^…$|^$")


def killed(command: Command, _block: Block) -> Found:
    said = command.words[1:]
    if command.name in ("kill", "pkill", "killall", "skill"):
        named = any(
            a in ("-s", "--signal") and re.fullmatch(r"(?i)9|(SIG)?KILL", b)
            for a, b in pairwise(said)
        )
        if named or any(_KILL.match(word.upper()) for word in said):
            yield h.KILLED_HARD, ""
    elif command.name in ENGINES and said[:1] == ("kill",):
        if not command.has("-s", "--signal"):
            yield h.KILLED_HARD, "that is what `kill` sends unless told otherwise"
    elif command.name == "systemctl" and said[:1] == ("kill",):
        if any(re.search(r"(?i)^(9|(SIG)?KILL)$", word.rpartition("=")[2]) for word in said):
            yield h.KILLED_HARD, ""
    elif command.name in KUBES and "delete" in said and command.has("--force"):
        yield h.KILLED_HARD, "and the pod may still run on a node that nobody reaches"


def restarts(command: Command) -> str:
    """Which server of PostgreSQL a command starts or restarts, as it is named; empty: none."""
    said = command.words[1:]
    name = command.name
    target = ""
    if name in ENGINES or name == "docker-compose":
        rest = said[1:] if said[:1] in (("compose",), ("container",)) else said
        if rest[:1] in (("restart",), ("start",)) or (rest[:1] == ("up",)):
            target = " ".join(word for word in rest[1:] if not word.startswith("-"))
    elif name in ("systemctl", "service", "rc-service"):
        if {"restart", "start", "reload-or-restart"} & {*said}:
            target = " ".join(said)
    elif name in ("pg_ctl", "pg_ctlcluster"):
        if {"restart", "start"} & {*said}:
            return command.text
    elif name in KUBES and said[:2] == ("rollout", "restart"):
        target = " ".join(said[2:])
    return target if DATABASE.search(target) else ""


def restarted_on_damage(command: Command, block: Block) -> Found:
    if restarts(command) and DAMAGE.search(block.prose):
        yield h.RESTART_ON_DAMAGE, ""


def promoted(command: Command, _block: Block) -> Found:
    said = command.words[1:]
    by_hand = command.name in ("pg_ctl", "pg_ctlcluster") and "promote" in said
    by_file = command.name == "touch" and any(_TRIGGER.search(word) for word in said)
    repmgr = command.name == "repmgr" and {"standby", "promote"} <= {*said}
    if by_hand or by_file or repmgr:
        yield h.PROMOTED_UNFENCED, ""


def memory_limit(command: Command, _block: Block) -> Found:
    updates = command.name in ENGINES and command.words[1:2] == ("update",)
    if updates and command.has("-m", "--memory", "--memory-swap"):
        yield h.MEMORY_LIMIT_BLIND, ""


def first_of_a_list(command: Command, _block: Block) -> Found:
    said = command.words[1:]
    lists = command.name in ENGINES and (said[:1] == ("ps",) or said[:2] == ("container", "ls"))
    lists = lists or (command.name in KUBES and said[:1] == ("get",))
    if not lists:
        return
    cut = {"head", "tail"} & {*command.feeds}
    if (
        cut
        or "NR==" in " ".join(command.feeds)
        or command.has("-l", "--latest")
        or any("items[0]" in word for word in said)
    ):
        yield h.CONTAINER_GUESSED, ""


# --- secrets ------------------------------------------------------------------------------------


def secret(command: Command, _block: Block) -> Found:
    if any(True for _ in secrets(command)):
        yield h.SECRET_SHOWN, ""


def secrets(command: Command) -> Iterator[str]:
    """Every secret that stands in a command as it is."""
    for text in (*command.assigned, *command.words):
        for pattern, group in (
            (_ASSIGNED, 3),
            (_OPTION, 2),
            (_HEADER, 3),
            (_PASSWORD_IN_URL, 1),
            (_IN_CONNINFO, 1),
        ):
            found = pattern.search(text)
            if found is not None and not _FILLED_IN.search(found[group]):
                yield found[group]
    if command.name == "curl":
        for a, b in pairwise(command.words):
            name, _, password = b.partition(":")
            if a in ("-u", "--user") and name and password and not _FILLED_IN.search(password):
                yield password


RULES = (
    killed,
    restarted_on_damage,
    promoted,
    memory_limit,
    first_of_a_list,
    secret,
)
