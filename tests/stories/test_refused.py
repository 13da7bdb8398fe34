"""A server that refuses our credentials, and then dies: seen without another try."""

from __future__ import annotations

import time

import pytest

from fix_responder import QUICK_LIMITS, MakeResponder
from fix_servers import MakeServer

pytestmark = pytest.mark.story

REFUSED = "password authentication failed"


@pytest.mark.parametrize("pg_major", [15], indirect=True)
def test_a_server_that_dies_while_it_refuses_our_password_is_told_and_the_password_sent_once(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = make_server(auth="scram-sha-256")
    stanch = make_responder(
        server, target={"actions": {}, "limits": QUICK_LIMITS, "page_after": "0s"}
    )
    server.query("ALTER ROLE stanch_watch PASSWORD 'another'")
    server.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'stanch_watch'"
    )
    stanch.wait_for(lambda: REFUSED in server.log_text(), what="the refusal")
    # Long enough for a watch that would try again, and for several greetings.
    time.sleep(1.5)
    assert server.log_text().count(REFUSED) == 1
    assert "server_down" not in str(stanch.incidents())

    killed_s = time.monotonic()
    server.kill()
    stanch.wait_for_mail(lambda m: "server down" in m.subject, "of the page")
    assert time.monotonic() - killed_s < 5
    stanch.wait_for_event("diagnosis.recorded")
    assert stanch.show("1")["diagnosis"]["cause"] == "killed"
    assert server.log_text().count(REFUSED) == 1
