"""What a source is answered: over the real routes, a real store, and the files of the policy."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from signals_at import SignalHouse, fixture, policy_with
from stanch.adapters.channels.signature import HEADER, sign
from stanch.policy.signals import ExpectedHeartbeat, Signals, SignalSource
from stanch.service.record.changed import Changed
from stanch.service.signals.heartbeats import Heartbeats
from stanch.service.signals.http import Door
from stanch.service.signals.intake import WAITING_MAX
from stanch.store.changes import changes_of
from stanch.watch.signals.payload import BODY_BYTES_MAX

BEARER = {"Authorization": "Bearer t0ken"}


class Listening:
    """The routes of a responder, asked in this process."""

    def __init__(self, house: SignalHouse, folder: Path) -> None:
        self.house = house
        self.folder = folder
        self.counted: Counter[tuple[str, str]] = Counter()
        self.beats = Heartbeats(house.rows, house.intake, policies=house.policies, clock=house)
        self.door = Door(
            house.intake,
            policies=house.policies,
            clock=house,
            hear=self.beats.hear,
            changed=Changed(house.inline(), house, dict).take,
            count=self.count,
        )
        transport = httpx.ASGITransport(app=Starlette(routes=self.door.routes()))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://stanch")

    def count(self, source: str, outcome: str, times: int) -> None:
        self.counted[source, outcome] += times

    async def post(self, path: str, plain: Any = None, **more: Any) -> httpx.Response:
        body = more.pop("content", json.dumps(plain))
        headers = {**BEARER, **more.pop("headers", {})}
        return await self.client.post(path, content=body, headers=headers, **more)

    async def keys(self) -> list[str]:
        rows = await self.house.rows.listed(firing_only=False, limit=99)
        return sorted(row.signal.key for row in rows)


@asynccontextmanager
async def listening(tmp_path: Path, *, storing: bool = True) -> AsyncIterator[Listening]:
    (tmp_path / "token").write_text("t0ken\n")
    (tmp_path / "secret").write_text("shared\n")
    token, secret = str(tmp_path / "token"), str(tmp_path / "secret")
    signals = Signals(
        sources=(
            SignalSource(name="prom", format="alertmanager", token_file=token),
            SignalSource(name="pd", format="pagerduty", secret_file=secret),
            SignalSource(name="own", format="stanch", token_file=token),
            SignalSource(name="ci", format="deploy", secret_file=secret),
            SignalSource(
                name="gh",
                format="deploy",
                secret_file=secret,
                signature_header="X-Hub-Signature-256",
            ),
            SignalSource(name="lost", format="stanch", token_file="/nowhere/token"),
        ),
        heartbeats=(ExpectedHeartbeat(name="dump", every_s=60, token_file=token),),
    )
    house = await SignalHouse(policy_with(signals)).open()
    made = Listening(house, tmp_path)
    tasks = [asyncio.create_task(house.intake.run())] if storing else []
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await made.client.aclose()


async def test_what_is_answered_with_200_is_in_the_store(tmp_path: Path) -> None:
    async with listening(tmp_path) as made:
        answer = await made.post("/signals/prom", fixture("alertmanager"))
        assert (answer.status_code, answer.json()["stored"]) == (200, 3)
        assert await made.keys() == ["1a30ba71cca2921f"], "ends of what never began make no row"
        assert made.counted["prom", "stored"] == 3


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer wrong"}, {"Authorization": ""}])
async def test_a_stranger_is_turned_away_before_the_body_is_read(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    read = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read = True
        yield b"{}"

    async with listening(tmp_path) as made:
        answer = await made.post("/signals/prom", content=body(), headers=headers)
        assert answer.status_code == 401
        assert made.counted["prom", "unauthorized"] == 1
        assert not read or await made.keys() == []


async def test_a_wrong_signature_stores_nothing(tmp_path: Path) -> None:
    body = json.dumps(fixture("pagerduty")).encode()
    right = hmac.new(b"shared", body, hashlib.sha256).hexdigest()
    async with listening(tmp_path) as made:
        for value, status in ((f"v1={'0' * 64}", 401), (f"v1={right}", 200)):
            headers = {"X-PagerDuty-Signature": value}
            answer = await made.post("/signals/pd", content=body, headers=headers)
            assert answer.status_code == status
        assert await made.keys() == ["PGR0VU2"]


async def test_the_own_form_finds_its_source_by_the_token(tmp_path: Path) -> None:
    async with listening(tmp_path) as made:
        answer = await made.post("/signals", {"title": "x"})
        assert answer.status_code == 200, "another source's file is gone; this one's is not"
        [row] = await made.house.rows.listed(firing_only=True, limit=9)
        assert row.signal.source == "own"
        wrong = await made.post("/signals", {"title": "x"}, headers={"Authorization": "Bearer no"})
        assert wrong.status_code == 401


@pytest.mark.parametrize(
    ("content", "status", "because"),
    [
        (b"{", 400, "malformed"),
        (b"\xff", 400, "malformed"),
        (b'{"alerts": 7}', 400, "unknown_shape"),
        (b" " * (BODY_BYTES_MAX + 1), 413, "too_large"),
    ],
)
async def test_a_bad_body_is_answered_with_a_reason_and_counted(
    tmp_path: Path, content: bytes, status: int, because: str
) -> None:
    async with listening(tmp_path) as made:
        answer = await made.post("/signals/prom", content=content)
        assert answer.status_code == status
        assert answer.json()["text"]
        assert made.counted["prom", because] == 1
        # Nothing else is affected.
        assert (await made.post("/signals/prom", fixture("alertmanager"))).status_code == 200


async def test_a_body_without_a_length_is_read_up_to_the_limit(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65_536

    async with listening(tmp_path) as made:
        answer = await made.post("/signals/prom", content=endless())
        assert answer.status_code == 413


async def test_packed_bodies_and_unknown_names_are_told_so(tmp_path: Path) -> None:
    async with listening(tmp_path) as made:
        packed = await made.post("/signals/prom", {}, headers={"Content-Encoding": "gzip"})
        assert packed.status_code == 415
        assert (await made.post("/signals/nobody", {})).status_code == 404
        assert made.counted["unknown", "unauthorized"] == 1
        assert (await made.client.get("/signals/prom")).status_code == 405


async def test_an_unreadable_token_file_asks_the_sender_to_come_back(tmp_path: Path) -> None:
    async with listening(tmp_path) as made:
        answer = await made.post("/signals/lost", {"title": "x"})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


async def test_a_full_queue_asks_the_sender_to_come_back(tmp_path: Path) -> None:
    async with listening(tmp_path, storing=False) as made:
        plain = {"signals": [{"title": str(n)} for n in range(5000)]}
        waiting = [
            asyncio.create_task(made.post("/signals/own", plain))
            for _ in range(WAITING_MAX // 5000)
        ]
        while made.house.intake.waiting < WAITING_MAX:
            await asyncio.sleep(0.01)
        answer = await made.post("/signals/own", {"title": "one more"})
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        assert made.counted["own", "busy"] == 1
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_store_that_cannot_be_written_pages_once_and_asks_for_the_alerts_again(
    tmp_path: Path,
) -> None:
    async with listening(tmp_path) as made:
        made.house.store.close()
        plain = {"signals": [{"title": str(n), "severity": "critical"} for n in range(40)]}
        answer = await made.post("/signals/own", plain)
        small = await made.post("/signals/own", {"title": "x", "severity": "info"})
        assert answer.status_code == small.status_code == 503
        assert "closed" in answer.json()["text"]
        assert [s.key for s in made.house.paged] == ["outside_alert:own"]


async def test_a_heartbeat_is_heard_and_kept_and_its_silence_is_told(tmp_path: Path) -> None:
    async with listening(tmp_path) as made:
        for ask in (made.client.get, made.client.post):
            assert (await ask("/signals/heartbeat/dump", headers=BEARER)).status_code == 200
        [beat] = await made.house.rows.beats()
        assert (beat.name, beat.count) == ("dump", 2)
        assert await silent(made, for_s=60) == []
        assert await silent(made, for_s=1) == ["outside_alert:heartbeat:dump"]
        assert (await made.client.get("/signals/heartbeat/dump")).status_code == 401
        assert (await made.client.get("/signals/heartbeat/x", headers=BEARER)).status_code == 404


async def silent(made: Listening, *, for_s: float) -> list[str]:
    """The symptoms of every incident, after so much more time without a beat."""
    made.house.later(for_s)
    await made.beats.look()
    await made.house.tell()
    return [key for incident in await made.house.incidents() for key in incident.symptoms]


def github_signed(body: str) -> dict[str, str]:
    mac = hmac.new(b"shared", body.encode(), hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={mac}"}


async def deployed(made: Listening, *, target: str = "orders") -> list[str]:
    since = made.house.at - timedelta(days=1)
    found = made.house.store.read(
        lambda c: changes_of(c, target, since=since, until=None, limit=99)
    )
    return [f"{c.what} {c.before or '-'} {c.after} {c.by} {c.link}" for c in found]


async def test_a_signed_deploy_is_a_change_and_no_alert_and_told_again_it_is_one(
    tmp_path: Path,
) -> None:
    plain = {
        "service": "checkout",
        "version": "1.4.2",
        "previous": "1.4.1",
        "by": "ann",
        "link": "https://ci.example.com/7",
        "target": "orders",
    }
    async with listening(tmp_path) as made:
        body = json.dumps(plain)
        for _ in range(2):
            answer = await made.post("/signals/gh", content=body, headers=github_signed(body))
            assert (answer.status_code, answer.json()["stored"]) == (200, 1)
        assert await deployed(made) == ["checkout 1.4.1 1.4.2 ann https://ci.example.com/7"]
        assert await made.keys() == []
        stamp = int(made.house.at.timestamp())
        headers = {HEADER: sign(b"shared", sent_at_unix=stamp, body=body.encode())}
        assert (await made.post("/signals/ci", content=body, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        ({"service": "checkout"}, "`version` is missing"),
        ({"service": "a", "version": "1", "target": "nowhere"}, "no target 'nowhere'"),
        ({"service": "a", "version": "1", "at": "yesterday"}, "`at`"),
        ({"service": "a", "version": "1", "colour": "red"}, "unknown field"),
        ({"deploys": [3]}, "not an object"),
        ({"deploys": []}, "no deploys"),
    ],
)
async def test_a_deploy_that_cannot_be_read_is_refused_with_the_reason(
    tmp_path: Path, plain: dict[str, Any], says: str
) -> None:
    async with listening(tmp_path) as made:
        body = json.dumps(plain)
        answer = await made.post("/signals/gh", content=body, headers=github_signed(body))
        assert (answer.status_code, says in answer.json()["text"]) == (400, True), answer.text
        assert await deployed(made) == []


async def test_a_deploy_without_the_secret_is_turned_away(tmp_path: Path) -> None:
    async with listening(tmp_path) as made:
        body = '{"service": "a", "version": "1"}'
        wrong = {"X-Hub-Signature-256": "sha256=" + "0" * 64}
        assert (await made.post("/signals/gh", content=body, headers=wrong)).status_code == 401
        assert (await made.post("/signals/ci", content=body)).status_code == 401
        assert await deployed(made) == []


async def test_a_deploy_that_names_no_target_is_shown_at_all_of_them(tmp_path: Path) -> None:
    async with listening(tmp_path) as made:
        body = '{"deploys": [{"service": "a\\u001b[2J", "version": "1", "at": 1772330000}]}'
        await made.post("/signals/gh", content=body, headers=github_signed(body))
        assert await deployed(made) == await deployed(made, target="crm") == ["a\\x1b[2J - 1  "]
