"""Patroni, which runs both servers of a rig, and the etcd in which the leader's key lies."""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from stanch.adapters.postgres.os_user import OsUser
from stanch.adapters.postgres.scratch import ScratchServer, free_port
from stanch.adapters.postgres.scratch_access import SUPERUSER
from stanch.drill.lab.fault import NotMade
from stanch.drill.lab.means.daemons import Daemon, asked, client, program
from stanch.drill.lab.means.standbys import standby_of
from stanch.drill.lab.rig import Rig

PROGRAMS = ("patroni", "etcd")
CONF = {"logging_collector": "on"}
"""Patroni's own words are none of the server's log."""

SCOPES = ("shop", "orders", "pg-prod", "main")
NAMES = (("orders-1", "orders-2"), ("pg-a", "pg-b"), ("db01", "db02"))
NOTE = "patroni"

DYNAMIC: Mapping[str, Any] = {
    # As short as Patroni takes them; the key's life is the shortest and the usual one at once.
    "loop_wait": 1,
    "retry_timeout": 3,
    "ttl": 20,
    "maximum_lag_on_failover": 100 * 1024 * 1024,
    "postgresql": {"use_pg_rewind": True, "use_slots": True},
}
LEADS = frozenset({"master", "primary"})
"""What Patroni calls it, before version 4 and since."""
STREAMS_SQL = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"
STARTS_S = 40.0
FAILS_OVER_S = 60.0
"""The life of a key that nobody renews, and the election after it."""


@dataclass(slots=True, kw_only=True)
class Member:
    """One server and the Patroni that runs it."""

    name: str
    server: ScratchServer
    url: str
    """Its REST API."""
    patroni: Daemon
    http: httpx.Client

    def told(self) -> Mapping[str, Any]:
        """What `GET /patroni` says; empty where nobody answers."""
        return asked(self.http, "GET", f"{self.url}/patroni")

    def leads(self) -> bool:
        """It runs, as primary, and holds the key."""
        told = self.told()
        runs = told.get("state") == "running" and told.get("role") in LEADS
        return runs and not told.get("cluster_unlocked")


@dataclass(slots=True, kw_only=True)
class Cluster:
    """Both members and their store."""

    scope: str
    store: Daemon
    first: Member
    """Leads until something happens."""
    second: Member

    def well(self) -> bool:
        """Both members are known and run, as the second one tells it."""
        told = asked(self.second.http, "GET", f"{self.second.url}/cluster").get("members", ())
        return len([member for member in told if member.get("timeline")]) == 2

    def configure(self, change: Mapping[str, Any]) -> None:
        """What `patronictl edit-config` does; told by both before this returns. Raises: NotMade."""
        done = asked(self.first.http, "PATCH", f"{self.first.url}/config", dict(change))
        if any(done.get(name) != value for name, value in change.items()):
            raise NotMade(f"Patroni does not take {dict(change)}: {dict(done)}")

    def pause(self, rig: Rig) -> None:
        """Maintenance mode: Patroni looks on, and does nothing. Raises: NotMade."""
        self.configure({"pause": True})
        rig.until(lambda: all(one.told().get("pause") for one in (self.first, self.second)))


def run_by_patroni(rig: Rig) -> None:
    """Have Patroni run both servers from now on, and tell those who watch where it is asked.

    Raises: NotMade
    """
    standby, folder = standby_of(rig), rig.server.folder.path / "patroni"
    folder.mkdir(mode=0o755)
    if rig.server.folder.user is not None:
        rig.server.folder.user.own(folder)
    http = rig.enter(client())
    scope, names = rig.rng.choice(SCOPES), rig.rng.choice(NAMES)
    for server in (rig.server, standby):
        # As Patroni would start them: else it says for ever that a restart is due.
        server.set_conf({"wal_log_hints": "on", "cluster_name": scope})
        server.restart()
    store, at = _store(rig, folder, http, scope)
    members = [
        _member(folder, scope, name, at=at, server=server, http=http)
        for name, server in zip(names, (rig.server, standby), strict=True)
    ]
    cluster = Cluster(scope=scope, store=store, first=members[0], second=members[1])
    rig.notes[NOTE] = cluster
    _begin(rig, cluster.first, cluster.first.leads)
    _begin(rig, cluster.second, lambda: cluster.well() and rig.admin(STREAMS_SQL))
    rig.policy |= {"patroni": {"url": cluster.first.url}}
    rig.standby_policy |= {"patroni": {"url": cluster.second.url}}


