"""Everything falls silent at once: that is told of Stanch's own sight, and of no server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from fix_responder import MakeResponder, Responder
from fix_servers import DEBIAN_AS_ROOT, MakeServer

TOOLS = all(map(shutil.which, ("ip", "iptables")))
pytestmark = [
    pytest.mark.story,
    pytest.mark.skipif(
        not DEBIAN_AS_ROOT and not (os.geteuid() == 0 and TOOLS),
        reason="needs root, iproute2 and iptables",
    ),
]

PID = os.getpid()
SPACE, OUTER, INNER = f"stanchb{PID}", f"sbo{PID}", f"sbi{PID}"
SUBNET = f"10.235.{PID % 200 + 20}"
SILENCE = ("INPUT", "-p", "tcp", "-j", "DROP")


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)


def firewall(*rule: str) -> None:
    run("ip", "netns", "exec", SPACE, "iptables", *rule)


@pytest.fixture
def far_away() -> Iterator[tuple[str, ...]]:
    """How to enter a network at the far end of a wire."""
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


def kinds(events: list[dict[str, Any]]) -> set[str]:
    return {event["symptom"]["kind"] for event in events}


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_targets_that_fall_silent_at_once_are_one_page_and_those_that_refuse_are_not(
    make_server: MakeServer, make_responder: MakeResponder, far_away: tuple[str, ...]
) -> None:
    server = make_server(conf={"listen_addresses": "*"}, enter=far_away)
    server.add_hba("host all all samenet trust")
    stanch = make_responder(server, start=False)
    one = {
        "dsn": server.dsn("stanch_watch", host=f"{SUBNET}.2"),
        "host": "none",
        "sample_every": "500ms",
        "limits": {"clear_hold": "500ms"},
    }
    names = ("orders", "billing", "stock", "users", "mails", "carts")
    stanch.write_policy({**stanch.policy, "targets": dict.fromkeys(names, one)})
    stanch.start()

    firewall("-A", *SILENCE)
    stanch.wait_for_mail(lambda m: "Stanch is blind" in m.subject, "of the page")
    [blind] = [i["id"] for i in stanch.incidents() if i["title"] == "Stanch is blind"]
    assert kinds(stanch.events("incident.opened", blind)) == {"blind"}
    firewall("-D", *SILENCE)
    stanch.wait_for_status("resolved", blind)

    server.kill()
    stanch.wait_for(lambda: len(refused(stanch)) >= len(names) / 2, what="they are told as down")
    opened = [kinds(stanch.events("incident.opened", i["id"])) for i in stanch.incidents()]
    assert opened.count({"blind"}) == 1
    assert stanch.show(blind)["status"] == "resolved"


def refused(stanch: Responder) -> set[str]:
    """Targets that an incident says refuse connections."""
    found = set[str]()
    for incident in stanch.incidents():
        for kind in ("incident.opened", "symptom.observed"):
            for event in stanch.events(kind, incident["id"]):
                if event["symptom"]["detail"].startswith("refused"):
                    found.add(event["symptom"]["target"])
    return found
