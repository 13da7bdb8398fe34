"""What a step of a plan costs beside its own work: claim, intent, guards, outcome, look, and on.

`python benchmarks/executor.py [--quick] [--dir PATH]` prints one JSON line a figure. Engine,
executor and store are the real ones, on the disk of `--dir`; the steps are `gather` with nothing
to ask, so that what is left is ours. A step makes three events durable, one after the other; the
floor is the sqlite3 module in the same run, which commits three rows of the same bytes with the
same pragmas.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sqlite3
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import structlog
from figures import figure, tell

from stanch.incident.state import Incident
from stanch.model import events as e
from stanch.model.diagnosis import CauseFinding, Diagnosis, Verdict
from stanch.model.ids import CauseId, IncidentId, StepId, TargetName
from stanch.model.plans import Mode
from stanch.model.restarts import PageAfter
from stanch.model.symptoms import Symptom, SymptomKind
from stanch.policy.canonical import canonical_text
from stanch.policy.parse import parse_policy, policy_hash
from stanch.policy.policy import Policy, TargetPolicy
from stanch.respond.runbook import Runbook, RunbookStep
from stanch.service.clock import MachineBootClock
from stanch.service.core import Core
from stanch.service.doing.acting import Hands
from stanch.service.house import House, open_house, projection_of
from stanch.service.record.policies import Policies
from stanch.steps.world import World
from stanch.store.sql import SqlStore
from stanch.store.timelines import StoreThread
from stanch.testing.simulation import SimSpool, sim_policy

TARGET_MS = 20.0
STEPS = 40
TARGET = TargetName("orders")
CAUSE = CauseFinding(
    id=CauseId("crashed"),
    summary="The server is gone.",
    probability=0.99,
    facts=(("data_directory", "/nowhere"), ("system_identifier", "1")),
)


class Unasked:
    """Nobody asks it: every port but this is missing."""

    async def probe(self, *, deadline_s: float) -> None:
        raise NotImplementedError


def runbook() -> Runbook:
    """Many steps that read nothing, and one that its guards refuse."""
    read = RunbookStep(
        line=1,
        do="gather",
        params={"what": "log"},
        guards=(),
        verify="",
        deadline_s=5.0,
        expect="",
        on_failure="continue",
        no_undo="nothing is touched",
    )
    start = replace(
        read,
        do="start_server",
        params={"data_directory": "$data_directory", "system_identifier": "$system_identifier"},
        on_failure="stop",
    )
    return Runbook(
        id="many-steps",
        title="Many steps",
        causes=(CAUSE.id,),
        severity="P0",
        time_target_s=60.0,
        owner="nobody",
        last_drilled="never",
        steps=(*([read] * STEPS), start),
        text="",
        file="bench.md",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One life of a responder with nothing to watch and one incident to work on."""

    house: House
    core: Core

    async def plan(self) -> IncidentId:
        """Open the incident and wait until its first plan has ended."""
        now = self.house.clock.now()
        symptom = Symptom(kind=SymptomKind.SERVER_DOWN, target=TARGET, since=now)
        opened = e.IncidentOpened(
            target=TARGET,
            title="down",
            symptom=symptom,
            severity_rank=1,
            severity_label="P0",
            severity_reason="a benchmark",
            data_at_risk="possible",
            policy_hash=self.house.policies.current_hash,
            page_after_s=3600.0,
        )
        incident_id = (await self.house.book.open([opened])).id
        while True:
            one = await self.house.book.get(incident_id)
            if one.plan is not None and one.plan.ended:
                return incident_id
            await asyncio.sleep(0.05)


def policy() -> Policy:
    target = TargetPolicy(
        name=TARGET, dsn="service=orders", desired="running", actions={"start_server": Mode.ACT}
    )
    return sim_policy(target)


