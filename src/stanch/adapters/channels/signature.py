"""The signature on a webhook's body, and how a receiver checks it.

The header `Stanch-Signature: t=1700000000,v1=<hex>` carries the Unix time of sending and
HMAC-SHA256, keyed with the shared secret, over that time in decimal, a full stop, and the exact
bytes of the body. The time is signed so that a recorded request cannot be replayed later.
"""

from __future__ import annotations

import hashlib
import hmac
import re

HEADER = "Stanch-Signature"
TOLERANCE_S = 300

_PART = re.compile(r"(?P<name>[a-z][a-z0-9]*)=(?P<value>[0-9a-f]{1,64})")


def sign(secret: bytes, *, sent_at_unix: int, body: bytes) -> str:
    """The header's value for this body at this time."""
    return f"t={sent_at_unix},v1={_digest(secret, str(sent_at_unix), body)}"


def verify(
    header: str,
    body: bytes,
    *,
    secret: bytes,
    at_unix: float,
    tolerance_s: float = TOLERANCE_S,
) -> bool:
    """Whether the body is what the holder of the secret sent, not longer ago than allowed.

    A receiver passes the raw body as it arrived, before any JSON parser. Several `v1` values may
    be present while a secret is being changed; one that fits is enough. Unknown parts are ignored.
    """
    parts = [_PART.fullmatch(part.strip()) for part in header.split(",")]
    pairs = [(p["name"], p["value"]) for p in parts if p]
    times = [value for name, value in pairs if name == "t" and value.isdecimal()]
    if len(times) != 1 or abs(at_unix - int(times[0])) > tolerance_s:
        return False
    expected = _digest(secret, times[0], body)
    # Every candidate is compared: the time this takes must not tell which one fitted.
    fits = [hmac.compare_digest(expected, value) for name, value in pairs if name == "v1"]
    return any(fits)


def _digest(secret: bytes, sent_at: str, body: bytes) -> str:
    return hmac.new(secret, sent_at.encode() + b"." + body, hashlib.sha256).hexdigest()
