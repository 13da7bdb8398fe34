"""What an engine is asked to do where it does not answer, and where a container's data lies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stanch.adapters.hosts.docker_engine import DockerEngine
from stanch.adapters.hosts.docker_manager import (
    DockerManager,
    linked,
    place_here,
    reads_as,
    status_of,
)
from stanch.facts.machines.engine import parse_engine
from stanch.model.containers import ContainerSeen
from stanch.model.diagnosis import Missing
from stanch.policy.hosts import DockerHost

ID = "c" * 64
Answer = Callable[[str], bytes | None]


@asynccontextmanager
async def daemon(folder: Path, answer: Answer) -> AsyncIterator[tuple[DockerHost, list[str]]]:
    """Answers each request line with one whole answer; None: reads it and says nothing."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head.splitlines()[0])
        said = answer(asked[-1])
        if said is not None:
            writer.write(said)
            await writer.drain()
            writer.close()

    path = str(folder / "engine.sock")
    server = await asyncio.start_unix_server(serve, path)
    try:
        yield DockerHost(container="db", socket=path), asked
    finally:
        server.close()


def http(status: str, body: bytes = b"") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


ACTS: list[Callable[[DockerEngine], Coroutine[Any, Any, Any]]] = [
    lambda engine: engine.start(ID, deadline_s=5),
    lambda engine: engine.restart(ID, wait_s=60, deadline_s=5),
    lambda engine: engine.set_memory(ID, memory_bytes=1, swap_bytes=1, deadline_s=5),
]


@pytest.mark.parametrize("act", ACTS)
async def test_an_act_without_an_answer_is_in_doubt_and_is_not_sent_again(
    act: Callable[[DockerEngine], Coroutine[Any, Any, Any]], tmp_path: Path
) -> None:
    async with daemon(tmp_path, lambda _line: b"") as (host, asked):
        assert (await act(DockerEngine(host))).outcome == "in_doubt"
        assert len(asked) == 1
        assert f"/containers/{ID}/" in asked[0]


async def test_an_act_whose_answer_comes_too_late_is_in_doubt(tmp_path: Path) -> None:
    async with daemon(tmp_path, lambda _line: None) as (host, _):
        acted = await DockerEngine(host).start(ID, deadline_s=0.5)
    assert acted.outcome == "in_doubt"


@pytest.mark.parametrize(
    ("said", "outcome", "detail"),
    [
        (http("204 No Content"), "done", ""),
        (http("304 Not Modified"), "done", "so already"),
        (http("404 Not Found", b'{"message": "No such container"}'), "failed", "No such"),
        (http("409 Conflict", b"{"), "failed", "HTTP 409"),
        (b"HTTP/1.1 204", "in_doubt", ""),
    ],
)
async def test_an_answer_is_told_in_the_words_of_the_engine(
    said: bytes, outcome: str, detail: str, tmp_path: Path
) -> None:
    async with daemon(tmp_path, lambda _line: said) as (host, _):
        acted = await DockerEngine(host).start(ID, deadline_s=5)
    assert acted.outcome == outcome
    assert detail in acted.detail


async def test_nobody_listens_and_nothing_was_sent(tmp_path: Path) -> None:
    host = DockerHost(container="db", socket=str(tmp_path / "none.sock"))
    assert (await DockerEngine(host).start(ID, deadline_s=2)).outcome == "not_sent"
    assert isinstance(await DockerManager(host, data_directory=lambda: "/data").status(), Missing)


async def test_a_container_that_was_not_looked_at_is_not_started(tmp_path: Path) -> None:
    async with daemon(tmp_path, lambda _line: http("204 No Content")) as (host, asked):
        manager = DockerManager(host, data_directory=lambda: "/data")
        assert not (await manager.start(deadline_s=2)).ok
        assert asked == []


@pytest.mark.parametrize("asked_for", ["db", "c" * 12])
async def test_a_name_or_the_beginning_of_an_id_means_nobody(
    asked_for: str, tmp_path: Path
) -> None:
    found = b'{"Id": "%s", "State": {"Status": "running"}}' % ID.encode()
    async with daemon(tmp_path, lambda _line: http("200 OK", found)) as (host, _):
        engine = DockerEngine(host)
        assert await engine.by_id(asked_for) is None
        assert isinstance(await engine.by_id(ID), ContainerSeen)


# --- where its data lies --------------------------------------------------------------------------


def box(status: str = "exited", policy: str = "", **mounts: str) -> ContainerSeen:
    told = [{"Source": f"/host/{to}", "Destination": path} for to, path in mounts.items()]
    seen = parse_engine(
        {
            "Id": ID,
            "State": {"Status": status},
            "HostConfig": {"RestartPolicy": {"Name": policy}},
            "Mounts": told,
        }
    )
    assert isinstance(seen, ContainerSeen)
    return seen


@pytest.mark.parametrize("status", ["created", "running", "paused", "restarting", "dead"])
def test_only_a_container_that_ended_may_be_started(status: str) -> None:
    assert status_of(box(), (), (), "").why_not("start") == ""
    told = status_of(box(status), (), (), "")
    assert status in told.why_not("start")
    assert "restart_container" in told.why_not("restart")


@pytest.mark.parametrize(
    ("policy", "by_hand"),
    [("always", True), ("unless-stopped", True), ("on-failure", False), ("no", False)],
)
def test_what_stays_down_under_an_engine_that_keeps_it_up_was_stopped_by_somebody(
    policy: str, by_hand: bool
) -> None:
    assert status_of(box(policy=policy), (), (), "").stopped_by_hand is by_hand
    assert not status_of(box("running", policy), (), (), "").stopped_by_hand


def test_a_folder_of_a_container_is_found_below_its_nearest_mount() -> None:
    seen = box(top="/var/lib", data="/var/lib/pg/data")
    assert place_here(seen, "/var/lib/pg/data/base") == "/host/data/base"
    assert place_here(seen, "/var/lib/pg") == "/host/top/pg"
    assert place_here(seen, "/srv") == ""


def test_a_link_in_a_container_leads_to_a_place_in_the_container(tmp_path: Path) -> None:
    (tmp_path / "away").symlink_to("/wal/here")
    (tmp_path / "out").symlink_to("../../etc")
    seen = box(data="/data", wal="/wal", own="/data/own")
    assert linked(seen, "/data", "away", str(tmp_path)) == "/host/wal/here"
    assert linked(seen, "/data", "own", str(tmp_path)) == "/host/own"
    assert linked(seen, "/data", "plain", str(tmp_path)) == f"{tmp_path}/plain"
    assert linked(seen, "/data", "out", str(tmp_path)) == "", "no mount is there"


def test_a_folder_whose_control_file_reads_otherwise_is_another_one(tmp_path: Path) -> None:
    gone = reads_as(str(tmp_path), "Database system identifier: 42")
    assert gone is not None
    assert "cannot be read here" in gone.reason
    (tmp_path / "global").mkdir()
    (tmp_path / "global/pg_control").write_bytes(bytes(8192))
    other = reads_as(str(tmp_path), "Database system identifier: 42")
    assert other is not None
    assert "another cluster" in other.reason
