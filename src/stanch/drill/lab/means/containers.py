"""The rig's server in a container, under a Docker daemon of the rig's own.

The image is empty: this machine's programs are mounted into it, read-only, and so is the server's
folder, under the same path. What the server logs goes to the container's output, as in the images
that people use.
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from stanch.adapters.postgres.binaries import Binaries
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.drill.lab.fault import NotMade
from stanch.drill.lab.means.daemons import Daemon, asked, client, program, unmount_below
from stanch.drill.lab.rig import Rig

PROGRAMS = ("dockerd", "containerd")
NAMES = ("orders-db", "shop-postgres-1", "postgres", "pg15", "db")
IMAGE = "database:latest"
NOTE = "container"
MB = 1024 * 1024
MEMORY_MB = 512
"""As much as it needs, and more."""
SHM_MB = 64
"""Of /dev/shm, as Docker gives to everybody who says nothing else."""
STARTS_S = 40.0
STOP_S = 30.0


@dataclass(slots=True, kw_only=True)
class Container:
    """The server's container, made anew as often as somebody wants."""

    name: str
    server: ScratchServer
    http: httpx.Client
    memory_mb: int = MEMORY_MB
    shm_mb: int = SHM_MB
    binaries: Binaries | None = None
    """Other programs than those that the data directory was made with."""

    def make(self) -> None:
        """A new one in place of what was there, started. Raises: NotMade."""
        self.call("DELETE", f"/containers/{self.name}?force=1", accepted=(404,))
        self.call("POST", f"/containers/create?name={self.name}", self._body())
        self.call("POST", f"/containers/{self.name}/start", accepted=(304,))

    def order(self, what: str) -> None:
        """What people order from the daemon: `stop?t=30`, `kill`, `start`. Raises: NotMade."""
        self.call("POST", f"/containers/{self.name}/{what}", accepted=(304,))

    def state(self) -> Mapping[str, Any]:
        """As the daemon tells it; empty where it does not."""
        return asked(self.http, "GET", f"{AT}/containers/{self.name}/json").get("State", {})

    def ended(self) -> bool:
        return self.state().get("Status") == "exited"

    def said(self) -> str:
        """What it has written so far."""
        url = f"{AT}/containers/{self.name}/logs?stdout=1&stderr=1&tail=400"
        try:
            return self.http.get(url).text
        except httpx.HTTPError:
            return ""

    def call(
        self, method: str, path: str, body: object = None, *, accepted: Sequence[int] = ()
    ) -> None:
        """One request to the daemon. Raises: NotMade."""
        try:
            answer = self.http.request(method, f"{AT}{path}", json=body, timeout=STOP_S + 10)
        except httpx.HTTPError as error:
            raise NotMade(f"docker does not answer: {error}") from error
        if answer.status_code >= 400 and answer.status_code not in accepted:
            raise NotMade(f"docker {path}: {answer.text.strip()[-500:]}")

    def _body(self) -> Mapping[str, Any]:
        server = self.server
        binaries, user = self.binaries or server.binaries, server.folder.user
        own = binaries.bin_dir.parent
        binds = ["/usr:/usr:ro", "/etc/passwd:/etc/passwd:ro"]
        binds.append(f"{server.folder.path}:{server.folder.path}")
        if not own.is_relative_to("/usr") and not own.is_relative_to(server.folder.path):
            binds.append(f"{own}:{own}:ro")
        postgres = str(binaries.program("postgres"))
        return {
            "Image": IMAGE,
            "Cmd": [postgres, "-D", str(server.data_directory)],
            "Env": ["PATH=/usr/sbin:/usr/bin", "LC_ALL=C"],
            "User": f"{user.uid}:{user.gid}" if user is not None else "",
            # As the images that people use: a fast shutdown.
            "StopSignal": "SIGINT",
            "HostConfig": {
                "NetworkMode": "host",
                "Binds": binds,
                "Memory": self.memory_mb * MB,
                "MemorySwap": self.memory_mb * MB,
                "ShmSize": self.shm_mb * MB,
            },
        }


AT = "http://docker"
"""Over its socket any name will do."""


def in_container(rig: Rig) -> None:
    """Have the server run in a container, and tell those who watch which. Raises: NotMade."""
    server = rig.server
    server.stop()
    container = _container(rig)
    container.make()

    def lets_in() -> object:
        if container.ended():
            raise NotMade(f"the container has ended: {container.said()[-800:]}")
        return rig.sql("SELECT 1")

    rig.until(lets_in, seconds=STARTS_S)
    # What is there was written before it had a container.
    server.log_path.unlink(missing_ok=True)
    rig.has_log_file = False


def container_of(rig: Rig) -> Container:
    """What `in_container` has made."""
    made: Container = rig.notes[NOTE]
    return made


def logged(rig: Rig, words: str, *, seconds: float = 20.0) -> None:
    """Wait until the container's output has these words. Raises: NotMade."""
    container = container_of(rig)
    try:
        rig.until(lambda: words in container.said(), seconds=seconds)
    except NotMade as error:
        said = container.said()[-800:]
        raise NotMade(f"the container does not say {words!r}: {said}") from error


# --- the daemon ---------------------------------------------------------------------------------


def _container(rig: Rig) -> Container:
    # Not below the server's folder, which the container sees.
    folder = Path(tempfile.mkdtemp(prefix="docker-", dir=rig.server.folder.path.parent))
    rig.undo(lambda: shutil.rmtree(folder, ignore_errors=True))
    # The daemon leaves a name for its network namespace.
    rig.undo(lambda: unmount_below(folder))
    socket = folder / "docker.sock"
    daemon = _daemon(folder, socket)
    http = rig.enter(client(socket=str(socket)))
    rig.undo(daemon.end)
    daemon.start()

    def answers() -> bool:
        if not daemon.runs:
            raise NotMade(f"dockerd has left: {daemon.said()}")
        try:
            return http.get(f"{AT}/_ping").status_code == 200
        except httpx.HTTPError:
            return False

    rig.until(answers, seconds=STARTS_S)
    made = http.post(
        f"{AT}/images/create", params={"fromSrc": "-", "repo": IMAGE}, content=_skeleton()
    )
    if made.status_code != 200:
        raise NotMade(f"docker takes no image: {made.text[-500:]}")
    container = Container(name=rig.rng.choice(NAMES), server=rig.server, http=http)
    rig.undo(lambda: container.call("DELETE", f"/containers/{container.name}?force=1"))
    rig.notes[NOTE] = container
    rig.policy |= {"host": {"docker": {"container": container.name, "socket": str(socket)}}}
    return container


def _daemon(folder: Path, socket: Path) -> Daemon:
    config = {
        "data-root": str(folder / "root"),
        "exec-root": str(folder / "exec"),
        "pidfile": str(folder / "pid"),
        "hosts": [f"unix://{socket}"],
        "iptables": False,
        "ip6tables": False,
        "bridge": "none",
        "ip-forward": False,
        "log-level": "warn",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        # An image of nothing but links needs no layers, and memory takes none.
        "storage-driver": "vfs",
    }
    path = folder / "daemon.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    argv = [program("dockerd"), "--config-file", str(path)]
    return Daemon(argv=argv, folder=folder, log=folder / "dockerd.log")


def _skeleton() -> bytes:
    """An image with nothing in it but links and mount points."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("usr", "etc", "tmp", "proc", "sys", "dev", "run"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(entry)
        for name in ("bin", "sbin", "lib", "lib64"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{name}"
            tar.addfile(entry)
    return packed.getvalue()
