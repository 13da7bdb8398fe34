"""A diagnosis of a server whose machine is seen from afar: by `stanch run`, and by ways without
files."""

from __future__ import annotations

import importlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fix_servers import MakeServer
from kubernetes_api import KubernetesApi
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.diagnose.evidence import value_of
from stanch.diagnose.rank import diagnose
from stanch.incident.state import Incident
from stanch.model.diagnosis import Missing
from stanch.model.ids import IncidentId, TargetName
from stanch.policy.hosts import KubernetesHost, PrometheusHost, SshHost
from stanch.policy.policy import TargetPolicy
from stanch.service.clock import SteadyClock
from stanch.service.watched.afar import see_afar
from stanch.service.watched.diagnosing import gather_for_dsn, gather_for_target, located_afar
from stanch.service.watched.target import Watched
from stanch.store.statedir import StateDir

INCIDENT = Incident(id=IncidentId("20261121-001"), target=TargetName("orders"))
NOBODY = "host=127.0.0.1 port=1 user=app dbname=postgres"
DEADLINE_S = 30.0
PATIENCE_S = 90.0
TRIES = 10


@pytest.fixture(scope="module", autouse=True)
def libraries() -> None:
    """Hundreds of modules, which are loaded once; no deadline here is about them."""
    for name in ("asyncssh", "kubernetes_asyncio"):
        importlib.import_module(name)


async def no_doubts() -> tuple[str, ...]:
    return ()


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_a_watched_target_is_diagnosed_with_what_the_far_machine_tells(
    make_server: MakeServer, sshd: SshHost, tmp_path: Path
) -> None:
    server = make_server()
    server.kill()
    policy = TargetPolicy(
        name=TargetName("orders"),
        dsn=server.dsn("stanch_watch"),
        host=sshd,
        log=str(server.log_path),
    )
    one = Watched(policy, clock=SteadyClock(), state=StateDir(path=tmp_path), doubts=no_doubts)
    assert one.far is not None
    folder = str(server.data_directory)
    afar = see_afar(policy, one.far, folder=folder, deadline_s=PATIENCE_S)
    evidence = await gather_for_target(
        policy, located_afar(afar), held=None, service=afar.host.service, deadline_s=PATIENCE_S
    )
    await afar.close()
    await one.close()
    found = diagnose(evidence)
    assert found.first is not None
    assert found.first.id == "killed", found.causes
    assert found.first.fact("control_state") == "in production"
    assert found.first.fact("data_directory") == folder


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_an_incident_asks_the_far_machine_and_says_why_it_does_not_answer(
    server: ScratchServer, sshd: SshHost, tmp_path: Path
) -> None:
    policy = TargetPolicy(
        name=TargetName("orders"), dsn=server.dsn("stanch_watch"), host=replace(sshd, port=1)
    )
    one = Watched(policy, clock=SteadyClock(), state=StateDir(path=tmp_path), doubts=no_doubts)
    why = dict[str, str]()
    for _ in range(TRIES):
        found, _ = await one.hands.diagnose(INCIDENT)
        why = {f.evidence: f.text for f in found.absent}
        if "refused" in why["files"]:
            break
    await one.close()
    for what in ("log", "processes", "lock_file", "controldata", "files"):
        assert "ssh 127.0.0.1: connection refused" in why.get(what, why["files"]), (what, why)


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_what_nobody_may_look_at_stays_missing_in_an_incident(
    server: ScratchServer, tmp_path: Path
) -> None:
    policy = TargetPolicy(name=TargetName("orders"), dsn=server.dsn("stanch_watch"), host="managed")
    one = Watched(policy, clock=SteadyClock(), state=StateDir(path=tmp_path), doubts=no_doubts)
    found, _ = await one.hands.diagnose(INCIDENT)
    await one.close()
    assert [f.evidence for f in found.by_nature] == ["server log", "machine", "control file"]
    assert not {"log", "processes", "control"} & {f.evidence for f in found.absent}


async def test_a_pod_that_was_killed_for_memory_is_the_cause_with_its_log(
    kubernetes: KubernetesApi,
) -> None:
    ended = {
        "terminated": {
            "exitCode": 137,
            "reason": "OOMKilled",
            "startedAt": "2026-11-21T08:00:00Z",
            "finishedAt": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
    }
    kubernetes.put("db-0", labels={}, state=ended)
    at = datetime.now(UTC) - timedelta(seconds=30)
    line = (
        f"{at:%Y-%m-%d %H:%M:%S}.000 UTC [1] LOG:  database system is ready to accept connections"
    )
    kubernetes.write("db-0", f"{line}\n".encode(), at=at)
    host = KubernetesHost(namespace="shop", pod="db-0", kubeconfig=str(kubernetes.kubeconfig))
    evidence = await gather_for_dsn(NOBODY, host=host, deadline_s=DEADLINE_S)
    service = value_of(evidence.service)
    assert service is not None, evidence.service
    assert service.oom_killed
    found = diagnose(evidence)
    assert found.first is not None
    assert found.first.id == "oom_killed", found.causes
    log = value_of(evidence.log)
    assert log is not None
    assert log.newest("ready") is not None
    for item in (evidence.lock_file, evidence.control, evidence.processes):
        assert isinstance(item, Missing)
        assert item.reason == "kubernetes shop/db-0 shows no files of the server"


async def test_a_pod_that_is_not_there_is_told_in_every_gap(kubernetes: KubernetesApi) -> None:
    host = KubernetesHost(namespace="shop", pod="db-9", kubeconfig=str(kubernetes.kubeconfig))
    evidence = await gather_for_dsn(NOBODY, host=host, deadline_s=DEADLINE_S)
    assert isinstance(evidence.log, Missing)
    assert "no such pod" in evidence.log.reason
    service = value_of(evidence.service)
    assert service is not None
    assert (service.running, service.status) == (False, "no such pod")


@pytest.mark.world
@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_a_machine_seen_through_prometheus_tells_the_volume_that_is_named(
    server: ScratchServer, prometheus: PrometheusHost
) -> None:
    dsn = server.dsn("stanch_watch")
    unnamed = await gather_for_dsn(dsn, host=prometheus, deadline_s=DEADLINE_S)
    assert isinstance(unnamed.volumes, Missing)
    assert "--data-directory" in unnamed.volumes.reason
    named = await gather_for_dsn(
        dsn, host=prometheus, data_directory="/var/lib/postgresql/16/main", deadline_s=DEADLINE_S
    )
    volumes = value_of(named.volumes)
    assert volumes is not None
    assert volumes.volumes[0].holds == ("data",)
    assert isinstance(named.log, Missing)
    assert named.log.reason == "Prometheus keeps no logs"


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_a_fetched_copy_of_a_managed_servers_log_is_read(
    server: ScratchServer, tmp_path: Path
) -> None:
    copy = tmp_path / "postgresql.log"
    copy.write_bytes(server.log_path.read_bytes())
    dsn = server.dsn("stanch_watch")
    evidence = await gather_for_dsn(dsn, host="managed", log=str(copy), deadline_s=DEADLINE_S)
    log = value_of(evidence.log)
    assert log is not None
    assert log.newest("ready") is not None
    found = diagnose(evidence)
    assert [f.evidence for f in found.by_nature] == ["machine", "control file"]
