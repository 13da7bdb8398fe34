"""Every benchmark in one run, and a dated report of it.

`python benchmarks/report.py [--quick] [--to FOLDER]` writes bench-YYYY-MM-DD.md and .jsonl there.
Without `--quick` it takes about three quarters of an hour, and wants the machine to itself.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from figures import figure, say
from peers import installed

from stanch.adapters.postgres.binaries import all_binaries

HERE = Path(__file__).parent
BENCHES = (
    "append",
    "executor",
    "rescue",
    "page_latency",
    "footprint",
    "diagnose",
    "signals",
    "quiet_day",
)
QUIET_LOAD = 0.75
"""Load a core above which somebody else is at work, too."""

Line = Mapping[str, Any]


def run(bench: str, *, quick: bool, folder: Path = HERE) -> Iterator[Line]:
    """The figures of one benchmark, each as soon as it is there."""
    command = [sys.executable, str(folder / f"{bench}.py"), *(["--quick"] if quick else [])]
    say(f"=== {shlex.join(command[1:])}")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for text in process.stdout:
            if not text.startswith("{"):
                # What is logged on the way is no figure, and costs none.
                say(text.rstrip())
                continue
            line = {**in_one_shape(json.loads(text)), "load": round(os.getloadavg()[0], 1)}
            say(f"{line['bench']} {line['case']}: {line['value']} {line['unit']}")
            yield line
    if process.returncode != 0:
        yield {"bench": bench, "case": "broken_off", "status": process.returncode}


def in_one_shape(line: Line) -> Line:
    """`append` keeps a shape of its own, made for looking at its rounds."""
    if "benchmark" not in line:
        return line
    readings = [line["min"], line["median"], line["max"]]
    found = figure(line["benchmark"], line["case"], readings, line["unit"], peer="sqlite3 alone")
    more = {"n": line["rounds"], "ratio": line["ratio_to_floor"]}
    return {**json.loads(found.line()), **more, "p99": None, "note": f"lowest {line['min']}"}


# --- the report ---------------------------------------------------------------------------------


def machine() -> dict[str, str]:
    """What the figures depend on."""
    peers = ("prometheus", "prometheus-postgres-exporter", "prometheus-alertmanager")
    facts = {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "cores": str(os.cpu_count()),
        "processor": _processor(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "PostgreSQL": ", ".join(found.version for found in all_binaries()),
        "libpq driver": f"psycopg {version('psycopg')}",
        "Stanch": f"{version('stanch')}, commit {_commit()}",
        "load before": f"{os.getloadavg()[0]:.2f}",
    }
    if installed():
        facts |= {name: _first_line([name, "--version"]) for name in peers}
    return facts


def written(lines: Sequence[Line], facts: Mapping[str, str], *, command: str) -> str:
    """The report as Markdown."""
    out = [f"# Benchmarks, {facts['at'][:10]}", "", f"Command: `{command}`", ""]
    out += ["| Machine | |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in facts.items()), ""]
    if float(facts["load before"]) > QUIET_LOAD * int(facts["cores"]):
        out += ["Somebody else was at work on this machine when the run began.", ""]
    out += ["What each line measures, and against what: docs/benchmarks.md.", ""]
    for bench in dict.fromkeys(str(line["bench"]) for line in lines):
        out += [f"## {bench}", "", *_table([ln for ln in lines if ln["bench"] == bench]), ""]
    out += ["## Misses", "", *(_misses(lines) or ["None: every target was met."]), ""]
    return "\n".join(out)


def _table(lines: Sequence[Line]) -> Iterator[str]:
    yield "| Case | Median | p99 | Largest | n | Target | Met | Beside | Ratio | Load | Note |"
    yield "| --- | ---: | ---: | ---: | ---: | --- | --- | --- | ---: | ---: | --- |"
    for line in lines:
        if "value" not in line:
            yield f"| {line['case']} | | | | | | | | | | status {line['status']} |"
            continue
        unit = line["unit"]
        cells = [
            line["case"],
            f"{line['median']} {unit}",
            _or_blank(line["p99"]),
            _or_blank(line["max"]),
            line["n"],
            _target(line),
            {True: "yes", False: "**no**", None: ""}[met(line)],
            line["peer"],
            _or_blank(line["ratio"]),
            _or_blank(line.get("load")),
            line["note"],
        ]
        yield f"| {' | '.join(str(cell) for cell in cells)} |"


def met(line: Line) -> bool | None:
    """Whether a figure stays within its target; None where it has none."""
    if line.get("target") is None:
        return None
    in_tail = line.get("target_p99") is None or line["p99"] <= line["target_p99"]
    return line["median"] <= line["target"] and in_tail


def _target(line: Line) -> str:
    if line["target"] is None:
        return ""
    tail = "" if line["target_p99"] is None else f", p99 ≤ {line['target_p99']}"
    return f"≤ {line['target']}{tail}"


def _misses(lines: Sequence[Line]) -> list[str]:
    return [
        f"- {line['bench']} {line['case']}: median {line['median']}, p99 {line['p99']} "
        f"{line['unit']}; target {_target(line)}"
        for line in lines
        if met(line) is False
    ]


def _or_blank(value: object) -> object:
    return "" if value is None else value


def _processor() -> str:
    rows = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = (row.partition(":")[2].strip() for row in rows if row.startswith("model name"))
    return next(names, platform.machine())


def _commit() -> str:
    said = _first_line(["git", "-C", str(HERE), "describe", "--always", "--dirty"])
    return said or "unknown"


def _first_line(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].partition(" (branch")[0] if lines else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rounds a case: to try it out")
    parser.add_argument("--to", type=Path, default=HERE.parent / "reports", help="a folder")
    parser.add_argument("--only", nargs="+", choices=BENCHES, help="these benchmarks alone")
    options = parser.parse_args()
    facts = machine()
    benches: Sequence[str] = options.only or BENCHES
    options.to.mkdir(exist_ok=True)
    kind = "bench-quick" if options.quick else "bench"
    path = options.to / f"{kind}-{datetime.now(UTC):%Y-%m-%d}.md"
    lines = list[Line]()
    with path.with_suffix(".jsonl").open("w", encoding="utf-8") as records:
        for bench in benches:
            for line in run(bench, quick=options.quick):
                lines.append(line)
                # At once: what breaks off an hour later takes no figure along.
                print(json.dumps(line), file=records, flush=True)
    command = shlex.join(["python", "benchmarks/report.py", *sys.argv[1:]])
    path.write_text(written(lines, facts, command=command), encoding="utf-8")
    say(f"written: {path}")
    if any("status" in line for line in lines):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
