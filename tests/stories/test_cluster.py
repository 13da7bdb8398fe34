"""A primary, its standby, a pooler and a service in front: nobody declared that they are one."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from fix_responder import MakeResponder, Responder
from fix_servers import NEWEST_MAJOR, Templates
from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.adapters.postgres.scratch_folder import ScratchOptions

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = [
    pytest.mark.story,
    pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed"),
]


@dataclass(frozen=True)
class Pair:
    primary: ScratchServer
    standby: ScratchServer
    twin: ScratchServer
    """Made of the same files as the primary, and nothing to it."""
    pooler: int
    health: str


@pytest.fixture(scope="module")
def pair(server_templates: Templates) -> Iterator[Pair]:
    template = server_templates.of(NEWEST_MAJOR, "trust")
    options = ScratchOptions(parent=server_templates.parent, conf={"wal_keep_size": "64MB"})
    with ExitStack() as stack:
        primary, standby, twin = (
            ScratchServer.create(options=options, template=template) for _ in range(3)
        )
        for server in (primary, standby, twin):
            stack.callback(server.destroy)
        standby.folder.write_owned(standby.data_directory / "standby.signal", "")
        standby.set_conf({"primary_conninfo": primary.dsn()})
        for server in (primary, standby, twin):
            server.start()
        yield Pair(
            primary=primary,
            standby=standby,
            twin=twin,
            pooler=_pooler(stack, primary),
            health=_service(stack, primary),
        )


def _pooler(stack: ExitStack, server: ScratchServer) -> int:
    port = free_port()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bouncer", dir="/tmp")))
    folder.chmod(0o755)
    user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    (folder / "pgbouncer.ini").write_text(
        f"""[databases]
app = host=127.0.0.1 port={server.port} dbname=app user=app
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
auth_user =
stats_users = stats
admin_users = stats
default_pool_size = 2
server_login_retry = 1
query_wait_timeout = 60
"""
    )
    (folder / "pgbouncer.ini").chmod(0o644)
    assert PGBOUNCER is not None
    as_user = ["-u", user] if os.geteuid() == 0 else []
    running = subprocess.Popen(
        [PGBOUNCER, "-q", *as_user, str(folder / "pgbouncer.ini")], stderr=subprocess.DEVNULL
    )
    stack.callback(running.wait, 10)
    stack.callback(running.kill)
    return port


def _service(stack: ExitStack, server: ScratchServer) -> str:
    """A shop that is well while its database answers."""
    dsn = server.dsn("app", connect_timeout=2)

    class Shop(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status = 503
            with suppress(psycopg.Error), psycopg.connect(dsn) as session:
                session.execute("SELECT 1")
                status = 200
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Nobody reads it."""

    shop = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=shop.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    stack.callback(shop.shutdown)
    return f"http://127.0.0.1:{shop.server_port}/health"


def watched(pair: Pair, make_responder: MakeResponder) -> Responder:
    """Four targets: the pool and the service are asked about beside the standby, and the twin."""
    stanch = make_responder(pair.primary, target={"actions": {}}, start=False)
    orders = stanch.policy["targets"]["orders"]
    quick = {
        **orders["rules"],
        "health_check_failing": {"hold": "1s"},
        "pool_waiting": {"limit": 1, "hold": "1s"},
        "replication_delay": {"off": True},
    }
    aside = {k: v for k, v in orders.items() if k not in ("acting_dsn", "app_dsn", "manager")}

    def beside(server: ScratchServer, **more: Any) -> dict[str, Any]:
        return {**aside, "dsn": server.dsn("stanch_watch"), "rules": quick, **more}

    token = stanch.folder / "token"
    token.write_text("t0ken\n")
    console = f"host=127.0.0.1 port={pair.pooler} user=stats dbname=pgbouncer"
    stanch.write_policy(
        {
            **stanch.policy,
            "targets": {
                "orders": {**orders, "rules": quick},
                "replica": beside(
                    pair.standby,
                    services={"shop": {"url": pair.health}},
                    pools={"bouncer": {"type": "pgbouncer", "dsn": console}},
                ),
                "twin": beside(pair.twin),
            },
            "signals": {"sources": {"prom": {"format": "alertmanager", "token_file": str(token)}}},
        }
    )
    stanch.start()
    stanch.wait_for(lambda: seen(stanch), what="the standby is learned")
    stanch.wait_for(lambda: led(stanch) == {"app": ["orders"]}, what="the pooler is seen to lead")
    return stanch


def seen(stanch: Responder) -> dict[str, str]:
    return {k: v for c in stanch.ask("/clusters")["clusters"] for k, v in c["follows"].items()}


def led(stanch: Responder) -> dict[str, list[str]]:
    poolers = stanch.ask("/clusters")["poolers"]
    return {one["database"]: one["targets"] for one in poolers if one["asked_for"] == "replica"}


def alert(stanch: Responder, status: str) -> None:
    labels = {"alertname": "ReplicaLag", "target": "replica", "severity": "critical"}
    one = {"status": status, "labels": labels, "startsAt": datetime.now(UTC).isoformat()}
    plain = {"version": "4", "groupKey": "{}:{}", "status": status, "alerts": [one]}
    httpx.post(
        f"http://127.0.0.1:{stanch.port}/signals/prom",
        json={**plain, "receiver": "stanch", "groupLabels": {}, "commonLabels": {}},
        headers={"Authorization": "Bearer t0ken"},
        timeout=10,
    ).raise_for_status()


def buy(pair: Pair) -> None:
    """A client of the pooler, which waits for the server behind it."""
    dsn = f"host=127.0.0.1 port={pair.pooler} user=app dbname=app connect_timeout=60"
    with suppress(psycopg.Error), psycopg.connect(dsn) as session:
        session.execute("SELECT 1")


def standing(stanch: Responder) -> set[str]:
    """Kinds of what stands in the first incident, wherever it was seen."""
    shown = stanch.show("1")
    return {key.partition(":")[0] for key in (*shown["symptoms"], *shown["attached"])}


def test_what_one_kill_does_to_a_cluster_is_one_incident_one_page_and_every_end_arrives(
    pair: Pair, make_responder: MakeResponder
) -> None:
    stanch = watched(pair, make_responder)
    assert seen(stanch) == {"replica": "orders"}, "not the twin, which has the same identifier"
    pair.primary.kill()
    alert(stanch, "firing")
    client = threading.Thread(target=buy, args=(pair,), daemon=True)
    client.start()
    effects = {"health_check_failing", "outside_alert", "pool_waiting"}
    stanch.wait_for(lambda: effects <= standing(stanch), what="the effects join")
    pair.standby.kill()
    stanch.wait_for(
        lambda: stanch.incidents()[0]["title"] == "server down, and so is replica",
        what="both are down in one incident",
    )
    [incident] = stanch.incidents()
    assert incident["target"] == "orders"
    raised = [m for m in stanch.events("message.raised") if m["message_kind"] == "page"]
    assert len(raised) == 1

    pair.primary.start()
    pair.standby.start()
    alert(stanch, "resolved")
    stanch.wait_for_status("resolved")
    assert [i["target"] for i in stanch.incidents()] == ["orders"]
    assert seen(stanch) == {"replica": "orders"}

    pair.standby.kill()
    stanch.wait_for(lambda: len(stanch.incidents()) == 2, what="an incident of its own")
    alone = stanch.incidents()[0]
    assert (alone["target"], alone["severity"]) == ("replica", "P1")
    pair.standby.start()
