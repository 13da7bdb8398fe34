"""The contract of every way to see a machine, and of every way to read a log on one.

One suite against all of them: this machine, a real sshd, a real dockerd, a real Prometheus, and the
strict stand-in of Kubernetes' API server driven by the real client library.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from fix_machines import Docker, Scraping, free_port
from fix_servers import Templates
from kubernetes_api import KubernetesApi
from stanch.adapters.hosts.docker_link import DockerLink
from stanch.adapters.hosts.docker_log import DockerLog
from stanch.adapters.hosts.docker_machine import DockerMachine
from stanch.adapters.hosts.kernel_clock import clock_offset
from stanch.adapters.hosts.kubernetes_link import KubernetesLink
from stanch.adapters.hosts.kubernetes_log import KubernetesLog
from stanch.adapters.hosts.kubernetes_machine import KubernetesMachine
from stanch.adapters.hosts.local import LocalHost
from stanch.adapters.hosts.prometheus_machine import PrometheusMachine
from stanch.adapters.hosts.ssh_link import SshLink
from stanch.adapters.hosts.ssh_log import SshLog
from stanch.adapters.hosts.ssh_machine import SshMachine
from stanch.adapters.hosts.this_machine import ThisMachine
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_folder import ScratchOptions
from stanch.model.diagnosis import Missing
from stanch.model.host import LogChunk, LogPosition, Memory
from stanch.model.machine import HostFacts, ServiceState
from stanch.model.ports.machine import LogReader, MachineReader
from stanch.policy.hosts import DockerHost, KubernetesHost, SshHost

pytestmark = pytest.mark.contract

GIB = 2**30


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to see a machine with a running server on it."""

    reader: MachineReader
    gone: MachineReader
    """The same way to a machine that is not there."""
    lacks: frozenset[str]
    """What it cannot tell, and says so."""
    this: bool
    """What it tells of the machine is what this machine is like."""


@pytest.fixture(scope="session")
def home_server(server_templates: Templates) -> Iterator[ScratchServer]:
    template = server_templates.of(18, "trust")
    options = ScratchOptions(parent=server_templates.parent)
    with ScratchServer.create(options=options, template=template) as server:
        yield server


def summary_of(pod: str) -> dict[str, Any]:
    """What a kubelet says of its node and of one pod."""
    volume = {"capacityBytes": 100 * GIB, "availableBytes": 7 * GIB, "inodes": 1000}
    token = {"name": "kube-api-access-x", "capacityBytes": GIB, "availableBytes": GIB}
    return {
        "node": {
            "memory": {"availableBytes": 6 * GIB, "workingSetBytes": 2 * GIB},
            "fs": {"capacityBytes": 50 * GIB, "availableBytes": 20 * GIB},
        },
        "pods": [
            {
                "podRef": {"name": pod, "uid": f"uid-of-{pod}"},
                "volume": [{"name": "data", "inodesFree": 400, **volume}, token],
            },
            {"podRef": {"uid": "another"}, "volume": [{"name": "data", **volume}]},
        ],
    }


CADVISOR = """\
# HELP container_oom_events_total Count of out of memory events observed for the container
container_oom_events_total{container="exporter",namespace="shop",pod="db-0"} 9 1700000000000
container_oom_events_total{container="postgres",namespace="shop",pod="db-1"} 8 1700000000000
container_oom_events_total{container="postgres",id="/kubepods",namespace="shop",pod="db-0"} 3 17
"""


@pytest.fixture(scope="module", autouse=True)
def begun(scraping: Scraping) -> str:
    return scraping.url


@pytest.fixture
def prepared(request: pytest.FixtureRequest) -> Way:
    return MAKERS[request.param](request)


@pytest.fixture
async def way(prepared: Way) -> AsyncIterator[Way]:
    yield prepared
    await prepared.reader.close()
    await prepared.gone.close()


def _local(request: pytest.FixtureRequest) -> Way:
    folder = str(request.getfixturevalue("home_server").data_directory)
    reader = ThisMachine(lambda: folder, now=now)
    # There is always this machine, but not always a time server that keeps its clock.
    lacks = frozenset({"clock"} if isinstance(clock_offset(), Missing) else ())
    return Way(reader=reader, gone=reader, lacks=lacks, this=True)


