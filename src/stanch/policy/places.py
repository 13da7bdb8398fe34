"""Where each value of a file stands, and what was found wrong there."""

from __future__ import annotations

from typing import cast

import yaml

from stanch.model.findings import Finding, Level
from stanch.policy.quoting import printable

FINDINGS_MAX = 500
STEPS_MAX = 100_000

PathTo = tuple[str, ...]


class Places:
    """The marks and findings of one file; a finding stands at the nearest known place."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.findings: list[Finding] = []
        self._marks: dict[PathTo, yaml.Mark] = {}
        self._failed: set[PathTo] = set()
        self._above_failed: set[PathTo] = set()
        self._steps = 0

    def mark(self, path: PathTo, node: yaml.Node) -> None:
        start = cast("yaml.Mark | None", node.start_mark)
        if start is not None:
            self._marks[path] = start

    def given(self, path: PathTo) -> bool:
        """Whether the file has something at this path."""
        return path in self._marks

    def find(
        self,
        path: PathTo,
        what: str,
        hint: str,
        *,
        level: Level = "error",
        concerns: PathTo | None = None,
    ) -> None:
        """Note a finding; `concerns` where it stands at one place but spoils another."""
        if level == "error":
            spoilt = path if concerns is None else concerns
            self._failed.add(spoilt)
            self._above_failed.update(spoilt[:n] for n in range(len(spoilt) + 1))
        if len(self.findings) > FINDINGS_MAX:
            return
        if len(self.findings) == FINDINGS_MAX:
            path, what, level = (), f"more than {FINDINGS_MAX} findings", "error"
            hint = "Correct these first; the rest was not read."
        known = (path[:n] for n in range(len(path), -1, -1))
        mark = next((self._marks[place] for place in known if place in self._marks), None)
        self.findings.append(
            Finding(
                file=self.file,
                line=mark.line + 1 if mark else 1,
                column=mark.column + 1 if mark else 1,
                path=printable(".".join(path))[:200],
                what=what,
                hint=hint,
                level=level,
            )
        )

    def failed(self, path: PathTo) -> bool:
        """Whether this value, or anything in it or around it, already has an error."""
        around = any(path[:n] in self._failed for n in range(len(path) + 1))
        return around or path in self._above_failed

    def step(self, path: PathTo) -> bool:
        """Count one part of the file; False once there is no use in reading on."""
        self._steps += 1
        if len(self.findings) > FINDINGS_MAX:
            return False
        if self._steps == STEPS_MAX:
            self.find(
                path, f"aliases make this file larger than {STEPS_MAX} parts", "Write it plainly."
            )
        return self._steps < STEPS_MAX

    def in_order(self) -> tuple[Finding, ...]:
        """Every finding in the order of the file."""
        return tuple(sorted(self.findings, key=lambda f: (f.line, f.column, f.level, f.path)))
