"""One signed HTTP POST a message, for whatever the team has that speaks HTTP.

The body is JSON, schema `stanch.message/1`; every key is always present:

    schema            "stanch.message/1"
    message_id        one a message; the same for every receiver of it
    delivery_id       one a message and address; the same in every repeat (also `Idempotency-Key`)
    incident_id       such as "20260314-001"
    kind              "page" (wants an acknowledgement) or "update"
    target            the watched server's name
    severity_rank     1 is worst
    subject           one line
    short             at most 160 characters
    body              the whole text, lines ended by "\\n"
    thread            the same for all messages of an incident
    person            who is meant, or null for everybody who reads the channel
    address           the contact's address on this channel, or ""
    possible_repeat   true where an earlier attempt may have arrived
    sent_at           ISO 8601, UTC
    links             where to look further: objects with "name" and "url"
    changes           what changed before: objects with "at", "kind", "what", "told" and "link"

Any 2xx answer means taken. A receiver answers a key it has seen with 2xx and does nothing.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, ClassVar

import httpx

from stanch.adapters.channels.signature import HEADER, sign
from stanch.adapters.channels.threads import in_own_thread
from stanch.model.changes import NotedChange
from stanch.model.codec import to_iso
from stanch.model.messages import Dedup, Delivery, Handover, Message
from stanch.model.ports.channels import HandoverResult
from stanch.model.shown import shortened
from stanch.policy.policy import WebhookChannel
from stanch.policy.quoting import printable

DETAIL_CHARS_MAX = 300
ANSWER_BYTES_MAX = 512
RETRY_AFTER_S_MAX = 3600.0

_TRY_AGAIN = frozenset({408, 409, 425, 429})
_MAY_HAVE_ARRIVED = frozenset({502, 504})
"""A gateway's own words: what stands behind it may have taken the message."""


class Webhook:
    """Posts messages to one URL."""

    dedup: ClassVar[Dedup] = Dedup.KEY

    def __init__(self, channel: WebhookChannel, *, tls: ssl.SSLContext | None = None) -> None:
        self._channel = channel
        self._tls = tls

    async def send(
        self, message: Message, delivery: Delivery, *, deadline_s: float
    ) -> HandoverResult:
        """Post one message; once its body is on the way, silence is in doubt."""
        progress = _Progress()
        try:
            async with asyncio.timeout(deadline_s):
                return await self._send(message, delivery, progress)
        except TimeoutError:
            return progress.unanswered(f"no answer within {deadline_s:g} s")
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            return _failed(f"unusable address: {error}", retryable=False)
        except (httpx.HTTPError, OSError, ValueError) as error:
            return progress.unanswered(str(error) or type(error).__name__)

    async def _send(
        self, message: Message, delivery: Delivery, progress: _Progress
    ) -> HandoverResult:
        # Files and trust stores are read beside the loop: either may be on a slow disk.
        secret, tls = await in_own_thread(self._read_secret_and_trust, name="stanch-webhook")
        self._tls = tls
        body = message_json(message, delivery, sent_at=datetime.now(UTC))
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Idempotency-Key": header_text(delivery.id),
            "User-Agent": "stanch",
        }
        if secret:
            headers[HEADER] = sign(secret, sent_at_unix=int(time.time()), body=body)
        timeout = httpx.Timeout(self._channel.timeout_s)
        async with (
            httpx.AsyncClient(verify=tls, timeout=timeout, follow_redirects=False) as client,
            client.stream(
                "POST",
                self._channel.url,
                content=body,
                headers=headers,
                extensions={"trace": progress.note},
            ) as response,
        ):
            said = b"" if response.is_success else await _beginning(response)
            return _judged(response, said)

    def _read_secret_and_trust(self) -> tuple[bytes, ssl.SSLContext]:
        secret = b""
        if self._channel.secret_file:
            # Read for every message, so that a secret is changed by replacing the file.
            secret = Path(self._channel.secret_file).read_bytes().strip()
            if not secret:
                raise ValueError(f"secret file {self._channel.secret_file} is empty")
        return secret, self._tls or ssl.create_default_context()


def load_client() -> None:
    """Load what the HTTP client leaves to its first request, so that no page has to wait for it.

    Cost: some tenths of a second of one thread, once a process; nothing is connected. Never on the
    event loop, which must not stand still for so long while it watches servers.
    """

    async def touch() -> None:
        from httpcore import AnyIOBackend

        async with httpx.AsyncClient(verify=ssl.create_default_context()):
            await AnyIOBackend().sleep(0)

    asyncio.run(touch())


