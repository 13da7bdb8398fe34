"""A PgBouncer in front of the rig's server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from stanch.adapters.postgres.os_user import server_user
from stanch.adapters.postgres.scratch import free_port
from stanch.drill.lab.fault import NotMade
from stanch.drill.lab.rig import Rig

PROGRAMS = ("pgbouncer",)

POOL = "bouncer"
LEAVE_S = 10.0

CONFIG = """[databases]
app = host=127.0.0.1 port={server} dbname=app user=app
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
stats_users = stats
logfile = {folder}/pgbouncer.log
"""


def start_pooler(rig: Rig, settings: Mapping[str, int]) -> None:
    """Start it, and tell those who watch where its console is. Raises: NotMade."""
    folder, port = rig.server.folder.path / "pooler", free_port()
    folder.mkdir(mode=0o755)
    config, users = folder / "pgbouncer.ini", folder / "users"
    config.write_text(
        CONFIG.format(server=rig.server.port, port=port, folder=folder)
        + "".join(f"{name} = {value}\n" for name, value in settings.items())
    )
    users.write_text("".join(f'"{name}" ""\n' for name in ("app", "stats")))
    user = server_user()
    if user is not None:
        user.own(folder)
    for path in (config, users):
        path.chmod(0o644)
    drop = ["-u", user.name] if user is not None else []
    command = [str(shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin"))]
    running = subprocess.Popen(
        [*command, "-q", *drop, str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    rig.undo(lambda: _end(running))
    rig.notes[POOL] = {"port": port, **settings}
    console = make_conninfo(host="127.0.0.1", port=port, user="stats", dbname="pgbouncer")
    rig.policy |= {"pools": {POOL: {"type": "pgbouncer", "dsn": console}}}

    def lets_in() -> bool:
        if running.poll() is not None:
            raise NotMade(f"pgbouncer left with status {running.returncode}")
        with suppress(psycopg.Error):
            return bool(rig.sql("SELECT 1", port=port))
        return False

    rig.until(lets_in)


def pooler_port(rig: Rig) -> int:
    """Where `start_pooler` has put it."""
    return int(rig.notes[POOL]["port"])


def pool_size(rig: Rig) -> int:
    """How many server connections it may open, as `start_pooler` was told."""
    return int(rig.notes[POOL]["default_pool_size"])


def clients_waiting(rig: Rig) -> int:
    """Clients that wait for a server connection, as its console says."""
    dsn = str(rig.policy["pools"][POOL]["dsn"])
    with psycopg.connect(dsn, autocommit=True) as console:
        pools = console.cursor(row_factory=dict_row).execute("SHOW POOLS")
        return sum(int(pool["cl_waiting"]) for pool in pools)


def _end(running: subprocess.Popen[bytes]) -> None:
    # SIGTERM is an immediate shutdown: nobody's transaction is waited for.
    running.terminate()
    try:
        running.wait(LEAVE_S)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()
