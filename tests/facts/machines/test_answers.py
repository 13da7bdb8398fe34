"""What Docker, Kubernetes and Prometheus answer, about servers that ended and ones unknown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from stanch.facts.machines.containers import parse_container, parse_memory
from stanch.facts.machines.node_exporter import parse_answer, promql_text, query
from stanch.facts.machines.pods import Pod, chosen, oom_events, parse_pod, parse_summary
from stanch.model.diagnosis import Missing
from stanch.model.host import Memory
from stanch.model.machine import HostFacts, ServiceState

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


def container(**state: Any) -> ServiceState:
    known = {
        "Status": "running",
        "Running": True,
        "ExitCode": 0,
        "OOMKilled": False,
        "StartedAt": "2026-11-21T08:00:00.123456789Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    }
    found = parse_container("db", {"Name": "/db", "RestartCount": 1, "State": {**known, **state}})
    assert isinstance(found, ServiceState)
    return found


def test_a_container_killed_for_memory_tells_its_exit_code() -> None:
    ended = {"FinishedAt": "2026-11-21T09:00:00Z", "Running": False, "Status": "exited"}
    found = container(OOMKilled=True, ExitCode=137, **ended)
    assert (found.running, found.status) == (False, "exited")
    assert (found.exit_code, found.oom_killed, found.restarts) == (137, True, 1)


def test_a_container_that_runs_has_no_exit_code_though_it_ended_before() -> None:
    found = container(FinishedAt="2026-11-21T07:00:00Z")
    assert (found.running, found.exit_code) == (True, None)


def test_a_container_that_is_restarting_does_not_run() -> None:
    assert not container(Status="restarting", Restarting=True).running


def test_an_unhealthy_container_runs_and_says_that_it_is_unhealthy() -> None:
    found = container(Health={"Status": "unhealthy"})
    assert (found.running, found.status) == (True, "running (unhealthy)")


@pytest.mark.parametrize("answer", [{}, {"State": None}, {"State": {"Status": 7}}])
def test_an_answer_without_a_state_is_missing(answer: dict[str, object]) -> None:
    assert isinstance(parse_container("db", answer), Missing)


def test_page_cache_of_a_container_is_available_memory() -> None:
    detail = {"inactive_file": 300, "active_file": 200, "anon": 400}
    found = parse_memory({"memory_stats": {"limit": 1000, "usage": 900, "stats": detail}})
    assert isinstance(found, Memory)
    assert (found.available_bytes, found.cgroup_cache_bytes) == (600, 500)
    assert isinstance(parse_memory({"memory_stats": {}}), Missing)


# --- Kubernetes ---------------------------------------------------------------------------------


def pod(state: dict[str, Any], last: dict[str, Any] | None = None, **status: Any) -> Pod:
    seen = {"name": "pg", "restartCount": 4, "state": state, "lastState": last or {}}
    found = parse_pod(
        {
            "metadata": {"name": "db-0", "uid": "u"},
            "spec": {"containers": [{"name": "pg", "image": "i"}], "nodeName": "n"},
            "status": {"phase": "Running", "containerStatuses": [seen], **status},
        },
        container="",
    )
    assert isinstance(found, Pod)
    return found


def test_a_crash_loop_tells_how_it_ended_last() -> None:
    killed = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    service = pod({"waiting": {"reason": "CrashLoopBackOff"}}, killed).service
    assert (service.running, service.status) == (False, "CrashLoopBackOff")
    assert (service.exit_code, service.oom_killed, service.restarts) == (137, True, 4)


def test_a_running_container_keeps_the_memory_of_its_last_end() -> None:
    killed = {"terminated": {"exitCode": 1, "reason": "Error"}}
    service = pod({"running": {"startedAt": "2026-11-21T08:00:00Z"}}, killed).service
    assert (service.running, service.exit_code, service.oom_killed) == (True, 1, False)


def test_a_pod_without_a_container_yet_says_why() -> None:
    service = pod({}, phase="Failed", reason="Evicted").service
    assert (service.running, service.status) == (False, "Failed (Evicted)")


def listed(*names: str, deleted: str = "") -> dict[str, object]:
    def meta(name: str) -> dict[str, object]:
        gone = {"deletionTimestamp": "2026-11-21T09:00:00Z"} if name == deleted else {}
        return {"metadata": {"name": name, **gone}}

    return {"items": [meta(name) for name in names]}


def test_a_selector_must_fit_one_pod_and_one_that_is_being_deleted_gives_way() -> None:
    one = chosen(listed("a", "b", deleted="a"), "x=y")
    assert one == {"metadata": {"name": "b"}}
    two = chosen(listed("a", "b"), "x=y")
    assert isinstance(two, Missing)
    assert "2 pods fit x=y (a, b)" in two.reason
    assert chosen(listed(), "x=y") is None
    last = chosen(listed("a", deleted="a"), "x=y")
    assert last is not None
    assert not isinstance(last, Missing)


def test_kills_are_counted_for_this_container_only() -> None:
    mine = pod({"running": {}})

    def count(line: str) -> int | None:
        return oom_events(line, namespace="shop", pod=mine)

    name = "container_oom_events_total"
    labels = 'container="pg",namespace="shop",pod="db-0"'
    assert count(f"{name}{{{labels}}} 3 170000") == 3
    assert count(f"{name}{{{labels.replace('db-0', 'db-1')}}} 3") is None
    assert count(f"{name}{{{labels}}} NaN") is None
    assert count(f"{name}_other{{{labels}}} 3") is None


@pytest.mark.parametrize("summary", [{}, {"node": 5, "pods": "x"}, {"pods": [{"podRef": []}]}])
def test_a_summary_that_tells_nothing_is_missing(summary: dict[str, object]) -> None:
    found = parse_summary(summary, pod({"running": {}}))
    assert isinstance(found.file_systems, Missing)
    assert isinstance(found.memory, Missing)


# --- Prometheus ---------------------------------------------------------------------------------


def answer(*series: tuple[dict[str, str], str]) -> HostFacts | Missing:
    result = [{"metric": labels, "value": [1, value]} for labels, value in series]
    said: dict[str, object] = {"status": "success", "data": {"result": result}}
    return parse_answer(said, source="prometheus i", at=AT, service="postgresql@16-main")


def test_an_exporter_that_does_not_answer_is_missing_and_its_last_figures_do_not_count() -> None:
    found = answer(({"__name__": "up"}, "0"), ({"__name__": "node_load1"}, "1"))
    assert isinstance(found, Missing)
    assert "no answer from the exporter" in found.reason


def test_an_instance_that_prometheus_does_not_know_is_missing() -> None:
    assert isinstance(answer(), Missing)


@pytest.mark.parametrize(
    "said", [{}, {"status": "error", "error": "parse error"}, {"status": "success", "data": []}]
)
def test_an_answer_that_is_none_is_missing(said: dict[str, object]) -> None:
    found = parse_answer(said, source="p", at=AT, service="")
    assert isinstance(found, Missing)


def test_a_unit_is_told_by_its_active_state() -> None:
    unit = {"__name__": "node_systemd_unit_state", "name": "postgresql@16-main.service"}
    found = answer(({"__name__": "up"}, "1"), ({**unit, "state": "failed"}, "1"))
    assert isinstance(found, HostFacts)
    assert found.service == ServiceState(name="postgresql@16-main", running=False, status="failed")


def test_figures_that_are_no_numbers_are_missing_and_never_zero() -> None:
    found = answer(({"__name__": "up"}, "1"), ({"__name__": "node_load1"}, "NaN"))
    assert isinstance(found, HostFacts)
    assert isinstance(found.load_1min, Missing)
    assert isinstance(found.file_systems, Missing)


def test_a_clock_kept_by_a_time_server_is_believed_before_prometheus() -> None:
    kept = [({"__name__": f"node_timex_{n}"}, v) for n, v in (("offset_seconds", "0.25"),)]
    far = ({"stanch_part": "ahead"}, "9")
    synced = ({"__name__": "node_timex_sync_status"}, "1")
    found = answer(({"__name__": "up"}, "1"), *kept, synced, far)
    unsynced = answer(({"__name__": "up"}, "1"), *kept, far)
    assert isinstance(found, HostFacts)
    assert isinstance(unsynced, HostFacts)
    assert (found.clock_offset_s, unsynced.clock_offset_s) == (-0.25, 9.0)


def test_an_instance_can_say_nothing_but_its_name() -> None:
    assert promql_text('a"b\\c\nd') == '"a\\"b\\\\c\\u000ad"'
    asked = query(instance='x"} or vector(1) #', service="")
    assert '{instance="x\\"} or vector(1) #"}' in asked
