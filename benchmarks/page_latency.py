"""From a broken server to the page on the wire: how long, with how many targets, beside whom.

`python benchmarks/page_latency.py [--quick] [--only CASE...]` prints one JSON line a figure. The
clock starts just before the signal is sent (or the packets are dropped) and stops when the mail
server, or the web server, has the last byte of the page. One `stanch run` watches everything.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from far_machine import FarMachine, possible
from figures import Figure, figure, say, tell
from fleet import Fleet, certify, kill, signal_postmaster, with_tls
from peers import RULES, PrometheusStack, alerted, installed
from receiver import Arrival, Receiver
from running import StanchRun
from standins import StandIns

from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_folder import ScratchOptions
from stanch.adapters.postgres.scratch_processes import signal_all
from stanch.testing.mailbox import Mail, Mailbox

BENCH = "page_latency"
KILLED_S, KILLED_S_P99 = 0.5, 1.0
BLACK_HOLED_S, HUNG_S = 3.0, 5.0
PAGE_DEADLINE_S = 30.0
RESTED_S = 3.0
OVER_DEADLINE_S = 60.0


@dataclass(kw_only=True)
class Readings:
    """What one case measured, in seconds since the break."""

    opened: list[float] = field(default_factory=list[float])
    mailed: list[float] = field(default_factory=list[float])
    posted: list[float] = field(default_factory=list[float])
    false_pages: int = 0


class Scene:
    """A responder, its targets, and those who take its pages."""

    def __init__(self, run: StanchRun, mailbox: Mailbox, receiver: Receiver) -> None:
        self.run, self.mailbox, self.receiver = run, mailbox, receiver
        self.readings = Readings()
        self._broken: list[tuple[str, float]] = []

    def measure(self, target: str, break_it: Callable[[], float]) -> None:
        """Break a target and wait for both forms of its page."""
        at = break_it()
        self._broken.append((target, at))
        posted = self.receiver.wait_for(
            lambda a: is_page(a, target) and a.at >= at, deadline_s=PAGE_DEADLINE_S
        )
        mailed = self.mailbox.wait_for_mail(
            lambda m: mail_is_page(m, target) and m.taken_at.timestamp() >= at,
            deadline_s=PAGE_DEADLINE_S,
        )
        if posted is None or mailed is None:
            raise RuntimeError(f"no page for {target} within {PAGE_DEADLINE_S:g} s")
        self.readings.posted.append(posted.at - at)
        self.readings.mailed.append(mailed.taken_at.timestamp() - at)

    def wait_until_over(self, target: str) -> None:
        """Until the incident of the last break is resolved; the server must be back."""
        at = max(broken_at for name, broken_at in self._broken if name == target)
        over = self.receiver.wait_for(
            lambda a: is_resolution(a, target) and a.at >= at, deadline_s=OVER_DEADLINE_S
        )
        if over is None:
            raise RuntimeError(f"the incident of {target} did not end")

    def finish(self) -> Readings:
        """Everything measured, with what only the whole run can tell."""
        opened = self.run.opened()
        for target, at in self._broken:
            after = [moment - at for name, moment in opened if name == target and moment >= at]
            assert after, f"{target}: a page without an incident"
            self.readings.opened.append(min(after))
        self.readings.false_pages = len(opened) - len(self._broken)
        return self.readings


def is_page(arrival: Arrival, target: str) -> bool:
    return (arrival.body.get("kind"), arrival.body.get("target")) == ("page", target)


def is_resolution(arrival: Arrival, target: str) -> bool:
    return arrival.body.get("target") == target and "resolved" in arrival.body.get("subject", "")


def mail_is_page(mail: Mail, target: str) -> bool:
    return mail.content["X-Stanch-Kind"] == "page" and f" {target}:" in mail.subject


@contextmanager
def scene(targets: Mapping[str, Mapping[str, Any]]) -> Iterator[Scene]:
    """One responder for these targets, ready."""
    with (
        Mailbox() as mailbox,
        Receiver() as receiver,
        StanchRun(targets, mailbox=mailbox, receiver=receiver) as run,
    ):
        say(f"{len(targets)} targets, all looked at after {run.ready_after_s:.1f} s")
        run.wait_until_steady()
        yield Scene(run, mailbox, receiver)


# --- cases --------------------------------------------------------------------------------------


def one_server(rounds: int) -> None:
    """A server on the responder's own machine, killed again and again."""
    with Fleet(1) as fleet, scene({"db001": {"dsn": fleet.dsn("db001")}}) as on:
        server = fleet.servers["db001"]
        for _ in range(rounds):
            time.sleep(random.uniform(0.0, 1.0))
            on.measure("db001", lambda: kill(server))
            server.start()
            on.wait_until_over("db001")
        tell_all("killed_1_target", on.finish())


