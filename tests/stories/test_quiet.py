"""What must not wake anybody: ended sentinels and lost packets."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fix_responder import MakeResponder
from fix_servers import DEBIAN_AS_ROOT, MakeServer
from stanch.adapters.postgres.scratch import ScratchServer

pytestmark = pytest.mark.story

LOSSY_S = 60.0 if os.environ.get("STANCH_SOAK") == "1" else 20.0
LOST_SHARE = 0.3
TOOLS = all(map(shutil.which, ("ip", "iptables")))


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_an_ended_sentinel_is_opened_again_and_is_no_outage(
    server: ScratchServer, make_responder: MakeResponder
) -> None:
    stanch = make_responder(server)
    ours = "FROM pg_stat_activity WHERE application_name LIKE 'stanch%'"
    for _ in range(3):
        pids: set[int] = set()

        def end_them(ended: set[int] = pids) -> bool:
            # It may be between two sessions just now.
            rows = server.query(f"SELECT pid, pg_terminate_backend(pid) {ours}")
            ended.update(pid for pid, done in rows if done)
            return bool(ended)

        stanch.wait_for(end_them, what="its sessions")

        def opened_anew(ended: set[int] = pids) -> bool:
            now = {pid for (pid,) in server.query(f"SELECT pid {ours}")}
            return bool(now) and not now & ended

        stanch.wait_for(opened_anew, what="sessions of its own again")
    time.sleep(1.5)
    stanch.wait_for(stanch.ready, what="its target being looked at")
    assert stanch.incidents() == []
    assert stanch.subjects() == []


# --- a network that loses packets ---------------------------------------------------------------

PID = os.getpid()
SPACE, OUTER, INNER = f"stanchq{PID}", f"sqo{PID}", f"sqi{PID}"
SUBNET = f"10.233.{PID % 200 + 20}"


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)


@contextmanager
def link() -> Iterator[tuple[str, ...]]:
    """A network namespace of our own at the far end of a wire; yields how to enter it."""
    run("ip", "netns", "add", SPACE)
    try:
        run("ip", "link", "add", OUTER, "type", "veth", "peer", "name", INNER)
        run("ip", "link", "set", INNER, "netns", SPACE)
        run("ip", "addr", "add", f"{SUBNET}.1/24", "dev", OUTER)
        run("ip", "link", "set", OUTER, "up")
        run("ip", "-n", SPACE, "addr", "add", f"{SUBNET}.2/24", "dev", INNER)
        run("ip", "-n", SPACE, "link", "set", INNER, "up")
        run("ip", "-n", SPACE, "link", "set", "lo", "up")
        yield (shutil.which("ip") or "ip", "netns", "exec", SPACE)
    finally:
        subprocess.run(["ip", "link", "del", OUTER], check=False, capture_output=True)
        run("ip", "netns", "del", SPACE)


@contextmanager
def losing(share: float) -> Iterator[None]:
    """Every packet to the server is lost with this probability."""
    chance = ("-m", "statistic", "--mode", "random", "--probability", f"{share}")
    rule = ("INPUT", "-p", "tcp", *chance, "-j", "DROP")
    run("ip", "netns", "exec", SPACE, "iptables", "-A", *rule)
    try:
        yield
    finally:
        run("ip", "netns", "exec", SPACE, "iptables", "-D", *rule)


needs_network = pytest.mark.skipif(
    not DEBIAN_AS_ROOT and not (os.geteuid() == 0 and TOOLS),
    reason="needs root, iproute2 and iptables",
)


@pytest.fixture
def far_server(make_server: MakeServer) -> Iterator[ScratchServer]:
    with link() as enter:
        server = make_server(conf={"listen_addresses": "*"}, enter=enter)
        server.add_hba("host all all samenet trust")
        yield server


@needs_network
@pytest.mark.world
@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_network_that_loses_a_third_of_its_packets_wakes_nobody_and_one_that_loses_all_does(
    far_server: ScratchServer, make_responder: MakeResponder
) -> None:
    there = {
        key: far_server.dsn(role, host=f"{SUBNET}.2")
        for key, role in (("dsn", "stanch_watch"), ("acting_dsn", "stanch_act"), ("app_dsn", "app"))
    }
    stanch = make_responder(far_server, target={**there, "host": "none", "actions": {}})
    with losing(LOST_SHARE):
        end = time.monotonic() + LOSSY_S
        while time.monotonic() < end:
            assert stanch.subjects() == [], stanch.story()
            time.sleep(0.5)
        assert stanch.incidents() == [], stanch.story()
    # The same watch is not just deaf: all packets lost is an outage, told within seconds.
    with losing(1.0):
        page = stanch.wait_for_mail(lambda m: "server down" in m.subject, "of the page")
        assert "timeout" in page.text
    stanch.wait_for_status("resolved")