def _ssh(request: pytest.FixtureRequest) -> Way:
    host: SshHost = request.getfixturevalue("sshd")
    folder = str(request.getfixturevalue("home_server").data_directory)
    gone = replace(host, port=free_port())
    return Way(
        reader=SshMachine(SshLink(host), data_directory=lambda: folder, now=now),
        gone=SshMachine(SshLink(gone), data_directory=lambda: folder, now=now),
        lacks=frozenset(),
        this=True,
    )


def _docker(request: pytest.FixtureRequest) -> Way:
    docker: Docker = request.getfixturevalue("dockerd")
    host = docker.run("server", "exec sleep 600", Memory=256 * 2**20)
    gone = replace(host, socket="/nonexistent/docker.sock")
    return Way(
        reader=DockerMachine(DockerLink(host), now=now),
        gone=DockerMachine(DockerLink(gone), now=now),
        lacks=frozenset({"kernel messages"}),
        this=True,
    )


def _kubernetes(request: pytest.FixtureRequest) -> Way:
    api: KubernetesApi = request.getfixturevalue("kubernetes")
    api.put("db-0", labels={"role": "primary"})
    api.summary, api.cadvisor = summary_of("db-0"), CADVISOR
    host = KubernetesHost(namespace="shop", pod="db-0", kubeconfig=str(api.kubeconfig))
    nowhere = api.kubeconfig.with_name("nowhere")
    text = api.kubeconfig.read_text()
    port = text.partition("127.0.0.1:")[2].partition('"')[0]
    nowhere.write_text(text.replace(port, str(free_port())))
    gone = replace(host, kubeconfig=str(nowhere))
    return Way(
        reader=KubernetesMachine(KubernetesLink(host), now=now),
        gone=KubernetesMachine(KubernetesLink(gone), now=now),
        lacks=frozenset({"cpu", "load", "clock", "kernel messages"}),
        this=False,
    )


def _prometheus(request: pytest.FixtureRequest) -> Way:
    host = request.getfixturevalue("prometheus")
    gone = replace(host, url=f"http://127.0.0.1:{free_port()}")
    return Way(
        reader=PrometheusMachine(host, now=now),
        gone=PrometheusMachine(gone, now=now),
        lacks=frozenset({"service", "kernel messages"}),
        this=True,
    )


MAKERS: dict[str, Callable[[pytest.FixtureRequest], Way]] = {
    "local": _local,
    "ssh": _ssh,
    "docker": _docker,
    "kubernetes": _kubernetes,
    "prometheus": _prometheus,
}


ALL_WAYS = pytest.mark.parametrize("prepared", MAKERS, indirect=True)
FAR_WAYS = pytest.mark.parametrize("prepared", [w for w in MAKERS if w != "local"], indirect=True)


async def look(reader: MachineReader) -> HostFacts:
    facts = await reader.facts(deadline_s=10)
    assert isinstance(facts, HostFacts), facts
    return facts


@ALL_WAYS
async def test_one_look_tells_everything_but_what_this_way_cannot_tell(way: Way) -> None:
    facts = await look(way.reader)
    assert {missing.what for missing in facts.missing()} == way.lacks
    assert all(missing.reason for missing in facts.missing())
    assert facts.source == way.reader.source
    assert abs(facts.at - now()) < timedelta(seconds=10)


@ALL_WAYS
async def test_a_running_server_is_told_as_running(way: Way) -> None:
    service = (await look(way.reader)).service
    if "service" in way.lacks:
        assert isinstance(service, Missing)
        return
    assert isinstance(service, ServiceState)
    assert service.running
    assert service.exit_code is None


@ALL_WAYS
async def test_the_figures_are_those_of_the_machine(way: Way) -> None:
    facts = await look(way.reader)
    assert isinstance(facts.memory, Memory)
    assert isinstance(facts.file_systems, tuple)
    if not way.this:
        assert facts.memory.total_bytes == 8 * GIB
        assert [f.mount for f in facts.file_systems] == ["node", "/var/lib/postgresql/data"]
        assert facts.file_systems[1].inodes_free == 400
        return
    assert facts.memory.total_bytes == psutil.virtual_memory().total
    root = next(f for f in facts.file_systems if f.mount == "/")
    seen = os.statvfs("/")
    assert root.total_bytes == pytest.approx(seen.f_blocks * seen.f_frsize, rel=0.001)
    assert root.free_bytes == pytest.approx(seen.f_bavail * seen.f_frsize, rel=0.1)
    assert root.read_only is False
    assert isinstance(facts.uptime_s, float)
    assert facts.uptime_s == pytest.approx(time.time() - psutil.boot_time(), abs=10)
    assert not isinstance(facts.cpu, Missing)
    assert facts.cpu.count == psutil.cpu_count()
    if not isinstance(facts.clock_offset_s, Missing):
        assert abs(facts.clock_offset_s) < 1


