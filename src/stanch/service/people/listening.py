"""The two listeners of a responder: a private socket for commands, loopback TCP for health."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Generator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from stanch.model.errors import SetupError

BACKLOG = 128
CLOSE_S = 2


class _Server(uvicorn.Server):
    """Signals belong to the responder, not to one of its listeners."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def serve(app: Starlette, listener: socket.socket) -> None:
    """Answer until cancelled."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=CLOSE_S,
    )
    server = _Server(config)
    try:
        await server.serve(sockets=[listener])
    finally:
        server.should_exit = True
        listener.close()


def private_socket(path: Path) -> socket.socket:
    """A Unix socket that only this OS user can connect to; one left behind is replaced.

    Safe to replace because whoever calls this holds the state directory's lock.
    """
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise SetupError(
            f"cannot make the command socket: {error}",
            on=str(path),
            hint="A socket's path may have about 100 characters; choose a shorter state_directory.",
        ) from error
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def tcp_listener(listen: str) -> socket.socket:
    """`host:port`, as the policy has it. Raises SetupError where it is taken."""
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, so that asyncio switches off what makes an answer in two writes wait for 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), int(port)))
    except OSError as error:
        listener.close()
        raise SetupError(
            f"cannot listen: {error.strerror}",
            on=listen,
            hint="Set another `listen` in the policy.",
        ) from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener
