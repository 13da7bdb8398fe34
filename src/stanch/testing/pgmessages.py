"""The server's side of the wire protocol, as far as the stand-in speaks it. Pure.

Written apart from the client's side on purpose: two readings of one specification must agree.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PROTOCOL_3_0 = 3 << 16
SSL_REQUEST_CODE = 80877103
GSS_REQUEST_CODE = 80877104
CANCEL_REQUEST_CODE = 80877102

STARTUP_BYTES_MAX = 10_000
MESSAGE_BYTES_MAX = 1 << 24

OID_BOOL, OID_TEXT, OID_INT4, OID_JSON, OID_VOID = 16, 25, 23, 114, 2278


class BadMessage(ValueError):
    """The client broke the protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlError:
    """An error as the server sends it."""

    sqlstate: str
    message: str
    severity: str = "ERROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The rows of one statement; no columns for a command that returns none."""

    columns: tuple[tuple[str, int], ...] = ()
    rows: tuple[tuple[str | None, ...], ...] = ()
    tag: str = "SELECT"

    @property
    def complete_tag(self) -> str:
        return f"{self.tag} {len(self.rows)}" if self.tag == "SELECT" else self.tag


def framed(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def error(problem: SqlError) -> bytes:
    fields = {
        b"S": problem.severity,
        b"V": problem.severity,
        b"C": problem.sqlstate,
        b"M": problem.message,
    }
    return framed(b"E", b"".join(k + v.encode() + b"\0" for k, v in fields.items()) + b"\0")


def authentication(kind: int, extra: bytes = b"") -> bytes:
    return framed(b"R", struct.pack("!i", kind) + extra)


def parameter(name: str, value: str) -> bytes:
    return framed(b"S", name.encode() + b"\0" + value.encode() + b"\0")


def key_data(pid: int, secret: int) -> bytes:
    return framed(b"K", struct.pack("!iI", pid, secret))


def row_description(answer: Answer) -> bytes:
    if not answer.columns:
        return framed(b"n")
    body = struct.pack("!h", len(answer.columns))
    for name, oid in answer.columns:
        body += name.encode() + b"\0" + struct.pack("!ihihih", 0, 0, oid, -1, -1, 0)
    return framed(b"T", body)


def data_rows(answer: Answer) -> bytes:
    return b"".join(framed(b"D", _row(row)) for row in answer.rows)


def _row(row: Sequence[str | None]) -> bytes:
    body = struct.pack("!h", len(row))
    for value in row:
        raw = None if value is None else value.encode()
        body += struct.pack("!i", -1) if raw is None else struct.pack("!i", len(raw)) + raw
    return body


def complete(answer: Answer) -> bytes:
    return framed(b"C", answer.complete_tag.encode() + b"\0")


def read_startup(body: bytes) -> Mapping[str, str]:
    """The parameters of a startup message, without its version. Raises: BadMessage."""
    if not body.endswith(b"\0\0"):
        raise BadMessage("invalid startup packet layout: expected terminator as last byte")
    parts = body[:-2].split(b"\0")
    if len(parts) % 2:
        raise BadMessage("a startup parameter without a value")
    texts = [part.decode() for part in parts]
    return dict(zip(texts[::2], texts[1::2], strict=True))


class Fields:
    """Reads one message's body from front to back; leftover bytes are an error."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def text(self) -> str:
        end = self._body.find(b"\0", self._at)
        if end < 0:
            raise BadMessage("a string without an end")
        text, self._at = self._body[self._at : end].decode(), end + 1
        return text

    def number(self, layout: str) -> int:
        try:
            (value,) = struct.unpack_from(f"!{layout}", self._body, self._at)
        except struct.error as problem:
            raise BadMessage("insufficient data left in message") from problem
        self._at += struct.calcsize(f"!{layout}")
        return int(value)

    def raw(self, count: int) -> bytes:
        if count < 0 or self._at + count > len(self._body):
            raise BadMessage("insufficient data left in message")
        value, self._at = self._body[self._at : self._at + count], self._at + count
        return value

    def rest(self) -> bytes:
        return self.raw(len(self._body) - self._at)

    def value(self) -> str | None:
        length = self.number("i")
        return None if length == -1 else self.raw(length).decode()

    def end(self) -> None:
        if self._at != len(self._body):
            raise BadMessage("invalid message format: surplus bytes")


class ScramServer:
    """One SCRAM-SHA-256 exchange seen from the server."""

    ITERATIONS = 4096

    def __init__(self, password: str, salt: bytes, nonce: str) -> None:
        self._salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, self.ITERATIONS)
        self._salt = salt
        self._nonce = nonce
        self._signed = ""

    def challenge(self, client_first: bytes) -> bytes:
        header, bare = client_first[:3], client_first[3:].decode()
        if header not in (b"n,,", b"y,,"):
            raise BadMessage("channel binding is not offered here")
        client_nonce = dict(part.split("=", 1) for part in bare.split(","))["r"]
        salt = base64.b64encode(self._salt).decode()
        reply = f"r={client_nonce}{self._nonce},s={salt},i={self.ITERATIONS}"
        self._signed = f"{bare},{reply}"
        return reply.encode()

    def verdict(self, client_final: bytes) -> bytes | None:
        """The server's signature, or None for a wrong password."""
        without_proof, _, proof = client_final.decode().rpartition(",p=")
        signed = f"{self._signed},{without_proof}".encode()
        client_key = hmac.digest(self._salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        expected = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        if not hmac.compare_digest(base64.b64decode(proof), expected):
            return None
        server_key = hmac.digest(self._salted, b"Server Key", "sha256")
        return b"v=" + base64.b64encode(hmac.digest(server_key, signed, "sha256"))
