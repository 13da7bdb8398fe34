"""Many small real servers on this machine: SCRAM, TLS where the programs have it, some far away."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from children import Child
from figures import say

from stanch.adapters.postgres.binaries import Binaries, all_binaries
from stanch.adapters.postgres.scratch import ScratchServer
from stanch.adapters.postgres.scratch_folder import ScratchOptions, Setting
from stanch.adapters.postgres.volumes import mount_sized_volume

SMALL: Mapping[str, Setting] = {
    "shared_buffers": "128kB",
    "max_connections": 20,
    "max_wal_senders": 0,
    "wal_level": "minimal",
    "autovacuum": False,
    "min_wal_size": "2MB",
    "max_wal_size": "16MB",
}
"""What a server needs so that fifty of them leave the machine to those who watch."""

FAR_MS = 12.0
"""Each way, so a round trip to a far server takes 24 ms and more."""

MEMORY_MB = 6000


class Fleet:
    """`count` started servers, the last `far` of them behind a slow line."""

    def __init__(self, count: int, *, far: int = 0, conf: Mapping[str, Setting] = SMALL) -> None:
        self._stack = ExitStack()
        self._count = count
        self._far = far
        self._conf = dict(conf)
        self.servers: dict[str, ScratchServer] = {}
        self._far_ports: dict[str, int] = {}
        self.binaries = with_tls() or all_binaries()[0]
        self.tls = with_tls() is not None

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def dsn(self, name: str) -> str:
        """How the responder reaches a server: over the slow line where it lies behind one."""
        server = self.servers[name]
        port = self._far_ports.get(name, server.port)
        return server.dsn("stanch_watch", port=port, sslmode=self.sslmode)

    @property
    def sslmode(self) -> str:
        return "require" if self.tls else "disable"

    def _make(self) -> None:
        parent = fast_folder(self._stack, MEMORY_MB)
        options = ScratchOptions(auth="scram-sha-256", wal_segsize_mb=1, parent=parent)
        template = ScratchServer.create(self.binaries, options=options)
        self._stack.callback(template.destroy)
        for number in range(self._count):
            name = f"db{number + 1:03d}"
            copy = ScratchOptions(auth="scram-sha-256", conf=self._conf, parent=parent)
            server = ScratchServer.create(options=copy, template=template)
            self._stack.callback(server.destroy)
            if self.tls:
                certify(server)
            server.start()
            self.servers[name] = server
        names = list(self.servers)[self._count - self._far :] if self._far else []
        if names:
            ports = [str(self.servers[name].port) for name in names]
            line = self._stack.enter_context(Child("slow_line.py", str(FAR_MS), *ports))
            self._far_ports = dict(zip(names, line.said["ports"], strict=True))
        say(f"{self._count} servers of version {self.binaries.version}, {self._far} of them far")


def kill(server: ScratchServer) -> float:
    """SIGKILL the postmaster; the moment just before, in Unix time."""
    return signal_postmaster(server, signal.SIGKILL)


def signal_postmaster(server: ScratchServer, number: signal.Signals) -> float:
    """Send a signal to the postmaster; the moment just before, in Unix time."""
    pid = server.postmaster_pid()
    assert pid is not None, "the server is not running"
    at = time.time()
    os.kill(pid, number)
    return at


def with_tls() -> Binaries | None:
    """Server programs that were built with OpenSSL, if this machine has any."""
    for found in all_binaries():
        said = subprocess.run(
            [found.program("pg_config"), "--configure"], capture_output=True, text=True, check=False
        )
        if "openssl" in said.stdout:
            return found
    return None


def certify(server: ScratchServer) -> None:
    """Give a server a certificate of its own making and switch TLS on; it must be stopped."""
    folder = server.folder
    key, certificate = folder.path / "server.key", folder.path / "server.crt"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-new",
                "-x509",
                "-days",
                "365",
                "-nodes",
                "-subj",
                "/CN=localhost",
            ),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    for path in (key, certificate):
        path.chmod(0o600)
        if folder.user is not None:
            folder.user.own(path)
    server.set_conf({"ssl": True, "ssl_key_file": str(key), "ssl_cert_file": str(certificate)})


def fast_folder(stack: ExitStack, size_mb: int) -> Path:
    """Memory where it may be mounted: what is measured is the watch, not this machine's disk."""
    name = stack.enter_context(tempfile.TemporaryDirectory(prefix="stanch-f-", dir="/tmp"))
    Path(name).chmod(0o711)
    memory = mount_sized_volume(Path(name, "m"), size_mb=size_mb, owner=None)
    if memory is None:
        return Path(name)
    stack.callback(memory.unmount)
    memory.mount_point.chmod(0o711)
    return memory.mount_point
