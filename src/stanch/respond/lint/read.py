"""A runbook somebody wrote, and every risky step in it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from stanch.model.shown import shortened
from stanch.respond.lint import hazards as h
from stanch.respond.lint import in_order, on_backups, on_files, on_servers, on_statements
from stanch.respond.lint.document import Block, blocks
from stanch.respond.lint.on_servers import secrets
from stanch.respond.lint.shell import Command
from stanch.respond.lint.sql import statements
from stanch.respond.lint.wrappers import all_commands, sql_texts

STEP_CHARS_MAX = 160

_COMMAND_RULES = (*on_files.RULES, *on_servers.RULES, *on_backups.RULES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What was looked at, and what was found."""

    risky: tuple[h.Risky, ...]
    """In the order of the text."""
    blocks: int
    commands: int
    statements: int


def read_runbook(text: str) -> Read:
    """Every risky step of a Markdown text with blocks of shell and SQL."""
    return _read(blocks(text), text.splitlines())


def read_shell(text: str) -> Read:
    """The same of a script."""
    return _read((Block(kind="shell", text=text, line=1),), text.splitlines())


def read_sql(text: str) -> Read:
    """The same of a file of SQL."""
    return _read((Block(kind="sql", text=text, line=1),), text.splitlines())


def _read(found: tuple[Block, ...], lines: list[str]) -> Read:
    steps = [
        (command, block)
        for block in found
        if block.kind == "shell"
        for command in all_commands(block.text, line=block.line)
    ]
    asked = [*_statements(found, steps)]
    hidden = frozenset(secret for command, _ in steps for secret in secrets(command))
    risky = {
        (hit.line, hit.hazard.id): hit
        for hit in (
            *_by_command(steps),
            *_in_order(steps),
            *_by_statement(asked),
            *_by_setting(found),
        )
    }
    return Read(
        risky=tuple(_shown(risky[key], lines, hidden) for key in sorted(risky)),
        blocks=len(found),
        commands=len(steps),
        statements=len(asked),
    )


def _statements(
    found: tuple[Block, ...], steps: list[tuple[Command, Block]]
) -> Iterator[on_statements.Asked]:
    for block in found:
        if block.kind == "sql":
            for one in statements(block.text, line=block.line):
                yield on_statements.Asked(statement=one, block=block, command=None)
    for command, block in steps:
        for given in sql_texts(command):
            for one in statements(given.text, line=given.line):
                yield on_statements.Asked(statement=one, block=block, command=command)


def _by_command(steps: list[tuple[Command, Block]]) -> Iterator[h.Risky]:
    for command, block in steps:
        for rule in _COMMAND_RULES:
            for hazard, note in rule(command, block):
                yield _risky(hazard, command.line, block, note)


def _in_order(steps: list[tuple[Command, Block]]) -> Iterator[h.Risky]:
    for rule in in_order.RULES:
        for hazard, command, block, note in rule(steps):
            yield _risky(hazard, command.line, block, note)


def _by_statement(asked: list[on_statements.Asked]) -> Iterator[h.Risky]:
    for one in asked:
        for rule in on_statements.RULES:
            for hazard, note in rule(one, asked):
                yield _risky(hazard, one.statement.line, one.block, note)


def _by_setting(found: tuple[Block, ...]) -> Iterator[h.Risky]:
    for block in found:
        if block.kind != "settings":
            continue
        for n, line in enumerate(block.text.splitlines()):
            name, _, value = line.partition("=") if "=" in line else line.partition(":")
            hit = on_statements.risky_setting(name.strip(), value.strip().strip("'\""))
            if hit is not None:
                yield _risky(hit, block.line + n, block, "")


def _risky(hazard: h.Hazard, line: int, block: Block, note: str) -> h.Risky:
    return h.Risky(hazard=hazard, line=line, step="", section=block.heading, note=note)


def _shown(risky: h.Risky, lines: list[str], hidden: frozenset[str]) -> h.Risky:
    """With its step as it is written, on one line, and no secret in it."""
    n = risky.line - 1
    step = lines[n].strip() if 0 <= n < len(lines) else ""
    while step.endswith("\\") and n + 1 < len(lines):
        n += 1
        step = f"{step[:-1].rstrip()} {lines[n].strip()}"
    for secret in sorted(hidden, key=len, reverse=True):
        step = step.replace(secret, "***")
    step = shortened(re.sub(r"\s+", " ", step), STEP_CHARS_MAX)
    return replace(risky, step=step)
