"""A real PgBouncer in front of one throw-away server, with a console to watch and one to change."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.policy.signs import ConsolePools

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")
USERS = ("app", "stats", "chief", "stranger")


@dataclass(frozen=True)
class Bouncer:
    """`stats` may look, `chief` may change."""

    port: int

    def dsn(self, dbname: str = "app", user: str = "app") -> str:
        return f"host=127.0.0.1 port={self.port} user={user} dbname={dbname}"

    def pools(self, *, chief: str = "chief") -> ConsolePools:
        console = self.dsn("pgbouncer", "stats")
        return ConsolePools(name="bouncer", dsn=console, admin_dsn=self.dsn("pgbouncer", chief))

    def say(self, command: str) -> list[tuple[object, ...]]:
        """On the console, as somebody else than Stanch."""
        with psycopg.connect(self.dsn("pgbouncer", "chief"), autocommit=True) as console:
            told = console.execute(command.encode())
            return told.fetchall() if told.description else []


@contextmanager
def bouncer_at(server: ScratchServer, settings: str = "default_pool_size = 2") -> Iterator[Bouncer]:
    """Until the block is left. It answers when the block begins."""
    user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    one = Bouncer(port=free_port())
    with tempfile.TemporaryDirectory(prefix="bouncer") as folder:
        config, users = Path(folder, "pgbouncer.ini"), Path(folder, "users")
        config.write_text(
            f"""[databases]
app = host=127.0.0.1 port={server.port} dbname=app user=app
own = host=127.0.0.1 port={server.port} dbname=app user=app pool_size=3
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {one.port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
stats_users = stats
admin_users = chief
logfile =
{settings}
"""
        )
        users.write_text("".join(f'"{name}" ""\n' for name in USERS))
        Path(folder).chmod(0o755)
        for path in (config, users):
            path.chmod(0o644)
        as_user = ["-u", user] if os.geteuid() == 0 else []
        running = subprocess.Popen(
            [str(PGBOUNCER), "-q", *as_user, str(config)], stderr=subprocess.DEVNULL
        )
        try:
            _wait_for(one)
            yield one
        finally:
            running.kill()
            running.wait(10)


def _wait_for(one: Bouncer) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(psycopg.OperationalError):
            one.say("SHOW VERSION")
            return
    pytest.fail("pgbouncer never answered")
