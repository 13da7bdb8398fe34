"""How often the right cause is named first: faults made on real servers, and what is said of them.

`python benchmarks/diagnosis.py [--rounds N] [--seed S] [--set NAME | --only FAULT...]` makes each
fault so many times, each time with other names, numbers and neighbours, and asks twice: those who
watched, and `stanch diagnose` from somebody who never saw the server. One JSON line a trial goes to
standard output; the report, with --to, is Markdown.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import psycopg
from diagnosis_report import written
from figures import say
from fleet import fast_folder
from report import machine

from stanch.adapters.postgres.binaries import Binaries, all_binaries
from stanch.diagnose.catalogue import CAUSES
from stanch.drill.lab.catalogue import BY_ID, HARMLESS, SETS
from stanch.drill.lab.fault import Area, Fault, NotMade
from stanch.drill.lab.rigs import Rigs, cannot, joint
from stanch.drill.lab.scoring import Judged, judge
from stanch.drill.lab.trial import Answer, Outcome, Trial, View, run_trial
from stanch.model.errors import SetupError
from stanch.model.ids import CauseId

MEMORY_MB = 4096
SLOTS = 4
SLOT_POLL_S = 0.2
NOISY = 0.3
"""Share of the trials with something harmless beside the fault."""
HEALTHY_A_ROUND = 10
PAIRS_A_ROUND = 12

VIEWERS = ("watched", "stranger")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One trial, and under which heading its answers count."""

    kind: str
    trial: Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of one; `why_not` where it could not be made."""

    planned: Planned
    judged: Mapping[str, Judged]
    told: Mapping[str, str]
    why_not: str = ""

    def line(self) -> str:
        """As one JSON line."""
        trial = self.planned.trial
        return json.dumps(
            {
                "kind": self.planned.kind,
                "faults": [fault.id for fault in trial.faults],
                "noise": [fault.id for fault in trial.noise],
                "seed": trial.seed,
                "why_not": self.why_not,
                **{
                    viewer: {
                        "truth": one.truth,
                        "first": one.first,
                        "right": one.is_first,
                        "p": round(one.probability, 3),
                        "verdict": one.verdict,
                        "took_s": round(one.took_s, 2),
                        "told": self.told[viewer],
                    }
                    for viewer, one in self.judged.items()
                },
            },
            ensure_ascii=False,
        )


def plan(
    faults: Sequence[Fault], *, major: int, rounds: int, seed: int, kinds: Sequence[str]
) -> Iterator[Planned]:
    """Every trial of a run, in an order of its own for each seed."""
    rng = random.Random(seed)
    noises = [*HARMLESS.values()]
    possible = [fault for fault in faults if not cannot(fault.needs, major)]

    def trial(*these: Fault, view: View = "all", healed: bool = False) -> Trial:
        noise = (rng.choice(noises),) if rng.random() < NOISY else ()
        seed = rng.randrange(2**32)
        return Trial(faults=these, noise=noise, seed=seed, view=view, heal_first=healed)

    every: list[Planned] = []
    for _ in range(rounds):
        every += [Planned(kind="fault", trial=trial(fault)) for fault in possible]
        every += [Planned(kind="healthy", trial=trial()) for _ in range(HEALTHY_A_ROUND)]
        every += [Planned(kind="two faults", trial=trial(*two)) for two in _pairs(possible, rng)]
    every += [Planned(kind="no host", trial=trial(f, view="no_host")) for f in possible]
    every += [Planned(kind="no rights", trial=trial(f, view="no_privileges")) for f in possible]
    every += [Planned(kind="recovered", trial=trial(f, healed=True)) for f in possible if _ends(f)]
    every += [
        Planned(kind="harmless", trial=Trial(faults=(), noise=(noise,), seed=rng.randrange(2**32)))
        for noise in noises
    ]
    rng.shuffle(every)
    yield from (planned for planned in every if planned.kind in kinds)


def _ends(fault: Fault) -> bool:
    """With its sessions it is gone, and nothing stays behind that is still wrong."""
    return fault.answers and not fault.is_over and (fault.on_staging or fault.area is Area.LOCKS)


def _pairs(faults: Sequence[Fault], rng: random.Random) -> Iterator[tuple[Fault, Fault]]:
    """Two that can stand side by side and have nothing to do with each other."""
    fit = [f for f in faults if f.answers and not f.is_over]
    for _ in range(PAIRS_A_ROUND if len(fit) > 1 else 0):
        one, other = rng.sample(fit, 2)
        try:
            joint((one, other))
        except NotMade:
            continue
        if one.area is not other.area and one.seen_on == other.seen_on and not _linked(one, other):
            yield one, other


def _linked(one: Fault, other: Fault) -> bool:
    """One of them is known to bring about the other: a single story."""
    told = {cause.id: set(cause.brings_about) for cause in CAUSES}
    pairs = ((a, b) for a in one.causes for b in other.causes)
    return any(b in told[CauseId(a)] or a in told[CauseId(b)] for a, b in pairs)


def run(rigs: Rigs, planned: Planned, folder: Path) -> Done:
    """One trial, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="t-", dir=folder) as own:
        try:
            with slot():
                outcome = run_trial(rigs, planned.trial, folder=Path(own))
        except (NotMade, SetupError, psycopg.Error, subprocess.TimeoutExpired) as error:
            return Done(planned=planned, judged={}, told={}, why_not=str(error))
    answers = _answers(outcome)
    return Done(
        planned=planned,
        judged={viewer: judge(outcome, answer) for viewer, answer in answers.items()},
        told={viewer: answer.told if answer else "" for viewer, answer in answers.items()},
    )