def many_servers(rounds: int, *, real: int, far: int, standins: int) -> None:
    """Servers elsewhere: real ones are killed one after the other, stand-ins make up the bulk."""
    with ExitStack() as stack:
        fleet = stack.enter_context(Fleet(real, far=far))
        targets = {name: {"dsn": fleet.dsn(name), "host": "none"} for name in fleet.servers}
        bulk = stack.enter_context(StandIns(fleet.servers["db001"], standins))
        targets |= bulk.targets()
        on = stack.enter_context(scene(targets))
        names = list(fleet.servers)
        random.shuffle(names)
        cpu_s, began = on.run.cpu_s(), time.monotonic()
        for number in range(rounds):
            name = names[number % real]
            if number >= real:
                on.wait_until_over(name)
            time.sleep(random.uniform(0.0, 1.0))
            on.measure(name, lambda name=name: kill(fleet.servers[name]))
            fleet.servers[name].start()
        busy = (on.run.cpu_s() - cpu_s) / (time.monotonic() - began)
        say(f"the responder used {busy:.0%} of a core")
        tell_all(f"killed_{len(targets)}_targets", on.finish(), note=f"{busy:.0%} of a core")


def silent_server(rounds: int, *, standins: int = 0) -> None:
    """Another machine whose packets get lost all at once; stand-ins make up the bulk."""
    if not possible():
        say("black_holed: left out, it takes root, iproute2 and iptables")
        return
    with ExitStack() as stack:
        machine = stack.enter_context(FarMachine())
        options = ScratchOptions(
            auth="scram-sha-256", conf={"listen_addresses": "*"}, enter=machine.enter
        )
        server = ScratchServer.create(with_tls(), options=options)
        stack.callback(server.destroy)
        server.add_hba("host all all samenet scram-sha-256")
        if with_tls():
            certify(server)
        server.start()
        dsn = server.dsn("stanch_watch", host=machine.address)
        targets = {"far": {"dsn": dsn, "host": "none"}, **_bulk(stack, standins)}
        on = stack.enter_context(scene(targets))

        def drop() -> float:
            at = time.time()
            machine.drop_packets(dropped=True)
            return at

        for _ in range(rounds):
            time.sleep(random.uniform(0.0, 1.0))
            on.measure("far", drop)
            machine.drop_packets(dropped=False)
            on.wait_until_over("far")
        tell_all(f"black_holed_{_targets(len(targets))}", on.finish(), limit_s=BLACK_HOLED_S)


def _bulk(stack: ExitStack, count: int) -> dict[str, dict[str, str]]:
    """So many stand-ins, which answer as a server of their own does."""
    if not count:
        return {}
    original = stack.enter_context(Fleet(1)).servers["db001"]
    return stack.enter_context(StandIns(original, count)).targets()


def _targets(count: int) -> str:
    return f"{count}_target" if count == 1 else f"{count}_targets"


def hung_server(rounds: int, *, whole: bool, standins: int = 0) -> None:
    """The postmaster alone is stopped (open sessions go on), or every process of the server."""
    with ExitStack() as stack:
        fleet = stack.enter_context(Fleet(1))
        targets = {"db001": {"dsn": fleet.dsn("db001")}, **_bulk(stack, standins)}
        on = stack.enter_context(scene(targets))
        server = fleet.servers["db001"]

        def pause() -> float:
            at = signal_postmaster(server, signal.SIGSTOP)
            if whole:
                signal_all(server.processes(), signal.SIGSTOP)
            return at

        for _ in range(rounds):
            time.sleep(random.uniform(0.0, 2.0))
            on.measure("db001", pause)
            server.resume()
            on.wait_until_over("db001")
        case = "frozen" if whole else "hung"
        tell_all(f"{case}_{_targets(len(targets))}", on.finish(), limit_s=HUNG_S)


