"""The listener for the network."""

from __future__ import annotations

import asyncio
import time

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from stanch.service.people.listening import serve, tcp_listener


async def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_first_half() -> None:
    app = Starlette(routes=[Route("/", lambda request: JSONResponse({"ok": True}))])
    listener = tcp_listener("127.0.0.1:0")
    port = listener.getsockname()[1]
    serving = asyncio.create_task(serve(app, listener))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    took_s = list[float]()
    for _ in range(12):
        began = time.perf_counter()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"}")
        took_s.append(time.perf_counter() - began)
    writer.close()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    # An acknowledgement that is put off comes after 40 ms; the first few come at once.
    assert min(took_s[6:]) < 0.03, took_s
