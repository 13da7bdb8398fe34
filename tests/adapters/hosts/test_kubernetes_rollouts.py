"""Revisions and events through the real client library, against a strict API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from kubernetes_api import KubernetesApi
from stanch.adapters.hosts.kubernetes_link import KubernetesLink
from stanch.adapters.hosts.kubernetes_rollouts import KubernetesRollouts
from stanch.model.changes import Change, ItemKind
from stanch.policy.hosts import KubernetesHost
from stanch.watch.changes.run import HistoryWatch

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
IMAGE = "registry.example.com/checkout"


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


@pytest.fixture
async def history(kubernetes: KubernetesApi) -> AsyncIterator[KubernetesRollouts]:
    kubernetes.put("db-0", labels={"app": "db"})
    kubernetes.roll_out("checkout", 1, f"{IMAGE}:1.4.1", ago(60 * 48))
    kubernetes.roll_out("checkout", 2, f"{IMAGE}:1.4.2", ago(10))
    host = KubernetesHost(
        namespace="shop",
        pod="db-0",
        kubeconfig=str(kubernetes.kubeconfig),
        rollouts=("deployment/checkout",),
    )
    made = KubernetesRollouts(KubernetesLink(host), now=lambda: NOW)
    yield made
    await made.close()


def rolled(changes: tuple[Change, ...]) -> list[tuple[str | None, str | None]]:
    return [
        (c.before and c.before.rpartition(":")[2], c.after and c.after.rpartition(":")[2])
        for c in changes
        if c.kind is ItemKind.ROLLOUT
    ]


async def test_a_revision_of_today_is_a_change_with_the_one_before_and_older_ones_are_not(
    history: KubernetesRollouts,
) -> None:
    seen = await history.look()
    assert (seen.missing, rolled(seen.changes)) == ("", [("1.4.1", "1.4.2")])
    [change] = seen.changes
    assert (change.at, change.what) == (ago(10), "deployment/checkout")


async def test_a_rollback_is_told_although_its_replicaset_is_old(
    kubernetes: KubernetesApi, history: KubernetesRollouts
) -> None:
    kubernetes.roll_out("checkout", 3, f"{IMAGE}:1.4.1", ago(1))
    back = (await history.look()).changes[-1]
    assert rolled((back,)) == [("1.4.2", "1.4.1")]
    assert (back.at, back.since, back.how) == (NOW, ago(10), "an earlier revision again")


async def test_each_change_is_handed_on_once_and_an_event_again_when_it_happened_again(
    kubernetes: KubernetesApi, history: KubernetesRollouts
) -> None:
    kubernetes.happen("Pod", "db-0", "BackOff", ago(3), type="Warning", count=2, message="x\x1b")
    kubernetes.happen("Pod", "db-0", "Pulled", ago(3))
    kubernetes.happen("Pod", "other", "Killing", ago(3))
    kubernetes.happen("Deployment", "checkout", "ScalingReplicaSet", ago(2), message="to 3")
    watch = HistoryWatch(history)
    await watch.look()
    assert sorted(c.what for c in watch.take()) == [
        "deployment checkout",
        "deployment/checkout",
        "pod db-0",
    ]
    await watch.look()
    assert watch.take() == ()
    kubernetes.events[0]["count"] = 5
    await watch.look()
    assert [(c.what, c.times) for c in watch.take()] == [("pod db-0", 5)]


@pytest.mark.parametrize("word", ["events", "replicasets", "deployments"])
async def test_a_right_that_is_missing_is_told_and_the_rest_goes_on(
    kubernetes: KubernetesApi, history: KubernetesRollouts, word: str
) -> None:
    kubernetes.happen("Pod", "db-0", "Killing", ago(3))
    kubernetes.forbidden.add(word)
    watch = HistoryWatch(history)
    await watch.look()
    assert f"{word} is forbidden" in watch.missing
    assert len(watch.take()) == 1


async def test_a_statefulset_has_its_revisions_elsewhere(
    kubernetes: KubernetesApi, history: KubernetesRollouts
) -> None:
    kubernetes.objects["statefulsets", "db"] = {
        "metadata": {"name": "db", "uid": "u"},
        "spec": {"selector": {"matchLabels": {"app": "db"}}},
    }
    for number, image in ((1, "postgres:16"), (2, "postgres:17")):
        kubernetes.objects["controllerrevisions", f"db-{number}"] = {
            "metadata": {
                "name": f"db-{number}",
                "uid": f"r{number}",
                "labels": {"app": "db"},
                "creationTimestamp": f"{ago(30 / number):%Y-%m-%dT%H:%M:%SZ}",
                "ownerReferences": [{"uid": "u"}],
            },
            "revision": number,
            "data": {"spec": {"template": {"spec": {"containers": [{"image": image}]}}}},
        }
    host = KubernetesHost(
        namespace="shop",
        pod="db-0",
        kubeconfig=str(kubernetes.kubeconfig),
        rollouts=("statefulset/db",),
    )
    sets = KubernetesRollouts(KubernetesLink(host), now=lambda: NOW)
    seen = await sets.look()
    await sets.close()
    assert rolled(seen.changes) == [(None, "16"), ("16", "17")]


async def test_a_workload_that_is_not_there_is_told(
    kubernetes: KubernetesApi, history: KubernetesRollouts
) -> None:
    del kubernetes.objects["deployments", "checkout"]
    seen = await history.look()
    assert (seen.changes, "not found" in seen.missing) == ((), True)
