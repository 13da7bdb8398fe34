"""What an outside service hears from a healthy core, and what it does not hear from a sick one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from http_at import At, Said, http_at
from stanch.adapters.postgres.scratch import free_port
from stanch.policy.policy import Heartbeat
from stanch.service.errands import send_heartbeats

QUICKLY_S = 0.02
HEADS = {"writer-1": "a1b2"}


@asynccontextmanager
async def beating(
    policy: Callable[[], Heartbeat | None], *, ok: Callable[[], bool] = lambda: True
) -> AsyncGenerator[list[str]]:
    """Sends until the block is left; the outcomes that were counted."""
    counted: list[str] = []
    sending = asyncio.create_task(
        send_heartbeats(policy, lambda: {"ok": ok()}, lambda: HEADS, counted.append)
    )
    try:
        yield counted
    finally:
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending


async def until(there: Callable[[], Sequence[object]], *, count: int = 1) -> None:
    async with asyncio.timeout(20):
        while len(there()) < count:
            await asyncio.sleep(QUICKLY_S)


def to(at: At) -> Heartbeat:
    return Heartbeat(url=f"{at.url}/beat", every_s=QUICKLY_S)


async def test_a_healthy_core_is_heard_again_and_again_with_the_newest_hash() -> None:
    async with http_at(lambda asked: Said()) as at, beating(lambda: to(at)) as counted:
        await until(lambda: counted, count=2)
    assert {(one.method, one.path) for one in at.asked} == {("POST", "/beat")}
    assert json.loads(at.asked[0].body) == {"heads": HEADS}
    assert set(counted) == {"sent"}


async def test_a_core_that_is_not_well_is_silent_until_it_is() -> None:
    looks: list[bool] = []

    def well() -> bool:
        looks.append(len(looks) >= 3)
        return looks[-1]

    async with http_at(lambda asked: Said()) as at, beating(lambda: to(at), ok=well) as counted:
        await until(lambda: looks, count=3)
        assert at.asked == []
        await until(lambda: counted)
    assert at.asked


async def test_what_is_refused_or_reaches_nobody_is_counted_and_tried_again() -> None:
    async with http_at(lambda asked: Said(status=500)) as at, beating(lambda: to(at)) as counted:
        await until(lambda: counted, count=2)
    assert set(counted) == {"refused"}
    nobody = Heartbeat(url=f"http://127.0.0.1:{free_port()}/", every_s=QUICKLY_S)
    async with beating(lambda: nobody) as counted:
        await until(lambda: counted, count=2)
    assert set(counted) == {"failed"}


async def test_one_that_a_reload_brings_is_sent_from_then_on() -> None:
    in_force: list[Heartbeat] = []
    async with (
        http_at(lambda asked: Said()) as at,
        beating(lambda: in_force[0] if in_force else None) as counted,
    ):
        await asyncio.sleep(0)
        assert at.asked == []
        in_force.append(to(at))
        await until(lambda: counted)
