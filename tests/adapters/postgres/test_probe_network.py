"""Packets that are dropped or rejected on the way, in a network namespace of the test's own."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from fix_servers import DEBIAN_AS_ROOT, MakeServer
from stanch.adapters.postgres.probe import probe
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.sentinel import Sentinel
from stanch.model.errors import ProbeFailed
from stanch.model.reach import ReachState
from stanch.service.watched.eyes import SharedSentinel

one_major = pytest.mark.parametrize("pg_major", [15], indirect=True)
TOOLS = all(map(shutil.which, ("ip", "iptables")))
pytestmark = [
    pytest.mark.world,
    pytest.mark.skipif(
        not DEBIAN_AS_ROOT and not (os.geteuid() == 0 and TOOLS),
        reason="needs root, iproute2 and iptables",
    ),
]


NUMBERS = count()


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)


@dataclass(frozen=True)
class Machine:
    """Another machine as far as packets are concerned."""

    name: str
    subnet: str

    @property
    def ip(self) -> str:
        return f"{self.subnet}.2"

    def firewall(self, *rule: str) -> None:
        run("ip", "netns", "exec", self.name, "iptables", *rule)


@pytest.fixture
def machine() -> Iterator[Machine]:
    tag = f"{os.getpid()}x{next(NUMBERS)}"
    one = Machine(f"stanch{tag}", f"10.231.{(os.getpid() + next(NUMBERS)) % 200 + 20}")
    outer, inner = f"sto{tag}", f"sti{tag}"
    run("ip", "netns", "add", one.name)
    try:
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
        run("ip", "link", "set", inner, "netns", one.name)
        run("ip", "addr", "add", f"{one.subnet}.1/24", "dev", outer)
        run("ip", "link", "set", outer, "up")
        run("ip", "-n", one.name, "addr", "add", f"{one.ip}/24", "dev", inner)
        run("ip", "-n", one.name, "link", "set", inner, "up")
        run("ip", "-n", one.name, "link", "set", "lo", "up")
        yield one
    finally:
        subprocess.run(["ip", "link", "del", outer], check=False, capture_output=True)
        run("ip", "netns", "del", one.name)


@pytest.fixture
def far_server(machine: Machine, make_server: MakeServer) -> ScratchServer:
    server = make_server(
        conf={"listen_addresses": "*"},
        enter=(shutil.which("ip") or "ip", "netns", "exec", machine.name),
    )
    server.add_hba("host all all samenet trust")
    return server


async def until_up(dsn: str) -> ReachState:
    reach = await probe(dsn)
    for _ in range(100):
        if reach.answers:
            break
        reach = await probe(dsn)
    return reach.state


@one_major
async def test_dropped_packets_are_timeout_and_rejected_ones_unreachable(
    machine: Machine, far_server: ScratchServer
) -> None:
    dsn = far_server.dsn("app", host=machine.ip)
    port = str(far_server.port)
    assert await until_up(dsn) is ReachState.UP

    match = ("INPUT", "-p", "tcp", "--dport", port, "-j")
    for verdict, state in (
        (("DROP",), ReachState.TIMEOUT),
        (("REJECT", "--reject-with", "icmp-host-unreachable"), ReachState.UNREACHABLE),
        (("REJECT", "--reject-with", "icmp-admin-prohibited"), ReachState.UNREACHABLE),
        (("REJECT", "--reject-with", "tcp-reset"), ReachState.REFUSED),
    ):
        machine.firewall("-A", *match, *verdict)
        reach = await probe(dsn, deadline_s=0.7)
        assert reach.state is state, verdict
        assert reach.layers[-1].name == "tcp"
        machine.firewall("-D", *match, *verdict)

    assert await until_up(dsn) is ReachState.UP


@one_major
async def test_a_cut_after_the_connection_is_hung_and_not_timeout(
    machine: Machine, far_server: ScratchServer
) -> None:
    dsn = far_server.dsn("app", host=machine.ip)
    assert await until_up(dsn) is ReachState.UP
    # Lets the handshake through and drops everything that carries data back.
    machine.firewall("-A", "OUTPUT", "-p", "tcp", "--tcp-flags", "PSH", "PSH", "-j", "DROP")

    reach = await probe(dsn, deadline_s=0.7)

    assert reach.state is ReachState.HUNG


@one_major
async def test_a_question_into_a_black_hole_is_unheard_until_packets_come_through_again(
    machine: Machine, far_server: ScratchServer
) -> None:
    sentinel = Sentinel(far_server.dsn("stanch_watch", host=machine.ip))
    await sentinel.connect()
    assert await sentinel.fetch_rows("SELECT 1", timeout_s=5)
    machine.firewall("-A", "INPUT", "-p", "tcp", "-j", "DROP")

    question = asyncio.create_task(sentinel.fetch_rows("SELECT 1", timeout_s=10))
    await asyncio.sleep(0.25)
    in_the_dark = sentinel.unheard
    machine.firewall("-D", "INPUT", "-p", "tcp", "-j", "DROP")

    assert in_the_dark is True
    assert await question
    assert sentinel.unheard is False
    sentinel.close()


@one_major
async def test_a_question_beside_the_watchs_own_leaves_it_the_session_in_a_black_hole(
    machine: Machine, far_server: ScratchServer
) -> None:
    shared = SharedSentinel(
        far_server.dsn("stanch_watch", host=machine.ip), now=lambda: datetime.now(UTC)
    )
    await shared.open(5)
    first = shared.backend_pid
    machine.firewall("-A", "INPUT", "-p", "tcp", "-j", "DROP")

    with pytest.raises(ProbeFailed):
        await shared.fetch_json("SELECT '1'", timeout_s=0.4)
    in_the_dark = shared.is_open, shared.unheard
    machine.firewall("-D", "INPUT", "-p", "tcp", "-j", "DROP")

    assert in_the_dark == (True, True)
    assert await shared.fetch_json("SELECT '2'", timeout_s=10) == "2"
    assert shared.backend_pid == first
    await shared.close()


async def test_no_route_is_unreachable(machine: Machine) -> None:
    run("ip", "route", "add", "unreachable", f"{machine.subnet}.128/25")
    try:
        reach = await probe(f"host={machine.subnet}.130 user=app", deadline_s=0.7)
    finally:
        run("ip", "route", "del", "unreachable", f"{machine.subnet}.128/25")

    assert reach.state is ReachState.UNREACHABLE


async def test_a_machine_that_is_not_there_is_unreachable_once_the_network_says_so(
    machine: Machine,
) -> None:
    early = await probe(f"host={machine.subnet}.77 user=app", deadline_s=0.5)
    late = await probe(f"host={machine.subnet}.78 user=app", deadline_s=8)

    assert early.state is ReachState.TIMEOUT
    assert late.state is ReachState.UNREACHABLE


async def test_a_resolver_that_never_answers_is_dns_failure(
    machine: Machine, tmp_path: Path
) -> None:
    """In a child, because the resolver's file belongs to a mount namespace of its own."""
    machine.firewall("-A", "INPUT", "-p", "udp", "-j", "DROP")
    resolver = tmp_path / "resolv.conf"
    resolver.write_text(f"nameserver {machine.ip}\noptions timeout:5 attempts:1\n")
    script = tmp_path / "ask.py"
    script.write_text(
        "import asyncio\n"
        "from stanch.adapters.postgres.probe import probe\n"
        "reach = asyncio.run(probe('host=db.example.com user=app', deadline_s=0.5))\n"
        "print(reach.state.value, reach.layers[-1].detail)\n"
    )
    command = f"mount --bind {resolver} /etc/resolv.conf && exec {sys.executable} {script}"

    began = time.monotonic()
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command], capture_output=True, text=True, timeout=20
    )

    assert done.stdout.strip() == "dns_failure no answer within 0.5 s", done.stderr
    assert time.monotonic() - began < 4, "a command does not wait for its resolver at the end"
