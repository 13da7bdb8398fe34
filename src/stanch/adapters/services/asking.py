"""Questions over HTTP to whoever the policy names: bounded in time and size, not led elsewhere."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx

from stanch.adapters.channels.threads import in_own_thread
from stanch.model.diagnosis import Missing
from stanch.model.shown import shortened
from stanch.policy.quoting import printable
from stanch.policy.signs import HttpSource, TokenSource

ANSWER_BYTES_MAX = 256 * 1024
SECRET_BYTES_MAX = 8 * 1024
REASON_CHARS_MAX = 200
NOT_VERIFIED = "CERTIFICATE_VERIFY_FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request, without what every request to this end carries."""

    url: str
    method: Literal["GET", "POST"] = "GET"
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    answered_by: frozenset[int] = frozenset({200})
    """Statuses whose body is an answer, be it that the question was wrong."""


class Asker:
    """Asks one end, one question after the other, on a connection of each look's own.

    Certificates are always verified, proxies of the environment are not used. Redirects are not
    followed: a login would go to somebody whom nobody named. Whatever is longer than 256 kB is not
    read to its end. Secrets are read before each look, because they are renewed in their files.
    """

    def __init__(self, source: HttpSource, *, deadline_s: float) -> None:
        self._source = source
        self._deadline_s = deadline_s
        self._trust: ssl.SSLContext | None = None
        self._opening: asyncio.Task[tuple[dict[str, str], ssl.SSLContext | bool]] | None = None

    async def ask(self, questions: Sequence[Question]) -> tuple[bytes | Missing, ...]:
        """An answer to each, all of them within the deadline."""
        told: list[bytes | Missing] = []
        late = _missing(f"no answer within {self._deadline_s:g} s")
        try:
            async with asyncio.timeout(self._deadline_s):
                head, trust = await self._opened()
                async with httpx.AsyncClient(
                    headers=head,
                    verify=trust,
                    trust_env=False,
                    timeout=None,  # noqa: S113 -- the whole look has a deadline
                ) as client:
                    for question in questions:
                        told.append(await _answer(client, question))  # noqa: PERF401 -- what was answered before trouble is kept
        except TimeoutError:
            pass
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            if NOT_VERIFIED in str(error):
                # Its authority may have changed, and the file with it: the next look reads it anew.
                self._trust = None
            late = _missing(str(error) or type(error).__name__)
        return (*told, *[late] * (len(questions) - len(told)))

    async def ask_one(self, question: Question) -> bytes | Missing:
        [answer] = await self.ask((question,))
        return answer

    async def _opened(self) -> tuple[dict[str, str], ssl.SSLContext | bool]:
        """Files are read beside the loop; where that hangs, nobody else begins to read them."""
        if not self._reads_files:
            return self._login_and_trust()
        if self._opening is None or self._opening.done():
            reading = in_own_thread(self._login_and_trust, name="stanch-secrets")
            self._opening = asyncio.create_task(reading)
            # Where nobody waits any more, what came of it is of no interest.
            self._opening.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(self._opening)

    @property
    def _reads_files(self) -> bool:
        source = self._source
        has_token = isinstance(source, TokenSource) and bool(source.token_file)
        new_trust = source.url.startswith("https:") and self._trust is None
        return has_token or bool(source.username) or new_trust

    def _login_and_trust(self) -> tuple[dict[str, str], ssl.SSLContext | bool]:
        """Raises: OSError for a file that cannot be read, ValueError for one without a secret."""
        source = self._source
        # A few compressed bytes can be very many.
        head = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "stanch"}
        if isinstance(source, TokenSource) and source.token_file:
            head["Authorization"] = f"{source.token_scheme} {_secret(source.token_file)}"
        elif source.username:
            pair = f"{source.username}:{_secret(source.password_file)}".encode()
            head["Authorization"] = f"Basic {base64.b64encode(pair).decode('ascii')}"
        if not source.url.startswith("https:"):
            return head, False
        if self._trust is None:
            self._trust = ssl.create_default_context(cafile=source.ca_file or None)
        return head, self._trust


async def _answer(client: httpx.AsyncClient, question: Question) -> bytes | Missing:
    headers = dict(question.headers)
    if question.content_type:
        headers["Content-Type"] = question.content_type
    answer = bytearray()
    async with client.stream(
        question.method,
        question.url,
        params=dict(question.parameters) or None,
        content=question.body or None,
        headers=headers,
    ) as said:
        async for piece in said.aiter_raw():
            answer += piece
            if len(answer) > ANSWER_BYTES_MAX:
                return _missing(f"the answer is longer than {ANSWER_BYTES_MAX // 1024} kB")
    if said.status_code in question.answered_by:
        return bytes(answer)
    return _refused(said.status_code, bytes(answer))


def _refused(status: int, answer: bytes) -> Missing:
    if status in (401, 403):
        return _missing(f"it wants another login (status {status})")
    if 300 <= status < 400:
        return _missing(f"it leads elsewhere (status {status}), and redirects are not followed")
    said = answer[: 4 * REASON_CHARS_MAX].decode("utf-8", "replace").strip()
    return _missing(f"status {status}: {said}" if said else f"status {status}")


def _secret(file: str) -> str:
    """The first line of a file. Never: its text in an error."""
    with Path(file).open("rb") as opened:
        first = opened.read(SECRET_BYTES_MAX).split(b"\n", 1)[0].strip()
    if not first or not all(0x20 < byte < 0x7F for byte in first):
        raise ValueError(f"{file} has no secret of plain characters on its first line")
    return first.decode("ascii")


def _missing(reason: str) -> Missing:
    return Missing(what="answer", reason=shortened(printable(reason), REASON_CHARS_MAX))
