"""The few messages of PostgreSQL's wire protocol that a probe sends and reads. Pure.

Source: "Frontend/Backend Protocol", version 3.0, which every supported server speaks.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass

SSL_REQUEST = struct.pack("!ii", 8, 80877103)
GSS_REQUEST = struct.pack("!ii", 8, 80877104)
"""The quietest of all first messages: a server answers it with one byte, and where the connection
ends then it logs nothing. After a request for TLS that it grants it would log a failed handshake.
"""
TERMINATE = b"X\x00\x00\x00\x04"

MESSAGE_BYTES_MAX = 1 << 20
"""No reply to a probe is longer; a longer one is no PostgreSQL, or no friend."""


class NotPostgres(ValueError):
    """What came back is not PostgreSQL's protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerError:
    """An ErrorResponse: the code decides, the text is for people and may be in any language."""

    severity: str
    sqlstate: str
    message: str
    detail: str = ""
    routine: str = ""
    """The function in the server's source that raised it; in no language, unlike the message."""


def startup_message(parameters: Mapping[str, str]) -> bytes:
    """The first message of a session, naming user, database and settings."""
    pairs = b"".join(
        key.encode() + b"\0" + value.encode() + b"\0" for key, value in parameters.items()
    )
    body = struct.pack("!i", 196608) + pairs + b"\0"
    return struct.pack("!i", len(body) + 4) + body


def message(kind: bytes, body: bytes) -> bytes:
    """One message of a running session."""
    return kind + struct.pack("!i", len(body) + 4) + body


def query(sql: str) -> bytes:
    """A simple query, which may hold several statements."""
    return message(b"Q", sql.encode() + b"\0")


def auth_reply(value: bytes) -> bytes:
    """The answer to an authentication request; passwords are sent with their zero byte."""
    return message(b"p", value)


def md5_password(*, user: str, secret: str, salt: bytes) -> bytes:
    """The digest that the old `md5` authentication asks for."""
    inner = hashlib.md5((secret + user).encode(), usedforsecurity=False).hexdigest()
    outer = hashlib.md5(inner.encode() + salt, usedforsecurity=False).hexdigest()
    return b"md5" + outer.encode()


def sasl_initial(mechanism: str, first: bytes) -> bytes:
    """The choice of a SASL mechanism with its first message."""
    body = mechanism.encode() + b"\0" + struct.pack("!i", len(first)) + first
    return message(b"p", body)


def read_header(header: bytes) -> tuple[bytes, int]:
    """The kind of a message and the length of its body. Raises: NotPostgres."""
    kind, length = header[:1], int(struct.unpack("!i", header[1:5])[0])
    if not kind.isalpha() and kind not in b"123":
        raise NotPostgres(f"the reply begins with {kind!r}")
    if not 4 <= length <= MESSAGE_BYTES_MAX:
        raise NotPostgres(f"the reply claims {length} bytes")
    return kind, length - 4


def read_error(body: bytes) -> ServerError:
    """The fields of an ErrorResponse; text that is not UTF-8 is kept as far as it goes."""
    fields: dict[str, str] = {}
    for part in body.split(b"\0"):
        if part:
            fields.setdefault(chr(part[0]), part[1:].decode("utf-8", "replace"))
    return ServerError(
        severity=fields.get("V") or fields.get("S", ""),
        sqlstate=fields.get("C", ""),
        message=fields.get("M", ""),
        detail=fields.get("D", ""),
        routine=fields.get("R", ""),
    )


def read_parameter(body: bytes) -> tuple[str, str]:
    """The name and value of a ParameterStatus. Raises: NotPostgres."""
    parts = body.split(b"\0")
    if len(parts) < 2:
        raise NotPostgres("a parameter without a value")
    return parts[0].decode("utf-8", "replace"), parts[1].decode("utf-8", "replace")


def read_key(body: bytes) -> int | None:
    """The process that serves the session, as BackendKeyData names it; None where it does not."""
    return int(struct.unpack_from("!i", body)[0]) if len(body) >= 4 else None


def read_row(body: bytes) -> tuple[str | None, ...]:
    """The values of a DataRow as text. Raises: NotPostgres."""
    try:
        (count,) = struct.unpack_from("!h", body)
        values: list[str | None] = []
        at = 2
        for _ in range(count):
            (length,) = struct.unpack_from("!i", body, at)
            at += 4
            if length < 0:
                values.append(None)
                continue
            values.append(body[at : at + length].decode("utf-8", "replace"))
            at += length
    except struct.error as error:
        raise NotPostgres("a row that ends too early") from error
    return tuple(values)


def read_auth(body: bytes) -> tuple[int, bytes]:
    """The kind of an authentication request and what comes with it. Raises: NotPostgres."""
    if len(body) < 4:
        raise NotPostgres("an authentication request without a kind")
    return int(struct.unpack_from("!i", body)[0]), body[4:]
