"""Who is asked to start a server: never a guess, never somebody else's server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stanch.adapters.hosts.manager import PgCtl, PgCtlCluster
from stanch.model.diagnosis import Missing
from stanch.model.host import Found, LocalServer, ServerManager
from stanch.model.ids import TargetName
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.managers import manager_of

TARGET = TargetPolicy(name=TargetName("orders"), dsn="service=orders")
PLAIN = LocalServer(
    data_directory=Found(value="/data", source="lock file"),
    bin_dir=Found(value="/pg/bin", source="executable"),
    log_path=Missing(what="log", reason="none"),
    manager=ServerManager.PG_CTL,
    manager_source="postmaster.opts",
)
DEBIAN = replace(PLAIN, manager=ServerManager.PG_CTLCLUSTER, manager_name="15/main")


def of(target: TargetPolicy, server: LocalServer) -> object:
    return manager_of(target, server, data_directory="/data")


def test_a_server_started_by_hand_is_started_by_pg_ctl() -> None:
    manager = of(TARGET, PLAIN)
    assert isinstance(manager, PgCtl)
    assert "/pg/bin/pg_ctl start -D /data" in manager.describe()


def test_a_debian_cluster_is_started_by_its_own_tools_also_below_systemd() -> None:
    unit = replace(PLAIN, manager=ServerManager.SYSTEMD, manager_name="postgresql@15-main.service")
    for server in (DEBIAN, unit):
        manager = of(TARGET, server)
        assert isinstance(manager, PgCtlCluster)
        assert "pg_ctlcluster 15 main start" in manager.describe()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ServerManager.PATRONI, ""),
        (ServerManager.DOCKER, "abc"),
        (ServerManager.SYSTEMD, "postgres-custom.service"),
        (ServerManager.UNKNOWN, ""),
    ],
)
def test_whoever_else_manages_a_server_is_not_gone_past(kind: ServerManager, name: str) -> None:
    found = of(TARGET, replace(PLAIN, manager=kind, manager_name=name, manager_source="seen"))
    assert isinstance(found, Missing)
    assert "seen" in found.reason


def test_the_policy_s_word_wins_over_what_was_found() -> None:
    assert isinstance(of(replace(TARGET, manager="none"), PLAIN), Missing)
    assert isinstance(of(replace(TARGET, manager="pg_ctlcluster"), PLAIN), Missing)
    assert isinstance(of(replace(TARGET, manager="pg_ctl"), DEBIAN), PgCtl)
    named = of(replace(TARGET, manager="pg_ctl", bin_directory="/mine"), PLAIN)
    assert isinstance(named, PgCtl)
    assert "/mine/pg_ctl" in named.describe()


def test_without_programs_there_is_no_manager() -> None:
    bare = replace(PLAIN, bin_dir=Missing(what="programs", reason="none"))
    assert isinstance(of(TARGET, bare), Missing)
