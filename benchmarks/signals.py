"""Alerts accepted a second, durable and collapsed, beside Alertmanager; and none lost by SIGKILL.

`python benchmarks/signals.py [--quick]` prints one JSON line a figure. The same client posts to
both, over the same number of connections: `stanch run` stores an alert before it answers,
Alertmanager keeps it in memory. Their rounds take turns.

The burst posts 100,000 alerts under 10,000 keys while `stanch run` is killed and started again;
`burst_lost_keys` counts keys that were answered with 200 and are not in the store, and
`burst_lost_arrivals` how often those were counted too seldom: both have to be 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from figures import figure, say, tell
from peers import ALERTMANAGERS

from stanch.adapters.postgres.scratch import free_port

BENCH = "signals"
CONNECTIONS = 32
TOKEN = "t0ken"
READY_S = 60.0


# --- what is posted -----------------------------------------------------------------------------


def webhook(keys: Sequence[str]) -> bytes:
    """A group as Alertmanager posts it."""
    alerts = [
        {
            "status": "firing",
            "labels": {"alertname": "PostgresDown", "target": "orders", "severity": "info"},
            "annotations": {"summary": f"{key} does not answer"},
            "startsAt": "2026-03-01T12:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.example.com:9090/graph",
            "fingerprint": key,
        }
        for key in keys
    ]
    return json.dumps({"version": "4", "status": "firing", "alerts": alerts}).encode()


def api_v2(keys: Sequence[str]) -> bytes:
    """The same alerts as Prometheus posts them to Alertmanager."""
    ends_at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    alerts = [
        {
            "labels": {"alertname": "PostgresDown", "key": key, "severity": "info"},
            "annotations": {"summary": f"{key} does not answer"},
            "endsAt": ends_at,
            "generatorURL": "http://prometheus.example.com:9090/graph",
        }
        for key in keys
    ]
    return json.dumps(alerts).encode()


# --- the client ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Round:
    """What came of some posts."""

    posted: int = 0
    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list[float])
    taken: list[int] = field(default_factory=list[int])
    """Numbers of the posts that were answered with 200."""
    refused: int = 0


class Poster:
    """Keeps connections open and posts over them as fast as it is answered."""

    def __init__(self, port: int, path: str) -> None:
        self._port = port
        self._path = path

    async def post_all(
        self, bodies: Sequence[bytes], *, until_taken: bool = False, connections: int = CONNECTIONS
    ) -> Round:
        """Every body once; with `until_taken` again and again until it is answered with 200."""
        done, numbers = Round(posted=len(bodies)), iter(range(len(bodies)))
        began = time.perf_counter()

        async def work() -> None:
            stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
            for number in numbers:
                while True:
                    try:
                        stream = stream or await asyncio.open_connection("127.0.0.1", self._port)
                        started = time.perf_counter()
                        status = await self._post(*stream, bodies[number])
                        done.latencies_ms.append((time.perf_counter() - started) * 1000)
                    except (OSError, asyncio.IncompleteReadError, ValueError):
                        stream, status = None, 0
                    if status == 200:
                        done.taken.append(number)
                        break
                    done.refused += 1
                    if not until_taken:
                        break
                    await asyncio.sleep(0.05)
            if stream is not None:
                stream[1].close()

        await asyncio.gather(*(work() for _ in range(connections)))
        done.seconds = time.perf_counter() - began
        return done

    async def _post(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes
    ) -> int:
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        lowered = answer.lower()
        at = lowered.find(b"content-length:")
        length = int(lowered[at + 15 : lowered.find(b"\r\n", at)]) if at >= 0 else 0
        if length:
            await reader.readexactly(length)
        return int(answer.split(b" ", 2)[1])


# --- the servers --------------------------------------------------------------------------------


class Stanch:
    """`stanch run` with one source and a target that nobody listens for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        (folder / "token").write_text(TOKEN)
        source = {"format": "alertmanager", "token_file": str(folder / "token")}
        policy = {
            "state_directory": str(folder / "state"),
            "listen": f"127.0.0.1:{self.port}",
            "people": {"ann": {"name": "Ann"}},
            "ladder": ["ann"],
            "channels": {"screen": {"type": "terminal"}},
            "targets": {"orders": {"dsn": f"host=127.0.0.1 port={free_port()} dbname=postgres"}},
            "signals": {"sources": {"prom": source}},
        }
        (folder / "stanch.yaml").write_text(json.dumps(policy))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "run.log").open("ab") as log:
            command = [sys.executable, "-m", "stanch", "run", "-c"]
            self._process = subprocess.Popen(
                [*command, str(self.folder / "stanch.yaml")], stdout=log, stderr=log
            )
        _wait_until_up(f"http://127.0.0.1:{self.port}/healthz")

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def stored(self) -> dict[str, int]:
        """Key to how often it arrived."""
        with sqlite3.connect(f"file:{self.folder}/state/stanch.db?mode=ro", uri=True) as db:
            return dict(db.execute("SELECT key, times FROM signal"))


