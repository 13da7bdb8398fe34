"""The machine under a target: watched beside its server, and told in the samples."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fix_machines import free_port
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.model.diagnosis import Missing
from stanch.model.ids import TargetName
from stanch.model.ports.machine import LogReader
from stanch.model.readings import Reading
from stanch.model.samples import Sample
from stanch.policy.hosts import DockerHost, HostPolicy, KubernetesHost, PrometheusHost, SshHost
from stanch.policy.policy import TargetPolicy
from stanch.service.clock import SteadyClock
from stanch.service.readiness.capabilities import report_target
from stanch.service.readiness.machine_row import WATCH_MACHINE
from stanch.service.watched.machines import far_machine
from stanch.service.watched.target import Watched
from stanch.store.statedir import StateDir
from stanch.watch.hosts.readings import NAMES, VOLUME_NAMES

PATIENCE_S = 20.0


async def no_doubts() -> tuple[str, ...]:
    return ()


async def readings(policy: TargetPolicy, state: Path) -> Sequence[Reading]:
    """The first readings of its machine that come with a sample, watched as `stanch run` does."""
    one = Watched(policy, clock=SteadyClock(), state=StateDir(path=state), doubts=no_doubts)
    told: asyncio.Future[Sequence[Reading]] = asyncio.get_running_loop().create_future()

    async def emit(sample: Sample) -> None:
        # Other sources tell in the same samples.
        of_machine = tuple(r for r in sample.readings if r.name in (*NAMES, *VOLUME_NAMES))
        if of_machine and not told.done():
            told.set_result(of_machine)

    tasks = [asyncio.create_task(work) for work in (one.run(emit), one.watch_machine())]
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await told
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await one.close()


def target(server: ScratchServer, host: HostPolicy = "auto") -> TargetPolicy:
    return TargetPolicy(
        name=TargetName("orders"), dsn=server.dsn("stanch_watch"), host=host, sample_every_s=0.2
    )


def values(found: Sequence[Reading], name: str) -> list[float | None]:
    return [r.value for r in found if r.name == name]


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_the_machine_of_a_server_at_home_here_is_told_with_its_samples(
    shared_server: ScratchServer, tmp_path: Path
) -> None:
    found = await readings(target(shared_server), tmp_path)
    assert values(found, "service_running") == [1.0]
    [memory] = values(found, "memory_available_pct")
    assert memory is not None
    assert 0 < memory < 100
    # The server's own volumes are in every sample already.
    assert values(found, "volume_free_bytes") == []


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_a_machine_seen_over_ssh_tells_the_volume_of_the_data_directory(
    shared_server: ScratchServer, sshd: SshHost, tmp_path: Path
) -> None:
    found = await readings(target(shared_server, sshd), tmp_path)
    assert values(found, "service_running") == [1.0]
    mounts = {r.subject for r in found if r.name == "volume_free_bytes"}
    assert "/" in mounts
    assert any(str(shared_server.data_directory).startswith(m) for m in mounts - {"/"})


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_a_machine_that_is_not_seen_is_told_as_unknown_and_the_server_goes_on(
    shared_server: ScratchServer, sshd: SshHost, tmp_path: Path
) -> None:
    gone = replace(sshd, port=free_port())
    found = await readings(target(shared_server, gone), tmp_path)
    assert {r.value for r in found} == {None}
    assert all("connection refused" in r.detail for r in found)


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_the_table_says_what_a_look_gives_and_why_the_rest_is_missing(
    shared_server: ScratchServer, sshd: SshHost
) -> None:
    async def row(host: HostPolicy) -> tuple[bool | None, str]:
        report = await report_target(target(shared_server, host), heartbeat=None)
        [found] = [r for r in report.capabilities if r.feature == WATCH_MACHINE]
        return found.can, found.why

    assert (await row("auto"))[0] is True
    assert await row("none") == (False, "the policy says host: none")
    can, why = await row(sshd)
    assert (can, why.startswith("ssh 127.0.0.1 tells")) == (True, True)
    can, why = await row(replace(sshd, known_hosts="/nonexistent"))
    assert (can, why) == (False, "ssh 127.0.0.1: /nonexistent: no such file or directory")


@pytest.mark.parametrize(
    ("host", "source", "logs"),
    [
        (SshHost(host="db1"), "ssh db1", True),
        (DockerHost(container="db"), "docker db", True),
        (DockerHost(compose_project="shop", compose_service="db"), "docker shop/db", True),
        (KubernetesHost(namespace="shop", pod="db-0"), "kubernetes shop/db-0", True),
        (PrometheusHost(url="http://p", instance="db1:9100"), "prometheus db1:9100", False),
    ],
)
def test_each_way_in_the_policy_is_a_reader_and_where_it_can_be_a_log(
    host: HostPolicy, source: str, logs: bool
) -> None:
    policy = TargetPolicy(name=TargetName("orders"), dsn="service=orders", host=host)
    machine = far_machine(policy, folder=lambda: "", now=SteadyClock().now)
    assert machine is not None
    assert machine.reader.source == source
    kept: LogReader | Missing = machine.log
    assert isinstance(kept, Missing) is not logs


@pytest.mark.parametrize("word", ["auto", "local", "none"])
def test_a_word_in_the_policy_is_no_way_to_a_far_machine(word: HostPolicy) -> None:
    policy = TargetPolicy(name=TargetName("orders"), dsn="service=orders", host=word)
    assert far_machine(policy, folder=lambda: "", now=SteadyClock().now) is None