class _Progress:
    """Whether any of the message's body may have left this machine."""

    def __init__(self) -> None:
        self._begun = False

    async def note(self, event: str, info: Mapping[str, Any]) -> None:
        # A proxy is asked to CONNECT by a request of its own, which carries nothing of ours.
        if event.endswith("send_request_body.started") and info["request"].method != b"CONNECT":
            self._begun = True

    def unanswered(self, why: str) -> HandoverResult:
        outcome = Handover.IN_DOUBT if self._begun else Handover.FAILED
        return HandoverResult(outcome=outcome, detail=_one_line(why))


def message_json(message: Message, delivery: Delivery, *, sent_at: datetime) -> bytes:
    """The body, schema `stanch.message/1`; ASCII, so that no receiver stumbles over an encoding."""
    fields: dict[str, str | int | bool | None] = {
        "schema": "stanch.message/1",
        "message_id": message.id,
        "delivery_id": delivery.id,
        "incident_id": message.incident_id,
        "kind": message.kind.value,
        "target": message.target,
        "severity_rank": message.severity_rank,
        "subject": message.subject,
        "short": message.short,
        "body": "",
        "thread": message.thread,
        "person": delivery.person,
        "address": delivery.address,
        "possible_repeat": message.possible_repeat,
        "sent_at": sent_at.isoformat(timespec="milliseconds"),
    }
    shown = {k: printable(v) if isinstance(v, str) else v for k, v in fields.items()}
    # Line breaks stay in the body; every other control character is escaped.
    shown["body"] = "\n".join(printable(line) for line in message.body.split("\n"))
    links = [{"name": printable(x.name), "url": printable(x.url)} for x in message.links]
    more = {"links": links, "changes": [_change(change) for change in message.changes]}
    return json.dumps({**shown, **more}, separators=(",", ":")).encode("ascii")


def _change(change: NotedChange) -> dict[str, str]:
    return {
        "at": to_iso(change.at),
        "kind": printable(change.kind),
        "what": printable(change.what),
        "told": printable(change.told),
        "link": printable(change.link),
    }


def header_text(text: str) -> str:
    """Any id as a header's value: what HTTP does not allow there is escaped."""
    return printable(text).encode("ascii", "backslashreplace").decode("ascii")


def retry_after_s(value: str, *, now: datetime) -> float | None:
    """Seconds to wait, from a Retry-After header (seconds or a date); None if it is neither."""
    if value.isascii() and value.isdecimal() and len(value) < 10:
        return min(float(value), RETRY_AFTER_S_MAX)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max(0.0, (at - now).total_seconds()), RETRY_AFTER_S_MAX)


async def _beginning(response: httpx.Response) -> bytes:
    """The first bytes of an answer; a receiver may not fill our memory with the rest."""
    said = b""
    async for chunk in response.aiter_raw(ANSWER_BYTES_MAX):
        said += chunk
        if len(said) >= ANSWER_BYTES_MAX:
            break
    return said[:ANSWER_BYTES_MAX]


def _judged(response: httpx.Response, said: bytes) -> HandoverResult:
    code = response.status_code
    detail = f"{code} {said.decode('utf-8', 'backslashreplace')}".strip()
    if response.is_success:
        return HandoverResult(outcome=Handover.ACCEPTED, detail=_one_line(detail))
    if code < 400:
        # Following would send the incident, and its signature, to somebody nobody named.
        return _failed(f"{code}: redirects are not followed", retryable=False)
    wait_s = retry_after_s(response.headers.get("Retry-After", ""), now=datetime.now(UTC))
    in_doubt = code in _MAY_HAVE_ARRIVED
    return HandoverResult(
        outcome=Handover.IN_DOUBT if in_doubt else Handover.FAILED,
        detail=_one_line(detail),
        retryable=code >= 500 or code in _TRY_AGAIN,
        retry_after_s=wait_s,
    )


def _failed(detail: str, *, retryable: bool) -> HandoverResult:
    return HandoverResult(outcome=Handover.FAILED, detail=_one_line(detail), retryable=retryable)


def _one_line(text: str) -> str:
    return shortened(printable(text[:DETAIL_CHARS_MAX]), DETAIL_CHARS_MAX)
