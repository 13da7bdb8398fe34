"""`POST /signals/NAME`, `POST /signals`, `/signals/heartbeat/NAME`: who may, what it says, stored.

Whoever is not known is turned away before the body is read, unless the body itself is the proof.
Every answer says in a sentence what was wrong, so that setting up needs no log.

    200 stored    400 unusable    401 not known    404 no such source    413 too large    503 later
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from stanch.adapters.channels.secrets import Unreadable
from stanch.model.errors import StoreError, StoreUnavailable
from stanch.model.signals import Parsed, Refused
from stanch.policy.signals import ExpectedHeartbeat, SignalSource
from stanch.service.clock import Clock
from stanch.service.record.policies import Policies
from stanch.service.signals.deploying import TakeNews, deploys_told
from stanch.service.signals.intake import Busy, Intake
from stanch.service.signals.proof import (
    Proofs,
    known_by_header,
    read_proofs,
    read_token,
    signed,
)
from stanch.watch.signals.payload import BODY_BYTES_MAX
from stanch.watch.signals.reading import read

BODY_S = 10.0
"""A body must be there within this; slower ones keep a place that others need."""
BODIES_BYTES_MAX = 64 * 1024 * 1024
"""Of all bodies that are being read at once."""
STORED_S = 20.0
RETRY_AFTER_S = 2
BESIDE_BYTES = 64 * 1024
"""Larger payloads are read beside the event loop."""
PROOFS_S = 10.0
"""A changed file with a token or secret holds after this long."""
UNKNOWN = "unknown"

Count = Callable[[str, str, int], None]
"""Source, what became of it, how many."""
Hear = Callable[[str], Awaitable[None]]

log = structlog.get_logger("signals")


class _Turned(Exception):
    """Answered with something else than 200."""

    def __init__(self, status: int, refused: Refused) -> None:
        super().__init__(refused.reason)
        self.status = status
        self.refused = refused


@dataclass(frozen=True, slots=True)
class _Kept:
    """Proofs as they were in the files a moment ago."""

    at_s: float
    of: SignalSource | ExpectedHeartbeat
    proofs: Proofs


class Door:
    """The routes, and what they need. One per responder."""

    def __init__(
        self,
        intake: Intake,
        *,
        policies: Policies,
        clock: Clock,
        hear: Hear,
        changed: TakeNews,
        count: Count,
    ) -> None:
        """`hear` makes a heartbeat durable, `changed` what was deployed."""
        self._changed = changed
        self._intake = intake
        self._policies = policies
        self._clock = clock
        self._hear = hear
        self._count = count
        self._kept: dict[str, _Kept] = {}
        self._bodies_bytes = 0

    def routes(self) -> list[Route]:
        return [
            Route("/signals", self._answering(self._own), methods=["POST"]),
            Route(
                "/signals/heartbeat/{name}",
                self._answering(self._heartbeat),
                methods=["GET", "POST"],
            ),
            Route("/signals/{name}", self._answering(self._source), methods=["POST"]),
        ]

    def _answering(
        self, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """The same words for the same trouble, whatever was asked."""

        async def answered(request: Request) -> Response:
            name = request.path_params.get("name", UNKNOWN)
            known = self._policies.current.signals
            label = name if known.source(name) or known.heartbeat(name) else UNKNOWN
            try:
                return await answer(request)
            except ClientDisconnect:
                self._count(label, "malformed", 1)
                return Response(status_code=400)
            except _Turned as turned:
                self._count(label, turned.refused.because, 1)
                return _said(turned.status, turned.refused.reason)
            except Busy:
                self._count(label, "busy", 1)
                return _later("too many alerts wait to be stored")
            except (StoreError, TimeoutError) as error:
                self._count(label, "store", 1)
                return _later(f"cannot be stored now: {error or 'the disk does not keep up'}")

        return answered

    # --- what is asked ---

    async def _source(self, request: Request) -> Response:
        name = request.path_params["name"]
        source = self._policies.current.signals.source(name)
        if source is None:
            raise _turned(404, "unauthorized", "there is no such source in the policy")
        proofs = await self._proofs(source)
        if not known_by_header(proofs, request.headers):
            raise _turned(401, "unauthorized", "the token or login is not the one of this source")
        return await self._take(source, proofs, request)

    async def _own(self, request: Request) -> Response:
        """The token says which source it is."""
        fits = list[tuple[SignalSource, Proofs]]()
        for source in self._policies.current.signals.sources:
            if source.format != "stanch":
                continue
            try:
                proofs = await self._proofs(source)
            except StoreUnavailable:
                continue  # Another's file is no reason to turn this one away.
            asks = bool(proofs.token or proofs.password)
            if asks and known_by_header(proofs, request.headers):
                fits.append((source, proofs))
        if not fits:
            what = "no source with `format: stanch` has this token"
            raise _turned(401, "unauthorized", what)
        return await self._take(*fits[0], request)

    async def _heartbeat(self, request: Request) -> Response:
        name = request.path_params["name"]
        beat = self._policies.current.signals.heartbeat(name)
        if beat is None:
            raise _turned(404, "unauthorized", "there is no such heartbeat in the policy")
        if not known_by_header(await self._proofs(beat), request.headers):
            raise _turned(401, "unauthorized", "the token is not the one of this heartbeat")
        async with asyncio.timeout(STORED_S):
            await self._hear(name)
        self._count(name, "stored", 1)
        return _said(200, "heard")

    async def _take(self, source: SignalSource, proofs: Proofs, request: Request) -> Response:
        body = await self._body(request)
        if not signed(source, proofs, request.headers, body, ats_unix=self._moments()):
            raise _turned(401, "unauthorized", "the signature does not fit, or is too old")
        at = self._clock.now()
        if source.format == "deploy":
            return await self._deployed(source, body, at)
        if len(body) > BESIDE_BYTES:
            parsed = await asyncio.to_thread(read, source, body, at)
        else:
            parsed = read(source, body, at)
        self._count_parts(source.name, parsed)
        if parsed.signals:
            async with asyncio.timeout(STORED_S):
                await self._intake.put(self._intake.route(parsed.signals))
            self._count(source.name, "stored", len(parsed.signals))
        return _of(parsed)

    async def _deployed(self, source: SignalSource, body: bytes, at: datetime) -> Response:
        told = deploys_told(
            source, body, at, policy=self._policies.current, router=self._intake.router()
        )
        for refused in told.refused:
            self._count(source.name, refused.because, 1)
        if not told.news:
            status = 413 if told.refused[:1] and told.refused[0].because == "too_large" else 400
            return _said(status, "; ".join(r.reason for r in told.refused[:5]) or "no deploys")
        async with asyncio.timeout(STORED_S):
            await self._changed(told.news)
        self._count(source.name, "stored", told.count)
        text = f"{told.count} stored"
        if told.refused:
            text += f", {len(told.refused)} not: {told.refused[0].reason}"
        return JSONResponse({"ok": True, "stored": told.count, "text": text})

    # --- what it takes ---

    async def _body(self, request: Request) -> bytes:
        """The whole body. Turned away where it is too large, too slow, or packed."""
        if request.headers.get("content-encoding", "identity") != "identity":
            raise _turned(415, "malformed", "packed bodies are not read")
        declared = request.headers.get("content-length", "0")
        if declared.isdigit() and int(declared[:15]) > BODY_BYTES_MAX:
            raise _too_large()
        parts, size = list[bytes](), 0
        try:
            async with asyncio.timeout(BODY_S):
                async for part in request.stream():
                    parts.append(part)
                    size += len(part)
                    self._bodies_bytes += len(part)
                    if size > BODY_BYTES_MAX:
                        raise _too_large()
                    if self._bodies_bytes > BODIES_BYTES_MAX:
                        raise Busy
        except TimeoutError:
            what = f"the body was not there within {BODY_S:.0f} s"
            raise _turned(408, "malformed", what) from None
        finally:
            self._bodies_bytes -= size
        return b"".join(parts)

    async def _proofs(self, of: SignalSource | ExpectedHeartbeat) -> Proofs:
        key = f"{type(of).__name__}/{of.name}"
        now_s = time.monotonic()
        kept = self._kept.get(key)
        if kept is not None and kept.of == of and now_s - kept.at_s < PROOFS_S:
            return kept.proofs
        try:
            reading = read_proofs if isinstance(of, SignalSource) else read_token
            proofs = await asyncio.to_thread(reading, of)  # type: ignore[arg-type]
        except Unreadable as error:
            log.error("nobody can be let in", signals=of.name, error=str(error))
            # Not the sender's fault, and not for ever: it is to come back.
            raise StoreUnavailable("a file with its token or secret cannot be read") from error
        self._kept[key] = _Kept(now_s, of, proofs)
        return proofs

    def _moments(self) -> Sequence[float]:
        return (self._clock.now().timestamp(), time.time())

    def _count_parts(self, source: str, parsed: Parsed) -> None:
        for because, times in Counter(r.because for r in parsed.refused).items():
            self._count(source, because, times)
        for what, times in Counter(b for s in parsed.signals for b in s.bounded).items():
            self._count(source, f"bounded_{what}", times)


def _of(parsed: Parsed) -> Response:
    """What is said about a payload that was read."""
    reasons = [r.reason for r in parsed.refused[:5]]
    useless = [r for r in parsed.refused if r.because != "ignored"]
    if useless and not parsed.signals:
        status = 413 if all(r.because == "too_large" for r in useless) else 400
        return _said(status, "; ".join(reasons))
    text = f"{len(parsed.signals)} stored"
    if parsed.refused:
        text += f", {len(parsed.refused)} not: {'; '.join(reasons)}"
    return JSONResponse({"ok": True, "stored": len(parsed.signals), "text": text})


def _turned(status: int, because: str, reason: str) -> _Turned:
    return _Turned(status, Refused(because=because, reason=reason))  # type: ignore[arg-type]


def _too_large() -> _Turned:
    return _turned(413, "too_large", f"more than the {BODY_BYTES_MAX} bytes that are read")


def _said(status: int, text: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer, Basic"} if status == 401 else None
    return JSONResponse({"ok": status == 200, "text": text}, status_code=status, headers=headers)


def _later(text: str) -> Response:
    return JSONResponse(
        {"ok": False, "text": text}, status_code=503, headers={"Retry-After": str(RETRY_AFTER_S)}
    )
