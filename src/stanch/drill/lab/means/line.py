"""A line to a port of this machine that can be made slow while it is in use."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

CHUNK_BYTES = 8192
WINDOW_BYTES = 64 * 1024
"""What the sender may have under way: a long line keeps little more, loopback keeps megabytes."""
ACCEPT_S = 0.2


class Line:
    """A context manager; whoever connects to `port` reaches the server behind it."""

    def __init__(self, behind: int) -> None:
        self.bytes_per_s: float | None = None
        """What the server sends passes no faster; None: as it comes."""
        self._behind = behind
        self._ending = threading.Event()
        self._ends: list[socket.socket] = []
        self._front = socket.create_server(("127.0.0.1", 0))
        self._front.settimeout(ACCEPT_S)
        self.port: int = self._front.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._front.close()
        for end in self._ends:
            _hang_up(end)

    def _accept(self) -> None:
        while not self._ending.is_set():
            with suppress(OSError):
                client, _ = self._front.accept()
                self._join(client)

    def _join(self, client: socket.socket) -> None:
        client.settimeout(None)
        server = socket.socket()
        self._ends += [client, server]
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
        try:
            server.connect(("127.0.0.1", self._behind))
        except OSError:
            _hang_up(client)
            return
        for pair in ((client, server, False), (server, client, True)):
            threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket, from_server: bool) -> None:
        with suppress(OSError):
            while data := one.recv(CHUNK_BYTES):
                if from_server and self.bytes_per_s is not None:
                    self._ending.wait(len(data) / self.bytes_per_s)
                other.sendall(data)
        for end in (one, other):
            _hang_up(end)


def _hang_up(end: socket.socket) -> None:
    with suppress(OSError):
        # A close alone would not wake the thread that waits on it.
        end.shutdown(socket.SHUT_RDWR)
    end.close()