@FAR_WAYS
async def test_a_machine_that_is_not_there_is_missing_with_a_reason_and_in_time(way: Way) -> None:
    began = time.monotonic()
    found = await way.gone.facts(deadline_s=3)
    assert isinstance(found, Missing)
    assert found.reason
    assert time.monotonic() - began < 5


@ALL_WAYS
async def test_after_closing_a_later_look_opens_what_it_needs(way: Way) -> None:
    await look(way.reader)
    await way.reader.close()
    assert (await look(way.reader)).source == way.reader.source


@ALL_WAYS
async def test_a_look_that_is_cancelled_leaves_the_next_one_unharmed(way: Way) -> None:
    looking = asyncio.create_task(way.reader.facts(deadline_s=10))
    await asyncio.sleep(0)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    assert (await look(way.reader)).source == way.reader.source


# --- logs ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A log that can be read, and how something is written into it."""

    reader: LogReader
    write: Callable[[bytes], None]
    renew: Callable[[], None]
    """The writer begins anew: a file is rotated, a container starts again."""
    keeps_old: bool
    """What was written before that can still be read."""


Made = tuple[Log, Any]
"""A log, and the link to close afterwards, where there is one."""


@pytest.fixture
def prepared_log(request: pytest.FixtureRequest) -> Made:
    return LOGS[request.param](request)


@pytest.fixture
async def log(prepared_log: Made) -> AsyncIterator[Log]:
    made, link = prepared_log
    yield made
    if link is not None:
        await link.close()


def _append(path: Path) -> Callable[[bytes], None]:
    def write(content: bytes) -> None:
        with path.open("ab") as file:
            file.write(content)

    return write


def _rotate(path: Path) -> Callable[[], None]:
    def renew() -> None:
        path.rename(path.with_name("postgresql.log.1"))
        path.touch()

    return renew


def _file_log(request: pytest.FixtureRequest) -> Made:
    path = Path(request.getfixturevalue("tmp_path")) / "postgresql.log"
    path.touch()
    reader = LocalHost(data_directory="/nowhere", log_path=str(path))
    return Log(reader=reader, write=_append(path), renew=_rotate(path), keeps_old=True), None


def _ssh_log(request: pytest.FixtureRequest) -> Made:
    path = Path(request.getfixturevalue("tmp_path")) / "a 'quoted' $(name)" / "postgresql.log"
    path.parent.mkdir()
    path.touch()
    link = SshLink(request.getfixturevalue("sshd"))
    reader = SshLog(link, given=str(path), data_directory=lambda: "")
    return Log(reader=reader, write=_append(path), renew=_rotate(path), keeps_old=True), link


def _docker_log(request: pytest.FixtureRequest) -> Made:
    docker: Docker = request.getfixturevalue("dockerd")
    folder = Path(request.getfixturevalue("tmp_path"))
    path = folder / "in"
    path.touch()

    def renew() -> None:
        path.write_bytes(b"")
        binds = ["/usr:/usr:ro", f"{folder}:/in:ro"]
        docker.run("writer", "exec tail -n +1 -s 0.05 -F /in/in", Binds=binds)

    renew()
    link = DockerLink(DockerHost(container="writer", socket=docker.socket))
    made = Log(reader=DockerLog(link), write=_append(path), renew=renew, keeps_old=False)
    return made, link


def _kubernetes_log(request: pytest.FixtureRequest) -> Made:
    api: KubernetesApi = request.getfixturevalue("kubernetes")
    api.put("db-0", labels={})
    begun = datetime(2026, 11, 21, 9, 0, 0, 123000, UTC)
    written = [0]

    def write(content: bytes) -> None:
        written[0] += 1
        at = begun + timedelta(milliseconds=written[0])
        api.write("db-0", *re.findall(rb"[^\n]*\n", content), at=at)

    def renew() -> None:
        api.logs["db-0", True] = api.logs.pop(("db-0", False), [])
        status = api.pods["db-0"]["status"]["containerStatuses"][0]
        status["restartCount"] += 1

    host = KubernetesHost(namespace="shop", pod="db-0", kubeconfig=str(api.kubeconfig))
    link = KubernetesLink(host)
    return Log(reader=KubernetesLog(link), write=write, renew=renew, keeps_old=True), link


