"""A web server on this machine that keeps what is posted to it, with the moment it had it all."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One post."""

    path: str
    body: dict[str, Any]
    at: float
    """Unix time at which the last byte was here."""


class Receiver:
    """Takes everything; use it as a context manager."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._arrivals: list[Arrival] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._keep))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str) -> str:
        """Where to post."""
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    @property
    def arrivals(self) -> list[Arrival]:
        """Everything so far, oldest first."""
        with self._changed:
            return list(self._arrivals)

    def wait_for(self, fits: Callable[[Arrival], bool], *, deadline_s: float) -> Arrival | None:
        """The first post that fits, as soon as there is one; None if none came in time."""
        end = time.monotonic() + deadline_s
        looked = 0
        with self._changed:
            while True:
                for arrival in self._arrivals[looked:]:
                    if fits(arrival):
                        return arrival
                looked = len(self._arrivals)
                left_s = end - time.monotonic()
                if left_s <= 0:
                    return None
                self._changed.wait(left_s)

    def _keep(self, path: str, body: bytes, at: float) -> None:
        with self._changed:
            self._arrivals.append(Arrival(path=path, body=json.loads(body), at=at))
            self._changed.notify_all()


def _handler(keep: Callable[[str, bytes, float], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            keep(self.path, body, time.time())
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing to say."""

    return Handler
