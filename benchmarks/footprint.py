"""What watching costs: the responder's CPU and memory a target, and the server's CPU a question.

`python benchmarks/footprint.py [--quick] [--only CASE...]` prints one JSON line a figure.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
from figures import figure, say, tell
from fleet import Fleet
from peers import Exporter, installed
from proc import run_s, tree_s
from receiver import Receiver
from running import StanchRun
from standins import StandIns

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.sentinel import Sentinel
from stanch.facts.vitals import VITALS_SQL, parse_vitals
from stanch.testing.mailbox import Mailbox

BENCH = "footprint"
CLIENT_MS_MAX = 0.5
SERVER_MS_MAX = 5.0
TARGET_KB_MAX = 100.0
TARGETS = 1000
SAMPLE_AGE_S_MAX = 3.0
AGES = 10
GROWTH_MAX = 1.25
"""Of what one more target costs; beyond it growth is no straight line."""
SESSIONS = 1000
EXPORTER_DSN = "host=127.0.0.1 port={port} user=stanch_watch password={word} sslmode=disable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One responder with so many targets."""

    targets: int
    cpu_ms_a_second: float
    samples_a_second: float
    rss_bytes: int
    oldest_s: tuple[float, ...]
    """The age of the oldest newest sample of any target, looked at once a second."""


def client(counts: Sequence[int], *, settle_s: float, watch_s: float) -> None:
    """The whole responder's CPU for each sample, and its memory for each target."""
    with Fleet(1) as fleet:
        sizes = [_one_size(fleet.servers["db001"], n, settle_s, watch_s) for n in counts]
    for size in sizes:
        words = "everything `stanch run` does, upkeep included"
        cpu_ms = size.cpu_ms_a_second / size.samples_a_second
        case = f"responder_cpu_a_sample_{size.targets}_targets"
        tell(figure(BENCH, case, [cpu_ms], "ms", note=words))
        rss_mb = [size.rss_bytes / 1e6]
        tell(figure(BENCH, f"responder_rss_{size.targets}_targets", rss_mb, "MB"))
        limit = SAMPLE_AGE_S_MAX if size.targets <= TARGETS else None
        case = f"oldest_sample_{size.targets}_targets"
        tell(figure(BENCH, case, size.oldest_s, "s", target=limit, target_p99=limit))
    _tell_growth(sizes)
    over = f"least squares over {', '.join(map(str, counts))} targets"
    cpu_ms, upkeep_ms = statistics.linear_regression(
        [size.samples_a_second for size in sizes], [size.cpu_ms_a_second for size in sizes]
    )
    words = f"{over}; greetings included; {upkeep_ms:.0f} ms a second without any target"
    case = "responder_cpu_a_sample"
    tell(figure(BENCH, case, [cpu_ms], "ms", target=CLIENT_MS_MAX, note=words))
    rss_bytes, base_bytes = statistics.linear_regression(
        [size.targets for size in sizes], [size.rss_bytes for size in sizes]
    )
    words = f"{over}; {base_bytes / 1e6:.0f} MB without any target"
    case = "responder_rss_a_target"
    tell(figure(BENCH, case, [rss_bytes / 1e3], "kB", target=TARGET_KB_MAX, note=words))


