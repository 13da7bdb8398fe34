"""Health checks against real sockets: bounded in time and size, and never led elsewhere."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from stanch.adapters.services.health import HttpHealth
from stanch.model.readings import Reading
from stanch.policy.signs import HealthCheck


@asynccontextmanager
async def service(
    *answer: bytes, stays: bool = False, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[tuple[str, list[bytes]]]:
    """Says these bytes to every request; `stays`: and then keeps the connection open."""
    asked: list[bytes] = []

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        for piece in answer:
            writer.write(piece)
        await writer.drain()
        if stays:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"{'https' if tls else 'http'}://localhost:{port}/health", asked


def head(status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nConnection: close\r\n{more}\r\n".encode()


async def ok(check: HealthCheck) -> Reading:
    [told, _] = await HttpHealth(check).look()
    return told


def connected(url: str) -> HealthCheck:
    return HealthCheck(name="shop", url=url, json=".database", equals="connected")


async def test_a_service_that_says_it_is_connected_is_well_and_timed() -> None:
    async with service(head(), b'{"database": "connected"}') as (url, asked):
        told, took = await HttpHealth(connected(url)).look()
    assert (told.value, told.subject, told.detail) == (1.0, "shop", "")
    assert took.value is not None
    assert 0 < took.value < 3000
    assert asked[0].startswith(b"GET /health HTTP/1.1\r\n")


async def test_a_service_that_lost_its_database_is_not_well_though_it_answers_200() -> None:
    async with service(head(), b'{"database": "disconnected"}') as (url, _):
        told = await ok(connected(url))
        assert (await ok(HealthCheck(name="shop", url=url))).value == 1.0, "by status alone"
    assert (told.value, told.detail) == (
        0.0,
        ".database is 'disconnected' in place of 'connected'",
    )


async def test_a_redirect_is_not_followed() -> None:
    async with AsyncExitStack() as both:
        there = service(head(), b'{"database": "connected"}')
        elsewhere, asked = await both.enter_async_context(there)
        here = service(head("302 Found", f"Location: {elsewhere}\r\n"))
        url, _ = await both.enter_async_context(here)
        told = await ok(connected(url))
    assert (told.value, told.detail) == (0.0, "status 302 in place of 200")
    assert asked == []


async def test_an_answer_without_end_is_cut() -> None:
    async with service(head(), *[b" " * 65_536] * 64, stays=True) as (url, _):
        told = await ok(connected(url))
    assert (told.value, told.detail) == (0.0, "the answer is longer than 64 kB")


async def test_an_answer_that_trickles_is_given_up_at_the_deadline() -> None:
    async with service(head(), b'{"data', stays=True) as (url, _), asyncio.timeout(2):
        check = HealthCheck(name="shop", url=url, json=".a", equals="b", timeout_s=0.2)
        told = await ok(check)
    assert (told.value, told.detail) == (0.0, "no answer within 0.2 s")


@pytest.mark.parametrize("said", [b"", b"\x00\xff\x1b[2J\r\n\r\n", b"HTTP/1.1 999999 \r\n\r\n"])
async def test_what_is_no_http_is_not_well(said: bytes) -> None:
    async with service(said) as (url, _):
        told = await ok(HealthCheck(name="shop", url=url))
    assert told.value == 0.0
    assert told.detail
    assert told.detail.isprintable()


async def test_nobody_listening_is_not_well() -> None:
    async with service() as (url, _):
        pass
    assert (await ok(HealthCheck(name="shop", url=url))).value == 0.0


async def test_a_certificate_must_be_of_an_authority_that_is_trusted(
    own_authority: tuple[ssl.SSLContext, str], tmp_path: Path
) -> None:
    context, file = own_authority
    async with service(head(), tls=context) as (url, asked):
        strange = await ok(HealthCheck(name="shop", url=url))
        known = await ok(HealthCheck(name="shop", url=url, ca_file=file))
        gone = await ok(HealthCheck(name="shop", url=url, ca_file=str(tmp_path / "gone.pem")))
    assert (strange.value, known.value, gone.value) == (0.0, 1.0, 0.0)
    assert "certificate" in strange.detail.lower()
    assert len(asked) == 1, "nothing was asked before the certificate was verified"
