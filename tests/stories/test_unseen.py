"""What an open session does not show: writes that hang, and the end of a server that refuses us."""

from __future__ import annotations

import time

import pytest

from fix_responder import MakeResponder
from fix_servers import MakeServer
from stanch.service.readiness.grants import grants

pytestmark = pytest.mark.story

REFUSED = "password authentication failed"
WRITES = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stanch canary'"
QUICK = {"writes_failing": {"hold": "500ms"}}


@pytest.mark.parametrize("pg_major", [18], indirect=True)
def test_writes_that_hang_are_told_by_one_of_them_and_a_refused_password_is_sent_once_to_the_end(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = make_server(auth="scram-sha-256")
    server.query(grants().canary)
    server.set_conf({"synchronous_standby_names": "nobody"})
    target = {"actions": {}, "rules": QUICK, "page_after": "0s", "sample_every": "200ms"}
    stanch = make_responder(
        server, target={**target, "canary": {"every": "1s", "deadline": "500ms"}}
    )
    stanch.wait_for_mail(lambda m: "writes fail" in m.subject, "of the page")
    assert "a synchronous standby that does not confirm" in str(stanch.show("1"))
    assert stanch.show("1")["symptoms"] == ["writes_failing"]
    assert server.query(WRITES) == [(1,)]
    server.set_conf({"synchronous_standby_names": ""})
    stanch.wait_for_event("symptom.cleared")

    server.query("ALTER ROLE stanch_watch PASSWORD 'another'")
    server.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'stanch_watch'"
    )
    stanch.wait_for(lambda: REFUSED in server.log_text(), what="the refusal")
    # Long enough for somebody who would try again.
    time.sleep(1.2)
    server.kill()
    killed_s = time.monotonic()
    stanch.wait_for_mail(lambda m: "server down" in m.text, "that tells its end")
    assert time.monotonic() - killed_s < 5
    assert server.log_text().count(REFUSED) == 1
