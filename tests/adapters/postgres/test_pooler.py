"""A pooler between us and the server is told apart, and is no server that is down."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from fix_servers import MakeServer
from stanch.adapters.postgres.applogin import PsycopgAppLogin
from stanch.adapters.postgres.probe import probe
from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.adapters.postgres.sentinel import Sentinel
from stanch.cli.ping import as_text
from stanch.model.reach import ReachState

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = [
    pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed"),
    pytest.mark.parametrize("pg_major", [15], indirect=True),
]


@dataclass(frozen=True)
class Pooler:
    """A pgbouncer in front of one server, in transaction mode."""

    port: int
    server: ScratchServer

    def dsn(self, user: str = "app", dbname: str = "app", **more: str) -> str:
        extra = " ".join(f"{key}='{value}'" for key, value in more.items())
        return f"host=127.0.0.1 port={self.port} user={user} dbname={dbname} {extra}".strip()


@pytest.fixture
def pooler(make_server: MakeServer) -> Iterator[Pooler]:
    server, port = make_server(), free_port()
    user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    with tempfile.TemporaryDirectory(prefix="pooler") as folder:
        config = Path(folder, "pgbouncer.ini")
        config.write_text(
            f"""[databases]
app = host=127.0.0.1 port={server.port} dbname=app user=app
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
logfile =
"""
        )
        Path(folder).chmod(0o755)
        config.chmod(0o644)
        as_user = ["-u", user] if os.geteuid() == 0 else []
        running = subprocess.Popen(
            [str(PGBOUNCER), "-q", *as_user, str(config)], stderr=subprocess.DEVNULL
        )
        try:
            one = Pooler(port=port, server=server)
            _wait_for(one)
            yield one
        finally:
            running.terminate()
            running.wait(10)


def _wait_for(pooler: Pooler) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(psycopg.OperationalError), psycopg.connect(pooler.dsn()):
            return
        time.sleep(0.05)
    pytest.fail("pgbouncer never answered")


async def test_a_pooler_answers_in_the_servers_stead_and_is_told_apart(pooler: Pooler) -> None:
    through, direct = await probe(pooler.dsn()), await probe(pooler.server.dsn("app"))

    assert (through.state, through.through_pooler) == (ReachState.UP, True)
    assert (direct.state, direct.through_pooler) == (ReachState.UP, False)
    assert "pooler" in as_text(through, "app")
    assert "pooler" not in as_text(direct, "app")


async def test_a_pooler_that_refuses_a_parameter_is_not_a_server_that_is_down(
    pooler: Pooler,
) -> None:
    reach = await probe(pooler.dsn(options="-c statement_timeout=1000"))

    assert (reach.state, reach.through_pooler) == (ReachState.TURNED_AWAY, True)


async def test_no_session_is_kept_through_a_pooler_and_the_reason_is_said(pooler: Pooler) -> None:
    sentinel = Sentinel(pooler.dsn())
    reach = await sentinel.connect()

    assert not sentinel.connected
    assert reach.state is ReachState.TURNED_AWAY
    assert reach.failed_layer is not None
    assert "name the server itself" in reach.failed_layer.detail


async def test_nothing_of_ours_stays_in_sessions_that_are_others_too(pooler: Pooler) -> None:
    await Sentinel(pooler.dsn()).connect()
    await PsycopgAppLogin(pooler.dsn(), writes=True).login_and_write(deadline_s=5)

    with psycopg.connect(pooler.dsn(), autocommit=True) as others:
        settings = "statement_timeout", "lock_timeout", "default_transaction_read_only"
        left = [others.execute(f"SHOW {name}").fetchone() for name in settings]  # type: ignore[arg-type]
    assert left == [("0",), ("0",), ("off",)]


async def test_the_application_may_log_in_through_its_pooler(pooler: Pooler) -> None:
    reading = await PsycopgAppLogin(pooler.dsn(), writes=True).login_and_write(deadline_s=5)

    assert (reading.login_ok, reading.write_ok) == (True, True), reading.detail
