"""A PostgreSQL server in a container of a real daemon, as Compose would have made it.

`contained`   runs; one a test
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import pytest

from fix_machines import Docker
from fix_servers import MakeServer
from stanch.adapters.postgres.scratch import ScratchServer

PATIENCE_S = 30.0
LABELS = {"com.docker.compose.project": "contained"}


class Contained:
    """A scratch server's data directory under a server in a container."""

    def __init__(self, docker: Docker, server: ScratchServer, name: str) -> None:
        self.docker, self.server, self.name = docker, server, name
        owner = os.stat(server.data_directory)
        self.body = {
            "Image": "skeleton:latest",
            "User": f"{owner.st_uid}:{owner.st_gid}",
            "Env": [f"PGDATA={server.data_directory}"],
            "Cmd": [str(server.binaries.bin_dir / "postgres")],
            "HostConfig": {
                "NetworkMode": "none",
                "Binds": ["/usr:/usr:ro", f"{server.folder.path}:{server.folder.path}"],
            },
            "StopSignal": "SIGINT",
            "Labels": LABELS | {"com.docker.compose.service": "db"},
        }

    def start(self) -> None:
        self.docker.client.delete(f"/containers/{self.name}", params={"force": "1"})
        self.docker.call("POST", "/containers/create", self.body, name=self.name)
        self.docker.call("POST", f"/containers/{self.name}/start")
        end_s = time.monotonic() + PATIENCE_S
        socket = self.server.folder.sockets / f".s.PGSQL.{self.server.port}"
        while b"ready" not in self._lock() or not socket.exists():
            assert time.monotonic() < end_s, self.docker.state(self.name)
            time.sleep(0.05)

    def _lock(self) -> bytes:
        try:
            return (self.server.data_directory / "postmaster.pid").read_bytes()
        except FileNotFoundError:
            return b""

    def end(self, how: str) -> None:
        self.docker.call("POST", f"/containers/{self.name}/{how}")
        end_s = time.monotonic() + PATIENCE_S
        while self.docker.state(self.name)["Running"]:
            assert time.monotonic() < end_s
            time.sleep(0.05)

    @property
    def dsn(self) -> str:
        return self.server.dsn("stanch_watch", over_socket=True)

    @property
    def host(self) -> str:
        return json.dumps({"docker": {"container": self.name, "socket": self.docker.socket}})


@pytest.fixture
def contained(dockerd: Docker, make_server: MakeServer) -> Iterator[Contained]:
    server = make_server()
    server.stop()
    one = Contained(dockerd, server, "contained")
    one.start()
    yield one
    dockerd.client.delete("/containers/contained", params={"force": "1"})
