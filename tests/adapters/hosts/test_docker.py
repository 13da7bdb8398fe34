"""Containers of a real daemon: how they end, what is killed in them, and what is left alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fix_machines import Docker
from samplings import Watched, seen
from stanch.adapters.backups.pgbackrest import PgBackRest, Stanza
from stanch.adapters.hosts.commands import Printed
from stanch.adapters.hosts.docker_exec import DockerCommands
from stanch.adapters.hosts.docker_link import DockerLink
from stanch.adapters.hosts.docker_machine import DockerMachine
from stanch.model.diagnosis import Missing
from stanch.model.host import OomKills
from stanch.model.machine import HostFacts, ServiceState
from stanch.policy.hosts import DockerHost
from stanch.watch.hosts.readings import MachineReadings

pytestmark = pytest.mark.world

MIB = 2**20
# Takes memory until the kernel ends it; its parent lives on.
GREEDY = "tail /dev/zero"
PARENT = f"sh -c '{GREEDY}'; echo ended; exec sleep 600"

WAITS = "until [ -e /in/go ]; do sleep 0.05; done"


def bound(folder: Path) -> list[str]:
    """What a container sees of this machine: its programs, and a folder of the test."""
    return ["/usr:/usr:ro", f"{folder}:/in:ro"]


async def look(host: DockerHost) -> HostFacts | Missing:
    machine = DockerMachine(DockerLink(host), now=lambda: datetime.now(UTC))
    try:
        return await machine.facts(deadline_s=10)
    finally:
        await machine.close()


async def look_until(host: DockerHost, enough: Callable[[HostFacts], bool]) -> HostFacts:
    end_s = time.monotonic() + 15
    while True:
        facts = await look(host)
        assert isinstance(facts, HostFacts), facts
        if enough(facts) or time.monotonic() > end_s:
            return facts
        await asyncio.sleep(0.05)


def service_of(facts: HostFacts | Missing) -> ServiceState:
    assert isinstance(facts, HostFacts)
    assert isinstance(facts.service, ServiceState)
    return facts.service


def killed_within(facts: HostFacts) -> bool:
    return isinstance(facts.oom_kills, OomKills) and bool(facts.oom_kills.cgroup)


async def test_a_container_that_is_killed_for_memory_says_so(
    dockerd: Docker, tmp_path: Path
) -> None:
    # It lives on after the kill: of one whose group is gone at once the daemon may miss it.
    limit = {"Memory": 32 * MIB, "MemorySwap": 32 * MIB}
    command = f"sh -c '{GREEDY}'; ended=$?; {WAITS}; exit $ended"
    host = dockerd.run("whole", command, Binds=bound(tmp_path), **limit)
    await look_until(host, killed_within)
    (tmp_path / "go").touch()
    found = service_of(await look_until(host, lambda f: not service_of(f).running))
    assert (found.status, found.exit_code, found.oom_killed) == ("exited", 137, True)


class Judge:
    """Looks at a container, and keeps what the rules make of looks that lie a minute apart."""

    def __init__(self, host: DockerHost) -> None:
        self._host = host
        self._readings = MachineReadings(volumes=False, own=True)
        self._rules = Watched()
        self._looks = 0

    async def told(self) -> list[str]:
        facts = await look(self._host)
        assert isinstance(facts, HostFacts)
        readings = self._readings.of(facts, places=())
        for _ in range(2):
            self._rules.look(60.0 * self._looks, seen(readings=readings))
            self._looks += 1
        return self._rules.raised


async def test_a_process_that_is_killed_in_a_container_that_lives_on_is_counted_and_told(
    dockerd: Docker, tmp_path: Path
) -> None:
    limit = {"Memory": 64 * MIB, "MemorySwap": 64 * MIB}
    host = dockerd.run("part", f"{WAITS}; {PARENT}", Binds=bound(tmp_path), **limit)
    judge = Judge(host)
    assert await judge.told() == []
    (tmp_path / "go").touch()
    facts = await look_until(host, killed_within)
    assert service_of(facts).running
    assert isinstance(facts.oom_kills, OomKills)
    assert (facts.oom_kills.cgroup, facts.oom_kills.own_group) == (1, True)
    assert await judge.told() == ["oom_kill"]
    assert await Judge(host).told() == [], "a kill from before it looked"


async def test_nothing_is_started_in_a_container_that_is_nearly_out_of_memory(
    dockerd: Docker,
) -> None:
    host = dockerd.run("tight", "exec sleep 600", Memory=12 * MIB, MemorySwap=12 * MIB)

    def refused(facts: HostFacts) -> bool:
        return isinstance(facts.file_systems, Missing)

    facts = await look_until(host, refused)
    assert service_of(facts).running
    assert isinstance(facts.file_systems, Missing)
    assert "nearly out of memory" in facts.file_systems.reason
    assert not isinstance(facts.memory, Missing)


async def test_a_paused_container_is_not_disturbed(dockerd: Docker) -> None:
    host = dockerd.run("paused", "exec sleep 600")
    dockerd.call("POST", "/containers/paused/pause")
    facts = await look(host)
    dockerd.call("POST", "/containers/paused/unpause")
    assert service_of(facts).status == "paused"
    assert isinstance(facts, HostFacts)
    assert isinstance(facts.file_systems, Missing)
    assert facts.file_systems.reason == "the container is paused"


async def test_a_command_in_a_container_says_what_it_prints_and_how_it_ended(
    dockerd: Docker,
) -> None:
    host = dockerd.run("commands", "exec sleep 600")
    commands = DockerCommands(DockerLink(host))
    try:
        ran = await commands.printed(
            *("sh", "-c", "echo $1; echo lost >&2; exit 3", "sh", "a b"),
            bytes_max=100,
            deadline_s=10,
        )
        assert isinstance(ran, Printed)
        assert (ran.output, ran.exit_code, ran.incomplete) == (b"a b\n", 3, "")
        stanza = Stanza(commands, "orders", config="/no.conf")
        said = await PgBackRest(stanza).look(deadline_s=10)
        assert isinstance(said, Missing)
        assert said.reason == "pgbackrest ended with exit code 55"
        dockerd.call("POST", "/containers/commands/pause")
        paused = await PgBackRest(stanza).look(deadline_s=10)
        dockerd.call("POST", "/containers/commands/unpause")
        assert isinstance(paused, Missing)
        assert paused.reason == "docker commands: the container is paused"
    finally:
        await commands.close()


async def test_restarts_and_an_end_are_told_once_they_happen(
    dockerd: Docker, tmp_path: Path
) -> None:
    policy = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}
    host = dockerd.run("failing", f"{WAITS}; exit 3", Binds=bound(tmp_path), **policy)
    judge = Judge(host)
    assert await judge.told() == []
    (tmp_path / "go").touch()

    def over(facts: HostFacts) -> bool:
        return service_of(facts).restarts == 2 and service_of(facts).status == "exited"

    found = service_of(await look_until(host, over))
    assert (found.running, found.exit_code, found.restarts) == (False, 3, 2)
    assert await judge.told() == ["container_restarting", "service_stopped:failing"]
    assert await Judge(host).told() == ["service_stopped:failing"], "the restarts were before it"


async def test_a_container_is_found_by_its_service_whatever_it_is_called(dockerd: Docker) -> None:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "db"}
    dockerd.run(
        "shop-db-run-1", "sleep 600", Labels={**labels, "com.docker.compose.oneoff": "True"}
    )
    dockerd.run("shop-db-1", "sleep 600", Labels=labels)
    host = DockerHost(compose_project="shop", compose_service="db", socket=dockerd.socket)
    assert service_of(await look(host)).name == "shop-db-1"
    assert service_of(await look(replace(host, compose_project=""))).name == "shop-db-1"
    other = await look(replace(host, compose_project="other"))
    assert service_of(other).status == "no such container"


async def test_two_containers_of_one_service_are_not_chosen_between(dockerd: Docker) -> None:
    labels = {"com.docker.compose.project": "twice", "com.docker.compose.service": "db"}
    for name in ("twice-db-1", "twice-db-2"):
        dockerd.run(name, "sleep 600", Labels=labels)
    host = DockerHost(compose_project="twice", compose_service="db", socket=dockerd.socket)
    found = await look(host)
    assert isinstance(found, Missing)
    assert found.reason == "2 containers belong to twice/db; one must be named"


async def test_a_container_that_is_gone_is_an_answer(dockerd: Docker) -> None:
    found = service_of(await look(DockerHost(container="never-was", socket=dockerd.socket)))
    assert (found.running, found.status) == (False, "no such container")
