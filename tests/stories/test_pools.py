"""A pool that somebody paused and forgot, through a running Stanch and a real PgBouncer."""

from __future__ import annotations

import threading

import psycopg
import pytest

from bouncer_at import bouncer_at, needs_pgbouncer
from fix_responder import MakeResponder
from fix_servers import MakeServer

pytestmark = [
    pytest.mark.story,
    needs_pgbouncer,
    # Nothing here depends on what the server is.
    pytest.mark.parametrize("pg_major", [15], indirect=True),
]


def test_a_pool_that_was_left_paused_goes_on_once_a_person_has_approved(
    make_server: MakeServer, make_responder: MakeResponder
) -> None:
    server = make_server()
    with bouncer_at(server) as bouncer, psycopg.connect(bouncer.dsn(), autocommit=True) as client:
        pools = bouncer.pools()
        stanch = make_responder(
            server,
            target={
                "pools": {
                    "bouncer": {
                        "type": "pgbouncer",
                        "dsn": pools.dsn,
                        "admin_dsn": pools.admin_dsn,
                    }
                },
                "rules": {"pool_waiting": {"hold": "0s"}},
                "actions": {"resume_pool": "act"},
            },
        )
        bouncer.say('PAUSE "app"')
        waits = threading.Thread(target=client.execute, args=("SELECT 1",))
        waits.start()
        proposed = stanch.wait_for_event("plan.proposed")
        assert waits.is_alive(), "nobody resumes it unasked"
        digest = proposed["plan"]["digest"]
        assert stanch.call("approve", "1", digest[:12]).status == 0
        waits.join(20)
        assert not waits.is_alive()
        seen = stanch.show()
    assert seen["diagnosis"]["cause"] == "pool_paused"
    assert stanch.started_actions() == ["resume_pool"]