def _tell_growth(sizes: Sequence[Size]) -> None:
    """What one more sample costs among many, to what it costs among few: 1 is a straight line."""
    ordered = sorted(sizes, key=lambda size: size.targets)
    if len(ordered) < 3:
        return
    first, middle, last = ordered[0], ordered[len(ordered) // 2], ordered[-1]
    words = (
        f"from {middle.targets} to {last.targets} targets, to {first.targets} to {middle.targets}"
    )
    for case, few, many in (
        ("cpu", _more_cpu(first, middle), _more_cpu(middle, last)),
        ("rss", _more_rss(first, middle), _more_rss(middle, last)),
    ):
        readings = [many / few]
        tell(figure(BENCH, f"growth_{case}", readings, "times", target=GROWTH_MAX, note=words))


def _more_cpu(few: Size, many: Size) -> float:
    more = many.samples_a_second - few.samples_a_second
    return (many.cpu_ms_a_second - few.cpu_ms_a_second) / more


def _more_rss(few: Size, many: Size) -> float:
    return (many.rss_bytes - few.rss_bytes) / (many.targets - few.targets)


def _one_size(recorded_from: ScratchServer, count: int, settle_s: float, watch_s: float) -> Size:
    with ExitStack() as stack:
        standins = stack.enter_context(StandIns(recorded_from, count))
        mailbox, receiver = stack.enter_context(Mailbox()), stack.enter_context(Receiver())
        run = StanchRun(standins.targets(), mailbox=mailbox, receiver=receiver)
        stack.enter_context(run)
        say(f"{count} targets, all looked at after {run.ready_after_s:.1f} s")
        time.sleep(settle_s)
        cpu_s, samples, began = run.cpu_s(), standins.vitals(), time.monotonic()
        time.sleep(watch_s)
        took_s = time.monotonic() - began
        cpu_s, samples = run.cpu_s() - cpu_s, standins.vitals() - samples
        return Size(
            targets=count,
            cpu_ms_a_second=1000 * cpu_s / took_s,
            samples_a_second=samples / took_s,
            rss_bytes=run.rss_bytes(),
            # Afterwards: to be asked for the figures of many targets is work, too.
            oldest_s=tuple(run.oldest_sample_s(after_s=2.5) for _ in range(AGES)),
        )


def server(*, questions: int, watch_s: float) -> None:
    """A server with a thousand idle sessions: what a question costs it, and what watching does."""
    conf = {"max_connections": SESSIONS + 100, "shared_buffers": "32MB"}
    with Fleet(1, conf=conf) as fleet, ExitStack() as stack:
        one = fleet.servers["db001"]
        _fill(stack, one, SESSIONS)
        ours = asyncio.run(_question_cost(one.dsn("stanch_watch", sslmode="disable"), questions))
        for case, readings, limit in (
            ("server_cpu_a_question", [s * 1000 for s, _ in ours], SERVER_MS_MAX),
            ("client_cpu_a_bare_question", [c * 1000 for _, c in ours], CLIENT_MS_MAX),
        ):
            words = f"{SESSIONS} idle sessions"
            tell(figure(BENCH, case, readings, "ms", target=limit, note=words))
        ours_ms = _watched(stack, fleet, watch_s)
        _peer(stack, one, scrapes=questions // 4 or 1, ours_ms=ours_ms)


def _fill(stack: ExitStack, one: ScratchServer, sessions: int) -> None:
    dsn = one.dsn("app", sslmode="disable")
    for _ in range(sessions):
        session = psycopg.connect(dsn, autocommit=True, connect_timeout=20)
        stack.callback(session.close)
        session.execute("SELECT 1")
    say(f"{sessions} idle sessions")


async def _question_cost(dsn: str, questions: int) -> list[tuple[float, float]]:
    """Server and client CPU of each vitals question, in seconds; the first ones are planned."""
    sentinel = Sentinel(dsn)
    reach = await sentinel.connect(deadline_s=10)
    pid = sentinel.backend_pid
    assert pid is not None, reach
    found: list[tuple[float, float]] = []
    for number in range(questions + 10):
        server_s, client_s = run_s(pid), time.process_time()
        await sentinel.sample(VITALS_SQL, parse_vitals, timeout_s=5)
        spent_s = time.process_time() - client_s
        # The answer is here before the server process has put itself to sleep.
        await asyncio.sleep(0.02)
        if number >= 10:
            found.append((run_s(pid) - server_s, spent_s))
    sentinel.close()
    return found


def _watched(stack: ExitStack, fleet: Fleet, watch_s: float) -> float:
    """The whole server's CPU for each second of being watched, beside the same server alone."""
    one = fleet.servers["db001"]
    alone = _server_load(one, watch_s)
    with Mailbox() as mailbox, Receiver() as receiver:
        dsn = one.dsn("stanch_watch", sslmode="disable")
        targets = {"db001": {"dsn": dsn, "host": "none"}}
        with StanchRun(targets, mailbox=mailbox, receiver=receiver):
            time.sleep(3)
            watched = _server_load(one, watch_s)
    found = max(0.0, 1000 * (watched - alone))
    words = (
        f"{SESSIONS} idle sessions; question each second, greeting each 1.5 s; idle load taken off"
    )
    tell(figure(BENCH, "server_cpu_a_second_watched", [found], "ms", note=words))
    return found


def _server_load(one: ScratchServer, watch_s: float) -> float:
    """CPU seconds a second of every process of the server."""
    pid = one.postmaster_pid()
    assert pid is not None
    before, began = tree_s(pid, one.processes()), time.monotonic()
    time.sleep(watch_s)
    return (tree_s(pid, one.processes()) - before) / (time.monotonic() - began)


def _peer(stack: ExitStack, one: ScratchServer, *, scrapes: int, ours_ms: float) -> None:
    if not installed():
        say("postgres_exporter: left out, it is not installed")
        return
    word = one.passwords["stanch_watch"]
    exporter = Exporter(EXPORTER_DSN.format(port=one.port, word=word) + " dbname=postgres")
    process = exporter.start(stack)
    _until_it_answers(exporter)
    pid = one.postmaster_pid()
    assert pid is not None
    client_s, server_s = _group_s(process.pid), tree_s(pid, one.processes())
    took = [exporter.scrape() for _ in range(scrapes)]
    theirs = [1000 * (_group_s(process.pid) - client_s) / scrapes]
    on_server = [1000 * (tree_s(pid, one.processes()) - server_s) / scrapes]
    peer = "postgres_exporter"
    tell(figure(BENCH, "exporter_cpu_a_scrape", theirs, "ms", peer=peer))
    ratio = on_server[0] / ours_ms if ours_ms else None
    tell(figure(BENCH, "server_cpu_an_exporter_scrape", on_server, "ms", peer=peer, ratio=ratio))
    tell(figure(BENCH, "exporter_scrape_took", [s * 1000 for s in took], "ms", peer=peer))
    rss_kb = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4
    tell(figure(BENCH, "exporter_rss_a_target", [rss_kb], "kB", peer=peer))


def _group_s(pid: int) -> float:
    """CPU of all threads of a process."""
    return sum(
        int(Path(task, "schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{pid}/task").iterdir()
    )


def _until_it_answers(exporter: Exporter) -> None:
    import httpx

    for _ in range(100):
        try:
            exporter.scrape()
            return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise RuntimeError("the exporter never answered")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short stretches, fewer targets")
    parser.add_argument("--only", nargs="+", choices=("client", "server"))
    options = parser.parse_args()
    quick = options.quick
    cases: dict[str, Callable[[], None]] = {
        "client": lambda: client(
            (10, 50, 100) if quick else (10, 100, 300, 1000, 2000),
            settle_s=3 if quick else 20,
            watch_s=5 if quick else 30,
        ),
        "server": lambda: server(questions=40 if quick else 400, watch_s=5 if quick else 40),
    }
    for name, measure in cases.items():
        if options.only is None or name in options.only:
            say(f"--- {name}")
            measure()


if __name__ == "__main__":
    main()
