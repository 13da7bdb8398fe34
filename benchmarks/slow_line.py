"""Ports of this machine behind a slow line: `slow_line.py MS PORT...` prints the ports in front.

Every byte, every end and every refusal arrives so many milliseconds later. The kernel still
completes the handshake with this process at once; a server that refuses is a connection that is
accepted and then reset, which is what a port forwarder in front of it does.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from collections.abc import Callable


class End(asyncio.Protocol):
    """One side of a connection."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._kept: list[Callable[[], None]] = []
        self.other: End | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        self._later(lambda: self._pass_on(data))

    def connection_lost(self, exc: Exception | None) -> None:
        self._later(self._end_other)

    def join(self, other: End) -> None:
        """From now on what arrives here goes there, and back."""
        self.other, other.other = other, self
        for act in self._kept:
            act()
        self._kept.clear()

    def reset(self) -> None:
        """End with RST."""
        if self.transport is not None and not self.transport.is_closing():
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    def _later(self, act: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(self._delay_s, self._in_order, act)

    def _in_order(self, act: Callable[[], None]) -> None:
        if self.other is None:
            self._kept.append(act)
        else:
            act()

    def _pass_on(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def _end_other(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class Front(End):
    """The client's side: opens the other one."""

    def __init__(self, delay_s: float, port: int) -> None:
        super().__init__(delay_s)
        self._port = port
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        back = End(self._delay_s)
        try:
            await loop.create_connection(lambda: back, "127.0.0.1", self._port)
        except OSError:
            loop.call_later(self._delay_s, self.reset)
            return
        self.join(back)


async def main() -> None:
    delay_s, ports = float(sys.argv[1]) / 1000, [int(text) for text in sys.argv[2:]]
    loop = asyncio.get_running_loop()
    fronts: list[int] = []
    for port in ports:
        server = await loop.create_server(lambda port=port: Front(delay_s, port), "127.0.0.1", 0)
        fronts.append(server.sockets[0].getsockname()[1])
    print(json.dumps({"ports": fronts}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
