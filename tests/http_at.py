"""HTTP services on loopback for tests: what was asked is kept, what is said is up to the test."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    """Names in small letters."""
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One answer; `endless` sends its body again and again, and `stays` never ends it."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    endless: bool = False
    stays: bool = False


Answers = Callable[[Asked], Said]


def said(value: object, status: int = 200) -> Said:
    """JSON."""
    return Said(status=status, body=json.dumps(value).encode())


@dataclass(slots=True)
class At:
    """A service that listens."""

    url: str
    asked: list[Asked] = field(default_factory=list[Asked])
    sent_bytes: int = 0
    at_once_max: int = 0


@asynccontextmanager
async def http_at(answers: Answers, *, tls: ssl.SSLContext | None = None) -> AsyncGenerator[At]:
    """Listens on a port of its own until the block is left."""
    at, now = At(url=""), 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now
        now += 1
        at.at_once_max = max(at.at_once_max, now)
        try:
            # One connection carries several questions of one look.
            while (asked := await _read(reader)) is not None:
                at.asked.append(asked)
                await _say(at, answers(asked), writer, reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            now -= 1
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        at.url = f"{'https' if tls else 'http'}://localhost:{port}"
        yield at


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    return Asked(
        method=method, path=parts.path, query=parse_qs(parts.query), headers=headers, body=body
    )


async def _say(
    at: At, told: Said, writer: asyncio.StreamWriter, reader: asyncio.StreamReader
) -> None:
    known = {} if told.endless or told.stays else {"Content-Length": str(len(told.body))}
    more = "".join(f"{k}: {v}\r\n" for k, v in {**known, **told.headers}.items())
    writer.write(f"HTTP/1.1 {told.status} Said\r\n{more}\r\n".encode())
    while True:
        writer.write(told.body)
        at.sent_bytes += len(told.body)
        await writer.drain()
        if not told.endless:
            break
    if told.stays:
        await reader.read()
