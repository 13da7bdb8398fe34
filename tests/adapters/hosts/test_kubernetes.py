"""Pods through the real client library, against a server that refuses what the real one does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kubernetes_api import KubernetesApi, selected
from stanch.adapters.hosts.kubernetes_link import KubernetesLink
from stanch.adapters.hosts.kubernetes_log import KubernetesLog
from stanch.adapters.hosts.kubernetes_machine import KubernetesMachine
from stanch.model.diagnosis import Missing
from stanch.model.host import LogChunk
from stanch.model.machine import HostFacts, ServiceState
from stanch.policy.hosts import KubernetesHost

AT = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


@pytest.fixture
def host(kubernetes: KubernetesApi) -> KubernetesHost:
    kubernetes.put("db-0", labels={"cluster": "orders", "role": "primary"})
    kubernetes.put("db-1", labels={"cluster": "orders", "role": "replica"})
    return KubernetesHost(namespace="shop", pod="db-0", kubeconfig=str(kubernetes.kubeconfig))


@pytest.fixture
async def machine(host: KubernetesHost) -> AsyncIterator[KubernetesMachine]:
    made = KubernetesMachine(KubernetesLink(host), now=lambda: datetime.now(UTC))
    yield made
    await made.close()


async def look(host: KubernetesHost) -> HostFacts | Missing:
    machine = KubernetesMachine(KubernetesLink(host), now=lambda: datetime.now(UTC))
    try:
        return await machine.facts(deadline_s=10)
    finally:
        await machine.close()


def service_of(facts: HostFacts | Missing) -> ServiceState:
    assert isinstance(facts, HostFacts), facts
    assert isinstance(facts.service, ServiceState)
    return facts.service


@pytest.mark.parametrize(
    ("selector", "name"),
    [
        ("cluster=orders,role=primary", "db-0/postgres"),
        ("cluster in (orders, x), role!=primary", "db-1/postgres"),
        ("cluster=other", "cluster=other"),
    ],
)
async def test_a_selector_finds_its_pod(host: KubernetesHost, selector: str, name: str) -> None:
    assert service_of(await look(replace(host, pod="", selector=selector))).name == name


async def test_a_selector_that_fits_two_is_missing_with_their_names(host: KubernetesHost) -> None:
    found = await look(replace(host, pod="", selector="cluster=orders"))
    assert isinstance(found, Missing)
    assert "2 pods fit cluster=orders (db-0, db-1)" in found.reason


async def test_a_selector_that_is_none_is_told_in_the_servers_words(host: KubernetesHost) -> None:
    found = await look(replace(host, pod="", selector="a=(b"))
    assert isinstance(found, Missing)
    assert "unable to parse requirement" in found.reason


async def test_a_pod_that_is_gone_is_an_answer(host: KubernetesHost) -> None:
    found = service_of(await look(replace(host, pod="db-9")))
    assert (found.running, found.status) == (False, "no such pod")


async def test_a_container_that_the_pod_does_not_have_is_missing(host: KubernetesHost) -> None:
    found = await look(replace(host, container="mysql"))
    assert found == Missing(what="service", reason="pod db-0 has no container mysql")


async def test_without_the_right_to_the_node_the_pod_is_still_told(
    kubernetes: KubernetesApi, machine: KubernetesMachine
) -> None:
    kubernetes.forbidden.add("nodes")
    facts = await machine.facts(deadline_s=10)
    assert service_of(facts).running
    assert isinstance(facts, HostFacts)
    for field in (facts.file_systems, facts.memory, facts.oom_kills):
        assert isinstance(field, Missing)
        assert 'cannot get resource "nodes"' in field.reason


async def test_without_the_right_to_the_pod_nothing_is_told(
    kubernetes: KubernetesApi, machine: KubernetesMachine
) -> None:
    kubernetes.forbidden.add("pods")
    found = await machine.facts(deadline_s=10)
    assert isinstance(found, Missing)
    assert "cannot get resource" in found.reason


async def test_a_token_that_expired_is_read_again_from_the_kubeconfig(
    kubernetes: KubernetesApi, machine: KubernetesMachine
) -> None:
    assert service_of(await machine.facts(deadline_s=10)).running
    old, kubernetes.token = kubernetes.token, "renewed"
    assert isinstance(await machine.facts(deadline_s=10), Missing)
    text = kubernetes.kubeconfig.read_text()
    kubernetes.kubeconfig.write_text(text.replace(old, "renewed"))
    assert service_of(await machine.facts(deadline_s=10)).running


@pytest.mark.parametrize("text", ["", "{", "clusters: 5\n", "kind: Config\ncurrent-context: x\n"])
async def test_a_kubeconfig_that_is_none_is_missing_with_a_reason(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    found = await look(KubernetesHost(namespace="shop", pod="x", kubeconfig=str(path)))
    assert isinstance(found, Missing)
    assert found.reason.startswith("kubernetes shop/x: ")


async def test_names_with_slashes_stay_names(
    kubernetes: KubernetesApi, host: KubernetesHost
) -> None:
    found = service_of(await look(replace(host, pod="../../nodes/node-1")))
    assert found.status == "no such pod"
    assert "%2F" in kubernetes.asked[-1]


async def test_the_nodes_large_metrics_are_read_once_a_minute(
    kubernetes: KubernetesApi, machine: KubernetesMachine
) -> None:
    for _ in range(3):
        await machine.facts(deadline_s=10)
    assert sum("cadvisor" in path for path in kubernetes.asked) == 1
    assert sum("summary" in path for path in kubernetes.asked) == 3


async def test_only_the_servers_container_is_read_and_only_since_the_last_second(
    kubernetes: KubernetesApi, host: KubernetesHost
) -> None:
    link = KubernetesLink(host)
    kubernetes.write("db-0", b"one\n", b"two\n", at=AT)
    log = KubernetesLog(link)
    first = await log.log_tail(bytes_max=100)
    assert isinstance(first, LogChunk)
    await log.log_since(first.position, bytes_max=100)
    await link.close()
    asked = kubernetes.asked[-1]
    assert "container=postgres" in asked
    assert "sinceTime=2026-11-21T09%3A00%3A00Z" in asked or "09:00:00Z" in asked


async def test_a_log_that_may_not_be_read_is_missing(
    kubernetes: KubernetesApi, host: KubernetesHost
) -> None:
    kubernetes.forbidden.add("log")
    link = KubernetesLink(host)
    found = await KubernetesLog(link).log_tail(bytes_max=100)
    await link.close()
    assert isinstance(found, Missing)
    assert "log is forbidden" in found.reason


@pytest.mark.parametrize(
    ("selector", "fits"),
    [("a=1", True), ("a==2", False), ("a!=2,b", True), ("!b", False), ("a notin (1)", False)],
)
def test_the_stand_in_selects_as_the_real_one(selector: str, fits: bool) -> None:
    assert selected({"a": "1", "b": "2"}, selector) is fits
