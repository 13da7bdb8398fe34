"""Takes away each refusal, one at a time, and looks whether a test notices.

`python benchmarks/mutants.py [--only PART] [--quick] [--to FOLDER]` writes guards-YYYY-MM-DD.md
there. A mutant is the source with one `no(...)`, `unknown(...)` or `Refusal(...)` that is None
instead, or one guard that is not asked. It dies where a test fails. First the tests that name the
module run without a server; what lives through them meets all tests of `tests/respond` and
`tests/steps`, with real servers, and then the simulated stories and the service. Whoever lives is a
refusal that nobody would miss.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import Queue

from figures import say

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
MUTATED = ("respond", "steps")
SPARED = ("lint", "gathering", "gather", "library.py", "page.py", "runbook.py", "runbook_text.py")
"""Rooms that refuse texts or read only: nothing is kept from happening there."""
REFUSALS = ("no", "unknown", "Refusal")
ASKING = "first_no"
WORKERS = 2
WITHIN_S = 240.0
STAGES = ("beside it", "all of acting", "the stories")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change: the expression at these places is None."""

    module: Path
    line: int
    what: str
    start: int
    end: int

    @property
    def place(self) -> str:
        return f"{self.module.relative_to(SRC / 'stanch')}:{self.line}"

    def source(self) -> bytes:
        text = self.module.read_bytes()
        return text[: self.start] + b"None" + text[self.end :]


@dataclass(slots=True, kw_only=True)
class Fate:
    mutant: Mutant
    died_of: str = ""
    """Which tests noticed; empty: none."""


# --- making them --------------------------------------------------------------------------------


def mutants(only: str) -> list[Mutant]:
    """Every refusal of every module that guards something, in the order of the files."""
    found: list[Mutant] = []
    for room in MUTATED:
        for module in sorted((SRC / "stanch" / room).rglob("*.py")):
            path = str(module.relative_to(SRC / "stanch"))
            if only in path and not set(Path(path).parts) & set(SPARED):
                found += _of(module)
    return found


