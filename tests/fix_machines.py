"""Real ways to see a machine: an sshd, a dockerd, a Prometheus with its exporter.

`sshd`        accepts one key of its own on a free port of 127.0.0.1; one a test process
`sshd_ahead`  the same one, on a port behind which the clock is ten seconds ahead
`dockerd`     a daemon of its own with an image that borrows this machine's /usr; one a test process
`prometheus`  scrapes a node_exporter of this machine every second; one a test process
`scraping`    the same, not waited for
`kubernetes`  a strict stand-in of the API server, one a test
"""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from kubernetes_api import KubernetesApi
from stanch.policy.hosts import DockerHost, PrometheusHost, SshHost

DEBIAN_AS_ROOT = os.geteuid() == 0 and Path("/etc/debian_version").exists()
PATIENCE_S = 30.0
IMAGE = "skeleton:latest"
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


def program(name: str) -> str:
    """Where a program is; without it the test cannot be run."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None or os.geteuid() != 0:
        reason = f"{name} is not here, or this is not root; run scripts/setup-test"
        if DEBIAN_AS_ROOT:
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(true: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not true():
        if process.poll() is not None or time.monotonic() > end_s:
            pytest.fail(f"{process.args!r} did not come up:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)


def ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def machines_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="stanch-machines-", dir="/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


# --- ssh ----------------------------------------------------------------------------------------


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def ports_of_sshd() -> tuple[int, int]:
    """Where the clock is right, and where it is ahead."""
    return free_port(), free_port()


@pytest.fixture(scope="session")
def sshd(machines_folder: Path, ports_of_sshd: tuple[int, int]) -> Iterator[SshHost]:
    folder, (port, ahead) = machines_folder / "ssh", ports_of_sshd
    folder.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "user", "other"):
        key = str(folder / name)
        subprocess.run(
            [program("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", key], check=True
        )
    (folder / "config").write_text(
        f"Port {port}\nPort {ahead}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n"
        f"AuthorizedKeysFile {folder}/user.pub\nPasswordAuthentication no\n"
        f"UsePAM no\nStrictModes no\nPidFile {folder}/pid\nMaxAuthTries 20\n"
        f"Match LocalPort {ahead}\nSetEnv LD_PRELOAD={FAKETIME} FAKETIME=+10s\n"
    )
    public = (folder / "host.pub").read_text()
    (folder / "known_hosts").write_text(
        "".join(f"[127.0.0.1]:{one} {public}" for one in ports_of_sshd)
    )
    log = folder / "log"
    with log.open("wb") as out:
        argv = [program("sshd"), "-D", "-e", "-f", str(folder / "config")]
        process = subprocess.Popen(argv, stdout=out, stderr=out)
    until(lambda: accepts(port), process, log)
    yield SshHost(
        host="127.0.0.1",
        port=port,
        user="root",
        key_file=str(folder / "user"),
        known_hosts=str(folder / "known_hosts"),
    )
    ended(process)


@pytest.fixture
def sshd_ahead(sshd: SshHost, ports_of_sshd: tuple[int, int]) -> SshHost:
    if not FAKETIME.exists():
        reason = "libfaketime is not here; run scripts/setup-test"
        if DEBIAN_AS_ROOT:
            pytest.fail(reason)
        pytest.skip(reason)
    return replace(sshd, port=ports_of_sshd[1])


# --- Docker -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """A daemon, and what a test does with it from outside."""

    socket: str
    client: httpx.Client

    def call(self, method: str, path: str, body: object = None, **params: str) -> Any:
        answer = self.client.request(method, path, json=body, params=params)
        assert answer.status_code < 400, answer.text
        return answer.json() if answer.content[:1] in (b"{", b"[") else None

    def run(self, name: str, command: str, **more: Any) -> DockerHost:
        """A new container of this name, started; one that was there is gone."""
        self.client.delete(f"/containers/{name}", params={"force": "1"})
        host: dict[str, Any] = {"NetworkMode": "none", "Binds": ["/usr:/usr:ro"], **more}
        labels: Mapping[str, str] = host.pop("Labels", {})
        body = {"Image": IMAGE, "Cmd": ["sh", "-c", command], "HostConfig": host, "Labels": labels}
        self.call("POST", "/containers/create", body, name=name)
        self.call("POST", f"/containers/{name}/start")
        return DockerHost(container=name, socket=self.socket)

    def state(self, name: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/containers/{name}/json")["State"])


def skeleton() -> bytes:
    """An image with nothing in it but links and mount points."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for folder in ("usr", "etc", "tmp", "in", "proc", "sys", "dev", "run"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name in ("bin", "sbin", "lib", "lib64"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{name}"
            tar.addfile(entry)
    return packed.getvalue()


