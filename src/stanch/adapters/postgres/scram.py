"""The client's side of SCRAM-SHA-256, without channel binding. Pure but for the nonce it is given.

Source: RFC 5802 and 7677, as "SASL Authentication" in PostgreSQL's protocol describes them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import stringprep
import unicodedata

MECHANISM = "SCRAM-SHA-256"

ITERATIONS_MAX = 100_000
"""PostgreSQL's default is 4096; a server asking for more than this would hold us up on purpose."""


class ScramFailed(ValueError):
    """The exchange cannot be completed; the text says why."""


class ScramClient:
    """One exchange: `first`, then `final` on the server's challenge, then `verify`."""

    def __init__(self, secret: str, nonce: str) -> None:
        self._secret = _prepared(secret)
        self._nonce = nonce
        self._server_signature = b""

    def first(self) -> bytes:
        """The client-first message; PostgreSQL takes the user from the startup message."""
        return f"n,,{self._first_bare}".encode()

    @property
    def _first_bare(self) -> str:
        return f"n=,r={self._nonce}"

    def final(self, challenge: bytes) -> bytes:
        """The client-final message. Raises: ScramFailed."""
        text, parts = _attributes(challenge)
        nonce, salt, rounds = parts.get("r", ""), parts.get("s", ""), parts.get("i", "")
        if not nonce.startswith(self._nonce) or len(nonce) == len(self._nonce):
            raise ScramFailed("the server's nonce does not continue ours")
        if not rounds.isascii() or not rounds.isdigit() or not 0 < int(rounds) <= ITERATIONS_MAX:
            raise ScramFailed(f"the server asks for {rounds[:12]!r} iterations")
        try:
            salted = hashlib.pbkdf2_hmac(
                "sha256", self._secret, base64.b64decode(salt, validate=True), int(rounds)
            )
        except binascii.Error as error:
            raise ScramFailed("the server's salt is not base64") from error
        without_proof = f"c=biws,r={nonce}"
        signed = f"{self._first_bare},{text},{without_proof}".encode()
        client_key = _hmac(salted, b"Client Key")
        signature = _hmac(hashlib.sha256(client_key).digest(), signed)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self._server_signature = _hmac(_hmac(salted, b"Server Key"), signed)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, final: bytes) -> None:
        """The server proves that it knows the password too. Raises: ScramFailed."""
        _, parts = _attributes(final)
        expected = base64.b64encode(self._server_signature).decode()
        if not self._server_signature or not hmac.compare_digest(parts.get("v", ""), expected):
            raise ScramFailed("the server does not know the password's verifier")


def _attributes(raw: bytes) -> tuple[str, dict[str, str]]:
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise ScramFailed("a SCRAM message that is not ASCII") from error
    return text, {part[:1]: part[2:] for part in text.split(",")}


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def _prepared(secret: str) -> bytes:
    """SASLprep as the server does it: a password that it does not allow is used as it is."""
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char
        for char in secret
        if not stringprep.in_table_b1(char)
    )
    normal = unicodedata.normalize("NFKC", mapped)
    prohibited = any(
        stringprep.in_table_c12(char)
        or stringprep.in_table_c21_c22(char)
        or stringprep.in_table_c3(char)
        or stringprep.in_table_c4(char)
        or stringprep.in_table_c5(char)
        or stringprep.in_table_c6(char)
        or stringprep.in_table_c7(char)
        or stringprep.in_table_c8(char)
        or stringprep.in_table_c9(char)
        or stringprep.in_table_a1(char)
        for char in normal
    )
    return (secret if prohibited or not normal else normal).encode()
