"""How a source proves who it is: a token, a login, a signature over the body.

Comparisons take the same time whatever is wrong. Every proof that the policy names is asked for,
where a token and a login are two ways of one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stanch.adapters.channels.secrets import first_line
from stanch.adapters.channels.signature import HEADER, TOLERANCE_S, verify
from stanch.policy.signals import ExpectedHeartbeat, SignalFormat, SignalSource

SIGNATURE_HEADERS: Mapping[SignalFormat, str] = {
    "grafana": "X-Grafana-Alerting-Signature",
    "pagerduty": "X-PagerDuty-Signature",
    "stanch": HEADER,
    "deploy": HEADER,
}
GRAFANA_TIMESTAMP = "X-Grafana-Alerting-Timestamp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """What one source has to show. Empty: not asked for."""

    token: bytes = b""
    username: bytes = b""
    password: bytes = b""
    secret: bytes = b""


def read_proofs(source: SignalSource) -> Proofs:
    """Raises Unreadable. Cost: reads files; not for the event loop."""
    return Proofs(
        token=first_line(source.token_file),
        username=source.username.encode(),
        password=first_line(source.password_file),
        secret=first_line(source.secret_file),
    )


def read_token(beat: ExpectedHeartbeat) -> Proofs:
    """Raises Unreadable. Cost: reads a file; not for the event loop."""
    return Proofs(token=first_line(beat.token_file))


def known_by_header(proofs: Proofs, headers: Mapping[str, str]) -> bool:
    """Whether the Authorization header holds what it must; True where none is asked for."""
    if not (proofs.token or proofs.password):
        return True
    scheme, _, given = headers.get("authorization", "").partition(" ")
    said = given.strip().encode("utf-8", "surrogateescape")
    if scheme.casefold() == "bearer":
        return bool(proofs.token) and _same(said, proofs.token)
    if scheme.casefold() == "basic":
        login = proofs.username + b":" + proofs.password
        return bool(proofs.password) and _same(_decoded(said), login)
    return False


def signed(
    source: SignalSource,
    proofs: Proofs,
    headers: Mapping[str, str],
    body: bytes,
    *,
    ats_unix: Sequence[float],
) -> bool:
    """Whether the body is signed with the secret; True where none is asked for.

    `ats_unix` are the clocks by which a signed moment may be fresh: the steady one, and the wall's,
    because either may have been wrong when it was started.
    """
    if not proofs.secret:
        return True
    name = source.signature_header or SIGNATURE_HEADERS.get(source.format, "")
    given = headers.get(name.casefold(), "")
    if source.format in ("stanch", "deploy") and name == HEADER:
        return any(verify(given, body, secret=proofs.secret, at_unix=at) for at in ats_unix)
    if source.format == "pagerduty" and not source.signature_header:
        candidates = [part.strip().removeprefix("v1=") for part in given.split(",")[:8]]
        # Every candidate is compared: the time this takes must not tell which one fitted.
        fits = [_same_hex(_digest(proofs.secret, body), one) for one in candidates]
        return any(fits)
    stamp = headers.get(GRAFANA_TIMESTAMP.casefold(), "") if source.format == "grafana" else ""
    if stamp:
        if not (stamp.isdigit() and _fresh(int(stamp[:15]), ats_unix)):
            return False
        body = stamp.encode() + b":" + body
    return _same_hex(_digest(proofs.secret, body), given.removeprefix("sha256="))


def _fresh(stamp: int, ats_unix: Sequence[float]) -> bool:
    return any(abs(at - stamp) <= TOLERANCE_S for at in ats_unix)


def _digest(secret: bytes, body: bytes) -> str:
    return hmac.new(secret, body, hashlib.sha256).hexdigest()


def _same_hex(expected: str, given: str) -> bool:
    return _same(given.strip().casefold().encode("utf-8", "surrogateescape"), expected.encode())


def _same(given: bytes, expected: bytes) -> bool:
    return hmac.compare_digest(given, expected)


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
