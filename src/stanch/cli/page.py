"""The page of all commands: docs/commands.md."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from stanch.cli.app import command_line

HEAD = """\
# Commands

What `stanch COMMAND --help` says, on one page. Commands about incidents work while `stanch run` is
up (over its private socket), while it is down (straight in the store, and they say so), and while
it hangs (left in an inbox on disk). `STANCH_CONFIG` names the policy file where `--config` is not
given, `STANCH_PERSON` the person where `--as` is not.

Unless a command says otherwise, the exit code is 0 when it was done, 1 when it was refused or
failed, and 2 when the command line was wrong.
"""


def commands_page() -> str:
    """The whole page as Markdown."""
    lines: list[str] = []
    for words, command in commands():
        lines += _section(words, command)
    return HEAD + "\n".join(lines) + "\n"


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with the words one types for it, subcommands included."""
    yield from _below("", typer.main.get_command(command_line()))


def _below(words: str, group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        inner = f"{words} {name}".strip()
        if hasattr(command, "commands"):
            yield from _below(inner, command)
        else:
            yield inner, command


def _section(words: str, command: Any) -> Iterator[str]:
    arguments = [_placeholder(p) for p in command.params if p.param_type_name == "argument"]
    yield ""
    yield f"## stanch {words}"
    yield ""
    yield f"`{' '.join(['stanch', words, *arguments])}`"
    yield ""
    yield from (command.help or "").strip().splitlines()
    yield ""
    yield "| Option | Meaning |"
    yield "| --- | --- |"
    for parameter in command.params:
        yield f"| `{_cell(_spelled(parameter))}` | {_cell(_told(parameter))} |"
    epilog = (command.epilog or "").replace("\b", "").strip()
    if "\n" in epilog:
        epilog = f"```text\n{epilog}\n```"
    if epilog:
        yield ""
        yield epilog


def _placeholder(parameter: Any) -> str:
    name = parameter.metavar or str(parameter.name).upper()
    return name if parameter.required or parameter.param_type_name != "argument" else f"[{name}]"


def _spelled(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return _placeholder(parameter)
    spelled = ", ".join(parameter.opts)
    return spelled if parameter.is_flag else f"{spelled} {_placeholder(parameter)}"


def _told(parameter: Any) -> str:
    text = " ".join((parameter.help or "").split())
    default = parameter.default
    if parameter.param_type_name == "argument" or parameter.is_flag or default in (None, ""):
        return text
    return f"{text} Default: `{default}`." if parameter.show_default else text


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