@contextmanager
def alertmanager(folder: Path) -> Iterator[int]:
    """A running Alertmanager that tells nobody; its port."""
    port = free_port()
    config = {"route": {"receiver": "none"}, "receivers": [{"name": "none"}]}
    (folder / "am.yml").write_text(json.dumps(config))
    program = next(found for name in ALERTMANAGERS if (found := shutil.which(name)))
    process = subprocess.Popen(
        [
            program,
            f"--config.file={folder}/am.yml",
            f"--storage.path={folder}/am",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_up(f"http://127.0.0.1:{port}/-/ready")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_up(url: str) -> None:
    end = time.monotonic() + READY_S
    while True:
        try:
            httpx.get(url, timeout=2)
            return
        except httpx.HTTPError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


# --- what is measured ---------------------------------------------------------------------------


def beside(stanch: Stanch, peer_port: int | None, *, rounds: int, alerts: int) -> None:
    """Accepted alerts a second, in requests of one and of a hundred."""
    for size in (1, 100):
        ours, theirs, latencies = list[float](), list[float](), list[float]()
        for number in range(rounds + 1):
            done = _round(stanch.port, "/signals/prom", webhook, size=size, alerts=alerts)
            other = (
                _round(peer_port, "/api/v2/alerts", api_v2, size=size, alerts=alerts)
                if peer_port is not None
                else None
            )
            if number == 0:
                continue  # only warms up
            ours.append(alerts / done.seconds)
            latencies += done.latencies_ms
            if other is not None:
                theirs.append(alerts / other.seconds)
        case = f"accepted_{size}_a_request"
        ratio = sorted(ours)[len(ours) // 2] / sorted(theirs)[len(theirs) // 2] if theirs else None
        note = "durable before the answer; ratio is ours to the peer's, more is better"
        tell(figure(BENCH, case, ours, "alerts/s", peer="Alertmanager", ratio=ratio, note=note))
        tell(figure(BENCH, f"answer_{size}_a_request", latencies, "ms"))
        if theirs:
            tell(figure(BENCH, f"{case}_alertmanager", theirs, "alerts/s", note="in memory only"))


def _round(
    port: int, path: str, made: Callable[[Sequence[str]], bytes], *, size: int, alerts: int
) -> Round:
    keys = [f"{n:016x}" for n in range(alerts)]
    bodies = [made(keys[start : start + size]) for start in range(0, alerts, size)]
    done = asyncio.run(Poster(port, path).post_all(bodies))
    if done.refused:
        say(f"{done.refused} of {done.posted} posts to {path} were refused")
    return done


def with_kills(stanch: Stanch, *, alerts: int, keys: int, kills: int) -> None:
    """A burst of repeats, cut by SIGKILL; every key that was taken has to be there."""
    names = [f"k{n:015x}" for n in range(keys)]
    groups = [names[start : start + 10] for start in range(0, keys, 10)] * (alerts // keys)
    bodies = [webhook(group) for group in groups]
    done, down_s = asyncio.run(_burst(stanch, bodies, kills=kills))
    stored = stanch.stored()
    lost = {key for number in done.taken for key in groups[number]} - stored.keys()
    times = sum(stored.get(key, 0) for key in names)
    short = max(0, len(done.taken) * 10 - times)
    note = f"{alerts} alerts, {keys} keys, {kills} kills, {done.refused} posts tried again"
    tell(figure(BENCH, "burst_lost_keys", [len(lost)], "keys", target=0.0, note=note))
    tell(figure(BENCH, "burst_lost_arrivals", [short], "alerts", target=0.0, note=note))
    rows = len(set(names) & stored.keys())
    tell(figure(BENCH, "burst_rows", [rows], "rows", target=float(keys), note="collapsed"))
    rate = alerts / (done.seconds - down_s)
    tell(figure(BENCH, "burst_accepted", [rate], "alerts/s", note=f"without {down_s:.1f} s down"))


async def _burst(stanch: Stanch, bodies: Sequence[bytes], *, kills: int) -> tuple[Round, float]:
    posting = asyncio.create_task(
        Poster(stanch.port, "/signals/prom").post_all(bodies, until_taken=True)
    )
    down_s = 0.0
    for _ in range(kills):
        await asyncio.sleep(1.0)
        if posting.done():
            break
        began = time.perf_counter()
        await asyncio.to_thread(stanch.kill)
        await asyncio.to_thread(stanch.start)
        down_s += time.perf_counter() - began
    return await posting, down_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds instead of minutes")
    options = parser.parse_args()
    rounds, alerts = (1, 1_000) if options.quick else (5, 10_000)
    with ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="stanch-g-", dir="/tmp")
        folder = Path(stack.enter_context(made))
        stanch = Stanch(folder)
        stanch.start()
        stack.callback(stanch.stop)
        have_peer = any(map(shutil.which, ALERTMANAGERS))
        peer: Any = stack.enter_context(alertmanager(folder)) if have_peer else None
        say(f"pid {os.getpid()}: {rounds} rounds of {alerts} alerts")
        beside(stanch, peer, rounds=rounds, alerts=alerts)
        burst = (5_000, 500, 1) if options.quick else (100_000, 10_000, 3)
        with_kills(stanch, alerts=burst[0], keys=burst[1], kills=burst[2])


if __name__ == "__main__":
    main()
