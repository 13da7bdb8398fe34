"""Requests that policy names, sent once each, and the look whether they did their work."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from stanch.adapters.channels.signature import HEADER, sign
from stanch.adapters.channels.threads import in_own_thread
from stanch.adapters.channels.webhook import header_text
from stanch.adapters.services.asking import Asker, Question
from stanch.facts.json_path import value_at
from stanch.facts.machines.json_values import read_json
from stanch.model.diagnosis import Missing
from stanch.model.hooks import Hook
from stanch.model.ports.server import Acted
from stanch.model.shown import shortened
from stanch.policy.quoting import printable
from stanch.policy.signs import HttpSource

SAID_BYTES_MAX = 512
DETAIL_CHARS_MAX = 300


class HttpHooks:
    """A `HookCaller`.

    Redirects are not followed, proxies of the environment are not used, certificates are always
    verified. Of an answer 512 bytes are read, of the look's 256 kB. The body is signed as a
    webhook's is; `Idempotency-Key` names the step, so that its repeat is known as one.
    Cost: one request, on a connection of its own.
    """

    async def value(self, hook: Hook, *, timeout_s: float) -> str | Missing:
        source = HttpSource(name=hook.name, url=hook.verify_url, ca_file=hook.ca_file)
        asked = Asker(source, deadline_s=timeout_s)
        answer = await asked.ask_one(Question(url=hook.verify_url))
        if isinstance(answer, Missing):
            return answer
        try:
            value = value_at(read_json(answer), hook.json)
        except ValueError as wrong:
            return Missing(what="answer", reason=str(wrong))
        if value is None:
            return Missing(what="answer", reason=f"there is no single value at {hook.json}")
        return value

    async def call(self, hook: Hook, *, key: str, deadline_s: float) -> Acted:
        sent = _Sent()
        try:
            async with asyncio.timeout(min(deadline_s, hook.timeout_s)):
                return await _called(hook, key, sent)
        except TimeoutError:
            return sent.unanswered("no answer in time")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return sent.unanswered(str(error) or type(error).__name__)


class _Sent:
    """Whether anything of the request may have left this machine."""

    def __init__(self) -> None:
        self._begun = False

    async def note(self, event: str, _info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            self._begun = True

    def unanswered(self, why: str) -> Acted:
        return Acted(outcome="in_doubt" if self._begun else "not_sent", detail=_shown(why))


async def _called(hook: Hook, key: str, sent: _Sent) -> Acted:
    # Both are read beside the loop: either may be on a slow disk.
    secret, trust = await in_own_thread(lambda: _secret_and_trust(hook), name="stanch-hook")
    body = hook.body.encode()
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Accept-Encoding": "identity",
        "Idempotency-Key": header_text(key),
        "User-Agent": "stanch",
    }
    if secret:
        headers[HEADER] = sign(secret, sent_at_unix=int(time.time()), body=body)
    async with (
        httpx.AsyncClient(verify=trust, trust_env=False, timeout=None) as client,  # noqa: S113 -- the whole call has a deadline
        client.stream(
            hook.method, hook.url, content=body, headers=headers, extensions={"trace": sent.note}
        ) as answer,
    ):
        said = await _beginning(answer)
    return _judged(answer, said)


def _judged(answer: httpx.Response, said: bytes) -> Acted:
    code = answer.status_code
    detail = f"status {code}: {said.decode('utf-8', 'replace')}".strip(" :")
    if answer.is_success:
        return Acted(outcome="done", detail=_shown(detail))
    if code < 400:
        # Following would take the request, and its signature, to somebody nobody named.
        return Acted(outcome="failed", detail=f"status {code}: redirects are not followed")
    # Who stands behind a gateway, or failed in the middle, may have done it all the same.
    return Acted(outcome="in_doubt" if code >= 500 else "failed", detail=_shown(detail))


async def _beginning(answer: httpx.Response) -> bytes:
    said = b""
    async for piece in answer.aiter_raw(SAID_BYTES_MAX):
        said += piece
        if len(said) >= SAID_BYTES_MAX:
            break
    return said[:SAID_BYTES_MAX]


def _secret_and_trust(hook: Hook) -> tuple[bytes, ssl.SSLContext | bool]:
    """Raises: OSError for a file that cannot be read, ValueError for one without a secret."""
    secret = b""
    if hook.secret_file:
        secret = Path(hook.secret_file).read_bytes().strip()
        if not secret:
            raise ValueError(f"secret file {hook.secret_file} is empty")
    if not hook.url.startswith("https:"):
        return secret, False
    return secret, ssl.create_default_context(cafile=hook.ca_file or None)


def _shown(text: str) -> str:
    return shortened(printable(text[:DETAIL_CHARS_MAX]), DETAIL_CHARS_MAX)
