"""A server whose packets get lost, in a network namespace of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from fix_servers import DEBIAN_AS_ROOT, MakeServer
from looking import diagnose_dsn
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.diagnosis import Verdict

TOOLS = all(map(shutil.which, ("ip", "iptables")))
pytestmark = [
    pytest.mark.world,
    pytest.mark.skipif(
        not DEBIAN_AS_ROOT and not (os.geteuid() == 0 and TOOLS),
        reason="needs root, iproute2 and iptables",
    ),
    pytest.mark.parametrize("pg_major", [15], indirect=True),
]
PID = os.getpid()
SPACE, OUTER, INNER = f"stanchd{PID}", f"sdo{PID}", f"sdi{PID}"
SUBNET = f"10.232.{PID % 200 + 20}"


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)


def firewall(change: str, *verdict: str) -> None:
    run("ip", "netns", "exec", SPACE, "iptables", change, "INPUT", "-p", "tcp", "-j", *verdict)


@pytest.fixture
def far_server(make_server: MakeServer) -> Iterator[ScratchServer]:
    """A server that is reached over a link of its own."""
    run("ip", "netns", "add", SPACE)
    try:
        run("ip", "link", "add", OUTER, "type", "veth", "peer", "name", INNER)
        run("ip", "link", "set", INNER, "netns", SPACE)
        run("ip", "addr", "add", f"{SUBNET}.1/24", "dev", OUTER)
        run("ip", "link", "set", OUTER, "up")
        run("ip", "-n", SPACE, "addr", "add", f"{SUBNET}.2/24", "dev", INNER)
        run("ip", "-n", SPACE, "link", "set", INNER, "up")
        run("ip", "-n", SPACE, "link", "set", "lo", "up")
        enter = (shutil.which("ip") or "ip", "netns", "exec", SPACE)
        server = make_server(conf={"listen_addresses": "*"}, enter=enter)
        server.add_hba("host all all samenet trust")
        yield server
    finally:
        subprocess.run(["ip", "link", "del", OUTER], check=False, capture_output=True)
        run("ip", "netns", "del", SPACE)


async def test_lost_packets_are_the_network_and_not_a_dead_server(
    far_server: ScratchServer,
) -> None:
    dsn = far_server.dsn("stanch_watch", "app", host=f"{SUBNET}.2")
    assert (await diagnose_dsn(dsn)).verdict is Verdict.HEALTHY

    for verdict in (("DROP",), ("REJECT", "--reject-with", "icmp-host-unreachable")):
        firewall("-A", *verdict)
        from_afar = await diagnose_dsn(dsn)
        from_inside = await diagnose_dsn(dsn, data_directory=str(far_server.data_directory))
        firewall("-D", *verdict)
        for found in (from_afar, from_inside):
            assert found.verdict is Verdict.CAUSE, found.summary
            assert found.causes[0].id == "network_unreachable"
            assert "start_server" in found.causes[0].forbids
        assert from_inside.causes[0].fact("server_running") is True


async def test_a_server_that_is_down_behind_the_same_link_is_not_the_network(
    far_server: ScratchServer,
) -> None:
    far_server.stop("fast")
    dsn = far_server.dsn("stanch_watch", "app", host=f"{SUBNET}.2")
    found = await diagnose_dsn(
        dsn, data_directory=str(far_server.data_directory), log=str(far_server.log_path)
    )
    assert found.causes[0].id == "stopped_cleanly"
