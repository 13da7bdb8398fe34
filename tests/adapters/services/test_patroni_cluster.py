"""What a real Patroni says of two servers: while it is well, paused, and without its store."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fix_servers import BINARIES, DEBIAN_AS_ROOT
from postmasters_at import postmaster
from stanch.adapters.services.patroni import ask_patroni
from stanch.adapters.services.patroni_manager import PatroniManager
from stanch.drill.lab.fault import Needs
from stanch.drill.lab.means.patroni import (
    CONF,
    LEADS,
    PROGRAMS,
    Cluster,
    Member,
    cluster_of,
    run_by_patroni,
)
from stanch.drill.lab.rigs import Rigs, cannot
from stanch.model.diagnosis import Missing
from stanch.model.patroni import PatroniSeen
from stanch.model.ports.acting import ManagerStatus
from stanch.policy.patroni import PatroniSource

pytestmark = pytest.mark.world

MAJOR = 15
NEEDS = Needs(conf=CONF, standby=True, programs=PROGRAMS, prepare=(run_by_patroni,))
PATIENCE_S = 30.0
RUNS = ("running", "streaming")
"""Of a replica: before version 3.0.3, and since."""
DEADLINE_S = 2.0


@pytest.fixture(scope="module")
def cluster(servers_folder: Path) -> Iterator[Cluster]:
    lacking = cannot(NEEDS, MAJOR)
    if lacking and DEBIAN_AS_ROOT:
        pytest.fail(f"{lacking}; run scripts/setup-test")
    if lacking:
        pytest.skip(lacking)
    with (
        Rigs(BINARIES[MAJOR], parent=servers_folder) as rigs,
        rigs.rig(NEEDS, random.Random(4)) as rig,
    ):
        yield cluster_of(rig)


async def said(member: Member) -> PatroniSeen:
    seen = await ask_patroni(PatroniSource(url=member.url), deadline_s=DEADLINE_S)
    assert isinstance(seen, PatroniSeen), seen
    return seen


async def said_until(member: Member, enough: Callable[[PatroniSeen], object]) -> PatroniSeen:
    end_s = time.monotonic() + PATIENCE_S
    while True:
        seen = await said(member)
        if enough(seen):
            return seen
        assert time.monotonic() < end_s, seen
        time.sleep(0.2)


def all_run(seen: PatroniSeen) -> bool:
    """A replica that has just begun has no timeline yet."""
    return all(m.state in RUNS and m.timeline is not None for m in seen.members)


async def test_a_running_leader_and_its_replica(cluster: Cluster) -> None:
    for member in (cluster.first, cluster.second):
        seen = await said(member)
        assert (seen.name, seen.state) == (cluster.scope, "running")
        assert seen.leader == cluster.first.name
        assert (seen.role in LEADS) is (member is cluster.first)
        assert not seen.unlocked
        assert not seen.paused
        assert seen.dcs_seen_at is not None
        assert abs((datetime.now(UTC) - seen.dcs_seen_at).total_seconds()) < 10
    seen = await said_until(cluster.first, all_run)
    [leader, replica] = sorted(seen.members, key=lambda m: m.name)
    assert (leader.leads, replica.leads) == (True, False)
    assert leader.timeline == replica.timeline
    assert replica.state in RUNS
    assert replica.lag_bytes == 0


async def test_maintenance_mode_is_told_by_every_member(cluster: Cluster) -> None:
    cluster.configure({"pause": True})
    try:
        for member in (cluster.first, cluster.second):
            seen = await said_until(member, lambda seen: seen.paused)
            assert seen.leader == cluster.first.name
    finally:
        cluster.configure({"pause": None})
    await said_until(cluster.second, lambda seen: not seen.paused)


async def test_a_replica_is_restarted_by_its_own_patroni_and_no_other_server_is(
    cluster: Cluster,
) -> None:
    server, source = cluster.second.server, PatroniSource(url=cluster.second.url)
    manager = PatroniManager(source, data_directory=str(server.data_directory))
    status, first = await manager.status(), postmaster(server)
    assert isinstance(status, ManagerStatus), status
    assert (status.may_act, status.other_manager) == (True, "")
    assert (status.why_not("restart"), status.programs_major) == ("", MAJOR)
    assert "starts it by itself" in status.why_not("start")
    assert "start it again" in status.why_not("stop")
    assert cluster.scope in status.detail

    leader = postmaster(cluster.first.server)
    for other in (leader, replace(first, system_identifier="42")):
        assert (await manager.restart(other, deadline_s=5)).another
    assert postmaster(server) == first

    answer = await manager.restart(first, deadline_s=PATIENCE_S)
    assert answer.ok, answer.detail
    second = postmaster(server)
    assert second.since > first.since
    assert second.system_identifier == first.system_identifier
    assert postmaster(cluster.first.server) == leader
    await said_until(cluster.first, all_run)


async def test_a_member_whose_patroni_was_stopped(cluster: Cluster) -> None:
    cluster.second.patroni.end()
    try:
        silent = await ask_patroni(PatroniSource(url=cluster.second.url), deadline_s=DEADLINE_S)
        assert isinstance(silent, Missing)
        seen = await said(cluster.first)
        assert [m.state for m in seen.members if m.name == cluster.second.name] == ["stopped"]
        assert seen.leader == cluster.first.name
    finally:
        cluster.second.patroni.start()
    await said_until(cluster.first, all_run)


async def test_a_store_that_answers_nobody_leaves_no_leader(cluster: Cluster) -> None:
    cluster.store.send(signal.SIGSTOP)
    try:
        # It gives up the lead by starting its server once more, as a replica.
        seen = await said_until(
            cluster.first,
            lambda seen: seen.unlocked and seen.state in RUNS and seen.role == "replica",
        )
        # It is asked for the members, and closes the connection after some seconds.
        assert seen.members == ()
        assert seen.leader == ""
        assert seen.dcs_seen_at is not None
        # It gave the store time to answer, and has not seen it since.
        assert seen.dcs_seen_at < datetime.now(UTC) - timedelta(seconds=1)
    finally:
        cluster.store.send(signal.SIGCONT)