def _of(module: Path) -> Iterator[Mutant]:
    text = module.read_text()
    starts = _line_starts(module.read_bytes())
    tree = ast.parse(text)
    words = {id(n) for f in ast.walk(tree) if _makes_refusals(f) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or id(node) in words:
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in REFUSALS:
            yield _mutant(module, node, starts, what=_said(node, text))
        elif name == ASKING and node.args and isinstance(node.args[0], ast.Tuple):
            for asked in node.args[0].elts:
                what = ast.unparse(asked)
                yield _mutant(module, asked, starts, what=f"not asked: {what}")


def _makes_refusals(node: ast.AST) -> bool:
    """`no` and `unknown` themselves: without them nothing is refused at all."""
    return isinstance(node, ast.FunctionDef) and node.name in REFUSALS


def _mutant(module: Path, node: ast.expr, starts: Sequence[int], *, what: str) -> Mutant:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return Mutant(
        module=module,
        line=node.lineno,
        what=what,
        start=starts[node.lineno - 1] + node.col_offset,
        end=starts[node.end_lineno - 1] + node.end_col_offset,
    )


def _said(node: ast.Call, text: str) -> str:
    segment = ast.get_source_segment(text, node) or ""
    return " ".join(segment.split())[:110]


def _line_starts(source: bytes) -> list[int]:
    """Where each line begins; the parser counts columns in bytes, too."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


# --- trying them --------------------------------------------------------------------------------


@dataclass(slots=True)
class Place:
    """A copy of the sources in which one mutant at a time lives."""

    src: Path

    def try_out(self, mutant: Mutant, stages: Sequence[str]) -> Fate:
        module = self.src / mutant.module.relative_to(SRC)
        original = module.read_bytes()
        module.write_bytes(mutant.source())
        try:
            return Fate(mutant=mutant, died_of=next(self._deaths(mutant, stages), ""))
        finally:
            module.write_bytes(original)

    def _deaths(self, mutant: Mutant, stages: Sequence[str]) -> Iterator[str]:
        for stage in stages:
            tests = _tests(stage, mutant)
            if tests and self._fails(tests, servers=stage != STAGES[0]):
                yield stage

    def _fails(self, tests: Sequence[str], *, servers: bool) -> bool:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        command += [] if servers else ["-p", "benchmarks.without_servers"]
        env = {**os.environ, "PYTHONPATH": f"{self.src}{os.pathsep}{ROOT}"}
        env["PYTHONDONTWRITEBYTECODE"] = "1"
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=env, capture_output=True, timeout=WITHIN_S, check=False
            )
        except subprocess.TimeoutExpired:
            return True
        # 5: none of these tests does without a server.
        return done.returncode not in (0, 5)


def _tests(stage: str, mutant: Mutant) -> list[str]:
    if stage == STAGES[2]:
        return ["tests/sim", "tests/service"]
    rooms = (ROOT / "tests" / room for room in MUTATED)
    acting = [path for room in rooms for path in sorted(room.glob("test_*.py"))]
    if stage == STAGES[0]:
        dotted = ".".join(mutant.module.relative_to(SRC).with_suffix("").parts)
        room = dotted.rsplit(".", 1)[0]
        named = (room, f'"{room.rsplit(".", 1)[-1]}"')
        near = [p for p in acting if any(name in p.read_text() for name in named)]
        acting = near or acting
    return [str(path.relative_to(ROOT)) for path in acting]


def tried(found: Sequence[Mutant], stages: Sequence[str], folder: Path) -> list[Fate]:
    places: Queue[Place] = Queue()
    for number in range(WORKERS):
        src = folder / str(number)
        shutil.copytree(SRC, src, ignore=shutil.ignore_patterns("__pycache__"))
        places.put(Place(src))

    def one(numbered: tuple[int, Mutant]) -> Fate:
        number, mutant = numbered
        place = places.get()
        try:
            fate = place.try_out(mutant, stages)
        finally:
            places.put(place)
        if not fate.died_of or number % 20 == 0:
            became = fate.died_of or f"LIVES: {mutant.what}"
            say(f"{number} of {len(found)}: {mutant.place} {became}")
        return fate

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(one, enumerate(found, 1)))


# --- the report ---------------------------------------------------------------------------------


def report(fates: Sequence[Fate], took_s: float, command: str) -> str:
    alive = [fate.mutant for fate in fates if not fate.died_of]
    lines = [
        f"# Refusals taken away, {datetime.now(UTC):%Y-%m-%d}",
        "",
        f"Command: `{command}`",
        "",
    ]
    lines += [f"{len(fates)} mutants in {took_s / 60:.0f} minutes, {len(alive)} alive.", ""]
    lines += ["| Noticed by | Mutants |", "| --- | ---: |"]
    lines += [f"| {s} | {sum(f.died_of == s for f in fates)} |" for s in STAGES]
    lines += ["", "## By room", "", "| Room | Mutants | Alive |", "| --- | ---: | ---: |"]
    rooms: dict[str, list[Fate]] = {}
    for fate in fates:
        rooms.setdefault(str(Path(fate.mutant.place).parent), []).append(fate)
    lines += [f"| {r} | {len(f)} | {sum(not x.died_of for x in f)} |" for r, f in rooms.items()]
    lines += ["", "## Alive", ""]
    lines += [f"- `{m.place}`: `{m.what}`" for m in alive] or ["None."]
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", default="", metavar="PART", help="modules with this in their path"
    )
    parser.add_argument("--quick", action="store_true", help="only the tests beside each module")
    parser.add_argument("--to", type=Path, default=ROOT / "reports", metavar="FOLDER")
    options = parser.parse_args()
    found = mutants(options.only)
    say(f"{len(found)} mutants")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        fates = tried(found, STAGES[:1] if options.quick else STAGES, Path(folder))
    text = report(fates, time.monotonic() - started, " ".join(sys.argv))
    (options.to / f"guards-{datetime.now(UTC):%Y-%m-%d}.md").write_text(text)
    say(text)
    sys.exit(1 if any(not fate.died_of for fate in fates) else 0)


if __name__ == "__main__":
    main()