@pytest.fixture(scope="session")
def dockerd(machines_folder: Path) -> Iterator[Docker]:
    folder = machines_folder / "docker"
    folder.mkdir()
    path = str(folder / "docker.sock")
    config = {
        "data-root": str(folder / "data"),
        "exec-root": str(folder / "exec"),
        "pidfile": str(folder / "pid"),
        "hosts": [f"unix://{path}"],
        "iptables": False,
        "ip6tables": False,
        "bridge": "none",
        "ip-forward": False,
        "log-level": "warn",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
    }
    (folder / "daemon.json").write_text(json.dumps(config))
    log = folder / "log"
    with log.open("wb") as out:
        argv = [program("dockerd"), "--config-file", str(folder / "daemon.json")]
        process = subprocess.Popen(argv, stdout=out, stderr=out)
    client = httpx.Client(
        transport=httpx.HTTPTransport(uds=path), base_url="http://docker", timeout=PATIENCE_S
    )
    docker = Docker(socket=path, client=client)

    def answers() -> bool:
        try:
            return client.get("/_ping").status_code == 200
        except httpx.HTTPError:
            return False

    until(answers, process, log)
    change = {"fromSrc": "-", "repo": "skeleton", "changes": "ENV PATH=/usr/sbin:/usr/bin"}
    imported = client.post("/images/create", params=change, content=skeleton())
    assert imported.status_code == 200, imported.text
    yield docker
    for container in docker.call("GET", "/containers/json", all="1"):
        client.delete(f"/containers/{container['Id']}", params={"force": "1"})
    client.close()
    ended(process)


# --- Prometheus ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Scraping:
    """A Prometheus that was started, and may not have scraped yet."""

    url: str
    instance: str
    server: subprocess.Popen[bytes]
    log: Path


@pytest.fixture(scope="session")
def scraping(machines_folder: Path) -> Iterator[Scraping]:
    """It takes five seconds to find out what to scrape: ask for it early, wait for it late."""
    folder = machines_folder / "prometheus"
    folder.mkdir()
    exporter_port, port = free_port(), free_port()
    instance, url = f"127.0.0.1:{exporter_port}", f"http://127.0.0.1:{port}"
    (folder / "config.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        "scrape_configs:\n"
        f"  - {{job_name: node, static_configs: [{{targets: ['{instance}', '127.0.0.1:1']}}]}}\n"
    )
    storage = f"--storage.tsdb.path={folder}/data"
    files = [f"--config.file={folder}/config.yml", storage]
    exporter_argv = [program("prometheus-node-exporter"), f"--web.listen-address={instance}"]
    argv = [program("prometheus"), *files, f"--web.listen-address=127.0.0.1:{port}"]
    log = folder / "log"
    with log.open("wb") as out:
        exporter = subprocess.Popen(exporter_argv, stdout=out, stderr=out)
        server = subprocess.Popen(argv, stdout=out, stderr=out)
    yield Scraping(url=url, instance=instance, server=server, log=log)
    ended(server)
    ended(exporter)


@pytest.fixture(scope="session")
def prometheus(scraping: Scraping) -> PrometheusHost:
    def scraped() -> bool:
        try:
            asked = {"query": "up"}
            answer = httpx.get(f"{scraping.url}/api/v1/query", params=asked, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200 and len(answer.json()["data"]["result"]) == 2

    until(scraped, scraping.server, scraping.log)
    return PrometheusHost(url=scraping.url, instance=scraping.instance)


# --- Kubernetes ---------------------------------------------------------------------------------


@pytest.fixture
async def kubernetes(tmp_path: Path) -> AsyncIterator[KubernetesApi]:
    api = KubernetesApi(tmp_path / "kubeconfig")
    await api.start()
    yield api
    await api.stop()
