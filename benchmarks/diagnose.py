"""From an opened incident to its ranked cause, and `stanch diagnose` beside a bare psql.

`python benchmarks/diagnose.py [--quick]` prints one JSON line a figure. The server is down (killed)
or full (every connection taken by idle sessions). psql's `select 1` is what asking a server
anything from a fresh process costs at least.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Any

import psycopg
from figures import figure, say, tell
from fleet import SMALL, Fleet, kill
from receiver import Arrival, Receiver
from running import StanchRun

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.service.people.reaching import ask
from stanch.testing.mailbox import Mailbox

BENCH = "diagnose"
CAUSE_S_MAX = 3.0
TARGET = "db001"
UNDAMPED = 4
"""What comes back more often is damped and takes minutes to be over; so the responder is fresh."""
KILLED, LEAKED = "killed", "connections_leaked"


class Incidents:
    """A responder with one target, and what it found out about each incident."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._run: StanchRun | None = None
        self.took_s: list[float] = []
        self.firsts: list[str] = []

    def of(self, run: StanchRun) -> None:
        """Whose incidents come next."""
        self._run = run

    def next_one(self, *, after: float) -> None:
        """Wait for the incident of what was broken at that moment, until it has a cause."""
        page = self._wait(lambda a: a.body.get("kind") == "page", after=after)
        incident_id = page.body["incident_id"]
        end = time.monotonic() + 20
        while time.monotonic() < end:
            timeline = self._timeline(incident_id)
            found = _first(timeline, "diagnosis.recorded")
            if found is not None:
                opened = _first(timeline, "incident.opened")
                assert opened is not None
                self.took_s.append(_at(found) - _at(opened))
                causes = found["body"]["diagnosis"]["causes"]
                self.firsts.append(causes[0]["id"] if causes else "none")
                return
            time.sleep(0.1)
        raise RuntimeError(f"{incident_id} was not diagnosed")

    def wait_until_over(self, *, after: float) -> None:
        self._wait(lambda a: "resolved" in a.body.get("subject", ""), after=after)

    def _wait(self, fits: Callable[[Arrival], bool], *, after: float) -> Arrival:
        found = self._receiver.wait_for(lambda a: a.at >= after and fits(a), deadline_s=60)
        if found is None:
            raise RuntimeError("the message that was waited for did not come")
        return found

    def _timeline(self, incident_id: str) -> list[dict[str, Any]]:
        assert self._run is not None
        answer = asyncio.run(ask(self._run.config, f"/incidents/{incident_id}", {}))
        return answer.body["timeline"]


def _first(timeline: Sequence[dict[str, Any]], kind: str) -> dict[str, Any] | None:
    return next((e for e in timeline if e["kind"].rpartition(".v")[0] == kind), None)


def _at(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


def incidents(rounds: int, *, case: str, expected: str, break_it: Callable[..., Any]) -> None:
    """Break one watched server again and again; how long until its cause was recorded."""
    with Fleet(1) as fleet, Mailbox() as mailbox, Receiver() as receiver:
        server = fleet.servers[TARGET]
        targets = {TARGET: {"dsn": fleet.dsn(TARGET)}}
        seen = Incidents(receiver)
        for first in range(0, rounds, UNDAMPED):
            with StanchRun(targets, mailbox=mailbox, receiver=receiver) as run:
                seen.of(run)
                for _ in range(min(UNDAMPED, rounds - first)):
                    time.sleep(random.uniform(1.0, 2.0))
                    began = time.time()
                    with ExitStack() as stack:
                        break_it(stack, server)
                        seen.next_one(after=began)
                    server.start()
                    seen.wait_until_over(after=began)
    words = f"first cause {expected} in {seen.firsts.count(expected)} of {rounds}"
    case = f"incident_to_cause_{case}"
    tell(figure(BENCH, case, seen.took_s, "s", target=CAUSE_S_MAX, note=words))


def killed(stack: ExitStack, server: ScratchServer) -> None:
    kill(server)


def filled(stack: ExitStack, server: ScratchServer) -> None:
    """Idle sessions of the application, until nobody new of its role gets in."""
    dsn = server.dsn("app", application_name="leaky")
    for _ in range(int(SMALL["max_connections"])):
        try:
            session = psycopg.connect(dsn, autocommit=True, connect_timeout=5)
        except psycopg.OperationalError:
            return
        stack.callback(session.close)
        session.execute("SELECT 1")


def commands(rounds: int) -> None:
    """`stanch diagnose` as a person types it, and psql beside it on the healthy server."""
    with Fleet(1) as fleet:
        server = fleet.servers[TARGET]
        dsn = fleet.dsn(TARGET)
        psql = [str(fleet.binaries.program("psql")), "-XAtc", "select 1", dsn]
        floor = [_timed(psql)[0] for _ in range(rounds)]
        base = figure(BENCH, "x", floor, "s").median
        tell(figure(BENCH, "psql_select_1", floor, "s", peer="psql"))
        _command("healthy", dsn, rounds, base)
        with ExitStack() as stack:
            filled(stack, server)
            time.sleep(0.5)
            _command("full", dsn, rounds, base)
        kill(server)
        time.sleep(1.0)
        folder = str(server.data_directory)
        _command("down", dsn, rounds, base, "--data-directory", folder)


def _command(case: str, dsn: str, rounds: int, floor_s: float, *options: str) -> None:
    took: list[float] = []
    gathering: list[float] = []
    firsts: list[str] = []
    for _ in range(rounds):
        took_s, out = _timed([sys.executable, "-m", "stanch", "diagnose", dsn, "--json", *options])
        found = json.loads(out)
        took.append(took_s)
        gathering.append(found["elapsed_ms"] / 1000)
        causes = found["causes"]
        firsts.append(causes[0]["id"] if causes else str(found["verdict"]))
    words = f"first: {', '.join(sorted(set(firsts)))}"
    median = figure(BENCH, "x", took, "s").median
    peer = "psql -c 'select 1'"
    ratio = floor_s / median
    limit = CAUSE_S_MAX
    name = f"command_{case}"
    tell(figure(BENCH, name, took, "s", target=limit, peer=peer, ratio=ratio, note=words))
    tell(figure(BENCH, f"{name}_without_start_up", gathering, "s", note="elapsed_ms of its answer"))


def _timed(command: Sequence[str]) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    took_s = time.perf_counter() - began
    if not done.stdout:
        raise RuntimeError(f"{command[0]} said nothing: {done.stderr[-500:]}")
    return took_s, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rounds a case")
    rounds = 2 if parser.parse_args().quick else 20
    say("--- incidents")
    incidents(rounds, case="server_down", expected=KILLED, break_it=killed)
    incidents(rounds, case="server_full", expected=LEAKED, break_it=filled)
    say("--- commands")
    commands(rounds)


if __name__ == "__main__":
    main()
