"""The keys that whoever is asked over HTTP has in common: where, known by what, trusted by whom."""

from __future__ import annotations

from stanch.policy.kinds import HTTP_URL, Path, Text
from stanch.policy.shapes import Key

TOKEN_FILE = Key(
    name="token_file",
    field="token_file",
    holds=Path(),
    doc="A file with a bearer token, read before each question. Left out: none is sent.",
    example="/etc/stanch/shop-token",
)
USERNAME = Key(
    name="username",
    field="username",
    holds=Text(),
    doc="Who logs in with a password (basic authentication). Left out: nobody does.",
    example="stanch",
)
PASSWORD_FILE = Key(
    name="password_file",
    field="password_file",
    holds=Path(),
    doc="A file with that password on its first line.",
    example="/etc/stanch/shop-password",
)
CA_FILE = Key(
    name="ca_file",
    field="ca_file",
    holds=Path(),
    doc="Certificates of the authority that signed the other end's. Left out: those that this "
    "machine trusts.",
    example="/etc/ssl/internal-ca.pem",
)
PASSWORD_LOGIN = (USERNAME, PASSWORD_FILE, CA_FILE)
LOGIN = (TOKEN_FILE, *PASSWORD_LOGIN)


def url_key(doc: str, example: str) -> Key:
    """Where it is asked."""
    return Key(name="url", field="url", holds=HTTP_URL, doc=doc, example=example)