@contextmanager
def slot() -> Iterator[None]:
    """One of the places for trials on this machine: more at once would measure each other."""
    with ExitStack() as stack:
        files = [
            stack.enter_context(Path(f"/tmp/stanch-trial-{n}.lock").open("w")) for n in range(SLOTS)
        ]
        while not any(map(_taken, files)):
            time.sleep(SLOT_POLL_S)
        yield


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _answers(outcome: Outcome) -> Mapping[str, Answer | None]:
    viewers = VIEWERS if outcome.trial.asks_stranger else VIEWERS[:1]
    return dict(zip(viewers, (outcome.watched, outcome.stranger), strict=False))


def run_all(binaries: Binaries, every: Sequence[Planned], *, workers: int) -> Iterator[Done]:
    """Trials side by side, each told as it ends."""
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="stanch-d-", dir="/tmp"))
        Path(name).chmod(0o711)
        parent = fast_folder(stack, MEMORY_MB)
        rigs = stack.enter_context(Rigs(binaries, parent=parent))
        rigs.prepare()
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        began_s = time.monotonic()
        for n, done in enumerate(pool.map(lambda p: run(rigs, p, Path(name)), every), 1):
            _tell(done, n, len(every), time.monotonic() - began_s)
            yield done


def _tell(done: Done, n: int, of: int, passed_s: float) -> None:
    left_min = passed_s / n * (of - n) / 60
    what = " + ".join(fault.id for fault in done.planned.trial.faults) or "healthy"
    marks = " ".join("." if one.is_first else one.first for one in done.judged.values())
    say(f"{n}/{of} ({left_min:.0f} min) {done.planned.kind}: {what}: {done.why_not or marks}")


def main() -> None:
    # Whoever asks would compile the whole package first, each time: what is installed is compiled.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="times each fault is made")
    parser.add_argument("--seed", type=int, default=1, help="everything random follows from it")
    parser.add_argument("--set", default=USUAL, choices=sorted(SETS), help="which faults")
    parser.add_argument(
        "--only", metavar="FAULT", nargs="+", choices=sorted(BY_ID), help="these faults alone"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="N of them, drawn by the seed")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--major", type=int, default=15, help="version of the servers")
    parser.add_argument("--workers", type=int, default=SLOTS, help="trials side by side")
    parser.add_argument("--to", type=Path, help="a folder for the report")
    options = parser.parse_args()
    found = [b for b in all_binaries() if b.major == options.major]
    if not found:
        parser.error(f"no PostgreSQL {options.major} server here")
    names = options.only or sorted(SETS[options.set])
    if options.sample is not None:
        names = random.Random(options.seed).sample(names, min(options.sample, len(names)))
    faults = [BY_ID[name] for name in names]
    every = [
        *plan(
            faults,
            major=options.major,
            rounds=options.rounds,
            seed=options.seed,
            kinds=options.kinds,
        )
    ]
    done: list[Done] = []
    for one in run_all(found[0], every, workers=options.workers):
        done.append(one)
        print(one.line(), flush=True)
    text = written(
        [(d.planned.kind, d.planned.trial, d.judged, d.why_not) for d in done],
        machine(),
        command=shlex.join(["python", "benchmarks/diagnosis.py", *sys.argv[1:]]),
    )
    if options.to is None:
        say(text)
        return
    options.to.mkdir(exist_ok=True)
    called = "diagnosis" if options.set == USUAL else f"diagnosis-{options.set}"
    path = options.to / f"{called}-{options.major}-{datetime.now(UTC):%Y-%m-%d}.md"
    path.write_text(text, encoding="utf-8")
    say(f"written: {path}")


KINDS = ("fault", "healthy", "harmless", "recovered", "two faults", "no host", "no rights")
USUAL = "faults"

if __name__ == "__main__":
    main()
