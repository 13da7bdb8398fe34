"""Patroni's answers, as version 3 gives them, and what is no answer of its."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from stanch.facts.patroni import parse_patroni
from stanch.model.diagnosis import Missing
from stanch.model.patroni import PatroniSeen

STATUS: dict[str, Any] = {
    "state": "running",
    "postmaster_start_time": "2026-11-21 19:30:00.123456+00:00",
    "role": "master",
    "server_version": 150018,
    "xlog": {"location": 67111576},
    "timeline": 2,
    "replication": [
        {"usename": "replicator", "application_name": "two", "state": "streaming"},
    ],
    "dcs_last_seen": 1795291199,
    "database_system_identifier": "7391822455667788990",
    "patroni": {"version": "3.0.2", "scope": "shop"},
}
CLUSTER: dict[str, Any] = {
    "members": [
        {
            "name": "one",
            "role": "leader",
            "state": "running",
            "api_url": "http://10.0.0.1:8008/patroni",
            "host": "10.0.0.1",
            "port": 5432,
            "timeline": 2,
        },
        {"name": "two", "role": "replica", "state": "streaming", "timeline": 2, "lag": 4096},
        {"name": "three", "role": "replica", "state": "stopped", "lag": "unknown"},
    ]
}


def parsed(status: object, cluster: object = CLUSTER) -> PatroniSeen:
    answer = cluster if isinstance(cluster, Missing) else json.dumps(cluster).encode()
    seen = parse_patroni(json.dumps(status).encode(), answer)
    assert isinstance(seen, PatroniSeen)
    return seen


def test_a_leader_and_its_replicas() -> None:
    seen = parsed(STATUS)
    assert (seen.name, seen.state, seen.role, seen.leader) == ("shop", "running", "master", "one")
    assert seen.dcs_seen_at == datetime(2026, 11, 21, 19, 59, 59, tzinfo=UTC)
    assert [m.lag_bytes for m in seen.members] == [None, 4096, None]
    assert not seen.unlocked
    assert not seen.paused


def test_a_cluster_without_a_leader_says_so() -> None:
    members = [{**one, "role": "replica"} for one in CLUSTER["members"]]
    seen = parsed({**STATUS, "role": "replica", "cluster_unlocked": True}, {"members": members})
    assert seen.unlocked
    assert seen.leader == ""


def test_maintenance_mode_is_told_by_either_answer() -> None:
    assert parsed({**STATUS, "pause": True}).paused
    assert parsed(STATUS, {**CLUSTER, "pause": True}).paused


def test_without_the_cluster_nobody_is_said_to_lead() -> None:
    seen = parsed(STATUS, Missing(what="question", reason="status 503"))
    assert seen.members == ()
    assert seen.state == "running"


@pytest.mark.parametrize("answer", [b"", b"[]", b"<html>", b'{"state": 3}', b"\xff\xfe"])
def test_what_is_not_patroni_s_is_missing(answer: bytes) -> None:
    seen = parse_patroni(answer, b"{}")
    assert isinstance(seen, Missing)
    assert seen.reason == "that is not Patroni's answer"


@pytest.mark.parametrize("moment", [True, -1, 1e30, "soon", None])
def test_a_moment_that_is_none_is_not_known(moment: object) -> None:
    assert parsed({**STATUS, "dcs_last_seen": moment}).dcs_seen_at is None


def test_members_that_are_none_are_left_out_and_long_names_are_cut() -> None:
    strange = {"members": [None, 3, {"name": "x" * 500, "role": ["leader"], "timeline": True}]}
    [member] = parsed(STATUS, strange).members
    assert len(member.name) == 80
    assert (member.role, member.timeline) == ("", None)
