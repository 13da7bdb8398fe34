"""Runbooks: Markdown that a person can follow by hand, with the machine's step beside it. Pure.

A runbook begins with YAML between two `---` lines. Each step is a paragraph for people followed by
a fenced block of the kind `stanch`, which is YAML too: it says what to `gather` or what to `do`.
Whatever the parser does not know is an error with its line, because a misspelt guard would
otherwise be a guard that is not there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, cast

from stanch.model.diagnosis import Scalar
from stanch.model.errors import PolicyInvalid
from stanch.model.findings import Finding
from stanch.respond.runbook_text import Block, fences, mapping
from stanch.steps.action import Action
from stanch.steps.never import forbidden_in

TEXT_CHARS_MAX = 200_000

HEAD_KEYS = ("id", "title", "causes", "severity", "time_target", "owner", "last_drilled")
STEP_KEYS = (
    "do",
    "when",
    "params",
    "guards",
    "approval",
    "verify",
    "deadline",
    "undo",
    "no_undo",
    "on_failure",
    "expect",
)
NEEDED_KEYS = ("do", "guards", "verify", "deadline", "expect")
GATHER_KEYS = ("gather", "when", "deadline", "expect")
GATHER_DEADLINE_S = 3.0

GATHER = "gather"
"""The action that only reads."""

Approval = Literal["policy", "always"]


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """The step belongs into the plan only while a fact has this value."""

    fact: str
    value: Scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class RunbookStep:
    """One step as it is written."""

    line: int
    do: str
    params: Mapping[str, Scalar]
    """`$name` stands for the fact of that name."""
    guards: tuple[str, ...]
    verify: str
    deadline_s: float
    expect: str
    """What a person sees when it went well."""
    approval: Approval = "policy"
    undo: str = ""
    no_undo: str = ""
    on_failure: Literal["stop", "continue"] = "stop"
    when: When | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """One runbook; `text` is the whole file, for people."""

    id: str
    title: str
    causes: tuple[str, ...]
    severity: str
    time_target_s: float
    owner: str
    last_drilled: str
    steps: tuple[RunbookStep, ...]
    text: str
    file: str


def parse_runbook(
    text: str, *, file: str, actions: Mapping[str, Action], gathered: Collection[str]
) -> Runbook:
    """The runbook a text describes. Raises: PolicyInvalid with every finding.

    `gathered`: the names of what can be gathered.
    """
    return _Parser(text, file, actions=actions, gathered=gathered).parse()


class _Parser:
    def __init__(
        self, text: str, file: str, *, actions: Mapping[str, Action], gathered: Collection[str]
    ) -> None:
        self._text = text
        self._lines = text.splitlines()
        self._file = file
        self._actions = actions
        self._gathered = gathered
        self._findings: list[Finding] = []

    def parse(self) -> Runbook:
        if len(self._text) > TEXT_CHARS_MAX:
            self._say(1, "", f"longer than {TEXT_CHARS_MAX} characters")
            raise self._invalid()
        head, rest_line = self._head()
        steps = tuple(step for step in self._steps(rest_line) if step is not None)
        if not steps and not self._findings:
            self._say(1, "", "has no step", hint="A step is a fenced block that begins ```stanch.")
        self._never(rest_line)
        if self._findings:
            raise self._invalid()
        return Runbook(
            id=_text(head.get("id")),
            title=_text(head.get("title")),
            causes=tuple(cast("list[str]", head.get("causes"))),
            severity=_text(head.get("severity")),
            time_target_s=_seconds(head.get("time_target")) or 0.0,
            owner=_text(head.get("owner")),
            last_drilled=_text(head.get("last_drilled")),
            steps=steps,
            text=self._text,
            file=self._file,
        )

    # --- the head ---

    def _head(self) -> tuple[Mapping[str, object], int]:
        if not self._lines or self._lines[0].strip() != "---":
            self._say(1, "", "does not begin with ---", hint="The head is YAML between --- lines.")
            raise self._invalid()
        end = next((n for n, line in enumerate(self._lines[1:], 1) if line.strip() == "---"), None)
        if end is None:
            self._say(1, "", "the head has no closing ---")
            raise self._invalid()
        head = self._mapping("\n".join(self._lines[1:end]), first_line=2, known=HEAD_KEYS)
        for key in HEAD_KEYS[:-1]:
            if key not in head.values:
                self._say(1, key, "is missing")
        self._check_head(head)
        return head.values, end + 1

    def _check_head(self, head: Block) -> None:
        causes = head.values.get("causes")
        if "causes" in head.values and not _is_words(causes):
            self._say(head.line("causes"), "causes", "is not a list of cause ids")
        if "time_target" in head.values and _seconds(head.values["time_target"]) is None:
            self._say(head.line("time_target"), "time_target", "is no duration such as 30s or 10m")
        runbook_id = _text(head.values.get("id"))
        if "id" in head.values and not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", runbook_id):
            self._say(head.line("id"), "id", "is not made of small letters, digits and hyphens")

    # --- the steps ---

    def _steps(self, start: int) -> Iterator[RunbookStep | None]:
        for fence in fences(self._lines, start):
            if fence.kind != "stanch":
                continue
            if not fence.closed:
                self._say(fence.line, "", "this block is never closed")
                return
            gathers = re.search(r"^gather\s*:", fence.text, re.MULTILINE) is not None
            keys = GATHER_KEYS if gathers else STEP_KEYS
            block = self._mapping(fence.text, first_line=fence.line + 1, known=keys)
            yield self._gather(block, fence.line) if gathers else self._step(block, fence.line)

    def _gather(self, block: Block, line: int) -> RunbookStep | None:
        """What is read and kept before anything is done; it touches nothing."""
        before = len(self._findings)
        if "expect" not in block.values:
            self._say(line, "expect", "is missing")
        names = block.values.get("gather")
        if not _is_words(names):
            self._say(block.line("gather"), "gather", "is not a list of names")
        for name in cast("list[str]", names) if _is_words(names) else ():
            if name not in self._gathered:
                known = ", ".join(sorted(self._gathered))
                hint = f"There are: {known}."
                self._say(block.line("gather"), f"gather.{name}", "is unknown", hint=hint)
        self._check_words(block)
        when = self._when(block)
        if len(self._findings) > before:
            return None
        return RunbookStep(
            line=line,
            do=GATHER,
            params={"what": ", ".join(cast("list[str]", names))},
            guards=(),
            verify="It is written down.",
            deadline_s=_seconds(block.values.get("deadline")) or GATHER_DEADLINE_S,
            expect=_text(block.values["expect"]),
            no_undo="It only reads.",
            on_failure="continue",
            when=when,
        )

    def _step(self, block: Block, line: int) -> RunbookStep | None:
        before = len(self._findings)
        for key in NEEDED_KEYS:
            if key not in block.values:
                self._say(line, key, "is missing")
        action = self._actions.get(_text(block.values.get("do")))
        if action is None and "do" in block.values:
            known = ", ".join(sorted(self._actions))
            self._say(block.line("do"), "do", "is no action", hint=f"There are: {known}.")
        if action is not None:
            self._check_params(block, action)
            self._check_guards(block, action)
        self._check_words(block)
        self._check_undo(block, line)
        when = self._when(block)
        if len(self._findings) > before:
            return None
        return RunbookStep(
            line=line,
            do=_text(block.values["do"]),
            params=cast("Mapping[str, Scalar]", block.values.get("params") or {}),
            guards=tuple(cast("list[str]", block.values["guards"])),
            verify=_text(block.values["verify"]),
            deadline_s=_seconds(block.values["deadline"]) or 0.0,
            expect=_text(block.values["expect"]),
            approval="always" if block.values.get("approval") == "always" else "policy",
            undo=_text(block.values.get("undo")),
            no_undo=_text(block.values.get("no_undo")),
            on_failure="continue" if block.values.get("on_failure") == "continue" else "stop",
            when=when,
        )

    def _check_params(self, block: Block, action: Action) -> None:
        given = block.values.get("params", {})
        line = block.line("params")
        if not isinstance(given, dict):
            self._say(line, "params", "is not a mapping")
            return
        values = cast("Mapping[str, object]", given)
        for name, value in values.items():
            param = action.param(name)
            if param is None:
                known = ", ".join(p.name for p in action.params)
                self._say(line, f"params.{name}", "is unknown", hint=f"There are: {known}.")
            elif not (isinstance(value, str) and value.startswith("$")) and (
                wrong := param.wrong(cast("Scalar", value))
            ):
                self._say(line, f"params.{name}", wrong)
        for param in action.params:
            if param.required and param.name not in values:
                self._say(line, f"params.{param.name}", "is missing")

    def _check_guards(self, block: Block, action: Action) -> None:
        given = block.values.get("guards")
        line = block.line("guards")
        if "guards" not in block.values:
            return
        if not _is_words(given):
            self._say(line, "guards", "is not a list of guards")
            return
        for name in cast("list[str]", given):
            if action.guard(name) is None:
                known = ", ".join(g.name for g in action.guards)
                self._say(line, f"guards.{name}", "is no guard of it", hint=f"There are: {known}.")

    def _check_words(self, block: Block) -> None:
        if "deadline" in block.values and not _seconds(block.values["deadline"]):
            self._say(block.line("deadline"), "deadline", "is no duration such as 10s or 2m")
        for key, allowed in (("approval", ("policy", "always")), ("on_failure", _ON_FAILURE)):
            if key in block.values and block.values[key] not in allowed:
                self._say(block.line(key), key, f"is none of {', '.join(allowed)}")
        for key in ("verify", "expect", "undo", "no_undo"):
            if key in block.values and not _text(block.values[key]):
                self._say(block.line(key), key, "is not a sentence")

    def _check_undo(self, block: Block, line: int) -> None:
        if ("undo" in block.values) == ("no_undo" in block.values):
            hint = "Say how it is undone, or why it cannot be."
            self._say(line, "undo", "has to be there, or no_undo, and not both", hint=hint)

    def _when(self, block: Block) -> When | None:
        if "when" not in block.values:
            return None
        given = block.values["when"]
        if not isinstance(given, dict) or len(cast("Mapping[str, object]", given)) != 1:
            self._say(block.line("when"), "when", "is not one `fact: value`")
            return None
        [(fact, value)] = cast("Mapping[str, Scalar]", given).items()
        return When(fact=fact, value=value)

    # --- what is never done ---

    def _never(self, start: int) -> None:
        """Commands for people are held to the same list as the machine's steps."""
        for fence in fences(self._lines, start):
            if fence.kind == "stanch":
                continue
            for found in forbidden_in(fence.text):
                hint = f"{found.why.capitalize()}; {found.instead}."
                self._say(fence.line, "", f"tells somebody to do {found.what}", hint=hint)

    # --- small parts ---

    def _mapping(self, text: str, *, first_line: int, known: tuple[str, ...]) -> Block:
        block, wrong = mapping(text, first_line=first_line, known=known)
        for line, path, what, hint in wrong:
            self._say(line, path, what, hint=hint)
        return block

    def _say(self, line: int, path: str, what: str, *, hint: str = "") -> None:
        finding = Finding(file=self._file, line=line, column=1, path=path, what=what, hint=hint)
        self._findings.append(finding)

    def _invalid(self) -> PolicyInvalid:
        text = "\n".join(str(finding) for finding in self._findings)
        return PolicyInvalid(text, on=self._file, findings=self._findings)


_ON_FAILURE = ("stop", "continue")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _is_words(value: object) -> bool:
    if not isinstance(value, list):
        return False
    items = cast("list[object]", value)
    return bool(items) and all(isinstance(item, str) and item for item in items)


def _seconds(value: object) -> float | None:
    match = re.fullmatch(r"(\d{1,6})(s|m|h)", value) if isinstance(value, str) else None
    if match is None:
        return None
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]