LOGS: dict[str, Callable[[pytest.FixtureRequest], Made]] = {
    "file": _file_log,
    "ssh": _ssh_log,
    "docker": _docker_log,
    "kubernetes": _kubernetes_log,
}


async def tail(log: Log, content: bytes, *, bytes_max: int = 100_000) -> LogChunk:
    """The end of the log, once everything written has arrived there."""
    end_s = time.monotonic() + 10
    while True:
        chunk = await log.reader.log_tail(bytes_max=bytes_max)
        assert isinstance(chunk, LogChunk), chunk
        if chunk.content.endswith(content[-20:]) or time.monotonic() > end_s:
            return chunk
        await asyncio.sleep(0.02)


async def since(log: Log, position: LogPosition, *, bytes_max: int = 100_000) -> LogChunk:
    chunk = await log.reader.log_since(position, bytes_max=bytes_max)
    assert isinstance(chunk, LogChunk), chunk
    return chunk


async def all_since(log: Log, position: LogPosition, wanted: bytes) -> tuple[bytes, list[LogChunk]]:
    """Everything new in small pieces, until what is wanted has come."""
    content, chunks, end_s = b"", list[LogChunk](), time.monotonic() + 10
    while not content.endswith(wanted[-20:]) and time.monotonic() < end_s:
        chunks.append(await since(log, position, bytes_max=PIECE_BYTES))
        content, position = content + chunks[-1].content, chunks[-1].position
        await asyncio.sleep(0 if chunks[-1].more else 0.02)
    return content, chunks


PIECE_BYTES = 5000
ALL_LOGS = pytest.mark.parametrize("prepared_log", LOGS, indirect=True)


@ALL_LOGS
async def test_a_tail_is_bounded_and_begins_with_a_whole_line(log: Log) -> None:
    lines = b"".join(b"line %03d\n" % n for n in range(300))
    log.write(lines)
    chunk = await tail(log, lines, bytes_max=200)
    assert lines.endswith(chunk.content)
    assert chunk.content.startswith(b"line ")
    assert 150 < len(chunk.content) <= 200


@ALL_LOGS
async def test_only_what_is_new_is_read_and_nothing_new_is_nothing(log: Log) -> None:
    log.write(b"before\n")
    chunk = await tail(log, b"before\n")
    nothing = await since(log, chunk.position)
    assert (nothing.content, nothing.more) == (b"", False)
    log.write(b"after\n")
    content, _ = await all_since(log, nothing.position, b"after\n")
    assert content == b"after\n"


@ALL_LOGS
async def test_a_flood_comes_whole_and_in_bounded_pieces(log: Log) -> None:
    log.write(b"before\n")
    chunk = await tail(log, b"before\n")
    flood = b"".join(b"%s %020d\n" % (b"x" * (n % 90), n) for n in range(600))
    log.write(flood)
    content, chunks = await all_since(log, chunk.position, flood)
    assert content == flood
    assert max(len(c.content) for c in chunks) <= PIECE_BYTES
    assert not any(c.started_anew for c in chunks)


@ALL_LOGS
async def test_bytes_that_are_no_text_come_through_as_they_were_written(log: Log) -> None:
    hostile = b"\xff\xfe\x1b[31m<script>'; DROP TABLE x; --\r $(reboot) 2026-01-01T00:00:00Z \t\n"
    log.write(b"before\n" + hostile)
    chunk = await tail(log, hostile)
    # Docker keeps its logs as JSON, which has no bytes beyond Unicode.
    known = chunk.content.replace("\N{REPLACEMENT CHARACTER}".encode(), b"\xff", 1)
    known = known.replace("\N{REPLACEMENT CHARACTER}".encode(), b"\xfe", 1)
    assert known.endswith(hostile)


@ALL_LOGS
async def test_after_a_new_beginning_the_old_is_finished_before_the_new_is_begun(log: Log) -> None:
    log.write(b"before\n")
    chunk = await tail(log, b"before\n")
    log.write(b"last words\n")
    if not log.keeps_old:
        await tail(log, b"last words\n")
    log.renew()
    log.write(b"reborn\n")
    content, chunks = await all_since(log, chunk.position, b"reborn\n")
    assert content == (b"last words\nreborn\n" if log.keeps_old else b"reborn\n")
    assert [c.started_anew for c in chunks if c.content][-1]
