import asyncio
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stanch.adapters.channels.webhook import RETRY_AFTER_S_MAX, Webhook, retry_after_s
from stanch.model.changes import NotedChange
from stanch.model.ids import ChannelName, DeliveryId, PersonId
from stanch.model.links import Link
from stanch.model.messages import Delivery, Handover, Message
from stanch.policy.policy import WebhookChannel

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)


def hook(url: str, secret_file: Path | str = "") -> Webhook:
    channel = WebhookChannel(
        name=ChannelName("hook"), url=url, secret_file=str(secret_file), timeout_s=5
    )
    return Webhook(channel)


def answering(code: int, **headers: str) -> Any:
    def answer(request: Any) -> bool:
        request.answer(code, b"because", **headers)
        return True

    return answer


async def test_a_strict_receiver_takes_a_signed_page_of_the_documented_shape(
    receiver: Any, page: Message, to_ann: Delivery, secret_file: Path
) -> None:
    to = replace(to_ann, person=PersonId("ann"))
    result = await hook(receiver.url, secret_file).send(page, to, deadline_s=5)
    assert result.outcome is Handover.ACCEPTED
    fields = receiver.taken[to.id]
    assert fields["short"] == page.short
    assert fields["body"] == page.body
    assert (fields["person"], fields["kind"], fields["severity_rank"]) == ("ann", "page", 1)


async def test_links_are_posted_as_objects_and_what_is_not_printable_in_them_is_escaped(
    receiver: Any, page: Message, to_ann: Delivery, secret_file: Path
) -> None:
    links = (Link(name="traces", url="https://t.example.com/?a=1"), Link(name="x", url="\x1b[2J"))
    told = replace(page, links=links)
    assert (await hook(receiver.url, secret_file).send(told, to_ann, deadline_s=5)).outcome is (
        Handover.ACCEPTED
    )
    assert receiver.taken[to_ann.id]["links"] == [
        {"name": "traces", "url": "https://t.example.com/?a=1"},
        {"name": "x", "url": "\\x1b[2J"},
    ]


async def test_what_changed_before_is_posted_as_objects(
    receiver: Any, page: Message, to_ann: Delivery, secret_file: Path
) -> None:
    at = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
    noted = NotedChange(at=at, kind="deploy", what="checkout", told="version 1\x1b")
    told = replace(page, changes=(noted,))
    await hook(receiver.url, secret_file).send(told, to_ann, deadline_s=5)
    [change] = receiver.taken[to_ann.id]["changes"]
    assert (change["what"], change["told"], change["link"]) == ("checkout", "version 1\\x1b", "")
    assert change["at"].startswith("2026-03-01T03:00:00")


async def test_a_wrong_secret_is_refused_and_not_tried_again(
    receiver: Any, page: Message, to_ann: Delivery, secret_file: Path
) -> None:
    secret_file.write_text("another")
    result = await hook(receiver.url, secret_file).send(page, to_ann, deadline_s=5)
    assert (result.outcome, result.retryable) == (Handover.FAILED, False)
    assert receiver.taken == {}


async def test_a_changed_secret_is_used_without_a_restart(
    receiver: Any, page: Message, to_ann: Delivery, secret_file: Path
) -> None:
    port, right = hook(receiver.url, secret_file), secret_file.read_bytes()
    secret_file.write_text("another")
    assert (await port.send(page, to_ann, deadline_s=5)).outcome is Handover.FAILED
    secret_file.write_bytes(right)
    assert (await port.send(page, to_ann, deadline_s=5)).outcome is Handover.ACCEPTED


async def test_a_repeat_carries_the_same_key_so_that_it_is_counted_once(
    receiver: Any, page: Message, to_ann: Delivery, secret_file: Path
) -> None:
    port = hook(receiver.url, secret_file)
    receiver.after = lambda request: receiver.released.wait(10)
    first = await port.send(page, to_ann, deadline_s=0.5)
    receiver.after = None
    again = await port.send(replace(page, possible_repeat=True), to_ann, deadline_s=5)
    assert (first.outcome, again.outcome) == (Handover.IN_DOUBT, Handover.ACCEPTED)
    assert (len(receiver.taken), receiver.repeats) == (1, 1)


async def test_a_receiver_that_hangs_up_after_reading_leaves_it_in_doubt(
    receiver: Any, page: Message, to_ann: Delivery, secret_file: Path
) -> None:
    def hang_up(request: BaseHTTPRequestHandler) -> bool:
        request.connection.shutdown(socket.SHUT_RDWR)
        request.close_connection = True
        return True

    receiver.after = hang_up
    result = await hook(receiver.url, secret_file).send(page, to_ann, deadline_s=5)
    assert result.outcome is Handover.IN_DOUBT
    assert len(receiver.taken) == 1


async def test_nobody_listening_is_a_failure_that_is_tried_again(
    page: Message, to_ann: Delivery
) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = hook(f"http://127.0.0.1:{reserved.getsockname()[1]}/")
        result = await port.send(page, to_ann, deadline_s=5)
    assert (result.outcome, result.retryable) == (Handover.FAILED, True)