def hands(target: TargetPolicy) -> Hands:
    """A target of which one cause is known and nothing can be asked."""

    async def diagnose(_incident: Incident) -> tuple[Diagnosis, bytes]:
        at = datetime.now().astimezone()
        return Diagnosis(verdict=Verdict.CAUSE, causes=(CAUSE,), at=at, elapsed_ms=0.0), b"{}"

    async def check_rescue(_incident: Incident) -> e.RescueChecked:
        raise NotImplementedError

    def world(diagnosis: Diagnosis | None) -> World:
        prober = Unasked()
        return World(
            target=target,
            prober=prober,  # pyright: ignore[reportArgumentType] - it is never asked
            at=lambda: datetime.now().astimezone(),
            diagnosis=diagnosis,
        )

    return Hands(
        diagnose=diagnose,
        world=world,
        check_rescue=check_rescue,
        page_after=lambda: PageAfter(seconds=3600.0, source="a benchmark"),
    )


async def one_plan(folder: Path) -> tuple[list[float], list[bytes]]:
    """Milliseconds from each step's intent to the next one's, and the bytes that were stored."""
    of = policy()
    text = canonical_text(of)
    policies = Policies(policy_hash(text), of, text, lambda old: parse_policy(old, file="stored"))
    store = StoreThread(SqlStore.open(folder, projection_of(policies)))
    house = await open_house(policies, store)
    doing = hands(of.targets[0])
    core = Core(
        house,
        boot=MachineBootClock(),
        ports={},
        spool=SimSpool(),
        hands=lambda _name: doing,
        runbooks=(runbook(),),
        on_failure=lambda _task: None,
        on_store_failure=lambda: None,
    )
    started = e.ResponderStarted(
        version="bench", host="bench", pid=0, policy_hash=policies.current_hash
    )
    await core.resume(started)
    engine = asyncio.create_task(core.engine.run())
    try:
        timeline = await house.store.read(await Bench(house=house, core=core).plan())
    finally:
        engine.cancel()
        await asyncio.gather(engine, return_exceptions=True)
        await store.close()
    begun = dict[StepId, datetime]()
    stored = list[bytes]()
    for recorded in timeline:
        if isinstance(recorded.event, e.StepIntended):
            begun.setdefault(recorded.event.step_id, recorded.at)
        if isinstance(recorded.event, e.StepIntended | e.StepEnded | e.StepVerified):
            stored.append(e.to_body(recorded.event))
    moments = list(begun.values())
    return [(b - a).total_seconds() * 1e3 for a, b in pairwise(moments)], stored


def floor(folder: Path, bodies: list[bytes]) -> list[float]:
    """Milliseconds for each three of these rows, committed one by one by the bare module."""
    db = sqlite3.connect(folder / "floor.db", isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
        db.execute(f"PRAGMA {pragma}")
    db.execute("CREATE TABLE journal (n INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    found = list[float]()
    for first in range(0, len(bodies) - 2, 3):
        started = time.perf_counter()
        for body in bodies[first : first + 3]:
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO journal (body) VALUES (?)", (body,))
            db.execute("COMMIT")
        found.append((time.perf_counter() - started) * 1e3)
    db.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one plan instead of ten")
    parser.add_argument("--dir", type=Path, help="where to write; the disk is part of it")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    steps, bare = list[float](), list[float]()
    for _ in range(1 if options.quick else 10):
        with tempfile.TemporaryDirectory(dir=options.dir) as folder:
            took, bodies = asyncio.run(one_plan(Path(folder) / "state"))
            steps += took
            bare += floor(Path(folder), bodies)
    least = statistics.median(bare)
    ratio = least / statistics.median(steps)
    peer, note = "sqlite3 alone", "a step makes three events durable"
    found = figure(
        "executor", "a_step", steps, "ms", target=TARGET_MS, peer=peer, ratio=ratio, note=note
    )
    tell(found)
    tell(figure("executor", "three_commits", bare, "ms", peer=peer))


if __name__ == "__main__":
    main()
