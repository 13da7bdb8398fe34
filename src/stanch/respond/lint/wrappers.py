"""What really runs behind sudo, ssh, docker exec and their like, and which SQL psql is given."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from stanch.respond.lint.shell import Command, commands, inner

DEPTH_MAX = 8

SHELLS = frozenset({"bash", "sh", "dash", "zsh", "ksh", "ash"})
ENGINES = frozenset({"docker", "podman", "nerdctl"})
KUBES = frozenset({"kubectl", "oc"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wrapper:
    valued: frozenset[str] = frozenset()
    """Options whose value is the next word."""
    own: int = 0
    """So many words of its own stand before the command."""


def _valued(*options: str) -> frozenset[str]:
    return frozenset(options)


_PLAIN: Mapping[str, _Wrapper] = {
    "sudo": _Wrapper(valued=_valued("-u", "-g", "-h", "-p", "-C", "-r", "-t", "-D", "--user")),
    "doas": _Wrapper(valued=_valued("-u", "-C")),
    "gosu": _Wrapper(own=1),
    "su-exec": _Wrapper(own=1),
    "setpriv": _Wrapper(valued=_valued("--reuid", "--regid")),
    "env": _Wrapper(valued=_valued("-u", "-C")),
    "nice": _Wrapper(valued=_valued("-n", "--adjustment")),
    "ionice": _Wrapper(valued=_valued("-c", "-n", "--class", "--classdata")),
    "nohup": _Wrapper(),
    "setsid": _Wrapper(),
    "time": _Wrapper(),
    "command": _Wrapper(),
    "exec": _Wrapper(),
    "timeout": _Wrapper(valued=_valued("-s", "-k", "--signal", "--kill-after"), own=1),
    "chroot": _Wrapper(own=1),
    "nsenter": _Wrapper(valued=_valued("-t", "--target")),
    "xargs": _Wrapper(
        valued=_valued("-I", "-n", "-P", "-L", "-d", "-a", "-s", "-E", "--max-args", "--max-procs")
    ),
    "parallel": _Wrapper(valued=_valued("-j", "--jobs")),
}
_EXEC = _Wrapper(
    valued=_valued("-u", "--user", "-w", "--workdir", "-e", "--env", "--env-file", "--index"),
    own=1,
)
_RUN = _Wrapper(
    valued=_valued(
        *("-u", "--user", "-w", "--workdir", "-e", "--env", "--env-file", "-v", "--volume"),
        *("--mount", "--name", "--network", "--net", "-p", "--publish", "-m", "--memory"),
        *("--entrypoint", "--volumes-from", "-h", "--hostname", "--platform", "-l", "--label"),
    ),
    own=1,
)
_KUBE_EXEC = _Wrapper(valued=_valued("-n", "--namespace", "-c", "--container", "--context"), own=1)
_SSH = _Wrapper(
    valued=_valued(*(f"-{letter}" for letter in "BbcDEeFIiJLlmOopQRSWw")),
    own=1,
)
_COMPOSE_OPTIONS = _valued("-f", "--file", "-p", "--project-name", "--profile", "--env-file")
_KUBE_OPTIONS = _valued("-n", "--namespace", "--context", "--kubeconfig", "--cluster", "--user")
_PSQL_VALUED = "cdfFhLoPpRTUv"


def all_commands(text: str, *, line: int = 1) -> tuple[Command, ...]:
    """Every command of a shell text and what each of them runs, in order."""
    found = list[Command]()
    for command in commands(text, line=line):
        found += unwrapped(command)
    return tuple(found)


def unwrapped(command: Command, *, depth: int = 0) -> Iterator[Command]:
    """A command, and those that it runs in turn."""
    yield command
    if depth >= DEPTH_MAX or not command.words:
        return
    for one in (*_by_words(command), *_by_text(command)):
        yield from unwrapped(one, depth=depth + 1)


# --- by words -----------------------------------------------------------------------------------


def _by_words(command: Command) -> Iterator[Command]:
    words, name = command.words, command.name
    if name in _PLAIN:
        rest = _after(words[1:], _PLAIN[name])
        while rest and re.match(r"[A-Za-z_]\w*=", rest[0]):
            rest = rest[1:]  # sudo and env take assignments
        by = name
    elif name in ENGINES or name == "docker-compose":
        rest, by = _engine(words)
    elif name in KUBES:
        rest = _after_subcommand(words[1:], _KUBE_OPTIONS, "exec", _KUBE_EXEC)
        by = f"{name} exec"
    elif name == "find":
        rest, by = _executed(words), "find"
    else:
        return
    if rest:
        # What `find` finds is handed over as a list is that comes through a pipe.
        fed_by = (*command.fed_by, command) if by == "find" else command.fed_by
        yield replace(inner(command, rest, by), fed_by=fed_by)


def _after(words: tuple[str, ...], wrapper: _Wrapper) -> tuple[str, ...]:
    """The words behind a wrapper's options and its own words."""
    own, n = wrapper.own, 0
    while n < len(words):
        word = words[n]
        if word == "--":
            # Whatever own words come before it were counted already.
            return words[n + 1 :]
        if word.startswith("-") and len(word) > 1:
            n += 2 if word in wrapper.valued else 1
        elif own:
            own -= 1
            n += 1
        else:
            return words[n:]
    return ()


