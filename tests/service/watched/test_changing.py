"""The image of a server's container, between two looks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fix_machines import Docker
from stanch.adapters.hosts.docker_link import DockerLink
from stanch.adapters.hosts.docker_machine import DockerMachine
from stanch.model.ids import TargetName
from stanch.policy.hosts import DockerHost
from stanch.policy.policy import TargetPolicy
from stanch.service.watched.changing import Changing
from stanch.service.watched.eyes import SharedSentinel
from stanch.service.watched.slow_lane import SlowWatch
from stanch.store.changes import News
from stanch.watch.hosts.run import HostWatch

pytestmark = pytest.mark.world


def now() -> datetime:
    return datetime.now(UTC)


def image_of(news: News | None) -> str:
    if news is None:
        return ""
    [look] = news.looks
    return look.inventories[0].items[0].value


async def test_another_image_under_the_same_name_is_seen_and_a_restart_is_no_change(
    dockerd: Docker,
) -> None:
    host = dockerd.run("swapped", "exec sleep 600")
    target = TargetPolicy(name=TargetName("orders"), dsn="host=/nowhere", host=host)
    machine = HostWatch(
        DockerMachine(DockerLink(host), now=now), places=list, volumes=True, now=now
    )
    slow = SlowWatch(target, SharedSentinel(target.dsn, now=now), now=now)
    changing = Changing(target, now=now, slow=slow, host=lambda: machine)
    await machine.look()
    first = image_of(changing.drain())
    assert first.startswith("skeleton")

    dockerd.call("POST", "/containers/swapped/restart", t="0")
    await machine.look()
    assert changing.drain() is None, "the same image again"

    again = dockerd.call("POST", "/commit", {}, container="swapped", repo="skeleton", comment="x")
    assert again["Id"]
    dockerd.run("swapped", "exec sleep 600")
    await machine.look()
    second = image_of(changing.drain())
    assert second.startswith("skeleton")
    assert second != first

    dockerd.client.delete("/containers/swapped", params={"force": "1"})
    await machine.look()
    assert changing.drain() is None, "who is gone says nothing about its image"
    assert isinstance(target.host, DockerHost)
    await DockerLink(host).close()
