"""A server in a container of a real daemon: rescued, widened, restarted, each by its full id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from acting_worlds import AT, run, step
from fix_servers_contained import LABELS, Contained
from stanch.facts.control_file import READ_BYTES, as_printed
from stanch.facts.controldata import parse_controldata
from stanch.facts.machines.engine import parse_engine
from stanch.incident.state import Incident
from stanch.model.containers import ContainerSeen
from stanch.model.diagnosis import CauseFinding, Diagnosis
from stanch.model.ids import IncidentId, TargetName
from stanch.model.plans import Mode, Plan, StepOutcome
from stanch.policy.hosts import DockerHost
from stanch.policy.policy import ACTIONS, TargetPolicy
from stanch.respond.actions.catalogue import CATALOGUE
from stanch.respond.library import shipped_runbooks
from stanch.respond.planner import plan_for
from stanch.service.clock import SteadyClock
from stanch.service.doing.acting import Hands
from stanch.service.watched.target import Watched
from stanch.steps.run import answer_guards
from stanch.store.statedir import StateDir

pytestmark = pytest.mark.world

INCIDENT = IncidentId("20261121-001")
MIB = 1 << 20
TRIES = 10
APP = "contained-app"


async def no_doubts() -> tuple[str, ...]:
    return ()


@pytest.fixture
def target(contained: Contained) -> TargetPolicy:
    return TargetPolicy(
        name=TargetName("orders"),
        dsn=contained.dsn,
        host=DockerHost(
            compose_project="contained",
            compose_service="db",
            socket=contained.docker.socket,
            memory_max_bytes=1024 * MIB,
            services=("app",),
        ),
        data_directory=str(contained.server.data_directory),
        desired="running",
        actions=dict.fromkeys(ACTIONS, Mode.ACT),
    )


def hands_of(target: TargetPolicy, folder: Path) -> Hands:
    state = StateDir(path=folder)
    return Watched(target, clock=SteadyClock(), state=state, doubts=no_doubts).hands


async def diagnosed(hands: Hands, cause: str) -> tuple[Diagnosis, CauseFinding]:
    """Within the time that a responder has, which a busy machine may not keep at once."""
    end = None
    for _ in range(TRIES):
        diagnosis, _evidence = await hands.diagnose(
            Incident(id=INCIDENT, target=TargetName("orders"))
        )
        end = next((c for c in diagnosis.causes if c.id == cause), None)
        if end is not None and end.fact("container_id") and end.fact("system_identifier"):
            return diagnosis, end
    raise AssertionError(end)


def planned(diagnosis: Diagnosis, target: TargetPolicy) -> Plan:
    plan = plan_for(
        diagnosis,
        target,
        shipped_runbooks(),
        actions=CATALOGUE,
        at=AT,
        incident_id=INCIDENT,
        halted=False,
    )
    assert isinstance(plan, Plan), plan
    return plan


def inspected(contained: Contained) -> Mapping[str, Any]:
    return dict(contained.docker.call("GET", f"/containers/{contained.name}/json"))


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_a_killed_container_is_started_by_its_id_once_nobody_else_has_its_data(
    contained: Contained, target: TargetPolicy, tmp_path: Path
) -> None:
    docker, folder = contained.docker, contained.server.folder.path
    contained.end("kill")
    hands = hands_of(target, tmp_path)
    diagnosis, _ = await diagnosed(hands, "killed")
    [one] = planned(diagnosis, target).effects
    start, world = CATALOGUE[one.action], hands.world(diagnosis)
    assert one.param("container_id") == inspected(contained)["Id"]

    docker.run(APP, "exec sleep 600", Binds=["/usr:/usr:ro", f"{folder}:/other"])
    refused = await answer_guards(one, start, world=world)
    assert refused is not None
    assert (refused.guard, APP in refused.reason) == ("volume_alone", True)
    docker.client.delete(f"/containers/{APP}", params={"force": "1"})

    other = replace(one, params=(*one.params, ("container_id", "d" * 64)))
    refused = await answer_guards(other, start, world=world)
    assert refused is not None
    assert refused.guard == "same_container"

    done, log = await run(start, replace(one, deadline_s=60.0), world)
    assert done.outcome is StepOutcome.DONE, done.refusal
    assert log.verified().ok
    assert docker.state(contained.name)["Running"]


@pytest.mark.parametrize("pg_major", [15], indirect=True)
async def test_a_running_container_is_widened_and_restarted_and_so_is_what_is_beside_it(
    contained: Contained, target: TargetPolicy, tmp_path: Path
) -> None:
    docker = contained.docker
    docker.call(
        "POST",
        f"/containers/{contained.name}/update",
        {"Memory": 256 * MIB, "MemorySwap": 300 * MIB},
    )
    labels = LABELS | {"com.docker.compose.service": "app"}
    docker.run(APP, "trap 'exit 0' TERM; while :; do sleep 0.1; done", Labels=labels)
    hands = hands_of(target, tmp_path)
    seen, before = inspected(contained), docker.state(APP)["StartedAt"]
    world = hands.world(None)
    known = {"container_id": seen["Id"], "image_id": seen["Image"]}

    limits = {"limit_bytes": 256 * MIB, "memory_bytes": 384 * MIB}
    widen = step("raise_container_memory", **known, **limits)
    done, log = await run(CATALOGUE[widen.action], widen, world)
    assert done.outcome is StepOutcome.DONE, done.refusal
    limits = inspected(contained)["HostConfig"]
    assert (limits["Memory"], limits["MemorySwap"]) in (
        (384 * MIB, 428 * MIB),
        (384 * MIB, -1),
    ), "the machine may not count swap"
    assert f"--memory {256 * MIB}" in log.ended().before

    life = dict(known, started_at=_started(seen), system_identifier=_cluster(contained))
    again = step("restart_container", deadline_s=120.0, **life)
    done, log = await run(CATALOGUE[again.action], again, world)
    assert done.outcome is StepOutcome.DONE, done.refusal
    assert log.verified().ok, log.verified()
    done, _ = await run(CATALOGUE[again.action], again, world)
    assert done.refusal is not None
    assert done.refusal.guard == "same_life"
    assert "database system is shut down" in _said(contained)

    service = step("restart_compose_service", deadline_s=30.0, service="app")
    done, log = await run(CATALOGUE[service.action], service, world, made_at=datetime.now(UTC))
    assert done.outcome is StepOutcome.DONE, done.refusal
    assert docker.state(APP)["StartedAt"] != before
    docker.client.delete(f"/containers/{APP}", params={"force": "1"})


def _started(seen: Mapping[str, Any]) -> str:
    found = parse_engine(seen)
    assert isinstance(found, ContainerSeen)
    return found.started_at


def _cluster(contained: Contained) -> str:
    content = (contained.server.data_directory / "global/pg_control").read_bytes()
    printed = as_printed(content[:READ_BYTES])
    assert isinstance(printed, str)
    return parse_controldata(printed).system_identifier or ""


def _said(contained: Contained) -> str:
    path = f"/containers/{contained.name}/logs"
    answer = contained.docker.client.get(path, params={"stderr": "1", "tail": "50"})
    return answer.content.decode("utf-8", "replace")
