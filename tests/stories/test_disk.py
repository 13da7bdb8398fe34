"""A volume that fills up: with ballast to give, and with nothing anybody may delete."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest

from fix_responder import ACT, MakeResponder
from fix_servers import DEBIAN_AS_ROOT, MakeServer
from stanch.adapters.postgres.scratch import ScratchServer

pytestmark = [
    pytest.mark.story,
    pytest.mark.skipif(
        not DEBIAN_AS_ROOT and os.geteuid() != 0, reason="needs root to make a volume of its own"
    ),
]

MIB = 1024 * 1024
VOLUME_MB = 200
BALLAST_MB = 64
FULL = {"disk_full": {"limit": "8MiB"}, "disk_low": {"limit": "10%"}}


def made(make_server: MakeServer) -> ScratchServer:
    return make_server(data_volume_mb=VOLUME_MB, conf={"max_wal_size": "32MB"})


def fill(path: Path) -> None:
    """Somebody else's file takes every byte that is left."""
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(MIB))
            except OSError:
                return


def writes(server: ScratchServer) -> bool:
    try:
        server.query(
            "CREATE TABLE IF NOT EXISTS t AS SELECT repeat('x', 999) FROM generate_series(1, 5000)",
            user="app",
            dbname="app",
        )
        server.query("DROP TABLE t", user="app", dbname="app")
    except psycopg.Error:
        return False
    return True


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_ballast_is_given_up_and_the_server_writes_again(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = made(make_server)
    volume = server.data_directory.parent
    ballast, filler = volume / "ballast-1", volume / "somebody-elses"
    ballast.write_bytes(bytes(BALLAST_MB * MIB))
    stanch = make_responder(
        server,
        target={
            "rules": FULL,
            "free_space": {"ballast": [str(ballast)]},
            "actions": {**ACT, "free_space": "act"},
        },
    )
    assert writes(server)
    fill(filler)
    writes(server)
    seen = stanch.wait_for_status("resolved")
    assert writes(server)
    assert not ballast.exists()
    assert filler.exists(), "what policy does not name is never deleted"
    assert seen["diagnosis"]["cause"] in ("disk_full_data", "disk_full_wal")
    assert stanch.started_actions()[0] == "free_space"
    stanch.wait_for_mail(lambda m: "disk full" in m.subject, "of the page")
    [rescued] = stanch.events("incident.rescued")
    assert rescued["checks"] >= 2
    written = stanch.call("postmortem", "1").out
    assert "ballast-1" in written


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_with_nothing_safe_to_delete_people_get_a_page_with_options(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = made(make_server)
    stanch = make_responder(server, target={"rules": FULL})
    filler = server.data_directory.parent / "somebody-elses"
    fill(filler)
    withheld = stanch.wait_for_event("plan.withheld")
    assert any("Grow" in option for option in withheld["options"])
    told = stanch.wait_for_mail(lambda m: "STANCH DOES NOT ACT" in m.text, "with the options")
    assert "Grow" in told.text
    assert stanch.started_actions() == []
    assert filler.exists()

    # A person makes room, and starts it where it went down for want of it.
    filler.unlink()
    server.start()
    stanch.wait_for_status("resolved")
    assert writes(server)
