"""Questions over HTTP: bounded in time and bytes, logged in, verified, and not led elsewhere."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import threading
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from http_at import Asked, Said, http_at, said
from stanch.adapters.postgres.scratch import free_port
from stanch.adapters.services.asking import ANSWER_BYTES_MAX, Asker, Question
from stanch.adapters.services.health import HttpHealth
from stanch.model.diagnosis import Missing
from stanch.policy.signs import HealthCheck, HttpSource, TokenSource


async def asked(url: str, *, deadline_s: float = 5.0, **login: str) -> str:
    """The answer as text, or why there is none."""
    source = replace(TokenSource(name="x", url=url), **login)
    answer = await Asker(source, deadline_s=deadline_s).ask_one(Question(url=url))
    return f"none: {answer.reason}" if isinstance(answer, Missing) else answer.decode()


async def test_an_answer_of_a_gigabyte_is_cut_off_where_it_is_too_long() -> None:
    async with http_at(lambda _: Said(body=b"x" * 65_536, endless=True)) as at:
        assert await asked(at.url) == "none: the answer is longer than 256 kB"
        # What the kernel's buffers hold was sent, and nothing was read of it.
        assert at.sent_bytes < ANSWER_BYTES_MAX + 16 * 2**20


async def test_compressed_answers_are_not_unpacked() -> None:
    async with http_at(lambda _: Said(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})) as a:
        source = HttpSource(name="x", url=a.url)
        assert await Asker(source, deadline_s=5).ask_one(Question(url=a.url)) == b"\x1f\x8b"
        assert a.asked[0].headers["accept-encoding"] == "identity"


async def test_a_redirect_is_not_followed_and_the_login_stays_here(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    async with AsyncExitStack() as both:
        there = await both.enter_async_context(http_at(lambda _: said({})))
        moved = Said(status=302, headers={"Location": there.url})
        here = await both.enter_async_context(http_at(lambda _: moved))
        told = await asked(here.url, token_file=str(token))
    assert told == "none: it leads elsewhere (status 302), and redirects are not followed"
    assert here.asked[0].headers["authorization"] == "Bearer s3cret"
    assert there.asked == []


async def test_a_password_is_read_from_its_file_before_each_look(tmp_path: Path) -> None:
    file = tmp_path / "password"

    def door(request: Asked) -> Said:
        given = base64.b64encode(b"ann:two").decode()
        return said("in") if request.headers.get("authorization") == f"Basic {given}" else denied

    denied = Said(status=401, body=b"secret page")
    async with http_at(door) as at:
        file.write_text("one\n")
        password = str(file)
        assert (
            await asked(at.url, username="ann", password_file=password)
            == "none: it wants another login (status 401)"
        )
        file.write_text("two\n")
        assert await asked(at.url, username="ann", password_file=password) == '"in"'


@pytest.mark.parametrize("secret", ["", "\n", "no\x00pe", "schlüssel"])
async def test_a_file_without_a_plain_secret_is_told_without_its_text(
    tmp_path: Path, secret: str
) -> None:
    file = tmp_path / "token"
    file.write_text(secret)
    async with http_at(lambda _: said("in")) as at:
        told = await asked(at.url, token_file=str(file))
    assert told == f"none: {file} has no secret of plain characters on its first line"
    assert at.asked == [], "nobody was asked without a login"


async def test_a_gone_file_and_a_gone_end_are_told() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert "No such file" in await asked(url, token_file="/nowhere/token")
    assert (await asked(url)).startswith("none: ")


async def test_an_answer_that_trickles_is_given_up_at_the_deadline() -> None:
    async with http_at(lambda _: Said(body=b"[", stays=True)) as at, asyncio.timeout(2):
        assert await asked(at.url, deadline_s=0.2) == "none: no answer within 0.2 s"


async def test_questions_go_one_after_the_other_and_what_was_answered_stays() -> None:
    def only_first(request: Asked) -> Said:
        return said(1) if request.query == {"n": ["0"]} else Said(body=b"[", stays=True)

    async with http_at(only_first) as at:
        asker = Asker(HttpSource(name="x", url=at.url), deadline_s=0.3)
        questions = [Question(url=at.url, parameters={"n": str(n)}) for n in range(3)]
        first, second, third = await asker.ask(questions)
        assert first == b"1"
        assert isinstance(second, Missing)
        assert isinstance(third, Missing)
        assert at.at_once_max == 1
        assert len(at.asked) == 2, "the third was not asked any more"


async def test_a_file_that_hangs_is_read_by_one_thread_and_used_when_it_is_there(
    tmp_path: Path,
) -> None:
    token = tmp_path / "token"
    # Opening it waits for somebody who writes, as a file does whose server is gone.
    os.mkfifo(token)
    async with http_at(lambda _: said("in")) as at:
        source = replace(TokenSource(name="x", url=at.url), token_file=str(token))
        asker, question = Asker(source, deadline_s=0.1), Question(url=at.url)
        before = threading.active_count()
        for _ in range(3):
            assert isinstance(await asker.ask_one(question), Missing)
        assert threading.active_count() <= before + 1
        token.write_text("s3cret")
        async with asyncio.timeout(5):
            while isinstance(await asker.ask_one(question), Missing):
                token.unlink(missing_ok=True)
                token.write_text("s3cret")
    assert at.asked[-1].headers["authorization"] == "Bearer s3cret"


async def test_a_head_without_end_is_no_answer() -> None:
    async with http_at(lambda _: Said(headers={"X": "x" * 2**20})) as at:
        assert (await asked(at.url)).startswith("none: ")


async def test_what_it_says_with_a_wrong_status_is_shown_on_one_line() -> None:
    async with http_at(
        lambda _: Said(status=500, body=b"\x1b[2Jout of\nmemory " + b"x" * 900)
    ) as a:
        told = await asked(a.url)
    assert told.startswith("none: status 500: \\x1b[2Jout of\\nmemory xxx")
    assert len(told) < 220


async def test_no_login_is_sent_before_the_certificate_is_verified(
    own_authority: tuple[ssl.SSLContext, str], tmp_path: Path
) -> None:
    context, file = own_authority
    token = tmp_path / "token"
    token.write_text("s3cret")
    async with http_at(lambda _: said("in"), tls=context) as at:
        assert "certificate" in await asked(at.url, token_file=str(token))
        assert at.asked == []
        assert await asked(at.url, token_file=str(token), ca_file=file) == '"in"'
        elsewhere = at.url.replace("localhost", "127.0.0.1")
        assert "certificate" in await asked(elsewhere, token_file=str(token), ca_file=file)
    assert len(at.asked) == 1


async def test_an_authority_that_was_renewed_in_its_file_is_trusted_without_a_restart(
    own_authority: tuple[ssl.SSLContext, str], tmp_path: Path
) -> None:
    context, file = own_authority
    held = tmp_path / "held.pem"
    [another, *_] = ssl.create_default_context().get_ca_certs(binary_form=True)
    held.write_text(ssl.DER_cert_to_PEM_cert(another))
    async with http_at(lambda _: said("in"), tls=context) as at:
        asker = Asker(TokenSource(name="x", url=at.url, ca_file=str(held)), deadline_s=5)
        check = HttpHealth(HealthCheck(name="x", url=at.url, ca_file=str(held)))
        assert isinstance(await asker.ask_one(Question(url=at.url)), Missing)
        assert (await check.look())[0].value == 0
        held.write_text(Path(file).read_text())
        assert await asker.ask_one(Question(url=at.url)) == b'"in"'
        assert (await check.look())[0].value == 1


async def test_a_file_of_authorities_that_hangs_holds_no_other_check_back(tmp_path: Path) -> None:
    """A pipe without a writer: whoever opens it waits, as for a file on a dead mount."""
    os.mkfifo(tmp_path / "ca.pem")
    before = threading.active_count()
    url = "https://localhost:1"
    check = HealthCheck(name="x", url=url, ca_file=str(tmp_path / "ca.pem"), timeout_s=0.1)
    health = HttpHealth(check)
    for _ in range(3):
        async with asyncio.timeout(5):
            [ok, _] = await health.look()
        assert (ok.value, ok.detail) == (0.0, "no answer within 0.1 s")
    assert threading.active_count() <= before + 1
    os.close(os.open(tmp_path / "ca.pem", os.O_WRONLY | os.O_NONBLOCK))
