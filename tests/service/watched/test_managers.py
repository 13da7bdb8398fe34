"""Who is asked to start a server: never a guess, never somebody else's server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stanch.adapters.hosts.manager import PgCtl, PgCtlCluster
from stanch.adapters.hosts.systemd import Systemd
from stanch.adapters.services.patroni_manager import PatroniManager
from stanch.model.diagnosis import Missing
from stanch.model.host import Found, LocalServer, ServerManager
from stanch.model.ids import TargetName
from stanch.policy.patroni import PatroniSource
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
        (ServerManager.UNKNOWN, ""),
    ],
)
def test_whoever_else_manages_a_server_is_not_gone_past(kind: ServerManager, name: str) -> None:
    found = of(TARGET, replace(PLAIN, manager=kind, manager_name=name, manager_source="seen"))
    assert isinstance(found, Missing)
    assert "seen" in found.reason


def test_a_server_of_a_unit_is_asked_for_at_systemd_by_that_name() -> None:
    unit = replace(PLAIN, manager=ServerManager.SYSTEMD, manager_name="postgresql-16.service")
    manager = of(TARGET, unit)
    assert isinstance(manager, Systemd)
    assert manager.unit == "postgresql-16.service"
    # Named by policy, it has to be there; nothing is guessed.
    assert isinstance(of(replace(TARGET, manager="systemd"), PLAIN), Missing)


def test_what_is_no_name_of_a_service_is_not_handed_to_systemd() -> None:
    found = replace(PLAIN, manager=ServerManager.SYSTEMD, manager_name="a;reboot.service")
    assert isinstance(of(TARGET, found), Missing)


def test_patroni_is_asked_where_policy_says_where_it_is() -> None:
    found = replace(PLAIN, manager=ServerManager.PATRONI, manager_source="seen")
    source = PatroniSource(url="http://orders-1.example.com:8008")
    assert isinstance(of(replace(TARGET, patroni=source), found), PatroniManager)
    assert isinstance(of(replace(TARGET, manager="patroni"), PLAIN), Missing)
    assert isinstance(of(replace(TARGET, patroni=source), PLAIN), PgCtl)


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