def unrest(rounds: int, *, standins: int) -> None:
    """Nothing breaks: sessions are ended, the responder is stopped or gets no CPU. No incident."""
    with ExitStack() as stack:
        original = stack.enter_context(Fleet(1)).servers["db001"]
        bulk = stack.enter_context(StandIns(original, standins))
        on = stack.enter_context(scene(bulk.targets()))
        for _ in range(rounds):
            bulk.end_sessions(standins // 2)
            time.sleep(random.uniform(1.0, 3.0))
            os.kill(on.run.pid, signal.SIGSTOP)
            time.sleep(random.choice((0.5, 1.5, 3.0, 6.0, 12.0)))
            os.kill(on.run.pid, signal.SIGCONT)
            time.sleep(random.uniform(1.0, 5.0))
            _starve(on.run.pid, seconds=10.0)
            time.sleep(random.uniform(1.0, 5.0))
        on.run.wait_until_steady()
        words = f"{rounds} rounds: half of the sessions ended, a stop, ten seconds without CPU"
        for line in on.run.openings():
            say(line)
        count = len(on.run.opened())
        case = f"unrest_{_targets(standins)}.incidents_nobody_caused"
        tell(figure(BENCH, case, [count], "incidents", target=0, note=words))
        # Quiet because it looks and sees nothing, not because it looks no more.
        assert on.run.oldest_sample_s(after_s=2.5) < RESTED_S, "it has not come back to looking"


def _starve(pid: int, *, seconds: float) -> None:
    """A process gets the CPU for moments only; its targets, on machines of their own, do not."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(random.uniform(0.05, 0.4))
        os.kill(pid, signal.SIGCONT)
        time.sleep(random.uniform(0.02, 0.1))


def beside_prometheus(servers: int) -> None:
    """Every server is killed once, and everybody who watches it is waited for."""
    if not installed():
        say("beside_prometheus: left out, not all of its three programs are installed")
        return
    with ExitStack() as stack:
        fleet = stack.enter_context(Fleet(servers))
        names = list(fleet.servers)
        receiver = stack.enter_context(Receiver())
        dsns = {
            name: fleet.servers[name].dsn("stanch_watch", sslmode=fleet.sslmode) for name in names
        }
        stack.enter_context(PrometheusStack(dsns, receiver.url("/alerts")))
        targets = {name: {"dsn": fleet.dsn(name), "host": "none"} for name in names}
        on = stack.enter_context(scene(targets))
        killed: dict[str, float] = {}
        for name in names:
            time.sleep(random.uniform(1.0, 6.0))
            on.measure(name, lambda name=name: killed.setdefault(name, kill(fleet.servers[name])))
        ours = on.finish()
        tell_all(f"killed_{servers}_targets_beside_prometheus", ours)
        _tell_peers(receiver, killed, ours)


def _tell_peers(receiver: Receiver, killed: Mapping[str, float], ours: Readings) -> None:
    median = figure(BENCH, "ours", ours.posted, "s").median
    for rule in RULES:
        took: list[float] = []
        for name, at in killed.items():
            arrival = receiver.wait_for(
                lambda a, rule=rule, name=name: alerted(a, rule=rule.name, instance=name),
                deadline_s=150,
            )
            if arrival is None:
                raise RuntimeError(f"rule {rule.name} never fired for {name}")
            took.append(arrival.at - at)
        words = f"for {rule.hold_s} s, scrape {rule.scrape_s} s, group_wait {rule.group_wait_s} s"
        theirs = figure(BENCH, "x", took, "s").median
        case = f"killed_{len(killed)}_targets_rule_{rule.name}"
        peer = "Prometheus + postgres_exporter + Alertmanager"
        tell(figure(BENCH, case, took, "s", peer=peer, ratio=theirs / median, note=words))


def tell_all(case: str, found: Readings, *, limit_s: float | None = None, note: str = "") -> None:
    """The figures of one case."""
    median = limit_s or KILLED_S
    p99 = limit_s or KILLED_S_P99
    for form, readings in (
        ("incident_open", found.opened),
        ("page_mailed", found.mailed),
        ("page_posted", found.posted),
    ):
        name = f"{case}.{form}"
        tell(figure(BENCH, name, readings, "s", target=median, target_p99=p99, note=note))
    tell(false_pages(case, found.false_pages))


def false_pages(case: str, count: int) -> Figure:
    return figure(BENCH, f"{case}.incidents_beyond_the_breaks", [count], "incidents", target=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few rounds a case")
    parser.add_argument("--only", nargs="+", choices=CASES, help="these cases alone")
    options = parser.parse_args()
    measures = cases_of(quick=options.quick)
    for name in options.only or CASES:
        say(f"--- {name}")
        measures[name]()


CASES = (
    *("one", "fifty", "thousand", "black_holed", "hung", "frozen"),
    *("black_holed_among_many", "hung_among_many", "unrest", "prometheus"),
)


def cases_of(*, quick: bool) -> dict[str, Callable[[], None]]:
    """What is measured, in this order."""
    few = 3 if quick else 0
    return {
        "one": lambda: one_server(few or 60),
        "fifty": lambda: many_servers(few or 100, real=50, far=10, standins=0),
        "thousand": lambda: many_servers(few or 60, real=50, far=10, standins=950),
        "black_holed": lambda: silent_server(few or 15),
        "hung": lambda: hung_server(few or 15, whole=False),
        "frozen": lambda: hung_server(few or 15, whole=True),
        "black_holed_among_many": lambda: silent_server(few or 10, standins=999),
        "hung_among_many": lambda: hung_server(few or 10, whole=False, standins=999),
        "unrest": lambda: unrest(2 if quick else 8, standins=1000),
        "prometheus": lambda: beside_prometheus(2 if quick else 8),
    }


if __name__ == "__main__":
    main()