@pytest.mark.parametrize(
    ("code", "outcome", "retryable"),
    [
        (200, Handover.ACCEPTED, True),
        (204, Handover.ACCEPTED, True),
        (400, Handover.FAILED, False),
        (404, Handover.FAILED, False),
        (408, Handover.FAILED, True),
        (429, Handover.FAILED, True),
        (500, Handover.FAILED, True),
        (503, Handover.FAILED, True),
        (502, Handover.IN_DOUBT, True),
        (504, Handover.IN_DOUBT, True),
    ],
)
async def test_each_status_means_what_http_says(
    receiver: Any,
    page: Message,
    to_ann: Delivery,
    code: int,
    outcome: Handover,
    retryable: bool,
) -> None:
    receiver.after = answering(code)
    result = await hook(receiver.url).send(page, to_ann, deadline_s=5)
    assert (result.outcome, result.retryable) == (outcome, retryable)
    assert str(code) in result.detail


async def test_a_redirect_is_not_followed(receiver: Any, page: Message, to_ann: Delivery) -> None:
    receiver.after = answering(307, Location=receiver.url + "/elsewhere")
    result = await hook(receiver.url).send(page, to_ann, deadline_s=5)
    assert (result.outcome, result.retryable) == (Handover.FAILED, False)
    assert receiver.requests == 1


async def test_a_request_to_come_back_later_is_passed_on(
    receiver: Any, page: Message, to_ann: Delivery
) -> None:
    receiver.after = answering(429, Retry_After="7")
    result = await hook(receiver.url).send(page, to_ann, deadline_s=5)
    assert result.retry_after_s == 7


async def test_an_endless_answer_is_not_read_to_its_end(
    receiver: Any, page: Message, to_ann: Delivery
) -> None:
    def flood(request: Any) -> bool:
        request.send_response(500)
        request.end_headers()
        try:
            while not receiver.released.is_set():
                request.wfile.write(b"\x1b[2Jno" * 10_000)
        except OSError:
            request.close_connection = True
        return True

    receiver.after = flood
    result = await hook(receiver.url).send(page, to_ann, deadline_s=5)
    assert result.outcome is Handover.FAILED
    assert len(result.detail) <= 300
    assert result.detail.isprintable()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "nothing", "http://[::1", "http://"])
async def test_an_unusable_address_is_an_answer_not_an_exception(
    page: Message, to_ann: Delivery, url: str
) -> None:
    result = await hook(url).send(page, to_ann, deadline_s=5)
    assert (result.outcome, result.retryable) == (Handover.FAILED, False)


async def test_an_empty_or_missing_secret_sends_nothing_unsigned(
    receiver: Any, page: Message, to_ann: Delivery, secret_file: Path
) -> None:
    port = hook(receiver.url, secret_file)
    secret_file.write_text("\n")
    empty = await port.send(page, to_ann, deadline_s=5)
    secret_file.unlink()
    missing = await port.send(page, to_ann, deadline_s=5)
    assert {empty.outcome, missing.outcome} == {Handover.FAILED}
    assert receiver.requests == 0
    assert "secret" in empty.detail
    assert "secret" in missing.detail


async def test_hostile_names_arrive_as_text_in_valid_json(
    receiver: Any, page: Message, to_ann: Delivery, secret_file: Path
) -> None:
    sly = "a\x00\x1b[2J\ud800\u202e'; DROP TABLE x;--<script>\r\nSet-Cookie: a"
    to = replace(to_ann, id=DeliveryId(sly), address=sly)
    hostile = replace(page, subject=sly, target=sly, body=sly)
    receiver.refusal = lambda headers, body: 0
    result = await hook(receiver.url, secret_file).send(hostile, to, deadline_s=5)
    assert result.outcome is Handover.ACCEPTED
    [(key, fields)] = receiver.taken.items()
    assert "Set-Cookie: a" in key
    assert fields["subject"].isprintable()
    assert "\x1b" not in fields["body"]


async def test_cancelling_passes_through(
    receiver: Any, page: Message, to_ann: Delivery, secret_file: Path
) -> None:
    receiver.after = lambda request: receiver.released.wait(10)
    task = asyncio.create_task(hook(receiver.url, secret_file).send(page, to_ann, deadline_s=30))
    while not receiver.taken:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("0", 0),
        ("120", 120),
        ("999999999", RETRY_AFTER_S_MAX),
        ("Sun, 01 Mar 2026 03:00:30 GMT", 30),
        ("Sun, 01 Mar 2026 02:00:00 GMT", 0),
        ("", None),
        ("-5", None),
        ("soon", None),
        ("9" * 5000, None),
        ("١٢", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, wait_s: float | None) -> None:
    assert retry_after_s(value, now=NOW) == wait_s


@given(st.text())
def test_no_retry_after_header_breaks_anything(value: str) -> None:
    wait_s = retry_after_s(value, now=NOW)
    assert wait_s is None or 0 <= wait_s <= RETRY_AFTER_S_MAX


def test_a_first_page_finds_everything_the_client_needs_already_loaded() -> None:
    script = """
import asyncio, httpx, sys
from stanch.adapters.channels.webhook import load_client
load_client()
async def post():
    known = set(sys.modules)
    try:
        async with httpx.AsyncClient(verify=False) as client:
            await client.post("http://127.0.0.1:1/", content=b"")
    except httpx.ConnectError:
        pass
    return sorted(set(sys.modules) - known)
print(asyncio.run(post()))
"""
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout.strip() == "[]", said
