"""How a server ended, as its container engine or service manager tells it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import evidences as w
from stanch.diagnose.causes.stopping import oom_killed
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.outside import Kernel
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.model.diagnosis import Missing
from stanch.model.ids import TargetName
from stanch.model.machine import ServiceState
from stanch.model.symptoms import Symptom, SymptomKind


def kept(**more: Any) -> Evidence:
    """A server on another machine that refuses connections: nothing but its keeper's word."""
    usual: dict[str, Any] = {"name": "orders-db", "running": False, "status": "exited"}
    state = ServiceState(**(usual | more))
    inside = ("sessions", "chains", "activity", "figures", "history")
    nothing = {name: Missing(what=name, reason="no session: refused") for name in inside}
    return w.far(reach=w.reach("refused"), service=w.read(state), **nothing)


def first(evidence: Evidence) -> str:
    found = diagnose(evidence)
    return next((c.id for c in found.causes if c.probability >= STANDS_FROM), "")


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ({"exit_code": 137, "oom_killed": True}, "oom_killed"),
        ({"exit_code": 137, "oom_killed": False}, "killed"),
        ({"exit_code": 0, "oom_killed": False}, "stopped_cleanly"),
    ],
)
def test_the_keeper_s_word_on_the_end_names_the_cause(state: dict[str, Any], cause: str) -> None:
    assert first(kept(**state)) == cause


@pytest.mark.parametrize(
    "state",
    [
        {"running": True, "status": "running", "exit_code": 137, "started_at": w.ago(86_400)},
        {"exit_code": 1, "status": "exited"},
        {},
    ],
)
def test_an_old_end_or_an_unclear_one_names_nothing(state: dict[str, Any]) -> None:
    assert first(kept(**state)) not in {"killed", "oom_killed", "stopped_cleanly"}


def test_a_container_that_was_started_again_after_a_kill_a_minute_ago_is_over() -> None:
    state = ServiceState(
        name="orders-db",
        running=True,
        status="running",
        started_at=w.ago(60),
        exit_code=137,
        oom_killed=True,
        restarts=1,
    )
    found = diagnose(w.healthy(service=w.read(state)))
    assert found.verdict.value in {"recovered", "healthy"}
    assert all(c.id == "oom_killed" for c in found.causes if c.probability >= STANDS_FROM)


COUNTED = Kernel(oom_kills=2, own_group=True)


def inside_a_container(kernel: Kernel, began_s: float, *symptoms: Symptom) -> str:
    """A session of a server in a container was ended with signal 9, and it has recovered."""
    state = ServiceState(name="db", running=True, status="running", started_at=w.ago(began_s))
    died = (w.SIGKILLED_CHILD, w.line("reinitializing", 29), w.line("ready", 27))
    evidence = w.healthy(log=w.log(*died), kernel=w.read(kernel), service=w.read(state))
    found = diagnose(replace(evidence, symptoms=symptoms))
    return found.causes[0].id if found.causes else ""


def test_what_a_young_container_has_counted_is_of_the_trouble() -> None:
    assert inside_a_container(COUNTED, 300) == "oom_killed"
    assert inside_a_container(replace(COUNTED, own_group=False), 300) == "killed"


def test_what_an_old_container_has_counted_may_be_of_any_day() -> None:
    assert inside_a_container(COUNTED, 9e5) == "killed"
    seen = Symptom(
        kind=SymptomKind.OOM_KILL, target=TargetName("orders"), since=w.ago(30), detail="one more"
    )
    assert inside_a_container(COUNTED, 9e5, seen) == "oom_killed"


BOX: dict[str, Any] = {
    "container_id": "c" * 64,
    "image_id": "sha256:1",
    "started_at": w.ago(60),
    "memory_limit_bytes": 100 << 20,
}


def test_a_container_is_told_exactly_enough_to_act_on_this_one() -> None:
    facts = dict(oom_killed.facts(kept(**BOX)))
    assert facts["container_id"] == "c" * 64
    assert facts["container_memory_larger_bytes"] == 150 << 20
    assert facts["container_started_at"] == w.ago(60).isoformat()
    assert facts["container_short"] is False, "it is down: it is started first"
    assert "container_short" not in dict(oom_killed.facts(kept())), "it lives in none"


@pytest.mark.parametrize(
    ("own_group", "limit", "short"),
    [(True, 100 << 20, True), (False, 100 << 20, False), (True, None, False)],
)
def test_a_limit_is_in_the_way_where_the_kills_are_of_its_own_group(
    own_group: bool, limit: int | None, short: bool
) -> None:
    told: dict[str, Any] = {**BOX, "memory_limit_bytes": limit}
    state = ServiceState(name="db", running=True, status="running", **told)
    kernel = Kernel(oom_kills=1, kills=(), own_group=own_group)
    healthy = w.healthy(service=w.read(state), kernel=w.read(kernel))
    assert dict(oom_killed.facts(healthy))["container_short"] is short
