"""Seconds from the break until a target is proven to serve again, act by act of the demonstration.

`python benchmarks/rescue.py [--quick]` prints one JSON line a figure. Each act breaks a real server
under load with a real `stanch run` beside it, which may act by itself; "rescued" is said after two
seconds of logins and writes as the application, and those are in the figure. What the source of
these scenarios allows its own team for each of them is ten minutes (docs/benchmarks.md).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from figures import figure, say, tell

TARGET_S = 30.0
ACTS = {
    "stopped": "A: stopped unexpectedly",
    "killed": "A: killed",
    "stale-lock": "B: stale lock file",
    "disk-full": "D: out of disk space",
    "leaked": "E: connections exhausted",
}
"""Acts of the demonstration, and which scenario of the emergency procedures each is."""


def once(act: str) -> dict[str, Any]:
    """What one run of one act told."""
    command = [sys.executable, "-m", "stanch.drill.demo", "--only", act, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300.0, check=False)
    for line in done.stdout.splitlines():
        told: dict[str, Any] = json.loads(line)
        if told.get("act") == act:
            return told
    return {"status": "broken off", "reasons": [done.stderr[-200:]]}


def rescued(act: str, rounds: int) -> Iterator[float]:
    """Seconds, of the runs that ended as they must; the others are told."""
    for _ in range(rounds):
        told = once(act)
        if told["status"] == "ok" and told["rescued_after_s"] is not None:
            yield told["rescued_after_s"]
        else:
            say(f"{act}: {told['status']}: {'; '.join(told['reasons'])}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="each act once instead of five times")
    rounds = 1 if parser.parse_args().quick else 5
    for act, scenario in ACTS.items():
        took = list(rescued(act, rounds))
        missed = rounds - len(took)
        note = f"{scenario}; {missed} of {rounds} not as it must be" if missed else scenario
        if took:
            tell(figure("rescue", act, took, "s", target=TARGET_S, target_p99=TARGET_S, note=note))
        else:
            print(json.dumps({"bench": "rescue", "case": act, "status": "never rescued"}))


if __name__ == "__main__":
    main()