def cluster_of(rig: Rig) -> Cluster:
    """What `run_by_patroni` has made."""
    made: Cluster = rig.notes[NOTE]
    return made


def failed_over(rig: Rig) -> None:
    """Wait until the second member leads. Raises: NotMade."""
    rig.until(cluster_of(rig).second.leads, seconds=FAILS_OVER_S)


def hang(rig: Rig, daemon: Daemon) -> None:
    """It stands still until the end."""
    rig.undo(lambda: daemon.send(signal.SIGCONT))
    daemon.send(signal.SIGSTOP)


def _begin(rig: Rig, member: Member, holds: Callable[[], object]) -> None:
    rig.undo(member.patroni.kill)
    member.patroni.start()
    _until(rig, member.patroni, holds)


def _until(rig: Rig, daemon: Daemon, holds: Callable[[], object]) -> None:
    """Raises: NotMade with what the program said last."""

    def up() -> object:
        if not daemon.runs:
            raise NotMade(f"{daemon.argv[0]} has left")
        return holds()

    try:
        rig.until(up, seconds=STARTS_S)
    except NotMade as error:
        raise NotMade(f"{error}; it said: {daemon.said()}") from error


# --- the store ----------------------------------------------------------------------------------


def _store(rig: Rig, folder: Path, http: httpx.Client, scope: str) -> tuple[Daemon, str]:
    """A running etcd with the cluster's settings in it, and where it is asked."""
    at = f"127.0.0.1:{free_port()}"
    url, peer = f"http://{at}", f"http://127.0.0.1:{free_port()}"
    store = Daemon(
        argv=[
            *(program("etcd"), "--name", "store", "--data-dir", str(folder / "etcd")),
            *("--listen-client-urls", url, "--advertise-client-urls", url),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"store={peer}"),
        ],
        folder=folder,
        log=folder / "etcd.log",
        user=rig.server.folder.user,
    )
    rig.undo(store.kill)
    store.start()
    _until(rig, store, lambda: asked(http, "GET", f"{url}/health").get("health") == "true")
    put = {"key": f"/service/{scope}/config", "value": json.dumps(DYNAMIC)}
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in put.items()}
    if "header" not in asked(http, "POST", f"{url}/v3/kv/put", encoded):
        raise NotMade(f"etcd takes no key: {store.said()}")
    return store, at


# --- members ------------------------------------------------------------------------------------


def _member(
    folder: Path, scope: str, name: str, *, at: str, server: ScratchServer, http: httpx.Client
) -> Member:
    """A member that is not started yet; `at`: the store."""
    api = f"127.0.0.1:{free_port()}"
    listens = f"127.0.0.1:{server.port}"
    word = {"password": server.passwords[SUPERUSER]} if server.passwords else {}
    login = {"username": SUPERUSER, **word}
    config = folder / f"{name}.yml"
    settings = {
        "scope": scope,
        "name": name,
        "restapi": {"listen": api, "connect_address": api},
        "etcd3": {"host": at},
        "postgresql": {
            "listen": listens,
            "connect_address": listens,
            "data_dir": str(server.data_directory),
            "bin_dir": str(server.binaries.bin_dir),
            "pgpass": str(folder / f"{name}.pgpass"),
            "authentication": {"superuser": login, "replication": login, "rewind": login},
        },
    }
    # Every JSON text is YAML.
    config.write_text(json.dumps(settings, indent=1), encoding="utf-8")
    _readable(config, server.folder.user)
    return Member(
        name=name,
        server=server,
        url=f"http://{api}",
        http=http,
        patroni=Daemon(
            argv=[program("patroni"), str(config)],
            folder=folder,
            log=folder / f"{name}.log",
            user=server.folder.user,
        ),
    )


def _readable(path: Path, user: OsUser | None) -> None:
    """By its user alone: it may hold a password."""
    path.chmod(0o600)
    if user is not None:
        user.own(path)