def _after_subcommand(
    words: tuple[str, ...], options: frozenset[str], subcommand: str, wrapper: _Wrapper
) -> tuple[str, ...]:
    rest = _after(words, _Wrapper(valued=options))
    if not rest or rest[0] != subcommand:
        return ()
    if "--" in rest:
        return rest[rest.index("--") + 1 :]
    return _after(rest[1:], wrapper)


def _engine(words: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    name, rest = words[0].rpartition("/")[2], words[1:]
    if name == "docker-compose" or rest[:1] == ("compose",):
        rest = rest if name == "docker-compose" else rest[1:]
        name = "docker compose"
        rest = _after(rest, _Wrapper(valued=_COMPOSE_OPTIONS))
    else:
        rest = _after(rest, _Wrapper(valued=_valued("-H", "--host", "-c", "--context")))
    if rest[:1] == ("container",):
        rest = rest[1:]
    if rest[:1] == ("exec",):
        return _after(rest[1:], _EXEC), f"{name} exec"
    if rest[:1] == ("run",):
        return _after(rest[1:], _RUN), f"{name} run"
    return (), name


def _executed(words: tuple[str, ...]) -> tuple[str, ...]:
    """What `find` runs, with whatever follows it."""
    for mark in ("-exec", "-execdir", "-ok", "-okdir"):
        if mark in words:
            return words[words.index(mark) + 1 :]
    return ()


# --- by text ------------------------------------------------------------------------------------


def _by_text(command: Command) -> Iterator[Command]:
    for line, text, by in _texts(command):
        for one in commands(text, line=line):
            yield _inside(command, one, by)


def _inside(command: Command, one: Command, by: str) -> Command:
    """A command of a text, with what stands around the one that runs the text."""
    return replace(
        one,
        writes=(*one.writes, *command.writes),
        here=one.here or command.here,
        fed_by=(*command.fed_by, *one.fed_by),
        feeds=(*one.feeds, *command.feeds),
        within=(*command.within, by, *one.within),
        checked=one.checked or command.checked,
    )


def _texts(command: Command) -> Iterator[tuple[int, str, str]]:
    """Shell texts that a command runs, with the line each begins on."""
    name, words = command.name, command.words
    if name in (*SHELLS, "su", "runuser"):
        for n, word in enumerate(words[:-1]):
            if re.fullmatch(r"-[a-z]*c|--command", word):
                yield command.lines[n + 1], words[n + 1], name
        if name in SHELLS and len(words) == 1:
            for line, text in command.here:
                yield line, text, name
    elif name == "ssh":
        rest = _after(words[1:], _SSH)
        if rest:
            yield command.lines[len(words) - len(rest)], " ".join(rest), "ssh"
        else:
            for line, text in command.here:
                yield line, text, "ssh"
    elif name in ("watch", "eval"):
        rest = _after(words[1:], _Wrapper(valued=_valued("-n", "--interval")))
        if rest:
            yield command.lines[len(words) - len(rest)], " ".join(rest), name


# --- SQL ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlText:
    """SQL that a command is given."""

    line: int
    text: str
    command: Command


def sql_texts(command: Command) -> Iterator[SqlText]:
    """What `psql` runs: of its words, of a here document, or of an `echo` before it."""
    if command.name not in ("psql", "pgcli"):
        return
    for line, text in _given(command):
        yield SqlText(line=line, text=text, command=command)
    for line, text in command.here:
        yield SqlText(line=line, text=text, command=command)
    for one in command.fed_by[-1:]:
        if one.name in ("echo", "printf"):
            yield SqlText(line=one.line, text=" ".join(one.arguments), command=command)


def _given(command: Command) -> Iterator[tuple[int, str]]:
    words = command.words
    n = 1
    while n < len(words):
        word, step = words[n], 1
        if word.startswith("--command="):
            yield command.lines[n], word.partition("=")[2]
        elif word == "--command" and n + 1 < len(words):
            yield command.lines[n + 1], words[n + 1]
            step = 2
        elif re.match(r"-[A-Za-z]", word):
            letter = next((c for c in word[1:] if c in _PSQL_VALUED), "")
            glued = word[word.index(letter) + 1 :] if letter else ""
            if letter and not glued:
                step = 2
            if letter == "c" and (glued or n + 1 < len(words)):
                yield (command.lines[n], glued) if glued else (command.lines[n + 1], words[n + 1])
        n += step
